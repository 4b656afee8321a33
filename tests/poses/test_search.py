from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import shift_image
from cryojax_graph.geometry import (
    matrix_from_euler_degrees,
    orientation_spacing_degrees,
    orientations_at,
)
from cryojax_graph.poses.grids import rotations_within, shift_grid
from cryojax_graph.poses.matching import Candidates
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.refine import Pose, Prior
from cryojax_graph.poses.search import (
    Search,
    SearchConfig,
    plan_search,
    prepare_search,
    refine_candidates,
    score_orientations,
    search_pose,
    search_pose_near,
)

IMAGES, SNR, WANDER = 60, 0.1, 1.5
PRIOR = Prior(1 / WANDER**2, 100.0)


class Scene(NamedTuple):
    """Images of a molecule, and of nothing."""

    config: SearchConfig
    search: Search
    ctf: CTF
    truth: Pose
    images: jax.Array
    noise: jax.Array


@pytest.fixture(scope="module")
def scene(adenylate_kinase) -> Scene:
    rng = np.random.default_rng(0)
    truth = Pose(
        jnp.asarray(Rotation.random(IMAGES, random_state=1).as_matrix(), jnp.float32),
        jnp.asarray(rng.normal(size=(IMAGES, 2)) * WANDER, jnp.float32),
        jnp.ones(IMAGES),
    )
    defocus = jnp.asarray(rng.uniform(8e3, 2.5e4, IMAGES), jnp.float32)
    optics = jax.vmap(lambda d: CTF(*map(jnp.asarray, (d, d, 0.0))))(defocus)
    clean = jax.vmap(adenylate_kinase.image)(truth.rotation, truth.shift, optics)
    variance = float(clean.var()) / SNR
    noise = np.sqrt(variance) * jax.random.normal(jax.random.key(2), clean.shape)

    config = SearchConfig(order=2, coarse=12, radii=(16, 32))
    directions = orientations_at(np.arange(192) * 24, 2) * (1, 1, 0)
    views = jax.vmap(matrix_from_euler_degrees)(jnp.asarray(directions, jnp.float32))
    shifts = jnp.asarray(shift_grid(3 * WANDER, 2.0), jnp.float32)
    search = jax.jit(partial(prepare_search, config=config))(
        adenylate_kinase.reference(), views, shifts, jnp.full(33, variance)
    )
    return Scene(config, search, optics, truth, clean + noise, noise)


@pytest.fixture(scope="module")
def find(scene):
    """Poses of a batch of images, one image after the other."""

    @jax.jit
    def run(images, ctf, search) -> PoseEstimate:
        one = partial(search_pose, config=scene.config, pixel_size=1.5, prior=PRIOR)
        return jax.lax.map(lambda each: one(each[0], each[1], search), (images, ctf))

    return lambda images, search=scene.search: run(images, scene.ctf, search)


@pytest.fixture(scope="module")
def found(scene, find) -> PoseEstimate:
    return find(scene.images)


@pytest.fixture(scope="module")
def find_near(scene):
    around = jnp.asarray(rotations_within(np.radians(20), np.radians(8)), jnp.float32)

    @jax.jit
    def run(images, ctf, starts, search) -> PoseEstimate:
        one = partial(
            search_pose_near, around=around, config=scene.config, pixel_size=1.5, prior=PRIOR
        )
        return jax.lax.map(
            lambda each: one(each[0], each[1], each[2], search=search), (images, ctf, starts)
        )

    return lambda images, starts: run(images, scene.ctf, starts, scene.search)


def perturbed(truth: Pose, degrees: float, angstrom: float) -> Pose:
    rng = np.random.default_rng(4)
    axis = rng.normal(size=(IMAGES, 3))
    axis *= np.radians(degrees) / np.linalg.norm(axis, axis=1, keepdims=True)
    rotation = Rotation.from_rotvec(axis).as_matrix() @ np.asarray(truth.rotation)
    shift = truth.shift + angstrom * rng.normal(size=(IMAGES, 2))
    return Pose(
        jnp.asarray(rotation, jnp.float32), jnp.asarray(shift, jnp.float32), jnp.ones(IMAGES)
    )


