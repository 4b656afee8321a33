"""``refine`` from end to end on a small set, from a coarse reference."""

import inspect
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.io import (
    Map,
    ParticleTable,
    read_map,
    read_particles,
    with_columns,
    write_map,
    write_particles,
)
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct.config import HalvesConfig
from cryojax_graph.jobs.refine import RefineConfig, plan_refine, refine
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.metrics import pose_errors

IMAGES, BOX, PIXEL = 192, 36, 3.0
# Of three micrographs.
CONTRAST = (0.7, 1.0, 1.4)


class Case(NamedTuple):
    particles: Path
    reference: Path
    rotation: np.ndarray


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("refine") / "simulated"
    model = folder.parent / "model.pdb"
    write_atoms(model, read_demo_molecule()[0])
    config = SimulateConfig(input=str(model), images=IMAGES, box=BOX, pixel_size=PIXEL, snr=4.0)
    simulate(config, options=JobOptions(output=str(folder), seed=1))
    table = read_particles(folder / "particles.star")
    micrograph = np.arange(IMAGES) % len(CONTRAST)
    images = open_stack(folder / "particles.mrcs").read(np.arange(IMAGES))
    images = images * np.array(CONTRAST, np.float32)[micrograph][:, None, None]
    write_stack(folder / "particles.mrcs", images, pixel_size=PIXEL)
    names = np.array([f"m{number}.mrc" for number in micrograph], np.dtypes.StringDType())
    # Poses of the table must play no part.
    nothing = {"euler_degrees": np.zeros((IMAGES, 3)), "shift_angstrom": np.zeros((IMAGES, 2))}
    nothing |= {"rlnMicrographName": names}
    write_particles(with_columns(table, nothing), folder / "unaligned.star")
    positions = jnp.asarray(read_atoms(folder / "reference.cif").positions, jnp.float32)
    n = len(positions)
    density = density_of_gaussians(
        positions, jnp.ones(n), jnp.full(n, 2.4), box=BOX, voxel_size=PIXEL
    )
    reference = folder / "reference.mrc"
    write_map(reference, Map(np.asarray(density), np.full(3, PIXEL), np.zeros(3)))
    return Case(folder / "unaligned.star", reference, rotation_from_euler(table.euler_degrees))


def without_halves(table: ParticleTable) -> ParticleTable:
    columns = {name: v for name, v in table.columns.items() if name != "rlnRandomSubset"}
    return replace(table, columns=columns, half_set=None)


def settings(case: Case, **changes) -> RefineConfig:
    given = {"particles": str(case.particles), "reference": str(case.reference), "low_pass": 20.0}
    return RefineConfig(**(given | {"most_rounds": 2} | changes))


