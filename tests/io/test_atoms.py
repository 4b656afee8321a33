import dataclasses

import gemmi
import numpy as np
import pytest

from cryojax_graph.io import InputError, read_atoms, select_atoms, write_atoms
from cryojax_graph.io.atom_table import element_from_name
from cryojax_graph.io.atoms import parse_records, write_records
from cryojax_graph.io.pdb import _decode_hybrid36

LINE = (
    "{:<6}{:5d} {:<4}{:1}{:>3}{:>2}{:>4}{:1}   {:8.3f}{:8.3f}{:8.3f}{:6.2f}{:6.2f}          {:>2}"
)


def pdb_line(name=" CA ", alt="", residue="ALA", chain="A", number="1", code="", **more):
    x, y, z = more.get("at", (1.0, 2.0, 3.0))
    record = more.get("record", "ATOM")
    occupancy, element = more.get("occupancy", 1.0), more.get("element", "C")
    return LINE.format(
        record, 1, name, alt, residue, chain, number, code, x, y, z, occupancy, 20.0, element
    )


def read_lines(tmp_path, *lines):
    (tmp_path / "a.pdb").write_text("\n".join([*lines, "END\n"]))
    return read_atoms(tmp_path / "a.pdb")


def full_model(tmp_path):
    """Two protein chains, DNA, an ion, water; insertion code, negative and repeated numbers."""
    lines = []
    for chain, numbers in (("A", ("-1", "5", "5")), ("B", ("1", "2", "3"))):
        codes = ("", "", "B") if chain == "A" else ("",) * 3
        for k, (number, code) in enumerate(zip(numbers, codes, strict=True)):
            residue = ("MET", "GLY", "TRP")[k]
            for j, name in enumerate((" N  ", " CA ", " C  ", " O  ")):
                at = (3.8 * k + j, 5.0 * (chain == "B"), 0.25 * j)
                element = name.strip()[0]
                lines.append(
                    pdb_line(
                        name,
                        "",
                        residue,
                        chain,
                        number,
                        code,
                        at=at,
                        element=element,
                        occupancy=0.5,
                    )
                )
    lines += [
        pdb_line(" P  ", "", "DA", "C", "1", element="P", at=(9, 9, 9)),
        pdb_line(" O5'", "", "DA", "C", "1", element="O", at=(9, 9, 10)),
        pdb_line("ZN  ", "", "ZN", "A", "101", element="ZN", record="HETATM", at=(-9.5, 0, 99)),
        pdb_line(" O  ", "", "HOH", "A", "201", element="O", record="HETATM", at=(-9, 0, -9)),
        pdb_line(" O  ", "", "HOH", "A", "202", element="O", record="HETATM", at=(-9, 0, -7)),
    ]
    return read_lines(tmp_path, *lines)


def check_equal(first, second):
    for field in dataclasses.fields(first):
        values, others = getattr(first, field.name), getattr(second, field.name)
        if values.dtype.kind == "f":
            np.testing.assert_allclose(others, values, atol=1e-3)
        else:
            assert others.tolist() == values.tolist(), field.name


@pytest.mark.parametrize("ending", ["pdb", "cif"])
def test_a_model_survives_a_round_trip_and_gemmi_reads_it(ending, tmp_path):
    atoms = full_model(tmp_path)
    path = tmp_path / f"b.{ending}"
    write_atoms(path, atoms)
    check_equal(atoms, read_atoms(path))
    structure = gemmi.read_structure(str(path))
    sites = [
        (c.name, r.seqid.num, r.seqid.icode.strip(), r.name, a.name, a.element.name, *a.pos)
        for c in structure[0] for r in c for a in r
    ]  # fmt: skip
    ours = [
        (str(c), int(n), str(i), str(r), str(a), str(e), *map(float, p))
        for c, n, i, r, a, e, p in zip(
            atoms.chain, atoms.residue_number, atoms.insertion_code, atoms.residue_name,
            atoms.name, atoms.element, atoms.positions, strict=True,
        )
    ]  # fmt: skip
    for ours_site, site in zip(sorted(ours), sorted(sites), strict=True):
        assert ours_site[:6] == site[:6]
        assert ours_site[6:] == pytest.approx(site[6:], abs=1e-3)


