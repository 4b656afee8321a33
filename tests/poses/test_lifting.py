import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry import geodesic_distance, spiral_rotations
from cryojax_graph.poses.lifting import (
    esl_loss,
    esl_rotation,
    esl_support,
    posterior_rotation,
    project_to_simplex,
    restrict_to_mode,
)

GRID = spiral_rotations(1821)
SPACING = np.radians(16.0)


def simplex_oracle(values: np.ndarray) -> np.ndarray:
    """The threshold by bisection, float64."""
    low, high = values.max() - 1.0, values.max()
    for _ in range(200):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.maximum(values - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(values - 0.5 * (low + high), 0)


def weights_oracle(data_fit: np.ndarray, points: float, eta: float) -> np.ndarray:
    """The published steps on the whole grid, float64."""
    n = len(data_fit)
    count = min(int(np.floor(points * n ** ((2 - 3 * eta) / 5) + 1e-9)), n - 1)
    ordered = np.sort(data_fit)
    rise = ordered[count] - ordered[:count].mean()
    strength = 0.5 * points * n ** ((2 + 2 * eta) / 5) * rise + 1e-16
    return simplex_oracle(-(n**eta) / strength * data_fit)


def dense(support, n: int) -> np.ndarray:
    weights = np.zeros(n)
    weights[np.asarray(support.index)] = np.asarray(support.weight)
    return weights


def angles_degrees(rotation: np.ndarray, grid: np.ndarray = GRID) -> np.ndarray:
    trace = np.einsum("ij,nij->n", rotation, grid)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def fit_around(rotation: np.ndarray, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Quadratic near the truth and bounded far from it, as image distances are."""
    clean = 1 - np.exp(-0.5 * (angles_degrees(rotation) / 15) ** 2)
    return clean + noise * np.random.default_rng(seed).standard_normal(len(GRID))


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=40))
def test_projection_to_the_simplex(values):
    found = np.asarray(project_to_simplex(jnp.asarray(values, jnp.float32)))
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(), 1, atol=1e-5)
    np.testing.assert_allclose(found, simplex_oracle(np.float32(values).astype(float)), atol=1e-4)
    np.testing.assert_allclose(project_to_simplex(jnp.asarray(found)), found, atol=1e-5)


@pytest.mark.parametrize(("points", "eta"), [(15.0, 2 / 3), (15.0, 0.6), (8.0, 0.5)])
def test_weights_are_the_published_ones(points, eta):
    data_fit = fit_around(Rotation.random(random_state=1).as_matrix(), noise=0.02)
    support = esl_support(jnp.asarray(data_fit, jnp.float32), points=points, eta=eta)
    np.testing.assert_allclose(
        dense(support, len(GRID)), weights_oracle(data_fit, points, eta), atol=2e-4
    )


def test_a_support_has_about_ten_points():
    """9.7 to 10.1 ± 1.7 as published, 9.0 to 9.4 where we measured it."""
    truths = Rotation.random(100, random_state=2).as_matrix()
    fits = np.stack([np.radians(angles_degrees(truth)) ** 2 for truth in truths])
    supports = jax.vmap(esl_support)(jnp.asarray(fits, jnp.float32))
    sizes = (np.asarray(supports.weight) > 0).sum(axis=1)
    assert 8.0 < sizes.mean() < 11.0
    assert sizes.max() < 20


@settings(max_examples=20, deadline=None)
@given(st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_weights_know_neither_unit_nor_zero_of_the_fit(factor, constant):
    data_fit = fit_around(np.eye(3), noise=0.05)
    first = dense(esl_support(jnp.asarray(data_fit, jnp.float32)), len(GRID))
    scaled = jnp.asarray(factor * (data_fit + constant), jnp.float32)
    # The constant costs digits of the difference, as it would any program.
    np.testing.assert_allclose(dense(esl_support(scaled), len(GRID)), first, atol=5e-3)


def test_the_barycentre_is_closer_than_the_best_point():
    truths = Rotation.random(50, random_state=3).as_matrix()
    fits = np.stack([fit_around(truth, noise=0.01, seed=i) for i, truth in enumerate(truths)])
    rotations = jnp.asarray(GRID, jnp.float32)
    found = jax.jit(jax.vmap(lambda fit: esl_rotation(esl_support(fit), rotations)))(
        jnp.asarray(fits, jnp.float32)
    )
    pairs = zip(truths, np.asarray(found), GRID[fits.argmin(axis=1)], strict=True)
    mean, best = np.transpose(
        [[angles_degrees(truth, r[None])[0] for r in (one, other)] for truth, one, other in pairs]
    )
    assert np.median(mean) < 0.5 * np.median(best)


def test_the_gradient_leaves_the_weights_alone():
    data_fit = jnp.asarray(fit_around(np.eye(3), noise=0.05), jnp.float32)

    def loss(fit):
        return esl_loss(fit, esl_support(fit))

    np.testing.assert_allclose(
        jax.grad(loss)(data_fit), dense(esl_support(data_fit), len(GRID)), atol=1e-6
    )


def test_a_mode_keeps_out_the_others():
    rotations = jnp.asarray(GRID, jnp.float32)
    near, far = GRID[10], GRID[10] @ Rotation.from_rotvec([0, 0, np.pi]).as_matrix()
    both = np.minimum(fit_around(near), 1e-3 + fit_around(far))
    data_fit = jnp.asarray(both, jnp.float32)
    plain = esl_rotation(esl_support(data_fit), rotations)
    inside = restrict_to_mode(data_fit, rotations, radius=2 * SPACING)
    alone = esl_rotation(esl_support(inside), rotations)
    to_near = jax.vmap(lambda r: geodesic_distance(jnp.asarray(near, jnp.float32), r))
    angles = np.degrees(to_near(jnp.stack([plain, alone])))
    assert angles[1] < 5 < angles[0]


def test_a_mode_of_few_points_has_weights_all_the_same():
    rotations = jnp.asarray(GRID, jnp.float32)
    data_fit = jnp.asarray(fit_around(GRID[5]), jnp.float32)
    inside = restrict_to_mode(data_fit, rotations, radius=1.1 * SPACING)
    assert 1 < np.isfinite(inside).sum() < 15
    support = esl_support(inside)
    weights = dense(support, len(GRID))
    np.testing.assert_allclose(weights.sum(), 1, atol=1e-5)
    assert weights[~np.isfinite(np.asarray(inside))].max() == 0
    assert np.isfinite(esl_loss(inside, support))


def test_the_posterior_mean_of_one_point_is_that_point():
    log_posterior = jnp.full(len(GRID), -1e4).at[77].set(0.0)
    found = posterior_rotation(log_posterior, jnp.asarray(GRID, jnp.float32))
    np.testing.assert_allclose(found, GRID[77], atol=1e-5)


@pytest.mark.parametrize(("points", "eta"), [(15.0, 0.26), (15.0, 0.4), (70.0, 2 / 3)])
def test_supports_of_many_points_are_exact_too(points, eta):
    data_fit = (angles_degrees(Rotation.random(random_state=5).as_matrix()) / 15) ** 2
    expected = weights_oracle(data_fit, points, eta)
    assert np.sum(expected > 0) > 25
    found = dense(esl_support(jnp.asarray(data_fit), points=points, eta=eta), len(GRID))
    np.testing.assert_allclose(found, expected, atol=2e-4)


@pytest.mark.parametrize(("points", "eta"), [(15.0, 0.2), (15.0, 0.7), (0.5, 2 / 3)])
def test_settings_out_of_range_are_refused(points, eta):
    with pytest.raises(ValueError, match=r"eta|support"):
        esl_support(jnp.zeros(200), points=points, eta=eta)