class Recorded(NamedTuple):
    inserted: list[np.ndarray]
    saved: list[str]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Images of each part that ``refined`` reconstructed, and rounds that it saved, in turn."""
    return Recorded([], [])


@pytest.fixture(scope="module")
def refined(case, recorded, tmp_path_factory):
    """A job that was interrupted after its first round, and started again."""
    from cryojax_graph.jobs.refine import rounds

    insert, save = rounds.insert_views, rounds._save

    def inserting(source, views, **more):
        recorded.inserted.append(views.image)
        return insert(source, views, **more)

    def saving(done, path):
        save(done, path)
        recorded.saved.append(path.name)
        if len(recorded.saved) == 1:
            raise KeyboardInterrupt

    options = JobOptions(output=str(tmp_path_factory.mktemp("r") / "j"))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(rounds, "insert_views", inserting)
        patched.setattr(rounds, "_save", saving)
        with pytest.raises(KeyboardInterrupt):
            refine(settings(case), options=options)
        return refine(settings(case), options=options)


def test_poses_and_map_are_found_from_a_coarse_reference(case, refined):
    table = read_particles(refined / "particles.star")
    errors = pose_errors(rotation_from_euler(table.euler_degrees), case.rotation).rotation_degrees
    assert np.median(errors) < 6
    assert np.mean(errors < 15) > 0.9
    metrics = json.loads((refined / "metrics.json").read_text())
    assert metrics["images"] == IMAGES
    assert 1 <= metrics["rounds"] <= 2
    # Finer than the reference was.
    assert metrics["resolution_unmasked_fsc0143_angstrom"] < 15
    density, truth = (read_map(p).values for p in (refined / "map_unsharpened.mrc", case.reference))
    assert np.corrcoef(density.ravel(), truth.ravel())[0, 1] > 0.85


def test_the_table_says_halves_and_how_sure_poses_are(refined):
    table = read_particles(refined / "particles.star")
    assert sorted(np.unique(table.half_set).tolist()) == [1, 2]
    for name in ("cryojaxgraphRotationDeviation", "rlnMaxValueProbDistribution"):
        assert (np.asarray(table.columns[name], float) > 0).all()
    assert "Rounds" in (refined / "report.html").read_text()


def test_rounds_that_did_not_settle_are_told(refined):
    metrics = json.loads((refined / "metrics.json").read_text())
    warnings = json.loads((refined / "manifest.json").read_text())["warnings"]
    assert metrics["settled"] == 0
    assert any("ended after round 2" in text for text in warnings)


def test_rounds_settle_when_they_find_no_more():
    from cryojax_graph.jobs.refine.rounds import settled

    field = BOX * PIXEL
    plan = SimpleNamespace(
        source=SimpleNamespace(particles=SimpleNamespace(box=BOX, pixel_size=PIXEL))
    )
    rounds = [
        SimpleNamespace(resolution=field / shells, turned=np.radians(angle))
        for shells, angle in ((5.0, np.nan), (9.0, 4.0), (9.2, 3.9))
    ]
    told = inspect.unwrap(settled)
    assert told(rounds, plan)
    assert not told(rounds[:2], plan)
    rounds[-1].resolution = field / 9.8
    assert not told(rounds, plan)


def test_the_page_gives_the_command_that_makes_the_map_again(case, refined):
    page = (refined / "report.html").read_text()
    root = case.particles.parent.resolve()
    assert f"reconstruct particles.star --image-root {root} --weights rlnMaxValue" in page
    assert "over all rotations; of images that were sure" in page


def test_dark_images_are_inverted_when_asked(case):
    from cryojax_graph.jobs.refine.run import _read

    white, dark = (_read(settings(case, contrast=name)) for name in ("white", "dark"))
    first, second = (inputs.particles.images.read(np.arange(3)) for inputs in (white, dark))
    np.testing.assert_array_equal(second, -first)


def test_images_that_cryosparc_marks_as_dark_are_not_inverted_twice(case):
    from cryojax_graph.jobs.refine.run import _read

    table = read_particles(case.particles)
    path = case.particles.with_name("marked.star")
    write_particles(with_columns(table, {"cs/blob/sign": np.full(IMAGES, -1)}), path)
    white = _read(settings(case, particles=str(path))).particles.images.read(np.arange(3))
    plain = _read(settings(case)).particles.images.read(np.arange(3))
    np.testing.assert_array_equal(white, -plain)
    with pytest.raises(InputError, match=r"--contrast dark: .*192 of 192 images as dark \(cs/blob"):
        _read(settings(case, particles=str(path), contrast="dark"))


def test_nothing_that_was_kept_for_going_on_is_left(refined):
    manifest = json.loads((refined / "manifest.json").read_text())
    assert manifest["working"] == []
    assert not (refined / "rounds").exists()
    assert not list(refined.glob("*.npz"))


def test_contrasts_of_micrographs_are_found(refined):
    table = read_particles(refined / "particles.star")
    found = np.asarray(table.columns["cryojaxgraphGroupContrast"], float)[: len(CONTRAST)]
    expected = np.array(CONTRAST) / np.exp(np.log(CONTRAST).mean())
    np.testing.assert_allclose(found, expected, rtol=0.15)


def test_an_interrupted_run_goes_on_after_its_last_round(refined, recorded):
    assert recorded.saved == ["round_001.npz", "round_002.npz"]


def test_no_image_is_compared_with_a_map_that_it_has_contributed_to(refined, recorded):
    first, others = recorded.inserted[:8], recorded.inserted[8:]
    assert sorted(np.concatenate(first).tolist()) == list(range(IMAGES))
    # The parts of a half are those of every round.
    for before, after in zip(first, others, strict=True):
        np.testing.assert_array_equal(before, after)


def test_rows_of_one_image_are_in_one_part(case):
    from cryojax_graph.io.particle_table import subset
    from cryojax_graph.jobs.particles import read_particle_set
    from cryojax_graph.jobs.reconstruct.source import divide
    from cryojax_graph.jobs.refine.run import _folds

    path = case.particles.with_name("twice.star")
    write_particles(subset(read_particles(case.particles), np.repeat(np.arange(40), 2)), path)
    particles = read_particle_set(path, image_root=None)
    halves = divide(particles, 0)
    parts = [*_folds(particles, halves, 1, 0), *_folds(particles, halves, 2, 0)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(80))
    assert sum(len(np.unique(part // 2)) for part in parts) == 40


def test_filaments_are_in_one_half_and_in_one_part(case):
    from cryojax_graph.jobs.particles import read_particle_set
    from cryojax_graph.jobs.reconstruct.source import divide
    from cryojax_graph.jobs.refine.run import _folds

    tube = np.arange(IMAGES) // 8
    path = case.particles.with_name("tubes.star")
    columns = {"rlnHelicalTubeID": tube, "rlnSeries": tube // 8}
    write_particles(with_columns(without_halves(read_particles(case.particles)), columns), path)
    particles = read_particle_set(path, image_root=None)
    # Three micrographs: 8 segments of a tube are of 3 filaments.
    filament = tube * 3 + np.arange(IMAGES) % 3
    halves = divide(particles, 0)
    parts = [*_folds(particles, halves, 1, 0), *_folds(particles, halves, 2, 0)]
    assert sorted(np.concatenate(parts).tolist()) == list(range(IMAGES))
    assert sum(len(np.unique(filament[part])) for part in parts) == len(np.unique(filament))
    # Of three things no half has four: its parts are of images then.
    halves = divide(particles, 0, by="rlnSeries")
    assert sorted(np.bincount(halves.number)[1:].tolist()) == [64, 128]
    assert all(len(np.unique(halves.number[tube // 8 == k])) == 1 for k in range(3))
    assert len(_folds(particles, halves, 1, 0)) == len(_folds(particles, halves, 2, 0)) == 4


def test_a_half_that_is_too_small_is_refused(case, tmp_path):
    half = np.where(np.arange(IMAGES) < 3, 1, 2)
    table = with_columns(read_particles(case.particles), {"half_set": half})
    path = case.particles.with_name("uneven.star")
    write_particles(table, path)
    with pytest.raises(InputError, match="half 1 has 3 images, too few"):
        refine(settings(case, particles=str(path)), options=JobOptions(output=str(tmp_path / "j")))
    assert not (tmp_path / "j").exists()


def test_given_poses_are_refined_where_they_are(case, tmp_path, monkeypatch):
    from cryojax_graph.jobs.refine import run as stages

    away = Rotation.from_rotvec(np.radians(6.0) * np.roll(np.eye(3), 1, 0)[np.arange(IMAGES) % 3])
    off = away.as_matrix() @ case.rotation
    table = read_particles(case.particles)
    shift = read_particles(case.particles.with_name("particles.star")).shift_angstrom
    near = {"euler_degrees": euler_from_rotation(off), "shift_angstrom": shift}
    path = case.particles.with_name("near.star")
    write_particles(with_columns(table, near), path)
    config = settings(case, particles=str(path), start="given", within=9.0, most_rounds=1)
    options = JobOptions(output=str(tmp_path / "job"))
    # Interrupted after its round: what the sample told is not forgotten.
    with monkeypatch.context() as patched:
        patched.setattr(stages, "write_maps", _stop)
        with pytest.raises(KeyboardInterrupt):
            refine(config, options=options)
    job = refine(config, options=options)
    found = rotation_from_euler(read_particles(job / "particles.star").euler_degrees)
    # In the frame of the reference: nothing was aligned.
    angle = np.degrees(Rotation.from_matrix(found @ case.rotation.mT).magnitude())
    assert np.median(angle) < 4
    moved = np.degrees(Rotation.from_matrix(found @ off.mT).magnitude())
    assert np.mean(moved < 15) > 0.95
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["hand_evidence_mean_nats"] > 4 * metrics["hand_evidence_error_nats"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symmetry": "Q7"}, "--symmetry"),
        ({"within": 0.0}, "--within"),
        ({"low_pass": 0.0}, "--low-pass"),
        ({"diameter": -1.0}, "--diameter"),
        ({"diameter": 20.0}, "--diameter: a sphere of 20 Å does not hold .*reference.mrc"),
        ({"diameter": 100.0}, "--diameter: a sphere of 100 Å and its edge do not fit"),
        ({"low_pass": 60.0}, "--low-pass: nothing of that size has a shape in images of 108 Å"),
        ({"halves": HalvesConfig("rlnNothing")}, "--halves.by: the table names the halves"),
        ({"most_rounds": 0}, "--most-rounds"),
        ({"low_pass": 2.2 * PIXEL}, "no shells by which halves could be compared"),
        ({"shift_range": 1000.0}, "more than half of the image"),
        ({"reference": "particles"}, "not a map or an atomic model"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(case, tmp_path, changes, message):
    changes = {k: str(case.particles) if v == "particles" else v for k, v in changes.items()}
    with pytest.raises(InputError, match=message):
        refine(settings(case, **changes), options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_file_in_the_way_is_refused_before_the_work(case, tmp_path):
    (tmp_path / "particles.star").write_text("mine")
    with pytest.raises(InputError, match="a file of this name is there already"):
        refine(settings(case), options=JobOptions(output=str(tmp_path)))


def test_a_sphere_that_holds_the_particle_is_taken_as_it_is(case):
    """Also one that only a hollow particle of the reference's radius of gyration would fit into."""
    from cryojax_graph.jobs.refine.run import _radius, _read

    radius = _read(settings(case)).given.radius
    for diameter in (1.6 * radius, 90.0):
        config = settings(case, diameter=diameter)
        assert _radius(config, _read(config)) == pytest.approx(diameter / 2 / PIXEL)


