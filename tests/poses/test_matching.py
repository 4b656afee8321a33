from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp

from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.image import log_likelihood, map_spectrum
from cryojax_graph.forward.noise import noise_power
from cryojax_graph.geometry import matrix_from_euler_degrees
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.grids import (
    covered_volume,
    grid_rotations,
    lattice_weights,
    rotations_within,
    shift_grid,
)
from cryojax_graph.poses.matching import (
    GridScores,
    PolarImage,
    ViewBank,
    best_contrast,
    best_of_grid,
    contrast_score,
    grid_scores,
    near_candidates,
    polar_image,
    view_bank,
)
from cryojax_graph.poses.polar import PolarGrid, polar_grid
from cryojax_graph.poses.reference import Reference
from cryojax_graph.poses.refine import Pose, Prior

GRID = polar_grid(1, 12)
VIEWS = np.array([[10.0, 20, 0], [100, 80, 0], [200, 130, 0], [300, 60, 0]])
# The third view turned by the seventh angle, shifted by the sixth shift.
VIEW, TURN, SHIFT = 2, 7, 5
PRIORS = [Prior(0.0, 0.0), Prior(30.0, 0.0), Prior(30.0, 25.0)]


class Scene(NamedTuple):
    """One noisy image, and what it is matched with."""

    reference: Reference
    bank: ViewBank
    image: jax.Array
    polar: PolarImage
    noise: jax.Array
    shifts: jax.Array


@pytest.fixture(scope="module")
def scene(particle, ctf) -> Scene:
    reference = particle.reference()
    views = jax.vmap(matrix_from_euler_degrees)(jnp.asarray(VIEWS, jnp.float32))
    shifts = jnp.asarray(shift_grid(4.0, 2.0), jnp.float32)
    noise = jnp.asarray(1e-5 * (1 + 1 / np.arange(1, 18)), jnp.float32)
    rotation = grid_rotations(views, GRID.turns)[VIEW * GRID.turns + TURN]
    image = 0.7 * particle.image(rotation, shifts[SHIFT], ctf)
    image += 0.0035 * jax.random.normal(jax.random.key(0), image.shape)
    bank = jax.jit(partial(view_bank, grid=GRID))(reference, views)
    prepare = jax.jit(partial(polar_image, grid=GRID, pixel_size=particle.pixel_size))
    polar = prepare(image, ctf, noise[1:13])
    return Scene(reference, bank, image, polar, noise, shifts)


@pytest.fixture(scope="module")
def score(particle, scene):
    run = jax.jit(partial(grid_scores, grid=GRID, field=particle.field))
    return lambda shifts, prior: run(scene.polar, scene.bank, shifts, prior=prior)


@pytest.fixture(scope="module")
def gains(particle, ctf, scene) -> np.ndarray:
    """Overlap and power of every view, turn and shift with whole images, (2, shift, view, turn)."""
    power = noise_power(scene.noise, box=particle.box)
    seen = to_spectrum(scene.image).at[0, 0].set(0.0)

    def overlap_and_power(rotation, shift):
        place = {"box": particle.box, "pixel_size": particle.pixel_size}
        predicted = map_spectrum(scene.reference.volume, rotation, shift, ctf, **place)
        # Beyond the rings there is noise in the image; the particle ends there.
        predicted = predicted.at[0, 0].set(0.0)
        empty, one, two = (log_likelihood(predicted, seen, power, s) for s in (0.0, 1.0, 2.0))
        return 2 * one - 0.5 * two - 1.5 * empty, 2 * one - two - empty

    rotations = grid_rotations(scene.bank.rotation, GRID.turns)
    every = jax.vmap(lambda s: jax.lax.map(lambda r: overlap_and_power(r, s), rotations))
    found = np.stack(jax.jit(every)(scene.shifts))
    return found.reshape(2, len(scene.shifts), len(VIEWS), GRID.turns).astype(float)


def log_posterior(gains: np.ndarray, shifts: np.ndarray, prior: Prior) -> np.ndarray:
    """At the best of many contrasts, for every shift."""
    overlap, power = gains
    best = np.full(overlap.shape, -np.inf)
    for scale in np.linspace(0, 4, 401):
        value = scale * overlap - 0.5 * scale**2 * power - 0.5 * prior.contrast * (scale - 1) ** 2
        best = np.maximum(best, value)
    return best - 0.5 * prior.shift * (shifts**2).sum(axis=1)[:, None, None]


