"""Poses found with the template, or with several conformations."""

from dataclasses import replace
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io import new_particles, write_particles
from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.flex import half_sets, pose_search, report
from cryojax_graph.jobs.flex.config import FlexConfig, check_settings
from cryojax_graph.jobs.flex.inputs import read_template, read_views
from cryojax_graph.jobs.flex.placement import possible_places
from cryojax_graph.jobs.flex.pose_search import (
    _searched,
    cost_of_search,
    search_for_conformations,
    search_for_template,
)
from cryojax_graph.jobs.flex.problem import read_inputs
from cryojax_graph.jobs.flex.saved import SavedModel
from cryojax_graph.jobs.flex.symmetry import apparent_fold, check_template_symmetry
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.models.backbone_graph.config import default

IMAGES, BOX, PIXEL = 40, 16, 6.0
# Root mean square angle of a random rotation to any other.
UNKNOWN = np.sqrt(np.pi**2 / 3 + 2)


def found_at(rotation: np.ndarray, evidence: float, deviation: float) -> Found:
    """Images in poses as sure as each other, at (1, 1) where the first is not turned."""
    count = len(rotation)
    values = dict.fromkeys(Found._fields, np.zeros(count)) | {
        "rotation": rotation,
        "shift": rotation[:, 0, :1] * np.ones((count, 2)),
        "evidence": np.full(count, evidence, np.float32),
        "rotation_deviation": np.full(count, np.radians(deviation)),
    }
    return Found(**values)


def about_z(degrees: float) -> np.ndarray:
    return Rotation.from_rotvec([[0, 0, np.radians(degrees)]]).as_matrix()


class Told(Job):
    """A job without a folder, which keeps what it is told."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.metrics: dict[str, float] = {}

    def log(self, message, *, echo=True):
        pass

    def warn(self, message):
        self.warnings.append(message)

    def metric(self, name, value, unit=None):
        self.metrics[name] = value


class Particles(SimpleNamespace):
    def _replace(self, **changes):
        return SimpleNamespace(**(vars(self) | changes))


def chosen(every: list[Found], symmetry: str = "C1", unknown: float = UNKNOWN):
    particles = Particles(views=SimpleNamespace(ctf=None))
    settings = SimpleNamespace(operators=symmetry_rotations(symmetry), unknown=unknown)
    # Only what it asks of particles and settings is there: their types are not checked.
    return _searched.__wrapped__(particles, every, settings, Told())


@pytest.mark.parametrize(
    ("behind", "expected"), [(40.0, 2.0), (0.0, np.hypot(2.0, np.sqrt(0.5) * 120))]
)
def test_a_pose_is_as_sure_as_the_choice_of_the_conformation(behind, expected):
    every = [
        found_at(about_z(120.0), 50.0 - behind - 1e-3, 2.0),
        found_at(about_z(0.0), 50.0, 2.0),
    ]
    found = chosen(every)
    np.testing.assert_allclose(found.particles.views.rotation[0], np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.particles.views.shift, 1.0)
    assert np.degrees(found.doubt[0]) == pytest.approx(expected, rel=1e-2)
    assert found.evidence.shape == (1, 2)


def test_poses_that_differ_by_the_symmetry_are_one():
    tilted = Rotation.from_euler("xyz", [[20, 70, 130]], degrees=True).as_matrix()
    every = [found_at(tilted, 50.0, 2.0), found_at(tilted @ symmetry_rotations("D2")[-1], 50.0, 2)]
    assert np.degrees(chosen(every, "D2").doubt[0]) == pytest.approx(2.0, rel=1e-3)
    assert np.degrees(chosen(every, "C1").doubt[0]) > 100


@pytest.mark.parametrize("conformations", [1, 4])
def test_what_is_not_known_at_all_is_not_said_to_be_worse_than_that(conformations):
    random = Rotation.random(500, random_state=0).as_matrix().reshape(-1, 100, 3, 3)
    every = [found_at(some, 0.0, np.degrees(UNKNOWN)) for some in random[:conformations]]
    found = chosen(every)
    np.testing.assert_allclose(found.doubt, UNKNOWN, rtol=1e-6)
    assert found.unknown == UNKNOWN


def test_a_doubt_between_two_poses_and_all_of_them_lies_between_both():
    half = found_at(about_z(0.0), 0.0, np.degrees(UNKNOWN) * np.sqrt(0.5))
    other = found_at(about_z(180.0), 100.0, np.degrees(UNKNOWN) * np.sqrt(0.5))
    # The other one is chosen and is as sure; that of the first weighs nothing.
    assert chosen([half, other]).doubt[0] == pytest.approx(UNKNOWN * np.sqrt(0.5))
    even = half._replace(evidence=other.evidence - np.float32(1e-4))
    # Half of the first may be anywhere, the rest is half a turn off.
    square = 0.5 * UNKNOWN**2 / 2 + 0.5 * (UNKNOWN**2 / 2 + np.pi**2 / 2)
    assert chosen([even, other]).doubt[0] == pytest.approx(np.sqrt(square), rel=1e-3)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Images of noise in two optics groups, the second twice as loud and a quarter of all."""
    folder = tmp_path_factory.mktemp("noise")
    loud = np.arange(IMAGES) % 4 == 0
    noise = np.random.default_rng(0).standard_normal((IMAGES, BOX, BOX))
    louder = noise * (1.0 + loud)[:, None, None]
    write_stack(folder / "s.mrcs", louder.astype(np.float32), pixel_size=PIXEL)
    every = {
        "pixel_size": PIXEL,
        "defocus_u": 1e4,
        "defocus_v": 1e4,
        "defocus_angle_degrees": 0.0,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
    }
    fields = {name: np.full(IMAGES, value) for name, value in every.items()} | {
        "image_path": np.full(IMAGES, "s.mrcs", np.dtypes.StringDType()),
        "image_index": np.arange(IMAGES),
        "box": np.full(IMAGES, BOX),
        "optics_group": 1 + loud,
    }
    write_particles(new_particles(folder / "p.star", fields), folder / "p.star")
    return folder / "p.star"


