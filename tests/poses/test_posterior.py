from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from scipy.special import logsumexp

from cryojax_graph.geometry import spiral_rotations, symmetry_rotations
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.grids import lattice_weights, rotations_within, unknown_deviation
from cryojax_graph.poses.posterior import estimate_of_modes
from cryojax_graph.poses.refine import Pose, Prior, RefinedPose, refine_pose

CELLS = spiral_rotations(3000)
GRID = jnp.asarray(CELLS, jnp.float32)
# Without prior knowledge the angle to the truth is distributed as (1 - cos ω) / π.
LOST = np.sqrt(np.pi**2 / 3 + 2)
REACH = 0.2
PRIOR = Prior(0.25)
SPREAD = np.array([0.05, 0.04, 0.02, 0.3, 0.2, 0.1])


def modes_at(rotations: np.ndarray, log_likelihood, covariance=None) -> RefinedPose:
    n = len(rotations)
    covariance = np.diag(SPREAD**2) if covariance is None else covariance
    pose = Pose(
        jnp.asarray(rotations, jnp.float32),
        jnp.asarray(np.arange(2 * n).reshape(n, 2), jnp.float32),
        jnp.ones(n),
    )
    many = np.broadcast_to(covariance, (n, 6, 6))
    return RefinedPose(
        pose, jnp.asarray(log_likelihood, jnp.float32), jnp.asarray(many, jnp.float32)
    )


estimate = jax.jit(partial(estimate_of_modes, prior=PRIOR, reach=REACH))
NOTHING = jnp.full(len(GRID), -1e4)


def log_mass(log_likelihood: float) -> float:
    """Of a mode: its Gaussian's integral times the density of the prior, 5 of 6 dimensions."""
    volume = 2.5 * np.log(2 * np.pi) + np.log(SPREAD[:5]).sum()
    return log_likelihood + volume + np.log(0.25 / (2 * np.pi)) - np.log(8 * np.pi**2)


def turned(degrees: float, about=(0.0, 0.0, 1.0)) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(degrees) * np.asarray(about)).as_matrix()


def test_one_certain_mode():
    found = estimate(modes_at(np.eye(3)[None], [80.0]), NOTHING, GRID)
    assert float(found.probability) == pytest.approx(1)
    trace = (SPREAD[:3] ** 2).sum()
    assert float(found.rotation_deviation) == pytest.approx(np.sqrt(trace), rel=1e-3)
    assert float(found.evidence) == pytest.approx(log_mass(80), abs=1e-3)
    assert float(found.log_likelihood) == 80
    np.testing.assert_allclose(found.covariance, np.diag(SPREAD**2), rtol=1e-5, atol=1e-9)


def test_equal_modes_share():
    rotations = np.stack([np.eye(3), turned(60)])
    found = estimate(modes_at(rotations, [50.0, 50.0]), NOTHING, GRID)
    assert float(found.probability) == pytest.approx(0.5, abs=1e-4)
    square = (SPREAD[:3] ** 2).sum() + 0.5 * np.radians(60) ** 2
    assert float(found.rotation_deviation) == pytest.approx(np.sqrt(square), rel=1e-3)
    assert float(found.evidence) == pytest.approx(log_mass(50) + np.log(2), abs=1e-3)


def test_odds_are_those_of_masses():
    """Twice as wide in one direction is twice as heavy; the highest is not the most probable."""
    rotations = np.stack([np.eye(3), turned(60), turned(150, (1.0, 0, 0))])
    covariance = np.stack([np.diag(SPREAD**2)] * 3)
    covariance[1, 0, 0] *= 16**2
    found = estimate(modes_at(rotations, [50.5, 50.0, 48.0], covariance), NOTHING, GRID)
    weights = np.array([np.exp(0.5), 16.0, np.exp(-2)])
    assert float(found.probability) == pytest.approx(16 / weights.sum(), rel=1e-3)
    np.testing.assert_allclose(found.pose.rotation, rotations[1], atol=1e-6)
    np.testing.assert_array_equal(found.pose.shift, [2, 3])
    assert float(found.log_likelihood) == 50
    assert float(found.covariance[0, 0]) == pytest.approx((16 * SPREAD[0]) ** 2, rel=1e-4)


def test_the_width_in_contrast_is_no_volume():
    wide = np.diag(SPREAD**2)
    wide[5, 5] *= 100
    one = np.eye(3)[None]
    narrow = estimate(modes_at(one, [50.0]), NOTHING, GRID)
    assert float(estimate(modes_at(one, [50.0], wide), NOTHING, GRID).evidence) == pytest.approx(
        float(narrow.evidence), abs=1e-4
    )


def test_a_mode_without_slopes_holds_no_more_than_all_poses():
    """A candidate of contrast 0 explains nothing: its evidence is that of an empty image."""
    nothing = np.diag(np.full(6, 1e6))
    found = estimate(modes_at(np.eye(3)[None], [0.0], nothing), NOTHING, GRID)
    assert float(found.evidence) == pytest.approx(0.0, abs=1e-5)
    beside = estimate(
        modes_at(
            np.stack([np.eye(3), turned(90)]), [0.0, 30.0], np.stack([nothing, np.diag(SPREAD**2)])
        ),
        NOTHING,
        GRID,
    )
    assert float(beside.probability) > 0.99
    np.testing.assert_allclose(beside.pose.rotation, turned(90), atol=1e-6)