@pytest.mark.parametrize("prior", PRIORS)
def test_scores_are_log_likelihoods_of_whole_images(scene, score, gains, prior):
    shifts = np.asarray(scene.shifts, float)
    expected = log_posterior(gains, shifts, prior)
    found = score(scene.shifts, prior)
    # The quadrature over rings is good to a few per cent.
    tolerance = 0.04 * expected.max()
    assert expected.max() > 100
    np.testing.assert_allclose(found.score, expected.max(axis=0), atol=tolerance)
    mean = logsumexp(expected, axis=0) - logsumexp(-0.5 * prior.shift * (shifts**2).sum(axis=1))
    np.testing.assert_allclose(found.marginal, mean, atol=tolerance)
    where = np.unravel_index(np.asarray(found.score).argmax(), found.score.shape)
    if not prior.shift:
        assert where == (VIEW, TURN)
        best = best_of_grid(found, scene.bank, scene.shifts, count=1, prior=prior)
        np.testing.assert_array_equal(best.shift[0], scene.shifts[SHIFT])
        assert 0.6 < float(best.scale[0]) < 0.85


@pytest.mark.parametrize("prior", PRIORS)
def test_each_shift_alone_scores_as_among_the_others(scene, score, gains, prior):
    """Also of shifts that are not the best, with signs of their own."""
    shifts = np.asarray(scene.shifts, float)
    expected = log_posterior(gains, shifts, prior)
    alone = [score(scene.shifts[n : n + 1], prior) for n in range(len(shifts))]
    scores = np.stack([s.score for s in alone])
    np.testing.assert_allclose(scores, expected, atol=0.04 * expected.max())
    together = score(scene.shifts, prior)
    np.testing.assert_allclose(together.score, scores.max(axis=0), rtol=1e-3, atol=0.01)
    overlap = np.stack([s.overlap[0] for s in alone])
    np.testing.assert_allclose(together.overlap, overlap, rtol=1e-3, atol=1e-3 * overlap.max())
    far = -0.5 * prior.shift * (shifts**2).sum(axis=1)
    mean = logsumexp(scores, axis=0) - logsumexp(far)
    np.testing.assert_allclose(together.marginal, mean, rtol=1e-3, atol=0.01)
    # The mean over a single shift is that shift, wherever it lies.
    np.testing.assert_allclose(alone[4].marginal, scores[4] - far[4], rtol=1e-3, atol=0.01)


numbers = st.floats(-50, 50, width=32)


@settings(deadline=None, max_examples=50)
@given(numbers, st.floats(0.125, 50, width=32), st.floats(0, 50, width=32))
def test_the_best_contrast_is_the_maximum_of_its_score(overlap, power, precision):
    overlap, power = jnp.asarray(overlap, jnp.float32), jnp.asarray(power, jnp.float32)
    scale = best_contrast(overlap, power, precision)
    best = float(contrast_score(overlap, power, scale, precision))
    tried = np.concatenate([np.linspace(0, 3, 301), float(scale) * np.linspace(0.9, 1.1, 21)])
    values = tried * float(overlap) - 0.5 * tried**2 * float(power)
    values -= 0.5 * precision * (tried - 1) ** 2
    assert float(scale) >= 0
    assert best >= values.max() - 1e-4 * (1 + abs(values).max())
    expected = float(scale) * float(overlap) - 0.5 * float(scale) ** 2 * float(power)
    expected -= 0.5 * precision * (float(scale) - 1) ** 2
    assert best == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_nothing_to_match_leaves_the_contrast_to_its_prior():
    zero = jnp.zeros(())
    assert float(best_contrast(zero, zero, 9.0)) == pytest.approx(1.0)
    assert float(best_contrast(zero, zero, 0.0)) == 0.0
    assert float(contrast_score(zero, zero, jnp.ones(()), 9.0)) == 0.0


def test_candidates_are_the_maxima_along_the_turns_in_order(scene):
    rng = np.random.default_rng(3)
    turns = 12
    smooth = rng.normal(size=(4, turns))
    overlap = rng.uniform(5, 20, (len(scene.shifts), 4, turns))
    power = rng.uniform(8, 12, (4, turns))
    scores = GridScores(
        jnp.asarray(smooth, jnp.float32),
        jnp.asarray(smooth + 100, jnp.float32),
        jnp.asarray(overlap, jnp.float32),
        jnp.asarray(power, jnp.float32),
    )
    prior = Prior(shift=0.5, contrast=4.0)
    contrast = (overlap + 4.0) / (power + 4.0)
    value = contrast * overlap - 0.5 * contrast**2 * power - 2.0 * (contrast - 1) ** 2
    value -= 0.25 * (np.asarray(scene.shifts) ** 2).sum(axis=1)[:, None, None]
    peaks = [
        (smooth[v, t], v, t)
        for v in range(4)
        for t in range(turns)
        if smooth[v, t] == max(smooth[v, (t + np.arange(-1, 2)) % turns])
    ]
    peaks = sorted(peaks, reverse=True)
    found = best_of_grid(scores, scene.bank, scene.shifts, count=len(peaks), prior=prior)
    np.testing.assert_allclose(found.score, [p[0] for p in peaks], rtol=1e-6)
    np.testing.assert_allclose(found.marginal, [p[0] + 100 for p in peaks], rtol=1e-6)
    for n, (_, v, t) in enumerate(peaks):
        angles = VIEWS[v] + [0, 0, 360 * t / turns]
        expected = matrix_from_euler_degrees(jnp.asarray(angles, jnp.float32))
        np.testing.assert_allclose(found.rotation[n], expected, atol=1e-5)
        best = value[:, v, t].argmax()
        np.testing.assert_array_equal(found.shift[n], scene.shifts[best])
        assert float(found.scale[n]) == pytest.approx(contrast[best, v, t], rel=1e-5)


