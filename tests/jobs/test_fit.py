"""``fit`` on a map of a real structure whose atoms were shaken."""

import json
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.fields import query
from cryojax_graph.forward.density import density_of_atoms
from cryojax_graph.io import Map, read_map, write_map
from cryojax_graph.io.atom_table import AtomRecords, AtomTable, select_atoms
from cryojax_graph.io.atoms import parse_records, read_atoms, write_atoms, write_records
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.fit import FitConfig, fit, plan_fit
from cryojax_graph.jobs.fit import scores as scores_module
from cryojax_graph.jobs.fit.molecule import read_molecule
from cryojax_graph.jobs.fit.scores import scores_of
from cryojax_graph.jobs.fit.search import Fitted, fit_model, level_of
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.stored_field import field_of
from cryojax_graph.metrics import atom_density, masked_correlation

BOX, VOXEL = 48, 0.7
# The tip of a long side chain.
TWICE = 18
OPTIONS = ["--field", "spline", "--resolution", "2", "--steps", "300"]


def rms(a, b) -> float:
    return float(np.sqrt(np.mean(np.sum((a - b) ** 2, axis=1))))


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Path:
    """Eighteen residues in a map at about 2 Å with noise, not at the origin, and shaken ones.

    One atom of the shaken model has two locations.
    """
    folder = tmp_path_factory.mktemp("fit")
    atoms = read_demo_molecule()[0]
    atoms = select_atoms(atoms, atoms.residue_number <= atoms.residue_number[0] + 17)
    atoms = replace(atoms, b_factor=np.full(len(atoms), 33.25, np.float32))
    names, kind = np.unique(atoms.element, return_inverse=True)
    electrons = {"C": 6.0, "N": 7.0, "O": 8.0, "S": 16.0}
    centre = np.rint(atoms.positions.mean(0))
    values = density_of_atoms(
        jnp.asarray(atoms.positions - centre, jnp.float32),
        jnp.asarray(kind.reshape(-1)),
        jnp.array([[electrons[e]] for e in names.tolist()]),
        jnp.full((len(names), 1), 0.5),
        box=BOX,
        voxel_size=VOXEL,
    )
    rng = np.random.default_rng(0)
    values = np.asarray(values) + 0.05 * rng.normal(size=values.shape)
    origin = centre - BOX // 2 * VOXEL
    write_map(
        folder / "map.mrc", Map(values.astype(np.float32), np.full(3, VOXEL), origin.astype(float))
    )
    twice = np.sort(np.append(np.arange(len(atoms)), TWICE))
    write_records(folder / "true.cif", located(select_atoms(atoms, twice)))
    shaken = atoms.positions + 0.3 / np.sqrt(3) * rng.normal(size=atoms.positions.shape)
    atoms = replace(atoms, positions=shaken.astype(np.float32))
    write_records(folder / "shaken.cif", located(select_atoms(atoms, twice)))
    return folder


def located(atoms: AtomTable) -> AtomRecords:
    altloc = np.full(len(atoms), "", "U1")
    altloc[TWICE], altloc[TWICE + 1] = "A", "B"
    occupancy = np.where(altloc == "", 1.0, 0.5).astype(np.float32)
    atoms = replace(atoms, occupancy=occupancy)
    return AtomRecords(atoms, altloc, np.zeros(len(atoms), np.int32))


def read(path: Path) -> AtomTable:
    return parse_records(path).atoms


@pytest.fixture(scope="module")
def done(case, tmp_path_factory) -> Path:
    job = tmp_path_factory.mktemp("job") / "job"
    arguments = ["fit", str(case / "shaken.cif"), "--map", str(case / "map.mrc"), *OPTIONS]
    assert main([*arguments, "-o", str(job)]) == 0
    return job


def test_shaken_atoms_go_back(done, case):
    true, given = read(case / "true.cif"), read(case / "shaken.cif")
    fitted, metrics = read(done / "model.cif"), json.loads((done / "metrics.json").read_text())
    assert rms(given.positions, true.positions) > 0.27
    assert rms(fitted.positions, true.positions) < 0.15
    assert metrics["shift_angstrom"] == pytest.approx(
        rms(fitted.positions, given.positions), rel=0.01
    )
    assert metrics["density_at_atoms_after"] > metrics["density_at_atoms_before"] + 0.5
    assert metrics["correlation_after"] > metrics["correlation_before"] + 0.02
    assert metrics["bond_deviation_before_angstrom"] > 0.1
    assert metrics["bond_deviation_after_angstrom"] < 0.025
    assert metrics["angle_deviation_after_degrees"] < 3.0
    assert metrics["plane_deviation_after_angstrom"] < 0.03
    assert metrics["chirality_errors_after"] == 0
    assert metrics["clashes_after"] == 0
    assert metrics["units"]["weight"]