def test_entities_of_an_mmcif_file_are_what_is_in_it(tmp_path):
    write_atoms(tmp_path / "b.cif", full_model(tmp_path))
    structure = gemmi.read_structure(str(tmp_path / "b.cif"))
    polymers = {
        entity.name: (entity.polymer_type, entity.full_sequence)
        for entity in structure.entities
        if entity.entity_type == gemmi.EntityType.Polymer
    }
    assert list(polymers.values()) == [
        (gemmi.PolymerType.PeptideL, ["MET", "GLY", "TRP"]),
        (gemmi.PolymerType.Dna, ["DA"]),
    ]
    kinds = [entity.entity_type for entity in structure.entities]
    assert kinds.count(gemmi.EntityType.NonPolymer) == 1
    assert kinds.count(gemmi.EntityType.Water) == 1
    block = gemmi.cif.read(str(tmp_path / "b.cif")).sole_block()
    assert block.find_value("_software.name") == "cryojax-graph"
    assert list(block.find_values("_entity_poly.pdbx_strand_id")) == ["A,B", "C"]
    assert list(block.find_values("_entity_poly.pdbx_seq_one_letter_code")) == ["MGW", "A"]


def test_two_programs_agree_on_a_pdb_file_written_by_gemmi(tmp_path):
    atoms = full_model(tmp_path)
    structure = gemmi.read_structure(str(tmp_path / "a.pdb"))
    structure.write_pdb(str(tmp_path / "g.pdb"))
    structure.setup_entities()
    structure.make_mmcif_document().write_file(str(tmp_path / "g.cif"))
    # gemmi writes the ligands of a chain right after it.
    together = select_atoms(atoms, np.argsort(atoms.chain, kind="stable"))
    check_equal(together, read_atoms(tmp_path / "g.pdb"))
    check_equal(together, read_atoms(tmp_path / "g.cif"))


def conformers(occupancies, names=("N", "CA"), residues=None):
    lines = [pdb_line(" O  ", "", "GLY", number="1", element="O")]
    for k, (letter, occupancy) in enumerate(occupancies):
        residue = residues[k] if residues else "SER"
        lines += [
            pdb_line(f" {name:<3}", letter, residue, number="2", occupancy=occupancy, at=(k, 0, 0))
            for name in names
        ]
    return lines


@pytest.mark.parametrize(
    ("occupancies", "kept"),
    [
        ([("A", 0.6), ("B", 0.4)], 0),
        ([("A", 0.4), ("B", 0.6)], 1),
        ([("A", 0.5), ("B", 0.5)], 0),
        ([("B", 0.5), ("A", 0.5)], 0),
        ([("A", 0.3), ("B", 0.3), ("C", 0.4)], 2),
    ],
)
def test_the_conformer_of_highest_occupancy_is_kept_then_the_first(occupancies, kept, tmp_path):
    atoms = read_lines(tmp_path, *conformers(occupancies))
    assert atoms.name.tolist() == ["O", "N", "CA"]
    assert atoms.positions[1:, 0].tolist() == [kept, kept]


def test_a_residue_never_mixes_conformers(tmp_path):
    lines = [
        pdb_line(" N  ", "A", occupancy=0.7, at=(0, 0, 0)),
        pdb_line(" CA ", "A", occupancy=0.4, at=(0, 0, 0)),
        pdb_line(" N  ", "B", occupancy=0.3, at=(1, 0, 0)),
        pdb_line(" CA ", "B", occupancy=0.6, at=(1, 0, 0)),
    ]
    assert read_lines(tmp_path, *lines).positions[:, 0].tolist() == [0, 0]


def test_two_residues_in_one_place_become_one(tmp_path):
    atoms = read_lines(tmp_path, *conformers([("A", 0.4), ("B", 0.6)], residues=("SER", "THR")))
    assert atoms.residue_name.tolist() == ["GLY", "THR", "THR"]


def test_insertion_codes_and_water_numbers_keep_residues_apart(tmp_path):
    lines = [
        pdb_line(number="10"),
        pdb_line(number="10", code="A"),
        pdb_line(" O  ", residue="HOH", number="10", record="HETATM", element="O"),
    ]
    atoms = read_lines(tmp_path, *lines)
    assert atoms.insertion_code.tolist() == ["", "A", ""]
    assert atoms.hetero.tolist() == [False, False, True]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("9999", 9999), ("-999", -999), ("0", 0), ("A000", 10000), ("A001", 10001),
        ("ZZZZ", 1223055), ("a000", 1223056), ("zzzz", 2436111),
        ("", None), ("1-2", None), ("--1", None), ("Aa00", None), ("A00", None), ("1.5", None),
    ],
)  # fmt: skip
def test_residue_numbers_beyond_9999_are_hybrid_36(text, number):
    assert _decode_hybrid36(text) == number