def test_a_plateau_is_one_maximum(scene):
    flat = jnp.zeros((4, 12)).at[1, 4].set(3.0).at[1, 5].set(3.0).at[2, 0].set(2.0)
    scores = GridScores(flat, flat, jnp.zeros((len(scene.shifts), 4, 12)), flat)
    found = best_of_grid(scores, scene.bank, scene.shifts, count=2, prior=PRIORS[0])
    np.testing.assert_array_equal(found.score, [3.0, 2.0])


def test_a_grid_of_few_orientations_gives_as_many_candidates(scene):
    """One view at twelve angles, as of D99, where a large image asks for 48."""
    rising = jnp.arange(12.0)[None]
    scores = GridScores(rising, rising, jnp.ones((len(scene.shifts), 1, 12)), jnp.ones((1, 12)))
    one = scene.bank._replace(rotation=scene.bank.rotation[:1])
    found = best_of_grid(scores, one, scene.shifts, count=48, prior=PRIORS[0])
    assert found.rotation.shape == (12, 3, 3)
    assert float(found.score[0]) == 11.0


def test_the_best_of_the_grid_is_the_simulated_pose(scene, score):
    scores = score(scene.shifts, PRIORS[0])
    found = best_of_grid(scores, scene.bank, scene.shifts, count=4, prior=PRIORS[0])
    expected = grid_rotations(scene.bank.rotation, GRID.turns)[VIEW * GRID.turns + TURN]
    np.testing.assert_allclose(found.rotation[0], expected, atol=1e-5)
    np.testing.assert_array_equal(found.shift[0], scene.shifts[SHIFT])
    assert (np.diff(found.score) <= 0).all()


def test_a_large_image_is_matched_as_a_small_one(ctf):
    """What lies beyond the last ring is cut off first, which shows at its border only."""
    position = np.arange(48) - 24
    window = np.exp(-0.5 * (position / 7) ** 2)
    rough = np.random.default_rng(4).normal(size=(48, 48)) * window * window[:, None]
    image = jnp.asarray(rough, jnp.float32)
    few, many = (
        jax.jit(partial(polar_image, grid=grid, pixel_size=1.5))(image, ctf, jnp.ones(grid.rings))
        for grid in (PolarGrid(1, 6, 40), PolarGrid(1, 20, 40))
    )
    size = float(jnp.abs(few.overlap).max())
    np.testing.assert_allclose(few.overlap, many.overlap[:6], atol=0.04 * size)
    np.testing.assert_allclose(few.power, many.power[:6], rtol=1e-5)


@pytest.mark.parametrize("prior", PRIORS)
def test_candidates_around_a_pose_score_as_whole_images(particle, ctf, scene, prior):
    band = fourier_band(particle.box, 1.0, 16.0)
    see = jax.jit(partial(observe, band=band, pixel_size=particle.pixel_size))
    observed = see(scene.image, ctf, scene.noise)
    around = jnp.asarray(rotations_within(0.3, 0.15), jnp.float32)
    truth = grid_rotations(scene.bank.rotation, GRID.turns)[VIEW * GRID.turns + TURN]
    number, moved = 9, 3
    # The truth is the start turned by one of the rotations and shifted by one of the shifts.
    start = Pose(around[number].T @ truth, scene.shifts[SHIFT] - scene.shifts[moved], jnp.ones(()))
    found = jax.jit(
        partial(near_candidates, particle.project(band), band=band, field=particle.field)
    )(observed, start=start, around=around, shifts=scene.shifts, prior=prior)
    power = noise_power(scene.noise, box=particle.box)
    seen = to_spectrum(scene.image)

    def gain(rotation, shift):
        predicted = to_spectrum(particle.image(rotation, shift, ctf))
        empty, one, two = (log_likelihood(predicted, seen, power, s) for s in (0.0, 1.0, 2.0))
        return 2 * one - 0.5 * two - 1.5 * empty, 2 * one - two - empty

    rotations = around @ start.rotation
    every = jax.vmap(lambda s: jax.vmap(lambda r: gain(r, s))(rotations))
    gains = np.stack(jax.jit(every)(start.shift + scene.shifts)).astype(float)
    shifts = np.asarray(scene.shifts, float)
    expected = log_posterior(gains[..., None], shifts, prior)[..., 0]
    np.testing.assert_allclose(found.score, expected.max(axis=0), rtol=0.01, atol=0.5)
    mean = logsumexp(expected, axis=0) - logsumexp(-0.5 * prior.shift * (shifts**2).sum(axis=1))
    np.testing.assert_allclose(found.marginal, mean, rtol=0.01, atol=0.5)
    np.testing.assert_allclose(found.rotation, rotations, atol=1e-5)
    if not prior.shift:
        assert int(found.score.argmax()) == number
        np.testing.assert_allclose(found.shift[number], scene.shifts[SHIFT], atol=1e-5)


