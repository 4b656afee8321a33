"""The tables hold together: planes, rings, arms of angles, and a real structure."""

import numpy as np
import pytest

from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.protein.ideal_geometry import (
    chiral_centres,
    ideal_angles,
    ideal_bonds,
    planar_atoms,
    standard_name,
)

NAMES = [
    "ALA",
    "ARG",
    "ASN",
    "ASP",
    "CYS",
    "GLN",
    "GLU",
    "GLY",
    "HIS",
    "ILE",
    "LEU",
    "LYS",
    "MET",
    "PHE",
    "PRO",
    "SER",
    "THR",
    "TRP",
    "TYR",
    "VAL",
]
RINGS = {
    "HIS": ["CG ND1 CE1 NE2 CD2"],
    "PHE": ["CG CD1 CE1 CZ CE2 CD2"],
    "TRP": ["CG CD1 NE1 CE2 CD2", "CD2 CE2 CZ2 CH2 CZ3 CE3"],
    "TYR": ["CG CD1 CE1 CZ CE2 CD2"],
}


@pytest.mark.parametrize("name", NAMES)
def test_arms_of_angles_are_bonds_and_all_neighbours_have_angles(name):
    bonds, angles = ideal_bonds(name), ideal_angles(name)
    own = {key: v for key, v in angles.items() if not any(a[0] in "<>*" for a in key)}
    for a, vertex, b in own:
        assert (a, vertex) in bonds, (a, vertex, b)
        assert (vertex, b) in bonds, (a, vertex, b)
    pairs = {(a, v, b) for (a, v) in bonds for (b, w) in bonds if v == w and a != b}
    assert pairs == own.keys()


@pytest.mark.parametrize("name", NAMES)
def test_angles_in_a_plane_make_a_whole_turn(name):
    angles, flat = ideal_angles(name), set(planar_atoms(name))
    for vertex in flat | {"C"}:
        near = sorted({a for a, v, _ in angles if v == vertex} - {">P"})
        if len(near) == 3 and (vertex == "C" or flat.issuperset(near)):
            total = sum(
                angles[a, vertex, b] for a, b in zip(near, near[1:] + near[:1], strict=True)
            )
            assert abs(total - 360) < 1.5


@pytest.mark.parametrize("name", list(RINGS))
def test_flat_rings_close(name):
    bonds, angles = ideal_bonds(name), ideal_angles(name)
    for ring in RINGS[name]:
        atoms = ring.split()
        n = len(atoms)
        inner = [angles[atoms[k - 1], atoms[k], atoms[(k + 1) % n]] for k in range(n)]
        assert abs(sum(inner) - 180 * (n - 2)) < 0.3
        heading, place = 0.0, np.zeros(2)
        for k in range(n):
            heading += np.deg2rad(180 - inner[k])
            step = bonds[atoms[k], atoms[(k + 1) % n]]
            place += step * np.array([np.cos(heading), np.sin(heading)])
        assert np.linalg.norm(place) < 0.03


def test_a_real_structure_has_these_bonds_and_hands():
    """Adenylate kinase: simulated, so that lengths scatter, but about the same means."""
    atoms = read_demo_molecule()[0]
    residues: dict[int, dict[str, np.ndarray]] = {}
    names = {}
    for k in range(len(atoms)):
        number = int(atoms.residue_number[k])
        residues.setdefault(number, {})[str(atoms.name[k])] = atoms.positions[k].astype(float)
        names[number] = standard_name(str(atoms.residue_name[k]))
    seen, deviations = set(), []
    for number, at in residues.items():
        name = names[number]
        assert name is not None
        for (a, b), length in ideal_bonds(name).items():
            if a in at and b in at:
                deviations.append(np.linalg.norm(at[a] - at[b]) - length)
        for four in chiral_centres(name):
            a, b, c, d = (at[k] for k in four)
            assert (b - a) @ np.cross(c - a, d - a) > 1.0, (name, four)
            seen.add((name, four[0]))
    assert {("ILE", "CB"), ("LEU", "CG"), ("THR", "CB"), ("VAL", "CB")} <= seen
    assert abs(np.median(deviations)) < 0.02
    assert np.sqrt(np.mean(np.square(deviations))) < 0.06


def test_names_of_protonation_states():
    assert standard_name("HIE") == "HIS"
    assert standard_name("CYX") == "CYS"
    assert standard_name("MSE") is None