@pytest.mark.parametrize(
    ("name", "residue", "element"),
    [
        (" CA ", "ALA", "C"), ("CA  ", "CA", "Ca"), ("CA  ", "ALA", "C"), ("HG11", "VAL", "H"),
        ("1HB ", "ALA", "H"), (" HG ", "SER", "H"), ("HG  ", "HG", "Hg"), ("ZN  ", "ZN", "Zn"),
        ("SE  ", "MSE", "Se"), (" P  ", "DA", "P"), (" O5'", "DA", "O"), ("FE  ", "HEM", "Fe"),
        ("?", "XXX", ""), ("1", "XXX", ""),
    ],
)  # fmt: skip
def test_elements_are_told_from_names(name, residue, element):
    assert element_from_name(name, residue) == element


def test_a_chain_without_a_name_gets_a_free_letter_in_mmcif_only(tmp_path):
    lines = [pdb_line(chain=" "), pdb_line(chain="A", at=(5, 5, 5))]
    atoms = read_lines(tmp_path, *lines)
    assert atoms.chain.tolist() == ["", "A"]
    write_atoms(tmp_path / "b.pdb", atoms)
    assert read_atoms(tmp_path / "b.pdb").chain.tolist() == ["", "A"]
    write_atoms(tmp_path / "b.cif", atoms)
    assert read_atoms(tmp_path / "b.cif").chain.tolist() == ["B", "A"]


def test_chains_of_two_letters(tmp_path):
    atoms = read_lines(tmp_path, pdb_line(chain="Ab"))
    assert atoms.chain.tolist() == ["Ab"]
    with pytest.raises(InputError, match=r"long chain does not fit.*mmCIF"):
        write_atoms(tmp_path / "b.pdb", atoms)


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("positions", np.full((1, 3), 1e4, np.float32), "a coordinate"),
        ("residue_number", np.array([10_000], np.int32), "residue number"),
        ("b_factor", np.array([1000.0], np.float32), "B-factor"),
        ("name", np.array(["C12345"]), "long name"),
        ("residue_name", np.array(["ABCDE"]), "long residue name"),
    ],
)
def test_what_does_not_fit_into_pdb_columns_is_refused_and_written_as_mmcif(
    field, value, words, tmp_path
):
    atoms = dataclasses.replace(read_lines(tmp_path, pdb_line()), **{field: value})
    with pytest.raises(InputError, match=words):
        write_atoms(tmp_path / "b.pdb", atoms)
    assert not (tmp_path / "b.pdb").exists()
    write_atoms(tmp_path / "b.cif", atoms)
    check_equal(atoms, read_atoms(tmp_path / "b.cif"))


def test_too_many_atoms_for_pdb_are_refused(tmp_path):
    atoms = select_atoms(read_lines(tmp_path, pdb_line()), np.zeros(100_000, np.int64))
    with pytest.raises(InputError, match="more than 99,999 atoms"):
        write_atoms(tmp_path / "b.pdb", atoms)


def test_nothing_wrong_is_written(tmp_path):
    atoms = read_lines(tmp_path, pdb_line())
    broken = dataclasses.replace(atoms, positions=np.full((1, 3), np.nan, np.float32))
    with pytest.raises(InputError, match="3 coordinates are NaN"):
        write_atoms(tmp_path / "b.cif", broken)
    with pytest.raises(InputError, match="no atoms to write"):
        write_atoms(tmp_path / "b.cif", select_atoms(atoms, np.zeros(1, bool)))
    with pytest.raises(InputError, match="names no format"):
        write_atoms(tmp_path / "b.xyz", atoms)


def test_alternate_locations_are_written_and_come_back(tmp_path):
    lines = [pdb_line(alt="A"), pdb_line(alt="B", at=(5, 5, 5)), pdb_line(name=" CB ")]
    (tmp_path / "a.pdb").write_text("\n".join([*lines, "END", ""]))
    records = parse_records(tmp_path / "a.pdb")
    write_records(tmp_path / "b.cif", records)
    back = parse_records(tmp_path / "b.cif")
    assert back.altloc.tolist() == ["A", "B", ""]
    check_equal(records.atoms, back.atoms)
    sites = gemmi.read_structure(str(tmp_path / "b.cif"))[0].all()
    assert [site.atom.altloc for site in sites] == ["A", "B", "\0"]
    broken = dataclasses.replace(records.atoms, positions=records.atoms.positions * np.nan)
    with pytest.raises(InputError, match="are NaN"):
        write_records(tmp_path / "c.cif", dataclasses.replace(records, atoms=broken))
