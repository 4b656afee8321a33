"""PDB, mmCIF and FASTA files with broken numbers, cut lines and other content than expected."""

import gzip

import numpy as np
import pytest

from cryojax_graph.io import Limits, read_atoms, read_sequences, read_trajectory

PDB = """\
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 20.00           N
ATOM      2  CA  ALA A   1      11.639   6.071  -5.147  1.00 20.00           C
ATOM      3  C   ALA A   1      10.600   5.500  -4.200  1.00 20.00           C
TER
END
"""
COLUMNS = (
    "group_PDB id type_symbol label_atom_id label_alt_id label_comp_id label_asym_id "
    "label_entity_id label_seq_id pdbx_PDB_ins_code Cartn_x Cartn_y Cartn_z occupancy "
    "B_iso_or_equiv auth_seq_id auth_asym_id pdbx_PDB_model_num"
)
ROWS = """\
ATOM 1 N N . ALA A 1 1 ? 11.104 6.134 -6.504 1.00 20.00 1 A 1
ATOM 2 C CA . ALA A 1 1 ? 11.639 6.071 -5.147 1.00 20.00 1 A 1
ATOM 3 C C . ALA A 1 1 ? 10.600 5.500 -4.200 1.00 20.00 1 A 1
"""


def cif(rows=ROWS, columns=COLUMNS):
    tags = "".join(f"_atom_site.{name}\n" for name in columns.split())
    return f"data_x\n#\nloop_\n{tags}{rows}#\n"


def cif_without(*names):
    kept = [i for i, name in enumerate(COLUMNS.split()) if name not in names]
    rows = "".join(" ".join(np.array(row.split())[kept]) + "\n" for row in ROWS.strip().split("\n"))
    return cif(rows, " ".join(np.array(COLUMNS.split())[kept]))


def edited(line, start, text):
    """The PDB file with a stretch of one line overwritten, columns from 0."""
    lines = PDB.split("\n")
    lines[line] = lines[line][:start] + text + lines[line][start + len(text) :]
    return "\n".join(lines)


READ = {
    "regular PDB": PDB,
    "Windows line ends": PDB.replace("\n", "\r\n"),
    "short lines": "\n".join(line[:54] for line in PDB.split("\n")),
    "no element": "\n".join(line[:76] for line in PDB.split("\n")),
    "old file with an id in columns 73-80": "\n".join(
        line[:66].ljust(72) + "1ABC 123" if line.startswith("ATOM") else line
        for line in PDB.split("\n")
    ),
    "no TER, no END": PDB.split("TER")[0],
    "other records": "HEADER    X\nREMARK 1 X\nANISOU\n" + PDB + "CONECT    1    2\n",
    "one model": "MODEL        1\n" + PDB.replace("END", "ENDMDL"),
    "regular mmCIF": cif(),
    "no group, alternative, insertion, occupancy": cif_without(
        "group_PDB", "label_alt_id", "pdbx_PDB_ins_code", "occupancy", "pdbx_PDB_model_num"
    ),
    "labels only": cif_without("auth_seq_id", "auth_asym_id"),
    "authors only": cif_without("label_seq_id", "label_asym_id"),
    "no element in mmCIF": cif_without("type_symbol"),
    "author number not stated": cif(ROWS.replace("20.00 1 A", "20.00 . A")),
    "occupancy not stated": cif(ROWS.replace("1.00 20.00", "? 20.00")),
    "a comment first": "# made by hand\n" + cif(),
    "a second block without atoms": cif() + "data_y\n_cell.length_a 1\n",
    "rows over two lines": cif(ROWS.replace(" 11.", "\n11.")),
    "gzip": gzip.compress(PDB.encode()),
}

