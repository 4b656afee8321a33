import doctest

import gemmi
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward import CTF, gaussian_image, scattering
from cryojax_graph.forward.scattering import _PENG, _RESIDUES, atom_gaussians, residue_gaussians

FORMULAE = {
    "ALA": "C3H5NO", "ARG": "C6H12N4O", "ASN": "C4H6N2O2", "ASP": "C4H5NO3", "CYS": "C3H5NOS",
    "GLN": "C5H8N2O2", "GLU": "C5H7NO3", "GLY": "C2H3NO", "HIS": "C6H7N3O", "ILE": "C6H11NO",
    "LEU": "C6H11NO", "LYS": "C6H12N2O", "MET": "C5H9NOS", "PHE": "C9H9NO", "PRO": "C5H7NO",
    "SER": "C3H5NO2", "THR": "C4H7NO2", "TRP": "C11H10N2O", "TYR": "C9H9NO2", "VAL": "C5H9NO",
}  # fmt: skip


@pytest.mark.parametrize("element", _PENG)
def test_coefficients_are_those_of_the_international_tables(element):
    table = gemmi.Element(element).c4322
    assert table is not None
    np.testing.assert_allclose(_PENG[element], [table.a, table.b])


def test_gaussians_transform_into_the_scattering_factor():
    masses, widths = atom_gaussians(["C", "zn "], np.array([20.0, 0.0]))
    for k in (0.0, 0.1, 0.5, 1.0):
        factor = (masses * np.exp(-2 * np.pi**2 * widths**2 * k**2)).sum(1)
        for value, element, b in zip(factor, ("C", "Zn"), (20.0, 0.0), strict=True):
            expected = gemmi.Element(element).c4322.calculate_sf(k**2 / 4) * np.exp(-b * k**2 / 4)
            assert value == pytest.approx(expected, rel=1e-5)


def test_the_image_of_the_example_is_the_sum_over_its_gaussians():
    (example,) = doctest.DocTestFinder().find(
        atom_gaussians, globs=vars(scattering).copy(), module=scattering
    )
    failed, tried = doctest.DocTestRunner().run(example, clear_globs=False)
    assert tried
    assert not failed
    names = example.globs
    expected = sum(
        gaussian_image(
            names["positions"],
            jnp.asarray(mass),
            jnp.asarray(width),
            jnp.eye(3),
            jnp.zeros(2),
            CTF(10_000.0, 10_000.0),
            box=32,
            pixel_size=1.0,
            integrate=True,
        )
        for mass, width in zip(names["masses"].T, names["widths"].T, strict=True)
    )
    np.testing.assert_allclose(names["image"], expected, atol=1e-5 * float(jnp.abs(expected).max()))


def test_impossible_atoms_are_refused():
    with pytest.raises(ValueError, match="'Xx'"):
        atom_gaussians(["C", "xx"], np.zeros(2))
    for b_factor in (-1.0, np.nan):
        with pytest.raises(ValueError, match="B-factors must be finite"):
            atom_gaussians(["C"], np.array([b_factor]))


def test_no_atoms_give_no_gaussians():
    masses, widths = atom_gaussians([], np.zeros(0))
    assert masses.shape == widths.shape == (0, 5)


def electrons(formula: str) -> int:
    total, symbol, digits = 0, "", ""
    for character in formula + "X":
        if character.isdigit():
            digits += character
            continue
        if symbol:
            total += gemmi.Element(symbol).atomic_number * int(digits or 1)
        symbol, digits = character, ""
    return total


@pytest.mark.parametrize("name", FORMULAE)
def test_residues_have_the_electrons_of_their_formula(name):
    masses, _ = residue_gaussians([name])
    assert masses[0] == electrons(FORMULAE[name])


def test_widths_span_the_range_from_glycine_to_arginine():
    _, widths = residue_gaussians(sorted(_RESIDUES))
    by_name = dict(zip(sorted(_RESIDUES), widths, strict=True))
    assert min(by_name, key=by_name.get) == "GLY"
    assert max(by_name, key=by_name.get) == "ARG"
    np.testing.assert_allclose([by_name["GLY"], by_name["ARG"]], [1.40, 2.09], atol=0.01)


def test_radii_are_those_of_real_residues(shared_data):
    """The table was made from these files; measured again on one of them."""
    model = gemmi.read_structure(str(shared_data / "trajectories/gs_b2ar_template.pdb"))[0]
    squares: dict[str, list[float]] = {}
    for residue in (residue for chain in model for residue in chain):
        atoms = [atom for atom in residue if not atom.is_hydrogen() and atom.name != "OXT"]
        weight = np.array([atom.element.atomic_number for atom in atoms], float)
        position = np.array([atom.pos.tolist() for atom in atoms])
        centre = weight @ position / weight.sum()
        square = weight @ ((position - centre) ** 2).sum(1) / weight.sum()
        squares.setdefault(residue.name, []).append(square)
    assert set(squares) == set(_RESIDUES)
    for name, values in squares.items():
        assert np.sqrt(np.mean(values)) == pytest.approx(_RESIDUES[name][1], rel=0.05), name


def test_other_residues_are_refused():
    with pytest.raises(ValueError, match="'HOH'"):
        residue_gaussians(["ALA", "HOH"])