@pytest.mark.parametrize(("reach", "spacing"), [(0.0, 0.2), (0.3, 0.15), (0.5, 0.21)])
def test_rotations_around_one(reach, spacing):
    found = rotations_within(reach, spacing)
    lattice = np.stack(np.meshgrid(*3 * [np.arange(-6, 7) * spacing]), -1).reshape(-1, 3)
    length = np.linalg.norm(lattice, axis=1)
    assert len(found) == (length <= reach * (1 + 1e-9)).sum()
    np.testing.assert_allclose(found[0], np.eye(3), atol=1e-6)
    vectors = Rotation.from_matrix(found).as_rotvec()
    steps = vectors / spacing
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    assert len(np.unique(np.rint(steps), axis=0)) == len(found)
    assert (np.linalg.norm(vectors, axis=1) <= reach + 1e-4).all()


def test_every_rotation_within_reach_has_a_neighbour():
    found = rotations_within(0.4, 0.1)
    rng = np.random.default_rng(5)
    ways = rng.normal(size=(50, 3))
    ways *= 0.35 * rng.uniform(size=(50, 1)) ** (1 / 3) / np.linalg.norm(ways, axis=1)[:, None]
    targets = Rotation.from_rotvec(ways).as_matrix()
    traces = np.einsum("aij,bij->ab", targets, found)
    between = np.arccos(np.clip((traces - 1) / 2, -1, 1))
    assert float(between.min(axis=1).max()) < 0.5 * np.sqrt(3) * 0.1


@pytest.mark.parametrize(("reach", "spacing"), [(0.6, 0.1), (2.0, 0.15), (np.pi, 0.15)])
def test_a_lattice_covers_a_ball_of_rotations(reach, spacing):
    """Of 8 π² radians³ where all are within reach, and not of a ball of vectors, of 130."""
    around = jnp.asarray(rotations_within(reach, spacing), jnp.float32)
    expected = 8 * np.pi * (reach - np.sin(reach))
    assert float(covered_volume(around)) == pytest.approx(expected, rel=0.06)
    angle = Rotation.from_matrix(around).magnitude()
    smaller = np.sin(angle / 2) / np.maximum(angle / 2, 1e-9)
    np.testing.assert_allclose(lattice_weights(around)[1:], smaller[1:] ** 2, rtol=1e-4)
    assert float(lattice_weights(around)[0]) == 1.0


def test_a_rotation_without_neighbours_stands_for_all():
    assert float(covered_volume(jnp.eye(3)[None])) == pytest.approx(8 * np.pi**2)


def test_the_grid_holds_every_view_at_every_psi():
    views = jax.vmap(matrix_from_euler_degrees)(jnp.asarray(VIEWS, jnp.float32))
    found = np.asarray(grid_rotations(views, 8)).reshape(4, 8, 3, 3)
    for view, turn in [(0, 0), (1, 3), (3, 7)]:
        angles = jnp.asarray(VIEWS[view] + [0, 0, 45 * turn], jnp.float32)
        np.testing.assert_allclose(found[view, turn], matrix_from_euler_degrees(angles), atol=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.1, 10), st.floats(0.8, 5))
def test_shifts_fill_a_disc(reach, step):
    shifts = shift_grid(reach, step)
    np.testing.assert_array_equal(shifts[0], 0)
    length = np.linalg.norm(shifts, axis=1)
    assert length.max() == pytest.approx(reach)
    between = np.linalg.norm(shifts[:, None] - shifts, axis=-1) + 1e9 * np.eye(len(shifts))
    assert between.min(axis=1).max() <= step * (1 + 1e-9)
    assert between.min() > 0.45 * min(step, reach)
    # A disc, not a part of one: the corners of its cells cover its area.
    spacing = between.min()
    assert len(shifts) >= np.pi * max(reach / spacing - np.sqrt(0.5), 0) ** 2


def test_without_reach_there_is_one_shift():
    np.testing.assert_array_equal(shift_grid(0.0, 1.0), np.zeros((1, 2)))
