import string

import numpy as np
import pytest
from gemmi import cif
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError, StarTable, read_star, write_star
from cryojax_graph.io.star import integers, numbers

TEXT = np.dtypes.StringDType()


def column(*values):
    return np.array(values, TEXT)


def test_blocks_columns_and_text_are_kept_in_order(tmp_path):
    path = tmp_path / "a.star"
    path.write_text(
        "data_general\n\n_rlnX 1.50\n_rlnY 'two words'\n\n"
        "data_\n\nloop_\n_rlnB #1\n_rlnA #2\n 007  [0.1,2]\n -1.0e3 it's\n"
    )
    tables = read_star(path)
    assert list(tables) == ["general", ""]
    assert not tables["general"].loop
    assert [values.tolist() for values in tables["general"].columns.values()] == [
        ["1.50"],
        ["two words"],
    ]
    assert list(tables[""].columns) == ["rlnB", "rlnA"]
    assert tables[""].columns["rlnB"].tolist() == ["007", "-1.0e3"]
    assert tables[""].columns["rlnA"].tolist() == ["[0.1,2]", "it's"]
    assert len(tables[""]) == 2


def test_a_byte_order_mark_is_skipped_and_not_written_again(tmp_path):
    write_star(tmp_path / "plain.star", {"x": StarTable({"rlnA": column("1", "two")})})
    plain = (tmp_path / "plain.star").read_bytes()
    (tmp_path / "marked.star").write_bytes(b"\xef\xbb\xbf" + plain.lstrip())
    write_star(tmp_path / "again.star", read_star(tmp_path / "marked.star"))
    assert (tmp_path / "again.star").read_bytes() == plain


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    values=st.lists(
        st.text(string.ascii_letters + string.digits + " _#;'\"[]{}$.?-+@/,", max_size=12),
        min_size=1,
        max_size=8,
    )
)
def test_any_printable_text_survives_or_is_refused(values, tmp_path):
    path = tmp_path / "a.star"
    table = StarTable({"rlnA": column(*values), "rlnB": column(*map(str, range(len(values))))})
    tables = {"x": table, "y": StarTable({"rlnC": column(values[0])}, loop=False)}
    try:
        write_star(path, tables)
    except InputError:
        # CIF writes a value that needs quotes and holds both kinds on several lines.
        if any("'" in value and '"' in value for value in values):
            return
        raise
    again = read_star(path)
    assert again["x"].columns["rlnA"].tolist() == values
    assert again["y"].columns["rlnC"].tolist() == values[:1]
    assert cif.read(str(path))[0].find_loop("_rlnB").str(0) == "0"


@pytest.mark.parametrize("value", ["ü", "a\nb", "a\tb", "\x07", "a 'b\" c"])
def test_what_cannot_stand_in_a_table_is_never_written(value, tmp_path):
    with pytest.raises(InputError, match="row 2, column rlnA"):
        write_star(tmp_path / "a.star", {"x": StarTable({"rlnA": column("fine", value)})})
    assert not any(tmp_path.iterdir())


def test_the_comment_stands_before_every_block(tmp_path):
    tables = {name: StarTable({"rlnA": column("1")}) for name in ("optics", "particles")}
    write_star(tmp_path / "a.star", tables, comment="version 30001")
    text = (tmp_path / "a.star").read_text()
    assert text.count("# version 30001\n\ndata_") == 2
    assert "loop_\n_rlnA #1\n1\n" in text


def test_numbers_are_converted_when_asked_for():
    table = {"a": column("1", "2.50", "-3e2"), "b": column("1", "2.000", "3e2")}
    np.testing.assert_array_equal(numbers(table, "a", file="f", name="t"), [1, 2.5, -300])
    assert integers(table, "b", file="f", name="t").tolist() == [1, 2, 300]
    with pytest.raises(InputError, match=r"f: row 2 of table t, column a: '2\.50' is not a whole"):
        integers(table, "a", file="f", name="t")
    with pytest.raises(InputError, match="f: table t: there is no column c"):
        numbers(table, "c", file="f", name="t")


def test_one_long_value_does_not_widen_its_column(tmp_path):
    path = tmp_path / "a.star"
    rows = "\n".join(["x"] * 5000 + ["y" * 100_000])
    path.write_text(f"data_\nloop_\n_rlnA\n{rows}\n")
    values = read_star(path)[""].columns["rlnA"]
    assert values.nbytes < 1e6
    assert len(values[-1]) == 100_000