def degrees_off(pose: Pose, truth: Pose) -> np.ndarray:
    cosine = (np.einsum("nij,nij->n", pose.rotation, truth.rotation) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_poses_are_found_from_nothing(scene, found):
    """As near as the noise lets anyone: 2.1 degrees in the median, from the truth."""
    error = degrees_off(found.pose, scene.truth)
    assert np.median(error) < 3
    assert error.max() < 10
    away = np.linalg.norm(found.pose.shift - scene.truth.shift, axis=1)
    assert np.median(away) < 0.7
    np.testing.assert_allclose(found.pose.scale.mean(), 1, atol=0.05)


def test_shifts_are_sought_around_a_given_one(scene, found):
    """Of particles at the border of their images, with few shifts."""
    away = jnp.asarray([14.0, -12.0])
    near = scene.truth.shift - away
    near += jnp.asarray(np.random.default_rng(5).normal(size=near.shape), jnp.float32)
    few = scene.search._replace(shifts=jnp.asarray(shift_grid(4.0, 2.0), jnp.float32))
    assert np.linalg.norm(near, axis=1).min() > 2 * np.linalg.norm(few.shifts, axis=1).max()

    @jax.jit
    def run(images, ctf, starts) -> PoseEstimate:
        def one(each):
            image, optics, start = each
            moved = shift_image(image, away, pixel_size=1.5)
            space = {"pixel_size": 1.5, "prior": PRIOR, "start": start}
            return search_pose(moved, optics, few, scene.config, **space)

        return jax.lax.map(one, (images, ctf, starts))

    again = run(scene.images, scene.ctf, near)
    assert np.median(degrees_off(again.pose, found.pose)) < 0.5
    error = np.linalg.norm(again.pose.shift - (scene.truth.shift - away), axis=1)
    assert np.median(error) < 0.7


def test_the_search_knows_how_sure_it_is(scene, found):
    error = np.radians(degrees_off(found.pose, scene.truth))
    assert np.median(found.probability) > 0.95
    stated = np.sqrt(np.mean(np.minimum(found.rotation_deviation, 0.3) ** 2))
    assert 0.7 < np.sqrt(np.mean(error**2)) / stated < 1.4
    assert (found.evidence < found.log_likelihood).all()
    assert (found.evidence > 5).all()


def test_nothing_is_not_found(scene, find, found):
    lost = find(scene.noise)
    assert np.median(lost.probability) < 0.3
    assert np.median(np.degrees(lost.rotation_deviation)) > 60
    assert float(lost.evidence.max()) < float(found.evidence.min())
    # Rings begin at shell 1: how much noise is at the origin does not matter.
    louder = scene.search._replace(noise=scene.search.noise.at[0].multiply(1e6))
    np.testing.assert_allclose(find(scene.noise, louder).evidence, lost.evidence, atol=1e-3)


def test_evidence_is_a_mean_over_shifts_and_not_their_best(scene, find):
    """Of images without particle, whose posterior lies in the grid."""
    place = {"config": scene.config, "pixel_size": 1.5, "prior": PRIOR}

    @jax.jit
    def of_grid(images, ctf, search):
        def one(each):
            scores = score_orientations(*each, search, **place)
            kinds = scores.marginal, scores.score
            return [jax.nn.logsumexp(s) - jnp.log(s.size) for s in kinds]

        return jax.lax.map(one, (images, ctf))

    mean, best = (np.asarray(v) for v in of_grid(scene.noise, scene.ctf, scene.search))
    found = np.asarray(find(scene.noise).evidence)
    away = np.median(abs(found - mean))
    assert away < 0.25 * np.median(best - mean)
    assert np.median(best - mean) > 0.5


def test_poses_are_found_near_given_ones(scene, find_near):
    start = perturbed(scene.truth, 10, 1)
    near = find_near(scene.images, start)
    error = degrees_off(near.pose, scene.truth)
    assert np.median(error) < 3
    assert error.max() < 10
    away = np.linalg.norm(near.pose.shift - scene.truth.shift, axis=1)
    assert np.median(away) < 0.7
    assert np.median(near.probability) > 0.95


def test_a_given_shift_only_moves_the_image(scene, find_near):
    """The prior is about the given shift, however far from the centre that is."""
    start = perturbed(scene.truth, 10, 1)
    pixels = np.array([-7, 5])
    moved = jnp.roll(scene.images, (-pixels[1], -pixels[0]), axis=(1, 2))
    away = start._replace(shift=start.shift + jnp.asarray(1.5 * pixels, jnp.float32))
    here, there = find_near(scene.images, start), find_near(moved, away)
    np.testing.assert_allclose(
        there.pose.shift - 1.5 * pixels, here.pose.shift, atol=0.02, err_msg="shift"
    )
    np.testing.assert_allclose(there.log_likelihood, here.log_likelihood, atol=0.1)
    np.testing.assert_allclose(there.evidence, here.evidence, atol=0.1)
    np.testing.assert_allclose(there.probability, here.probability, atol=0.02)


def test_evidence_near_a_pose_is_a_mean_over_the_neighbourhood(scene, found, find_near):
    """Where the posterior lies inside, its integral is that over all rotations."""
    start = perturbed(scene.truth, 5, 0)
    near = find_near(scene.images, start._replace(shift=0 * start.shift))
    cells = len(rotations_within(np.radians(20), np.radians(8)))
    share = cells * np.radians(8) ** 3 / (8 * np.pi**2)
    sure = np.asarray(found.probability > 0.99)
    assert sure.sum() > 20
    gained = (near.evidence - found.evidence)[sure]
    assert float(np.median(gained)) == pytest.approx(-np.log(share), abs=0.1)
    assert (near.probability[sure] > 0.98).mean() > 0.95


def test_within_half_a_turn_of_a_pose_is_everywhere(scene, found):
    """Cells of a lattice of vectors are smaller as rotations, the farther from the given pose."""
    around = jnp.asarray(rotations_within(np.pi, np.radians(18)), jnp.float32)
    sure = np.flatnonzero(found.probability > 0.99)[:6]
    images, optics, truth = (
        jax.tree.map(lambda a: a[sure], part) for part in (scene.images, scene.ctf, scene.truth)
    )
    start = truth._replace(rotation=truth.rotation[::-1], shift=0 * truth.shift)

    @jax.jit
    def run(images, ctf, starts, search) -> PoseEstimate:
        one = partial(
            search_pose_near, around=around, config=scene.config, pixel_size=1.5, prior=PRIOR
        )
        return jax.lax.map(
            lambda each: one(each[0], each[1], each[2], search=search), (images, ctf, starts)
        )

    near = run(images, optics, start, scene.search)
    assert np.median(degrees_off(near.pose, truth)) < 3
    np.testing.assert_allclose(near.evidence, found.evidence[sure], atol=0.15)


def test_rounds_keep_the_best_and_the_others_follow(scene):
    config = SearchConfig(coarse=12, radii=(8, 16), kept=(6, 2), steps=(2, 3))
    # The poses of other images: every one leads to a maximum of its own.
    rotation = scene.truth.rotation[:6]
    empty = jnp.zeros(6)
    candidates = Candidates(rotation, jnp.zeros((6, 2)), jnp.ones(6), empty, empty)

    @jax.jit
    def refine(image, ctf, search):
        place = {"pixel_size": 1.5, "prior": PRIOR}
        return refine_candidates(image, ctf, candidates, search, config, **place)

    ctf = jax.tree.map(lambda a: a[0], scene.ctf)
    modes = refine(scene.images[0], ctf, scene.search)
    values = np.asarray(modes.log_likelihood)
    # Two go on to higher frequencies, which tell more; four stay behind; both are in order.
    assert values.shape == (6,)
    assert values[0] >= values[1]
    assert (np.diff(values[2:]) <= 0).all()
    assert values[1] > values[2]
    turned = np.diagonal(modes.covariance, axis1=1, axis2=2)[:, :3].sum(axis=1)
    assert turned[:2].max() < turned[2:].min()
    # Every candidate is still there: none twice, none dropped.
    cosine = (np.einsum("aij,bij->ab", modes.pose.rotation, modes.pose.rotation) - 1) / 2
    assert (cosine + 2 * -np.eye(6)).max() < np.cos(np.radians(10))
    best, truth = (jax.tree.map(lambda a: a[:1], pose) for pose in (modes.pose, scene.truth))
    assert degrees_off(best, truth)[0] < 10


@settings(deadline=None, max_examples=200)
@given(st.floats(50, 2000), st.floats(0.02, 0.45), st.integers(4, 200))
def test_a_plan_goes_from_coarse_to_the_finest(field, share, finest):
    radius = share * field
    config = plan_search(field=field, radius=radius, finest=finest)
    assert config.radii[-1] == finest
    assert config.inner <= config.coarse <= config.radii[0] <= finest
    assert all(a < b <= 2.01 * a for a, b in zip(config.radii, config.radii[1:], strict=False))
    assert len(config.radii) == len(config.kept) == len(config.steps)
    assert all(a >= b for a, b in zip(config.kept, config.kept[1:], strict=False))
    # Candidates cost what their frequencies do: a round has four times the points of the last.
    assert all(a <= 4 * b + 3 for a, b in zip(config.kept, config.kept[1:], strict=False))
    # Where nothing limits it, the grid follows 0.7 of a period at the rim.
    if 6 < config.coarse < min(24, finest):
        turned = config.coarse / field * radius * config_spacing(config.order)
        assert turned == pytest.approx(0.7, rel=0.09)


def config_spacing(order: int) -> float:
    return np.radians(orientation_spacing_degrees(order))


def test_the_reach_of_a_mode_is_half_a_spacing():
    config = SearchConfig(order=3, inner=2, coarse=10)
    assert config.spacing == pytest.approx(np.radians(58.6 / 8), rel=1e-3)
    assert config.own_reach == pytest.approx(config.spacing / 2)
    assert (config.grid.inner, config.grid.outer) == (2, 10)


def test_a_search_holds_all_turns_of_all_views(scene):
    assert scene.search.rotations.shape == (192 * scene.config.grid.turns, 3, 3)
    assert scene.search.bank.series.shape[1:] == (192, 12)


def test_no_product_is_left_to_the_precision_of_an_accelerator(scene):
    one = partial(search_pose, config=scene.config, pixel_size=1.5, prior=PRIOR)
    optics = jax.tree.map(lambda values: values[0], scene.ctf)
    program = str(jax.make_jaxpr(one)(scene.images[0], optics, scene.search))
    assert program.count("dot_general[") >= 8
    # Systems of six equations are solved by themselves.
    assert program.count("precision=None") == 0
