import numpy as np
import pytest

from cryojax_graph.io import AtomTable, chain_sequences, find_residues, select_atoms


def atoms_of(*residues):
    """Atoms from tuples of residue name, number, chain and positions by atom name."""
    rows = [
        (name, residue, number, chain, at)
        for residue, number, chain, positions in residues
        for name, at in positions.items()
    ]
    names, residue_names, numbers, chains, positions = zip(*rows, strict=True)
    count = len(rows)
    return AtomTable(
        positions=np.array(positions, np.float32).reshape(-1, 3),
        element=np.array([name[0] for name in names]),
        name=np.array(names),
        residue_name=np.array(residue_names),
        residue_number=np.array(numbers, np.int32),
        insertion_code=np.full(count, ""),
        chain=np.array(chains),
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )


def backbone(shift):
    """N, CA, C, O of one residue; the C of one lies 1.3 Å before the N of the next at +3.8."""
    return {
        "N": (shift, 0, 0),
        "CA": (shift + 1.4, 0, 0),
        "C": (shift + 2.5, 0, 0),
        "O": (shift + 2.5, 1.2, 0),
    }


def test_backbone_atoms_are_gathered_with_masks():
    atoms = atoms_of(
        ("ALA", 1, "A", {**backbone(0), "CB": (1, 1, 1)}),
        ("GLY", 2, "A", backbone(3.8)),
        ("LYS", 3, "A", {"CB": (8, 1, 1), "CA": (9, 0, 0), "NZ": (9, 9, 9)}),
    )
    residues = find_residues(atoms)
    assert residues.backbone_mask.tolist() == [
        [True, True, True, True, True],
        [True, True, True, True, False],
        [False, True, False, False, True],
    ]
    np.testing.assert_allclose(
        residues.backbone[2], [[0, 0, 0], [9, 0, 0], [0] * 3, [0] * 3, [8, 1, 1]]
    )
    assert residues.first_atom.tolist() == [0, 5, 9]
    assert residues.atom_count.tolist() == [5, 4, 3]


def test_chains_are_joined_by_bonds_and_not_by_numbers():
    atoms = atoms_of(
        ("ALA", 1, "A", backbone(0)),
        ("ALA", 7, "A", backbone(3.8)),
        ("ALA", 8, "A", backbone(30)),
        ("ALA", 9, "B", backbone(33.8)),
        ("ALA", 10, "B", backbone(37.6)),
    )
    residues = find_residues(atoms)
    assert residues.joined_to_next.tolist() == [True, False, False, True, False]
    assert residues.chain_index.tolist() == [0, 0, 0, 1, 1]


def test_a_trace_of_alpha_carbons_is_joined_by_its_steps():
    steps = (0, 3.8, 6.7, 12.0)
    atoms = atoms_of(*[("ALA", i, "A", {"CA": (x, 0, 0)}) for i, x in enumerate(steps)])
    assert find_residues(atoms).joined_to_next.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("name", "kind", "letter"),
    [
        ("ALA", "protein", "A"), ("MSE", "protein", "M"), ("HIE", "protein", "H"),
        ("CYX", "protein", "C"), ("SEP", "protein", "S"), ("UNK", "protein", "X"),
        ("QQQ", "protein", "X"), ("DA", "nucleotide", "A"), ("U", "nucleotide", "U"),
    ],
)  # fmt: skip
def test_kinds_of_residues_with_a_backbone(name, kind, letter):
    residues = find_residues(atoms_of((name, 1, "A", backbone(0))))
    assert (residues.kind[0], residues.letter[0]) == (kind, letter)


@pytest.mark.parametrize(("name", "kind"), [("HOH", "water"), ("ZN", "other"), ("QQQ", "other")])
def test_kinds_of_residues_without_one(name, kind):
    residues = find_residues(atoms_of((name, 1, "A", {"O": (0, 0, 0)})))
    assert residues.kind.tolist() == [kind]


def test_calcium_is_no_alpha_carbon():
    residues = find_residues(atoms_of(("CA", 1, "A", {"CA": (1, 2, 3)})))
    assert not residues.backbone_mask.any()


def test_sequences_hold_polymers_only():
    atoms = atoms_of(
        ("MET", 1, "A", backbone(0)),
        ("HIE", 2, "A", backbone(3.8)),
        ("G", 1, "R", {"P": (0, 0, 0)}),
        ("HOH", 5, "A", {"O": (0, 0, 0)}),
    )
    assert chain_sequences(find_residues(atoms)) == {"A": "MH", "R": "G"}


def test_residues_follow_the_atoms_that_are_selected():
    atoms = atoms_of(("ALA", 1, "A", backbone(0)), ("GLY", 2, "A", backbone(3.8)))
    residues = find_residues(select_atoms(atoms, atoms.name == "CA"))
    assert residues.name.tolist() == ["ALA", "GLY"]
    assert residues.backbone_mask[:, 1].all()
    assert residues.joined_to_next.tolist() == [True, False]
