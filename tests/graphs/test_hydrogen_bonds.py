import numpy as np
import pytest

from cryojax_graph.graphs.hydrogen_bonds import baker_hubbard_bonds, kabsch_sander_bonds


def one_bond(distance: float, angle_degrees: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Residue 3 donates to residue 0: H…O distance in Å, N-H…O angle; nothing else is near."""
    nitrogen, hydrogen, oxygen = (np.full((4, 3), np.nan) for _ in range(3))
    nitrogen[3], hydrogen[3] = [0, 0, 0], [1, 0, 0]
    bend = np.radians(180 - angle_degrees)
    oxygen[0] = hydrogen[3] + distance * np.array([np.cos(bend), np.sin(bend), 0])
    return nitrogen, hydrogen, oxygen


@pytest.mark.parametrize(
    ("distance", "angle", "bonded"),
    [(1.9, 180, True), (2.49, 180, True), (2.51, 180, False), (2.0, 121, True), (2.0, 119, False)],
)
def test_baker_hubbard_limits(distance, angle, bonded):
    pairs = baker_hubbard_bonds(*one_bond(distance, angle))
    assert pairs.tolist() == ([[3, 0]] if bonded else [])


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_absent_atoms_make_no_bond(missing):
    atoms = one_bond(1.9, 180)
    atoms[missing][:] = np.nan
    assert len(baker_hubbard_bonds(*atoms)) == 0


def test_neighbouring_residues_make_no_bond():
    nitrogen, hydrogen, oxygen = one_bond(1.9, 180)
    for acceptor in (2, 3):
        shifted = np.full((4, 3), np.nan)
        shifted[acceptor] = oxygen[0]
        assert len(baker_hubbard_bonds(nitrogen, hydrogen, shifted)) == 0


def linear_bond(distance: float) -> dict[str, np.ndarray]:
    """Residue 3 with its hydrogen on the x axis, C=O of residue 0 in line at N…O = ``distance``."""
    nitrogen, carbon, oxygen = (np.full((4, 3), np.nan) for _ in range(3))
    nitrogen[3], carbon[2], oxygen[2] = [0, 0, 0], [-1.33, 0, 0], [-2.56, 0, 0]
    oxygen[0], carbon[0] = [distance, 0, 0], [distance + 1.23, 0, 0]
    return {"nitrogen": nitrogen, "carbon": carbon, "oxygen": oxygen}


def energy_of_linear_bond(distance: float) -> float:
    r_on, r_cn = distance, distance + 1.23
    r_oh, r_ch = r_on - 1, r_cn - 1
    return 27.888 * (1 / r_on + 1 / r_ch - 1 / r_oh - 1 / r_cn)


@pytest.mark.parametrize("distance", [2.8, 3.5, 4.5, 5.0, 5.15, 5.25])
def test_kabsch_sander_energy_decides(distance):
    follows = np.array([False, False, False, True])
    pairs = kabsch_sander_bonds(**linear_bond(distance), follows=follows)
    assert pairs.tolist() == ([[3, 0]] if energy_of_linear_bond(distance) < -0.5 else [])


def test_energy_limit_lies_within_the_tried_distances():
    assert energy_of_linear_bond(5.0) < -0.5 < energy_of_linear_bond(5.25)


def test_proline_and_residues_after_a_gap_do_not_donate():
    atoms, follows = linear_bond(2.9), np.array([False, False, False, True])
    assert len(kabsch_sander_bonds(**atoms, follows=np.zeros(4, bool))) == 0
    assert len(kabsch_sander_bonds(**atoms, follows=follows, donates=np.arange(4) < 3)) == 0


def ideal_helix(residues: int) -> dict[str, np.ndarray]:
    """Backbone of an alpha helix from its cylinder coordinates (Parsons & Martin 2005, typical)."""
    turn, rise = np.radians(100), 1.5
    cylinders = {
        "nitrogen": (1.55, -27.5, -0.9),
        "carbon": (1.67, 26.3, 1.1),
        "oxygen": (2.0, 24.0, 2.3),
    }
    index = np.arange(residues)
    atoms = {}
    for name, (radius, degrees, height) in cylinders.items():
        angle = turn * index + np.radians(degrees)
        atoms[name] = np.stack(
            [radius * np.cos(angle), radius * np.sin(angle), rise * index + height], axis=1
        )
    return atoms


def test_an_alpha_helix_bonds_every_residue_to_the_fourth_before():
    follows = np.arange(12) > 0
    pairs = kabsch_sander_bonds(**ideal_helix(12), follows=follows)
    expected = [[i, i - 4] for i in range(4, 12)]
    assert [pair for pair in sorted(pairs.tolist()) if pair[0] - pair[1] == 4] == expected


def test_clashing_atoms_have_a_finite_energy():
    atoms = linear_bond(2.9)
    atoms["oxygen"][0] = atoms["nitrogen"][3]
    follows = np.array([False, False, False, True])
    assert kabsch_sander_bonds(**atoms, follows=follows).shape[1] == 2