class Spy:
    """Takes the place of the searcher, and notes what it was given."""

    def __init__(self, images, settings, *, noise=None):
        self.settings, self.groups = settings, noise
        asked.append(self)

    def prepare(self, reference, noise):
        self.noise = noise


asked: list[Spy] = []


@pytest.mark.parametrize(("deviation", "precision"), [(0.1, 100.0), (0.0, 1e6)])
def test_conformations_are_searched_as_the_model_sees_the_images(
    table, monkeypatch, deviation, precision
):
    def search_all(searcher, search, contrast_precision, images, job, **_):
        searcher.precision = contrast_precision
        return found_at(np.tile(np.eye(3), (len(images), 1, 1)), 0.0, 2.0)

    monkeypatch.setattr(pose_search, "Searcher", Spy)
    monkeypatch.setattr(pose_search, "search_all", search_all)
    particles = read_views(table, image_root=None, poses=False)
    noise = np.linspace(2.0, 1.0, BOX // 2 + 1)
    search_for_conformations(
        particles,
        [np.ones((BOX, BOX, BOX), np.float32)],
        noise=noise,
        contrast_deviation=deviation,
        radius=20.0,
        symmetry="D2",
        job=Told(),
        name="poses",
    )
    spy = asked.pop()
    assert spy.precision == pytest.approx(precision)
    assert len(spy.settings.operators) == 4
    # Noise of a group is that of the set times its ratio; the model's is the mean of all images.
    ratio = spy.groups.ratio[spy.groups.group]
    assert ratio[::4, 3:].mean() > 2 * ratio[1::4, 3:].mean()
    np.testing.assert_allclose(spy.noise * ratio.mean(axis=0), noise, rtol=1e-6)


def test_the_template_is_searched_with_the_noise_of_groups(table, template, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pose_search, "Searcher", Spy)
    monkeypatch.setattr(pose_search, "survey_once", stop)
    particles = read_views(table, image_root=None, poses=False)
    config = FlexConfig(str(table), str(template), poses="search", symmetry="C2")
    with pytest.raises(KeyboardInterrupt):
        search_for_template(particles, read_template(template), np.zeros(3), config, Told())
    spy = asked.pop()
    assert len(spy.settings.operators) == 2
    np.testing.assert_array_equal(spy.groups.ratio.shape, (2, BOX // 2 + 1))


def dimer(tilt: float = 0.0) -> AtomTable:
    """Two copies of a molecule, half a turn about z apart; then all tilted, degrees."""
    atoms, _ = read_demo_molecule()
    place = atoms.positions - atoms.positions.mean(axis=0) + np.float32([22, 0, 0])
    both = np.concatenate([place, place * np.float32([-1, -1, 1])])
    turn = Rotation.from_euler("x", tilt, degrees=True).as_matrix()
    doubled = {name: np.concatenate([a, a]) for name, a in vars(atoms).items()}
    doubled |= {"positions": (both @ turn.T).astype(np.float32)}
    doubled["chain"] = np.repeat(["A", "B"], len(atoms))
    return AtomTable(**doubled)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """The dimer, 100 Å away from the zero of its file."""
    path = tmp_path_factory.mktemp("dimer") / "dimer.cif"
    atoms = dimer()
    write_atoms(path, replace(atoms, positions=atoms.positions + np.float32([60, -80, 0])))
    return path


def centred(atoms: AtomTable) -> np.ndarray:
    c_alpha = atoms.positions[atoms.name == "CA"].astype(float)
    return c_alpha - c_alpha.mean(axis=0)


def test_a_symmetry_is_taken_that_the_template_has():
    check_template_symmetry(centred(dimer()), "C2", "dimer.cif")
    check_template_symmetry(centred(dimer(tilt=30.0)), "C1", "dimer.cif")
    for atoms, group in ((dimer(tilt=30.0), "C2"), (dimer(), "D2"), (dimer(), "C3")):
        with pytest.raises(InputError, match=f"not that of {group}") as caught:
            check_template_symmetry(centred(atoms), group, "dimer.cif")
        assert "turn the template" in caught.value.remedy


def test_a_template_that_has_lost_some_of_its_symmetry_still_has_it():
    c_alpha = centred(dimer())
    c_alpha[: len(c_alpha) // 5] += [0.0, 9.0, 5.0]
    check_template_symmetry(c_alpha, "c2", "dimer.cif")


@pytest.mark.parametrize("tilt", [0.0, 35.0])
def test_symmetry_that_nobody_stated_is_seen_about_any_axis(tilt):
    assert apparent_fold(centred(dimer(tilt))) == 2
    assert apparent_fold(centred(read_demo_molecule()[0])) == 1


def test_the_symmetry_is_checked_about_the_middle_before_anything_is_done(table, template):
    config = FlexConfig(str(table), str(template), poses="search", symmetry="C2")
    assert len(read_inputs(config).template.seen) == len(dimer())
    with pytest.raises(InputError, match="not that of D2"):
        read_inputs(replace(config, symmetry="D2"))


def test_an_unstated_symmetry_is_named_before_the_search(table, template, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(pose_search, "noise_of_groups", stop)
    told, model = Told(), read_template(template)
    particles = read_views(table, image_root=None, poses=False)
    config = FlexConfig(str(table), str(template), poses="search")
    for stated in ("C1", "C2"):
        asked_for = replace(config, symmetry=stated)
        with pytest.raises(KeyboardInterrupt):
            search_for_template(particles, model, np.zeros(3), asked_for, told)
    (text,) = told.warnings
    assert "2 sides" in text
    assert "--symmetry" in text


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"poses": "refine", "symmetry": "C2"}, "--symmetry"),
        ({"poses": "search", "symmetry": "C0"}, "--symmetry"),
        ({"poses": "search", "origin": "centre"}, "--origin"),
    ],
)
def test_options_that_would_do_nothing_are_refused(changes, place):
    with pytest.raises(InputError) as caught:
        check_settings(FlexConfig("particles.star", "model.cif", **changes))
    assert caught.value.place == place


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("fitting", "batch_size", 0),
        ("fitting", "epochs", -3),
        ("fitting", "decoder_rate", float("nan")),
        ("decoder", "latent_size", 0),
        ("mixture", "width", -1.0),
        ("mixture", "images_per_conformation", 0),
        ("poses", "expected_share", 1.5),
        ("objective", "sharpening_share", -0.1),
    ],
)
def test_settings_of_the_model_are_held_in_range(part, name, value):
    model = default()
    model = replace(model, **{part: replace(getattr(model, part), **{name: value})})
    with pytest.raises(InputError) as caught:
        check_settings(FlexConfig("particles.star", "model.cif", model=model))
    assert caught.value.place == f"--model.{part}.{name.replace('_', '-')}"