def test_the_plan_names_the_rounds_products(case):
    plan = plan_refine(settings(case), options=JobOptions(output="refined"))
    assert "low-passed to 20 Å" in plan.actions[0]
    assert "particles.star" in plan.outputs
    # The sums of eight parts, three floats for each voxel of a padded half spectrum.
    assert plan.disk_bytes > 8 * 12 * (2 * BOX) ** 3 / 2


def _stop(*arguments, **more):
    raise KeyboardInterrupt


def test_no_shift_is_tried_that_the_first_round_would_not_have(case):
    from cryojax_graph.jobs.pose.searcher import Found
    from cryojax_graph.jobs.refine.rounds import _around

    nothing = np.zeros(3)
    shift = np.array([[1.0, 1.0], [30.0, 0.0], [0.0, -9.0]])
    found = Found(np.stack([np.eye(3)] * 3), shift, *[nothing] * 9)
    plan = SimpleNamespace(centre=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0]]), farthest=12.0)
    around = inspect.unwrap(_around)
    settings = SimpleNamespace(shifts=np.array([[0.0, 0.0], [4.0, 0.0]]))
    np.testing.assert_allclose(around(found, settings, plan).shift, [[1, 1], [9, 0], [0, -8]])
    # Nothing but the centre where the grid reaches as far as the range.
    plan.farthest = 4.0
    np.testing.assert_allclose(around(found, settings, plan).shift, plan.centre)


def test_noise_claims_nothing_beyond_what_halves_share(case, tmp_path):
    rng = np.random.default_rng(0)
    folder = tmp_path / "noise"
    folder.mkdir()
    images = rng.normal(size=(IMAGES, BOX, BOX)).astype(np.float32)
    write_stack(folder / "particles.mrcs", images, pixel_size=PIXEL)
    table = read_particles(case.particles)
    names = np.array([f"{n + 1}@particles.mrcs" for n in range(IMAGES)])
    write_particles(with_columns(table, {"rlnImageName": names}), folder / "particles.star")
    config = settings(case, particles=str(folder / "particles.star"), most_rounds=1)
    job = refine(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    metrics = json.loads((job / "metrics.json").read_text())
    if any("images of noise" in text for text in warnings):
        assert metrics["resolution_fsc0143_angstrom"] > 0.9 * metrics["halves_agree_angstrom"]
    else:
        pytest.fail("noise is not told")