def test_poses_that_differ_by_a_symmetry_are_one():
    operators = symmetry_rotations("D2")
    rotation = turned(70, (0.48, 0.6, 0.64))
    slightly = turned(0.5 * np.degrees(REACH), (0.0, 1.0, 0.0))
    rotations = np.stack([rotation, slightly @ rotation @ operators[2], turned(50)])
    modes = modes_at(rotations, [50.0, 49.0, 10.0])
    # The rest of the grid near an equivalent pose belongs to the mode as well.
    near = jnp.where(jnp.arange(len(GRID)) == 0, 60.0, NOTHING)
    grid = GRID.at[0].set(jnp.asarray(rotation @ operators[1], jnp.float32))
    found = estimate(modes, near, grid, operators=jnp.asarray(operators, jnp.float32))
    assert float(found.probability) == pytest.approx(1.0, abs=1e-4)
    assert float(found.rotation_deviation) == pytest.approx(
        np.sqrt((SPREAD[:3] ** 2).sum()), rel=1e-3
    )
    assert float(found.evidence) == pytest.approx(log_mass(50), abs=1e-3)
    assert float(estimate(modes, near, grid).probability) < 0.9


def test_a_duplicate_counts_once_and_the_heavier_one_stays():
    near = 0.9 * np.degrees(REACH)
    rotations = np.stack([turned(near), np.eye(3), np.eye(3), turned(90)])
    found = estimate(modes_at(rotations, [49.0, 50.0, 50.0, 50.0]), NOTHING, GRID)
    assert float(found.probability) == pytest.approx(0.5, abs=1e-4)
    assert float(found.evidence) == pytest.approx(log_mass(50) + np.log(2), abs=1e-3)
    apart = np.stack([turned(1.05 * np.degrees(REACH)), np.eye(3)])
    two = estimate(modes_at(apart, [50.0, 50.0]), NOTHING, GRID)
    assert float(two.probability) == pytest.approx(0.5, abs=1e-4)


def test_of_nothing_little_is_known():
    found = estimate(modes_at(np.eye(3)[None], [0.0]), jnp.zeros(len(GRID)), GRID)
    assert float(found.probability) < 1e-4
    assert float(found.rotation_deviation) == pytest.approx(LOST, rel=0.01)
    inside = np.mean(np.arccos((np.trace(CELLS, axis1=1, axis2=2) - 1) / 2) < REACH)
    assert float(found.evidence) == pytest.approx(np.log(1 - inside), abs=1e-3)


@pytest.mark.parametrize("symmetry", ["C1", "D2", "O"])
def test_a_mode_that_has_outgrown_the_rotations_says_that_all_are_possible(symmetry):
    operators = symmetry_rotations(symmetry)
    wide = np.diag([30.0, 30.0, 30.0, 0.1, 0.1, 0.1])
    found = estimate(
        modes_at(np.eye(3)[None], [0.0], wide),
        NOTHING,
        GRID,
        operators=jnp.asarray(operators, jnp.float32),
    )
    # All differ from the identity by the smallest of the angles to its equivalents.
    traces = np.einsum("nij,oij->no", CELLS, operators).max(axis=1)
    expected = np.sqrt(np.mean(np.arccos(np.clip((traces - 1) / 2, -1, 1)) ** 2))
    assert float(found.rotation_deviation) == pytest.approx(expected, rel=0.01)
    assert unknown_deviation(CELLS, operators) == pytest.approx(expected, rel=1e-6)


def test_of_a_rotation_within_an_angle_the_lattice_tells_what_is_unknown():
    around = rotations_within(np.radians(20), np.radians(2))
    # Within a ball of rotation vectors the mean square is three fifths of the radius squared.
    expected = np.sqrt(3 / 5) * np.radians(20)
    assert unknown_deviation(around, np.eye(3)[None]) == pytest.approx(expected, rel=0.03)
    assert unknown_deviation(CELLS, np.eye(3)[None]) == pytest.approx(LOST, rel=0.01)


def test_a_lattice_of_all_rotations_knows_as_little_as_a_grid_of_them():
    around = rotations_within(np.pi, 0.2)
    weights = np.asarray(lattice_weights(jnp.asarray(around)))
    assert unknown_deviation(around, np.eye(3)[None], weights) == pytest.approx(LOST, rel=0.01)
    # Their vectors fill a ball evenly; the rotations do not.
    assert unknown_deviation(around, np.eye(3)[None]) > 1.04 * LOST
    lattice = jnp.asarray(around, jnp.float32)
    empty = modes_at(np.eye(3)[None], [-1e4])
    found = estimate(empty, jnp.zeros(len(around)), lattice, weights=jnp.asarray(weights))
    grid = estimate(empty, jnp.zeros(len(GRID)), GRID)
    assert float(found.rotation_deviation) == pytest.approx(
        float(grid.rotation_deviation), rel=0.01
    )
    assert float(found.evidence) == pytest.approx(float(grid.evidence), abs=1e-3)


