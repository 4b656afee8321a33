"""Ascents and peaks on fields whose maxima are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.fields import (
    climb,
    fit_fourier,
    fit_spline,
    merge_summits,
    select_peaks,
    symmetric_eigenvalues,
    uphill_step,
    voxel_grid,
)

VOXEL = np.array([0.7, 0.8, 0.6])
ORIGIN = np.array([10.0, -5.0, 2.0])
GRID = voxel_grid(ORIGIN, VOXEL)
ATOMS = ORIGIN + np.array([[5.0, 5.0, 5.0], [7.2, 5.3, 5.1], [8.0, 9.0, 6.0]])
HEIGHTS = np.array([1.0, 0.8, 0.6])


up = jax.jit(climb, static_argnames="longest")
spline = jax.jit(fit_spline, static_argnames="degree")
eigenvalues_of = jax.jit(symmetric_eigenvalues)
step_of = jax.jit(uphill_step)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    z, y, x = np.indices((19, 17, 18))
    points = ORIGIN + np.stack([x, y, z], -1) * VOXEL
    square = ((points[..., None, :] - ATOMS) ** 2).sum(-1)
    return (HEIGHTS * np.exp(-square / (2 * 0.85**2))).sum(-1).astype(np.float32)


@pytest.fixture(scope="module")
def found(volume):
    mask = volume > 0.1
    starts = jnp.asarray(ORIGIN + np.argwhere(mask)[:, ::-1] * VOXEL, jnp.float32)
    summits = up(spline(jnp.asarray(volume), GRID, degree=5), starts, longest=0.3)
    return summits, merge_summits(summits, mask, volume, distance=0.2)


def test_every_ascent_arrives_and_ends_no_lower_than_it_began(found, volume):
    summits, _ = found
    assert summits.arrived.all()
    assert (summits.field.value >= volume[volume > 0.1] - 1e-5).all()


def test_peaks_are_the_atoms_highest_first(found):
    _, peaks = found
    assert len(peaks) == 3
    # Tails of the others move a maximum a little towards them.
    np.testing.assert_allclose(peaks.position, ATOMS, atol=0.15)
    assert (np.diff(peaks.value) < 0).all()
    assert (peaks.gradient_norm < 1e-3).all()
    assert (peaks.eigenvalues[:, 2] < 0).all()
    assert (np.diff(peaks.eigenvalues, axis=1) >= 0).all()


def test_prominence_is_the_height_above_the_pass(found, volume):
    _, peaks = found
    line = ATOMS[0] + np.linspace(0, 1, 400)[:, None] * (ATOMS[1] - ATOMS[0])
    square = ((line[:, None] - ATOMS) ** 2).sum(-1)
    saddle = (HEIGHTS * np.exp(-square / (2 * 0.85**2))).sum(-1)[40:360].min()
    # The pass is looked for on voxels: within what the density changes from one to the next.
    exact = peaks.value[1] - saddle
    assert exact - 0.01 < peaks.prominence[1] < exact + 0.12
    floor = volume[volume > 0.1].min()
    np.testing.assert_allclose(peaks.prominence[0], peaks.value[0] - floor, rtol=1e-5)


def test_every_voxel_drains_into_one_peak(found, volume):
    _, peaks = found
    assert peaks.voxels.sum() == (volume > 0.1).sum()
    some = select_peaks(peaks, np.array([True, False, True]))
    np.testing.assert_array_equal(some.position, peaks.position[[0, 2]])


def test_flat_ground_has_no_peak():
    field = spline(jnp.zeros((9, 9, 9)), voxel_grid(np.zeros(3), np.ones(3)))
    starts = jnp.asarray(np.random.default_rng(0).uniform(1, 7, (20, 3)), jnp.float32)
    summits = up(field, starts, longest=0.5)
    assert not summits.arrived.any()
    np.testing.assert_array_equal(summits.position, starts)
    mask = np.arange(27).reshape(3, 3, 3) < 20
    peaks = merge_summits(summits, mask, np.zeros((3, 3, 3)), distance=0.2)
    assert len(peaks) == 0


@given(seed=st.integers(0, 10_000), scale=st.sampled_from([1e-6, 1.0, 1e4]))
@settings(max_examples=30, deadline=None)
def test_eigenvalues_are_those_of_numpy(seed, scale):
    matrix = scale * np.random.default_rng(seed).normal(size=(3, 3)).astype(np.float32)
    matrix = matrix + matrix.T
    found = eigenvalues_of(jnp.asarray(matrix))
    np.testing.assert_allclose(found, np.linalg.eigvalsh(matrix), atol=2e-3 * scale)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=30, deadline=None)
def test_a_step_leads_uphill_and_is_not_too_long(seed):
    rng = np.random.default_rng(seed)
    gradient, hessian = rng.normal(size=3), rng.normal(size=(3, 3))
    step = np.asarray(
        step_of(
            jnp.asarray(gradient, jnp.float32),
            jnp.asarray(hessian + hessian.T, jnp.float32),
            longest=0.3,
        )
    )
    assert step @ gradient > 0
    assert np.linalg.norm(step) < 0.3001


def test_near_the_top_it_is_newtons_step():
    hessian = -jnp.asarray(np.diag([1.0, 2.0, 3.0]) + 0.2, jnp.float32)
    gradient = jnp.array([0.01, -0.02, 0.03])
    exact = -np.linalg.solve(np.asarray(hessian), np.asarray(gradient))
    np.testing.assert_allclose(step_of(gradient, hessian, longest=1.0), exact, rtol=1e-4)


def test_equal_curvatures_are_no_trouble():
    for matrix in (jnp.zeros((3, 3)), -2.0 * jnp.eye(3)):
        np.testing.assert_allclose(eigenvalues_of(matrix), np.diag(np.asarray(matrix)), atol=1e-6)
    step = step_of(jnp.zeros(3), jnp.zeros((3, 3)), longest=1.0)
    assert not np.asarray(step).any()
    assert jnp.isfinite(jax.jacfwd(lambda g: uphill_step(g, jnp.eye(3), longest=1.0))(step)).all()


def test_where_density_ends_on_the_way_up_there_is_no_summit():
    """Beyond the faces a field is 0: every step over one is refused, however short."""
    z, y, x = np.indices((14, 15, 16))
    # Repeated along x, the highest place is between the last voxel and the first.
    along = (x + 0.4 + 8) % 16 - 8
    volume = np.exp(-(along**2 + (y - 7.3) ** 2 + (z - 6.8) ** 2) / 18).astype(np.float32)
    field = jax.jit(fit_fourier)(jnp.asarray(volume), voxel_grid(np.zeros(3), np.ones(3)))
    starts = np.argwhere((volume > 0.3) & (x < 4))[:, ::-1]
    summits = up(field, jnp.asarray(starts, jnp.float32), longest=0.5)
    assert np.asarray(summits.position)[:, 0].max() < 0
    assert not summits.arrived.any()


def test_what_mirrors_a_map_has_a_summit_where_it_ends():
    """Which is for those who know the map to leave out."""
    z, y, x = np.indices((14, 15, 16))
    volume = np.exp(-((x + 2.0) ** 2 + (y - 7.3) ** 2 + (z - 6.8) ** 2) / 18).astype(np.float32)
    field = spline(jnp.asarray(volume), voxel_grid(np.zeros(3), np.ones(3)))
    starts = jnp.asarray(np.argwhere(volume > 0.3)[:, ::-1], jnp.float32)
    summits = up(field, starts, longest=0.5)
    arrived = np.asarray(summits.arrived)
    steep = np.linalg.norm(np.asarray(summits.field.gradient)[arrived], axis=1)
    assert steep.max(initial=0.0) < 1e-3
    np.testing.assert_allclose(np.asarray(summits.position)[arrived, 0], -0.5, atol=1e-2)
