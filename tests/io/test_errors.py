import pickle

import pytest

from cryojax_graph.io.errors import InputError, quote, row_place


def test_the_message_names_file_place_cause_and_remedy_in_one_line():
    error = InputError("a.star", "row 3", "it is\nbroken", "mend it")
    assert str(error) == "a.star: row 3: it is broken; mend it"
    assert (error.file, error.place, error.cause, error.remedy) == (
        "a.star",
        "row 3",
        "it is\nbroken",
        "mend it",
    )


def test_the_error_survives_the_way_between_processes():
    error = pickle.loads(pickle.dumps(InputError("a", "b", "c", "d")))
    assert str(error) == "a: b: c; d"


def test_foreign_text_is_shortened_and_stripped_of_control_characters():
    assert quote("a\x1b[31mb\n") == "'a�[31mb�'"
    assert quote(b"\xff") == "'�'"
    assert quote("x" * 1000) == "'" + "x" * 30 + "…" + "x" * 30 + "'"


@pytest.mark.parametrize(
    ("table", "column", "place"),
    [
        ("particles", "rlnAngleRot", "row 3 of table particles, column rlnAngleRot"),
        ("", None, "row 3"),
    ],
)
def test_rows_are_counted_from_one(table, column, place):
    assert row_place(2, table=table, column=column) == place