REFUSED = {
    "empty": ("", "it is empty"),
    "text": ("hello\nworld\n", "it holds no atoms"),
    "no atoms": ("HEADER    X\nEND\n", "it holds no atoms"),
    "binary": (bytes(range(256)) * 4, "zero byte"),
    "x is text": (edited(1, 30, "   abc  "), "line 2", "'abc'"),
    "x is empty": (edited(1, 30, "        "), "line 2", "not a finite number"),
    "x is NaN": (edited(1, 30, "     nan"), "line 2", "'nan'"),
    "x is infinite": (edited(1, 30, "     inf"), "line 2", "'inf'"),
    "x has an underscore": (edited(1, 30, "     1_0"), "line 2", "'1_0'"),
    "x is far away": (edited(1, 30, "    1e30"), "line 2", "0.1 mm"),
    "columns shifted": (edited(1, 29, "11.639   6.071  -5.147"), "line 2"),
    "occupancy is text": (edited(2, 54, "   one"), "line 3", "occupancy 'one'"),
    "B-factor overflows": (edited(2, 60, "******"), "line 3", "B-factor"),
    "residue number is text": (edited(0, 22, "  1x"), "line 1", "residue number"),
    "residue number is empty": (edited(0, 22, "    "), "line 1", "residue number"),
    "residue number of five digits": (edited(0, 22, "12345"), "line 1", "mmCIF"),
    "no atom name": (edited(1, 12, "    "), "line 2", "without a name"),
    "unknown element": (edited(1, 12, " ?1 ALA").replace("           C", "", 1), "line"),
    "cut line": (PDB.split("\n")[0][:50], "line 1", "50 of 54 columns"),
    "not ASCII": (edited(1, 12, " Cα "), "line 2", "not ASCII"),
    "an atom twice": (PDB.split("\n")[0] + "\n" + PDB, "atom N of ALA 1", "occurs twice"),
    "two models": (
        f"MODEL        1\n{PDB}ENDMDL\nMODEL        2\n{PDB}ENDMDL\n", "it holds 2 models"
    ),
    "a model after loose atoms": (PDB + "MODEL        1\n" + PDB, "line 6", "belong to none"),
    "mmCIF without atoms": ("data_x\n_cell.length_a 1\n", "0 of its 1 data blocks hold atoms"),
    "mmCIF with atoms in two blocks": (cif() + cif().replace("data_x", "data_y"), "2 of its 2"),
    "mmCIF cut in a row": (cif()[:-40], "case.pdb"),
    "mmCIF cut in the header": (cif(""), "holds no atoms"),
    "mmCIF x is text": (cif(ROWS.replace("11.639", "abc")), "row 2", "Cartn_x", "'abc'"),
    "mmCIF x is NaN": (cif(ROWS.replace("11.639", "nan")), "row 2", "'nan'"),
    "mmCIF x is not stated": (cif(ROWS.replace("11.639", "?")), "row 2", "'?'"),
    "mmCIF x is far away": (cif(ROWS.replace("11.639", "1e9")), "row 2", "0.1 mm"),
    "mmCIF without z": (cif_without("Cartn_z"), "no column Cartn_z"),
    "mmCIF without names": (cif_without("label_atom_id"), "no column label_atom_id"),
    "mmCIF without residues": (cif_without("label_comp_id"), "auth_comp_id or label_comp_id"),
    "mmCIF number is text": (cif(ROWS.replace("20.00 1 A", "20.00 x A")), "row 1", "whole"),
    "mmCIF number is 1.5": (cif(ROWS.replace("20.00 1 A", "20.00 1.5 A")), "row 1", "whole"),
    "mmCIF number is too large": (cif(ROWS.replace("20.00 1 A", "20.00 3e9 A")), "whole"),
    "mmCIF name is not stated": (cif(ROWS.replace(" CA ", " ? ")), "row 2", "label_atom_id"),
    "mmCIF name is long": (cif(ROWS.replace(" CA ", f" {'C' * 40} ")), "row 2", "too long"),
    "mmCIF unknown element": (cif(ROWS.replace("ATOM 2 C", "ATOM 2 Qq")), "row 2", "'Qq'"),
    "mmCIF models mixed": (
        cif(ROWS.replace("20.00 1 A 1\nATOM 3", "20.00 1 A 2\nATOM 3")), "row 3", "not together"
    ),
    "mmCIF atom twice": (cif(ROWS + ROWS.split("\n")[1] + "\n"), "atom CA", "occurs twice"),
    "mmCIF other tag in the loop": (
        cif().replace("_atom_site.occupancy", "_entity.id"), "_entity.id"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_as_it_is_meant(case, tmp_path):
    path = tmp_path / "case.pdb"
    contents = READ[case]
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    atoms = read_atoms(path)
    assert atoms.name.tolist() == ["N", "CA", "C"]
    assert atoms.element.tolist() == ["N", "C", "C"]
    assert set(atoms.chain.tolist()) == {"A"}
    assert atoms.residue_number.tolist() == [1, 1, 1]
    np.testing.assert_allclose(atoms.positions[1], [11.639, 6.071, -5.147], atol=1e-5)
    np.testing.assert_array_equal(atoms.occupancy, 1.0)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason(case, tmp_path, refuses):
    contents, *words = REFUSED[case]
    path = tmp_path / "case.pdb"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    refuses(read_atoms, path, *words)


def test_caps_on_atoms_and_size(tmp_path, refuses, little_memory):
    path = tmp_path / "case.pdb"
    for contents in (PDB, cif()):
        path.write_text(contents)
        refuses(lambda p: read_atoms(p, limits=Limits(atoms=2)), path, "Limits.atoms")
    path.write_bytes(gzip.compress(PDB.encode() * (2**26 // len(PDB))))
    with little_memory():
        refuses(read_atoms, path, "unpacks to more than 30 times")


def test_a_model_that_is_not_there_is_refused(tmp_path, refuses):
    path = tmp_path / "case.pdb"
    path.write_text(f"MODEL        1\nENDMDL\nMODEL        2\n{PDB}")
    refuses(lambda p: read_atoms(p, model=1), path, "model 1", "holds no atoms")
    refuses(lambda p: read_atoms(p, model=3), path, "choose one of 1 to 2")
    refuses(lambda p: read_atoms(p, model=0), path, "choose one of 1 to 2")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("ATOM      3", "REMARK    3", "2 atoms, the first model has 3"),
        ("  C   ALA", "  O   ALA", "name O where the first model has C"),
        ("CA  ALA", "CA  GLY", "residue name GLY where"),
        ("ALA A", "ALA B", "chain B where"),
    ],
)
def test_models_of_different_atoms_are_no_trajectory(old, new, words, tmp_path, refuses):
    path = tmp_path / "case.pdb"
    second = PDB.replace(old, new)
    path.write_text(f"MODEL        1\n{PDB}ENDMDL\nMODEL        2\n{second}ENDMDL\n")
    refuses(read_trajectory, path, "model 2", words)


FASTA_READ = {
    "regular": (">a first\nMKLV\nAAWF\n>b\nMK\n", ["MKLVAAWF", "MK"]),
    "lower case": (">a\nmklV\n", ["MKLV"]),
    "Windows line ends": (">a\r\nMKLV\r\n", ["MKLV"]),
    "no last line end": (">a\nMKLV", ["MKLV"]),
    "blank lines": ("\n>a\n\nMK\n\nLV\n\n", ["MKLV"]),
    "blanks inside": (">a\nMK LV\n", ["MKLV"]),
    "unknown residues": (">a\nMXKL\n", ["MXKL"]),
    "rare residues": (">a\nMUOK\n", ["MUOK"]),
    "gzip": (gzip.compress(b">a\nMKLV\n"), ["MKLV"]),
}
FASTA_REFUSED = {
    "empty": ("", "it is empty"),
    "no header": ("MKLV\n", "line 1", "before the first header"),
    "header without a name": (">\nMKLV\n", "line 1", "without a name"),
    "empty record": (">a\n>b\nMK\n", "line 1", "'a' is empty"),
    "empty last record": (">a\nMK\n>b\n", "line 3", "'b' is empty"),
    "name twice": (">a\nMK\n>a\nML\n", "line 3", "stands already at line 1"),
    "gap": (">a\nMKL\nM-KL\n", "line 3, column 2", "gap of an alignment"),
    "dot": (">a\nM.KL\n", "gap of an alignment"),
    "stop": (">a\nMKL*\n", "line 2, column 4", "stop codon"),
    "ambiguous": (">a\nMBKL\n", "Asp or Asn", "write X"),
    "digit": (">a\nMK2L\n", "line 2, column 3", "no amino acid"),
    "letter of another script": (">a\nMKλL\n", "line 2, column 3"),
    "letter that grows in upper case": (">a\nMKßL\n", "line 2, column 3"),
    "nucleic acid": (">a\nMK\n>dna\nGATTACA\n", "line 3", "nucleic acid"),
    "RNA in lower case": (">a\ngauuaca\n", "nucleic acid"),
    "UTF-16": (">a\nMKLV\n".encode("utf-16"), "UTF-16"),
    "a STAR file": ("data_\nloop_\n_a\n1\n", "line 1", "before the first header"),
}


@pytest.mark.parametrize("case", FASTA_READ)
def test_sequences_read_as_they_are_meant(case, tmp_path):
    contents, letters = FASTA_READ[case]
    path = tmp_path / "case.fasta"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    assert [record.letters for record in read_sequences(path)] == letters


@pytest.mark.parametrize("case", FASTA_REFUSED)
def test_sequences_refused_with_their_reason(case, tmp_path, refuses):
    contents, *words = FASTA_REFUSED[case]
    path = tmp_path / "case.fasta"
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())
    refuses(read_sequences, path, *words)