def test_only_coordinates_change(done, case):
    given, fitted = (parse_records(p) for p in (case / "shaken.cif", done / "model.cif"))
    assert fitted.altloc.tolist() == given.altloc.tolist()
    assert set(fitted.altloc) == {"", "A", "B"}
    for name in vars(given.atoms):
        if name != "positions":
            np.testing.assert_array_equal(getattr(given.atoms, name), getattr(fitted.atoms, name))


def test_the_log_tells_of_progress_and_geometry(done):
    log = (done / "run.log").read_text()
    assert "fitting: 300/300" in log
    last = next(line for line in log.splitlines() if "density at atoms" in line)
    for what in ("bonds", "angles", "peptide planes", "pairs too close", "correlation"):
        assert what in last
    assert "became worse" not in log


def test_a_good_model_stays_good_in_a_map_of_low_resolution(case):
    molecule = read_molecule(str(case / "true.cif"))
    voxel, shape = np.full(3, 1.3), (40, 40, 40)
    origin = molecule.positions.mean(0) - 26.0
    values = atom_density(
        shape, voxel, origin, molecule.positions, molecule.masses, width=0.225 * 3.8
    )
    noise = 0.1 * values.std() * np.random.default_rng(0).normal(size=shape)
    density = Map((values + noise).astype(np.float32), voxel, origin)
    config = FitConfig("", "", field="spline", steps=300)
    fitted = fit_model(density, level_of(density), molecule, config)
    scores = scores_of(density, molecule, fitted, 3.8)
    first, second = scores.geometry
    assert second.angles < first.angles + 0.3
    assert second.peptides < first.peptides + 0.03
    assert scores.clashes[1] <= scores.clashes[0] + 1
    assert scores.shift < 0.4
    moves = np.linalg.norm(fitted.positions - molecule.positions, axis=1)
    assert scores.largest_shift == pytest.approx(moves.max())
    chain = np.isin(molecule.labels.name, ("N", "CA", "C", "O"))
    assert scores.backbone_shift == pytest.approx(rms(moves[chain, None], 0), rel=0.02)
    # The model given was the right one: what is gained pays for no move.
    assert scores._replace(backbone_shift=0.1).pays
    assert not scores._replace(backbone_shift=0.4).pays
    assert scores._replace(backbone_shift=0.4, correlation=(0.7, 0.8)).pays


