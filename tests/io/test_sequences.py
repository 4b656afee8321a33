import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError, read_sequences


def test_records_keep_names_descriptions_kinds_and_case(tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(">sp|P1 a protein  x\nMKlv\nWW\n>rna\nGAUUACAN\n")
    protein, rna = read_sequences(path, kind="any")
    assert (protein.name, protein.description) == ("sp|P1", "a protein  x")
    assert (protein.letters, protein.kind, protein.lower_case) == ("MKLVWW", "protein", True)
    assert (rna.letters, rna.kind, rna.lower_case) == ("GAUUACAN", "nucleotide", False)
    with pytest.raises(InputError, match="'rna' is a nucleic acid"):
        read_sequences(path)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    letters=st.lists(st.text("ACDEFGHIKLMNPQRSTVWY", min_size=1), min_size=1, max_size=5),
    width=st.integers(1, 80),
)
def test_any_sequences_come_back_whatever_the_line_width(letters, width, tmp_path):
    path = tmp_path / "a.fasta"
    path.write_text(
        "".join(
            f">s{i}\n" + "\n".join(text[k : k + width] for k in range(0, len(text), width)) + "\n"
            for i, text in enumerate(letters)
        )
    )
    records = read_sequences(path, kind="any")
    assert [record.letters for record in records] == letters
    assert [record.name for record in records] == [f"s{i}" for i in range(len(letters))]