def test_points_of_a_grid_count_by_the_rotations_that_they_stand_for():
    level, first, second = log_mass(50), 1500, 2500
    weights = jnp.ones(len(GRID)).at[second].set(3.0)
    scores = NOTHING.at[first].set(level).at[second].set(level)
    total = float(weights.sum())
    found = estimate(modes_at(CELLS[:1], [50.0]), scores, GRID, weights=weights)
    assert float(found.evidence) == pytest.approx(level + np.log1p(4 / total), abs=1e-3)


@pytest.mark.parametrize(("degrees", "counts"), [(8.0, False), (40.0, True)])
def test_grid_points_count_outside_the_modes_only(degrees, counts):
    angles = np.degrees(np.arccos(np.clip((np.trace(CELLS, axis1=1, axis2=2) - 1) / 2, -1, 1)))
    number = abs(angles - degrees).argmin()
    assert (angles[number] < np.degrees(REACH)) != counts
    level = log_mass(50)
    # As heavy as the mode, if one cell stands for its share of the rotations.
    scores = NOTHING.at[number].set(level + np.log(len(GRID)))
    found = estimate(modes_at(np.eye(3)[None], [50.0]), scores, GRID)
    assert float(found.probability) == pytest.approx(0.5 if counts else 1.0, abs=1e-3)
    square = (SPREAD[:3] ** 2).sum() * (0.5 if counts else 1)
    square += 0.5 * np.radians(angles[number]) ** 2 * counts
    assert float(found.rotation_deviation) == pytest.approx(np.sqrt(square), rel=2e-3)


def test_a_point_next_to_any_mode_is_that_mode():
    rotations = np.stack([np.eye(3), CELLS[100] @ turned(5)])
    scores = NOTHING.at[100].set(1e3)
    found = estimate(modes_at(rotations, [50.0, 45.0]), scores, GRID)
    assert float(found.evidence) == pytest.approx(
        np.logaddexp(log_mass(50), log_mass(45)), abs=1e-2
    )


def test_the_evidence_is_the_integral_of_the_likelihood(particle, ctf):
    """By importance sampling in five dimensions, contrast at its best, Haar measure included."""
    band = fourier_band(particle.box, 1, 14)
    noise = jnp.full(17, 1e-4)
    rotation = jnp.asarray(Rotation.random(random_state=5).as_matrix(), jnp.float32)
    shift = jnp.array([1.5, -1.0])
    image = particle.image(rotation, shift, ctf)
    image += 0.01 * jax.random.normal(jax.random.key(6), image.shape)
    seen = observe(image, ctf, noise, band, pixel_size=particle.pixel_size)
    project = particle.project(band)
    refined = jax.jit(partial(refine_pose, project, band=band, field=particle.field, prior=PRIOR))(
        seen, start=Pose(rotation, shift, jnp.ones(()))
    )
    found = estimate(jax.tree.map(lambda a: a[None], refined), NOTHING, GRID)

    covariance = np.asarray(refined.covariance, float)[:5, :5]
    rng = np.random.default_rng(7)
    root = 1.3 * np.linalg.cholesky(covariance)
    normal = rng.normal(size=(4000, 5))
    off = normal @ root.T
    log_density = -0.5 * (normal**2).sum(1) - 2.5 * np.log(2 * np.pi)
    log_density -= np.log(np.diag(root)).sum()
    turns = Rotation.from_rotvec(off[:, :3]).as_matrix() @ np.asarray(refined.pose.rotation)
    shifts = np.asarray(refined.pose.shift) + off[:, 3:]
    waves = jnp.asarray(np.stack([band.kx, band.ky]) / particle.field, jnp.float32)

    @jax.jit
    def log_likelihoods(turns, shifts):
        def one(pair):
            phase = jnp.exp(2j * jnp.pi * (pair[1] @ waves))
            predicted = seen.transfer * phase * project(pair[0])
            overlap = jnp.sum(seen.weight * (predicted * seen.spectrum.conj()).real)
            power = jnp.sum(seen.weight * jnp.abs(predicted) ** 2)
            return 0.5 * jnp.maximum(overlap, 0) ** 2 / power

        return jax.lax.map(one, (turns, shifts), batch_size=100)

    log_likelihood = np.asarray(
        log_likelihoods(jnp.asarray(turns, jnp.float32), jnp.asarray(shifts, jnp.float32)), float
    )
    angle = np.linalg.norm(off[:, :3], axis=1)
    haar = np.log(2 * (1 - np.cos(angle)) / angle**2 / (8 * np.pi**2))
    prior = np.log(0.25 / (2 * np.pi)) - 0.125 * (shifts**2).sum(axis=1)
    integral = logsumexp(log_likelihood + haar + prior - log_density) - np.log(len(off))
    assert log_likelihood.max() > 20
    assert float(found.evidence) == pytest.approx(integral, abs=0.2)
