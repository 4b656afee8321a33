"""Restraints of all atoms: what is held, the energy by the book, and what must not change it."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from scipy.spatial.transform import Rotation

from cryojax_graph.io.atom_table import AtomRecords, AtomTable, select_atoms
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.fit.molecule import labels_of
from cryojax_graph.protein import (
    Contacts,
    count_clashes,
    find_bonds,
    find_contacts,
    geometry_restraints,
    neighbours_of,
    pairs_within_bonds,
    repulsion_energy,
    restraint_energy,
    score_geometry,
)

# Compiled as one: operation by operation takes longer than all tests together.
restrained = jax.jit(restraint_energy)
repelled = jax.jit(repulsion_energy)


def described(atoms: AtomTable, altloc=None):
    empty = np.full(len(atoms), "", "U1")
    altloc = empty if altloc is None else np.array(altloc)
    records = AtomRecords(atoms, altloc, np.zeros(len(atoms), np.int32))
    return atoms.positions.astype(float), labels_of(records)


def stretch(first: int, last: int):
    """Residues of adenylate kinase, by number."""
    atoms = read_demo_molecule()[0]
    number = atoms.residue_number
    # The program that simulated them has a name of its own for one atom.
    renamed = np.where((atoms.residue_name == "ILE") & (atoms.name == "CD"), "CD1", atoms.name)
    atoms = replace(atoms, name=renamed)
    return described(select_atoms(atoms, (number >= first) & (number <= last)))


def made_of(*rows) -> AtomTable:
    """Atoms of (element, name, residue name, residue number, position) in one chain."""
    n = len(rows)
    return AtomTable(
        positions=np.array([row[4] for row in rows], np.float32),
        element=np.array([row[0] for row in rows]),
        name=np.array([row[1] for row in rows]),
        residue_name=np.array([row[2] for row in rows]),
        residue_number=np.array([row[3] for row in rows], np.int32),
        insertion_code=np.full(n, ""),
        chain=np.full(n, "A"),
        b_factor=np.full(n, 20.0, np.float32),
        occupancy=np.ones(n, np.float32),
        hetero=np.zeros(n, bool),
    )


def named(labels, pairs) -> set:
    keys = [f"{n}{r}" for n, r in zip(labels.name, labels.residue_number, strict=True)]
    return {tuple(sorted(keys[k] for k in row)) for row in pairs.tolist()}


def oracle(held, at) -> float:
    """The definition, one restraint at a time, in float64."""
    total = 0.0
    for (a, b), length in zip(held.bonds, held.bond_length, strict=True):
        total += 0.5 * ((np.linalg.norm(at[a] - at[b]) - length) / 0.02) ** 2
    for (a, b), length in zip(held.spans, held.span_length, strict=True):
        total += 0.5 * ((np.linalg.norm(at[a] - at[b]) - length) / 0.025) ** 2
    for (a, b, c, d), flatness in zip(held.planes, held.plane_deviation, strict=True):
        volume = np.linalg.det(np.stack([at[b] - at[a], at[c] - at[a], at[d] - at[a]]))
        total += 0.5 * (volume / 1.7 / flatness) ** 2
    for (a, b, c, d), known in zip(held.chiral, held.volume, strict=True):
        volume = np.linalg.det(np.stack([at[b] - at[a], at[c] - at[a], at[d] - at[a]]))
        total += 0.5 * ((volume - known) / 0.2) ** 2
    return total


def test_energy_is_the_sum_over_restraints():
    positions, labels = stretch(1, 12)
    held = geometry_restraints(positions, labels)
    moved = positions + 0.2 * np.random.default_rng(0).normal(size=positions.shape)
    energy = restrained(held, jnp.asarray(moved, jnp.float32))
    np.testing.assert_allclose(energy, oracle(held, moved), rtol=1e-3)


def test_gradients_by_central_differences():
    positions, labels = stretch(1, 4)
    held = geometry_restraints(positions, labels)
    moved = positions + 0.3 * np.random.default_rng(0).normal(size=positions.shape)
    moved[20] = moved[3] + 1.0
    contacts = find_contacts(moved, labels, pairs_within_bonds(held.bonds, len(positions)))
    assert (contacts.least > 0).any()
    with jax.enable_x64(True):
        at = jnp.asarray(moved, jnp.float64)

        def energy(at):
            return restraint_energy(held, at) + repulsion_energy(contacts, at)

        check_grads(jax.jit(energy), (at,), 1, ("rev",), eps=1e-6, rtol=1e-4)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_rotation_and_shift_change_nothing_a_mirror_does(seed):
    positions, labels = stretch(20, 26)
    held = geometry_restraints(positions, labels)
    turn = Rotation.random(rng=np.random.default_rng(seed))
    at = (positions - positions.mean(0)).astype(np.float32)
    elsewhere, mirrored = (turn.apply(at) + 7.0).astype(np.float32), at * np.float32([1, 1, -1])
    at, elsewhere = jnp.asarray(at), jnp.asarray(elsewhere)
    energy = restrained(held, at)
    np.testing.assert_allclose(restrained(held, elsewhere), energy, rtol=2e-3)
    assert restrained(held, jnp.asarray(mirrored)) > energy + 1000
    assert score_geometry(held, mirrored).hands == len(held.chiral)


def test_atoms_in_one_place_have_finite_gradients():
    positions, labels = stretch(1, 3)
    held = geometry_restraints(positions, labels)
    zero = jnp.zeros(positions.shape)
    contacts = Contacts(np.zeros((4, 2), np.int32), np.array([0, 0, 3, 3], np.float32))

    def energy(at):
        return restraint_energy(held, at) + repulsion_energy(contacts, at)

    assert jnp.isfinite(jax.jit(jax.grad(energy))(zero)).all()


def test_a_perfect_model_is_at_rest_and_a_model_relaxes_to_one():
    """Values taken from different tables agree: bonds, angles, planes and hands at once."""
    positions, labels = stretch(1, 30)
    held = geometry_restraints(positions, labels)
    down = jax.grad(restraint_energy, argnums=1)

    def step(_, state):
        at, speed = state
        speed = 0.95 * speed - 1e-5 * down(held, at)
        return at + speed, speed

    start = jnp.asarray(positions, jnp.float32)
    at, _ = jax.jit(lambda x: jax.lax.fori_loop(0, 2000, step, (x, 0 * x)))(start)
    end = score_geometry(held, np.asarray(at))
    assert end.bonds < 0.004
    assert end.angles < 0.7
    assert end.planes < 0.03
    assert end.hands == 0


def test_bonds_of_a_stretch_of_chain():
    positions, labels = stretch(1, 2)
    atoms = len(positions)
    bonds = find_bonds(positions, labels)
    # Met 8 atoms, Arg 11: two trees joined by one peptide bond.
    assert (atoms, len(bonds)) == (19, 18)
    assert ("C1", "N2") in named(labels, bonds)
    held = geometry_restraints(positions, labels)
    across = named(labels, held.spans[len(held.angles) :])
    assert across == {("CA1", "CA2")}
    assert held.span_length[-1] == pytest.approx(3.80, abs=0.02)


def test_a_gap_in_the_chain_has_no_bond():
    atoms = read_demo_molecule()[0]
    kept = np.isin(atoms.residue_number, (5, 6, 9, 10))
    positions, labels = described(select_atoms(atoms, kept))
    pairs = named(labels, find_bonds(positions, labels))
    assert ("C5", "N6") in pairs
    assert not any(a[-1] != b[-1] for a, b in pairs if {a[-1], b[-1]} == {"6", "9"})


def test_bonds_by_name_survive_a_bad_model():
    positions, labels = stretch(1, 30)
    shaken = positions + 0.4 * np.random.default_rng(3).normal(size=positions.shape)
    inside, shaken_bonds = find_bonds(positions, labels), find_bonds(shaken, labels)
    missing = {tuple(b) for b in inside.tolist()} ^ {tuple(b) for b in shaken_bonds.tolist()}
    assert all(labels.residue[a] != labels.residue[b] for a, b in missing)
    assert len(missing) <= 3


def test_disulfides_ligands_and_hydrogens():
    atoms = made_of(
        ("S", "SG", "CYS", 1, (0, 0, 0)),
        ("C", "CB", "CYS", 1, (0, 1.8, 0)),
        ("S", "SG", "CYS", 9, (2.1, 0, 0)),
        ("C", "CB", "CYS", 9, (2.1, -1.8, 0)),
        ("H", "HB2", "CYS", 9, (2.1, -2.5, 0.8)),
        ("C", "C1", "LIG", 20, (9, 0, 0)),
        ("C", "C2", "LIG", 20, (10.37, 0, 0)),
        ("Zn", "ZN", "ZN", 21, (0, -2.2, 0)),
    )
    positions, labels = described(atoms)
    held = geometry_restraints(positions, labels)
    lengths = dict(zip(map(tuple, held.bonds.tolist()), held.bond_length.tolist(), strict=True))
    expected = {(0, 1): 1.808, (0, 2): 2.03, (2, 3): 1.808, (3, 4): 1.063, (5, 6): 1.37}
    assert lengths.keys() == expected.keys()
    for pair, length in expected.items():
        assert lengths[pair] == pytest.approx(length, abs=1e-3)


def test_alternate_locations_do_not_see_each_other():
    positions, labels = stretch(1, 3)
    side = np.flatnonzero(
        (labels.residue_number == 2) & ~np.isin(labels.name, [*list("NCO"), "CA"])
    )
    atoms = select_atoms(read_demo_molecule()[0], np.arange(len(positions)))
    order = np.concatenate([np.arange(side[-1] + 1), side, np.arange(side[-1] + 1, len(positions))])
    twice = select_atoms(atoms, order)
    altloc = np.full(len(order), "", "U1")
    first = np.isin(np.arange(len(order)), side)
    copies = np.arange(side[-1] + 1, side[-1] + 1 + len(side))
    altloc[first], altloc[copies] = "A", "B"
    shifted = twice.positions.copy()
    shifted[copies] += np.float32(0.3)
    twice = replace(twice, positions=shifted)
    at, both = described(twice, altloc)
    held = geometry_restraints(at, both)
    rows = [*held.bonds, *held.angles, *held.spans, *held.planes, *held.chiral]
    assert all(len(set(altloc[row]) - {""}) < 2 for row in rows)
    # Of each location as many restraints as of the only one.
    single = geometry_restraints(positions, labels)
    for kind in ("bonds", "angles", "planes", "chiral"):
        twofold = [row for row in getattr(single, kind).tolist() if set(row) & set(side.tolist())]
        assert len(getattr(held, kind)) == len(getattr(single, kind)) + len(twofold), kind
    contacts = find_contacts(at, both, pairs_within_bonds(held.bonds, len(at)))
    assert all(len(set(altloc[row]) - {""}) < 2 for row in contacts.pairs)


def test_a_flat_ligand_stays_flat_and_a_hand_is_kept():
    ring = np.arange(6) * np.pi / 3
    flat = [
        ("C", f"C{k}", "BNZ", 1, (1.39 * np.cos(a), 1.39 * np.sin(a), 0))
        for k, a in enumerate(ring)
    ]
    hand = [
        ("C", "CX", "LIG", 2, (10, 0, 0)),
        ("C", "CA", "LIG", 2, (11.4, 0, -0.5)),
        ("N", "NB", "LIG", 2, (9.3, 1.2, -0.5)),
        ("O", "OC", "LIG", 2, (9.3, -1.2, -0.5)),
    ]
    positions, labels = described(made_of(*flat, *hand))
    held = geometry_restraints(positions, labels)
    assert (len(held.bonds), len(held.planes), len(held.chiral)) == (9, 6, 1)
    assert restrained(held, jnp.asarray(positions, jnp.float32)) < 1e-3
    mirrored = positions * np.array([1, 1, -1])
    assert score_geometry(held, mirrored).hands == 1


def test_contacts_are_those_that_a_look_at_every_pair_finds():
    rng = np.random.default_rng(5)
    positions, labels = stretch(1, 40)
    positions = positions + 0.5 * rng.normal(size=positions.shape)
    bonds = find_bonds(positions, labels)
    n = len(positions)
    near = neighbours_of(bonds, n)
    radius = {"C": 1.7, "N": 1.55, "O": 1.52, "S": 1.8}
    expected, clashes, energy = set(), 0, 0.0
    for a in range(n):
        within = {a} | set(near[a])
        for _ in range(2):
            within |= {c for b in within for c in near[b]}
        for b in range(a + 1, n):
            kinds = str(labels.element[a]), str(labels.element[b])
            least = radius[kinds[0]] + radius[kinds[1]] - 0.5
            if "C" not in kinds:
                least = 2.3
            apart = np.linalg.norm(positions[a] - positions[b])
            if b not in within and apart < least + 1.0:
                expected.add((a, b))
                clashes += apart < least - 0.1
                energy += 0.5 * (max(least - apart, 0) / 0.1) ** 2
    joined = pairs_within_bonds(bonds, n)
    contacts = find_contacts(positions, labels, joined, size=len(expected) + 9)
    assert {tuple(p) for p in contacts.pairs[:-9].tolist()} == expected
    assert not contacts.least[-9:].any()
    assert count_clashes(contacts, positions) == clashes > 0
    got = repelled(contacts, jnp.asarray(positions, jnp.float32))
    np.testing.assert_allclose(got, energy, rtol=1e-3)