def test_a_template_comes_to_the_middle_where_poses_are_searched(table, template):
    particles = read_views(table, image_root=None, poses=False)
    model = read_template(template)
    config = FlexConfig(str(table), str(template), poses="search")
    (by,) = possible_places(model, particles, config, None).values()
    np.testing.assert_allclose(by, [-60, 80, 0], atol=0.01)
    small = particles._replace(box=8)
    with pytest.raises(InputError, match="from their middle, the box only 24 Å"):
        possible_places(model, small, config, None)
    # Given poses know where it stands.
    with pytest.raises(InputError, match="from the zero"):
        possible_places(model, particles, replace(config, poses="refine"), None)


@pytest.mark.parametrize("poses", ["known", "search"])
@pytest.mark.parametrize("place", ["centre", "middle"])
def test_a_template_stands_where_it_stood_in_the_earlier_job(table, template, poses, place):
    model = read_template(template)
    particles = read_views(table, image_root=None, poses=False)
    by = {"centre": np.zeros(3), "middle": -model.middle}[place]
    stood = (model.arrays.c_alpha + by).astype(np.float32)
    saved = SavedModel({}, default(), np.zeros((1, 8)), np.ones(1), 40, stood, BOX, PIXEL)
    config = FlexConfig(str(table), str(template), poses=poses, fitted="earlier")
    (name, found) = next(iter(possible_places(model, particles, config, saved).items()))
    assert name == place
    np.testing.assert_allclose(found, by)
    with pytest.raises(InputError, match="another template"):
        possible_places(model, particles, config, saved._replace(template=stood + 1.0))
    with pytest.raises(InputError, match="fitted to images of 20 px"):
        possible_places(model, particles, config, saved._replace(box=20))