@pytest.mark.parametrize(("resolution", "coarse"), [(4.0, False), (10.0, True)])
def test_a_map_coarser_than_all_widths_is_warned_of(case, tmp_path, resolution, coarse):
    molecule = read_molecule(str(case / "true.cif"))
    voxel, shape = np.full(3, resolution / 3), (24, 24, 24)
    origin = molecule.positions.mean(0) - 12 * voxel
    width = 0.225 * resolution
    values = atom_density(shape, voxel, origin, molecule.positions, molecule.masses, width=width)
    write_map(tmp_path / "map.mrc", Map(values.astype(np.float32), voxel, origin))
    config = FitConfig(
        str(case / "true.cif"), str(tmp_path / "map.mrc"), field="spline", steps=2, weight=1.0
    )
    job = fit(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("as coarse or coarser" in warning for warning in warnings) == coarse
    found = json.loads((job / "metrics.json").read_text())["atom_width_angstrom"]
    assert found == pytest.approx(2.0 if coarse else width, rel=0.1)


def test_the_help_says_what_a_resolution_is_for(capsys):
    assert main(["fit", "--help"]) == 0
    assert "For the correlations" in " ".join(capsys.readouterr().out.replace("│", " ").split())


def test_a_heavy_weight_is_warned_of(case, tmp_path):
    config = FitConfig(
        str(case / "true.cif"), str(case / "map.mrc"), field="spline", steps=50, weight=3000.0
    )
    job = fit(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("geometry became worse" in warning for warning in warnings)


def test_residues_without_ideal_values_are_told_of(case, tmp_path):
    records = parse_records(case / "true.cif")
    names = np.full(len(records.atoms), "UNK", records.atoms.residue_name.dtype)
    atoms = replace(records.atoms, residue_name=names)
    write_records(tmp_path / "unknown.cif", replace(records, atoms=atoms))
    config = FitConfig(
        str(tmp_path / "unknown.cif"), str(case / "map.mrc"), field="spline", steps=50
    )
    job = fit(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("No ideal values" in warning for warning in warnings)


def test_the_page_shows_residues_and_shifts(done):
    page = (done / "report.html").read_text()
    assert "Residue by residue" in page
    assert "How far each atom has moved" in page


def test_a_heavier_weight_brings_more_density_and_worse_bonds(case):
    density, molecule = read_map(case / "map.mrc"), read_molecule(str(case / "shaken.cif"))
    bonds, heights = [], []
    for weight in (3.0, 300.0):
        config = FitConfig("", "", field="spline", steps=150, weight=weight)
        fitted = fit_model(density, level_of(density), molecule, config)
        assert fitted.weight == weight
        heights.append(fitted.after.mean())
        pairs = np.asarray(molecule.restraints.bonds)
        length = np.linalg.norm(np.diff(fitted.positions[pairs], axis=1)[:, 0], axis=1)
        bonds.append(rms(length[:, None], np.asarray(molecule.restraints.bond_length)[:, None]))
    assert heights[1] > heights[0]
    assert bonds[1] > 2 * bonds[0]


def test_a_model_2_angstrom_off_is_brought_back_as_a_body(case, tmp_path):
    true = read(case / "true.cif")
    turn = np.array([[0.985, -0.174, 0], [0.174, 0.985, 0], [0, 0, 1]])
    centre = true.positions.mean(0)
    off = (true.positions - centre) @ turn.T + centre + np.array([1.5, -1.2, 1.0])
    write_records(tmp_path / "off.cif", located(replace(true, positions=off.astype(np.float32))))
    config = FitConfig(
        str(tmp_path / "off.cif"), str(case / "map.mrc"), field="spline", rigid="chain", steps=50
    )
    job = fit(config, options=JobOptions(output=str(tmp_path / "job")))
    assert rms(read(job / "model.cif").positions, true.positions) < 0.4
    assert "rigid bodies moved by 2" in (job / "run.log").read_text()


def test_the_plan_tells_of_atoms_and_writes_nothing(case, tmp_path):
    config = FitConfig(str(case / "true.cif"), str(case / "map.mrc"), rigid="model")
    plan = plan_fit(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "atoms" in plan.actions[0]
    assert "rigid" in plan.actions[1]
    assert not (tmp_path / "job").exists()


@pytest.fixture(scope="module")
def wide(case, tmp_path_factory) -> Path:
    """The map in a box that reaches farther along z than the model may move, and the model."""
    density = read_map(case / "map.mrc")
    noise = 0.05 * np.random.default_rng(2).normal(size=(40, BOX, BOX)).astype(np.float32)
    values = np.concatenate([density.values, noise])
    path = tmp_path_factory.mktemp("wide") / "wide.mrc"
    write_map(path, replace(density, values=values))
    return path


def test_a_field_that_needs_all_voxels_is_given_them(case, wide):
    density, molecule = read_map(wide), read_molecule(str(case / "shaken.cif"))
    config = FitConfig("", "", field="fourier", reach=0.0, steps=2)
    level = level_of(density)
    fitted = fit_model(density, level, molecule, config)
    field = field_of(density, "fourier")
    there = jax.jit(query)(field, jnp.asarray(molecule.positions, jnp.float32))
    expected = (there - level.mean) / level.deviation
    np.testing.assert_allclose(fitted.before, expected, rtol=1e-4, atol=1e-4)


def test_the_plan_counts_what_the_job_takes(case, wide, tmp_path):
    def plan(**changes):
        config = FitConfig(str(case / "true.cif"), str(wide), **changes)
        return plan_fit(config, options=JobOptions(output=str(tmp_path / "job")))

    every = f"{BOX**2 * (BOX + 40):,} voxels"
    assert every not in plan(field="spline").actions[0]
    assert every in plan(field="fourier").actions[0]
    still, moved = plan(field="spline"), plan(field="spline", rigid="model")
    # A margin of 10 Å more, and three hundred steps more.
    assert moved.memory_bytes > still.memory_bytes
    assert moved.seconds > still.seconds + 0.1
    # The map itself, beside the part around the model.
    small = FitConfig(str(case / "true.cif"), str(case / "map.mrc"), field="spline")
    of_small = plan_fit(small, options=JobOptions(output=str(tmp_path / "job"))).memory_bytes
    assert still.memory_bytes > of_small + 40 * BOX**2 * 16


def test_few_steps_begin_on_the_smoothed_map_too(case):
    density, molecule = read_map(case / "map.mrc"), read_molecule(str(case / "shaken.cif"))
    ends = [
        fit_model(
            density,
            level_of(density),
            molecule,
            FitConfig("", "", field="spline", steps=20, reach=reach, weight=30.0),
        ).positions
        for reach in (0.0, 1.0)
    ]
    assert rms(*ends) > 0.01


def test_scores_are_of_the_voxels_near_the_model_alone(case, wide, monkeypatch):
    density, molecule = read_map(wide), read_molecule(str(case / "shaken.cif"))
    none = np.zeros(len(molecule.masses))
    drawn = []

    def draw(shape, *arguments, **options):
        drawn.append(np.prod(shape))
        return atom_density(shape, *arguments, **options)

    monkeypatch.setattr(scores_module, "atom_density", draw)
    fitted = Fitted(molecule.positions, none, none, none, 1.0, 0.5)
    found = scores_of(density, molecule, fitted, 2.0).correlation[0]
    whole = atom_density(
        density.values.shape,
        density.voxel_size,
        density.origin,
        molecule.positions,
        molecule.masses,
        width=0.225 * 2.0,
    )
    assert found == pytest.approx(masked_correlation(density.values, whole, whole != 0), rel=1e-9)
    assert max(drawn) < 0.5 * density.values.size


def test_a_resolution_finer_than_voxels_is_refused(case, tmp_path):
    config = FitConfig(str(case / "true.cif"), str(case / "map.mrc"), resolution=VOXEL)
    for work in (plan_fit, fit):
        with pytest.raises(InputError, match="--resolution"):
            work(config, options=JobOptions(output=str(tmp_path / "job")))


def test_a_longer_reach_is_refused_for_rigid_bodies():
    with pytest.raises(InputError, match="--rigid") as refused:
        FitConfig("model.cif", "map.mrc", reach=2.5)
    assert "--reach" in str(refused.value)


def shifted(case: Path, tmp_path: Path, by: float) -> str:
    true = read_atoms(case / "true.cif")
    positions = true.positions + np.float32(by)
    write_atoms(tmp_path / "far.cif", replace(true, positions=positions))
    return str(tmp_path / "far.cif")


def single(case: Path, tmp_path: Path) -> str:
    write_atoms(tmp_path / "one.cif", select_atoms(read_atoms(case / "true.cif"), np.array([0])))
    return str(tmp_path / "one.cif")


def c_alpha(case: Path, tmp_path: Path) -> str:
    true = read_atoms(case / "true.cif")
    write_atoms(tmp_path / "ca.cif", select_atoms(true, true.name == "CA"))
    return str(tmp_path / "ca.cif")


def empty(case: Path, tmp_path: Path) -> str:
    true = read_atoms(case / "true.cif")
    write_atoms(tmp_path / "empty.cif", replace(true, occupancy=0 * true.occupancy))
    return str(tmp_path / "empty.cif")


def several(case: Path, tmp_path: Path) -> str:
    line = "ATOM      1  CA  ALA A   1       0.000   0.000   0.000  1.00  0.00           C\n"
    (tmp_path / "two.pdb").write_text("".join(f"MODEL {k}\n{line}ENDMDL\n" for k in (1, 2)))
    return str(tmp_path / "two.pdb")


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (lambda case, tmp: shifted(case, tmp, 100), "atoms lie outside of the map"),
        (single, "it holds a single atom"),
        (c_alpha, "no two of its 18 atoms are bonded"),
        (empty, "every atom has occupancy 0"),
        (several, "it holds 2 models"),
    ],
)
def test_models_that_cannot_be_fitted_are_refused(case, tmp_path, capsys, make, cause):
    model = make(case, tmp_path)
    for more in ([], ["--dry-run"]):
        arguments = ["fit", model, "--map", str(case / "map.mrc"), "-o", str(tmp_path / "job")]
        assert main([*arguments, *more]) == 2
        told = capsys.readouterr().err
        assert cause in told
        assert model in told
    assert not (tmp_path / "job").exists()


def test_a_flat_map_is_refused(case, tmp_path):
    write_map(tmp_path / "flat.mrc", Map(np.ones((9, 9, 9), np.float32), np.ones(3), np.zeros(3)))
    config = FitConfig(str(case / "true.cif"), str(tmp_path / "flat.mrc"))
    for work in (plan_fit, fit):
        with pytest.raises(InputError, match="every voxel is 1"):
            work(config, options=JobOptions(output=str(tmp_path / "job")))


def test_a_model_without_density_is_warned_of(case, tmp_path):
    density = read_map(case / "map.mrc")
    values = np.random.default_rng(1).normal(size=density.values.shape).astype(np.float32)
    write_map(tmp_path / "noise.mrc", replace(density, values=values))
    config = FitConfig(
        str(case / "true.cif"), str(tmp_path / "noise.mrc"), field="spline", steps=50
    )
    job = fit(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("another frame" in warning for warning in warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 1},
        {"resolution": -1.0},
        {"weight": 0.0},
        {"reach": -0.1},
        {"reach": 1e6},
        {"bond_deviation": 0.02, "weight": 3.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes)).replace("_", "-")):
        FitConfig("model.cif", "map.mrc", **changes)