def test_particles_that_stand_far_off_are_told():
    settings = SimpleNamespace(shifts=np.array([[0.0, 0.0], [3.0, 4.0]]), around=None)
    job = Told()
    for far in (1, 2):
        found = found_at(np.tile(np.eye(3), (4, 1, 1)), 0.0, 2.0)
        found.shift[:far] = [4.0, 4.0]
        found.shift[far:] = 0.0
        pose_search.note_shifts.__wrapped__(found, settings, job, remedy=pose_search._NEARER)
        assert job.metrics == {"shifts_beyond_range_percent": 25.0 * far}
    (text,) = job.warnings
    assert "the 5 Å that are looked for" in text


@pytest.mark.parametrize("doubt", [None, np.zeros(4)])
def test_halves_with_searched_poses_are_not_said_to_be_independent(monkeypatch, doubt):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(half_sets, "_halves", stop)
    problem, told = SimpleNamespace(doubt=doubt), Told()
    with pytest.raises(KeyboardInterrupt):
        half_sets.fit_half_sets.__wrapped__(problem, jax.random.key(0), told)
    caption = report._shared_poses.__wrapped__(problem)
    if doubt is None:
        assert not told.warnings
        assert not caption
    else:
        assert "not independent" in told.warnings[0]
        assert "not independent" in caption


def test_a_search_is_planned_as_large_as_it_is():
    small, large = (
        cost_of_search(box=box, pixel_size=1.5, radius=25.0, symmetry="C1") for box in (64, 256)
    )
    # Spectra of the padded map, several at a time.
    assert large.memory_bytes > 7 * 8 * 512**2 * 256
    assert large.memory_bytes > 3 * small.memory_bytes
    assert large.seconds_per_image > 4 * small.seconds_per_image
    half = cost_of_search(box=64, pixel_size=1.5, radius=25.0, symmetry="C2")
    assert half.seconds_per_image < small.seconds_per_image
