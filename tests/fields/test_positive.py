"""Non-negative Gaussians beside the true density between voxels."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.fields import (
    fit_atoms,
    fit_masses,
    fit_positive,
    fit_spline,
    query,
    upsample,
    voxel_grid,
)

VOXEL = 0.8


def density(points: np.ndarray, atoms: np.ndarray, sigma: float) -> np.ndarray:
    square = ((points[:, None] - atoms) ** 2).sum(-1)
    return np.exp(-square / (2 * sigma**2)).sum(1)


@pytest.fixture(scope="module")
def simulated():
    """Atoms in a box at three voxels per resolution, where a grid is aliased, and points in it."""
    rng = np.random.default_rng(0)
    atoms = rng.uniform(4, 8, (12, 3))
    z, y, x = np.indices(SHAPE)
    voxels = np.stack([x, y, z], -1).reshape(-1, 3) * VOXEL
    points = rng.uniform(4, 8, (2000, 3))
    sigma = 0.675 * VOXEL
    volume = density(voxels, atoms, sigma).reshape(SHAPE).astype(np.float32)
    return volume, points, density(points, atoms, sigma)


GRID = voxel_grid(np.zeros(3), np.full(3, VOXEL))
SHAPE = (15, 16, 17)
positive, spline, masses_of = map(jax.jit, (fit_positive, fit_spline, fit_masses))
sample = jax.jit(query)


def test_it_is_nearer_to_the_truth_than_the_spline_by_half(simulated):
    volume, points, truth = simulated
    errors = [
        np.abs(sample(fit(jnp.asarray(volume), GRID), jnp.asarray(points, jnp.float32)) - truth)
        for fit in (positive, spline)
    ]
    assert errors[0].mean() < 0.5 * errors[1].mean()


def test_where_the_noise_is_known_it_is_nearer_to_the_truth_than_the_map(simulated):
    volume, points, truth = simulated
    noise = 0.08 * volume.max()
    noisy = volume + np.random.default_rng(6).normal(size=SHAPE).astype(np.float32) * noise
    at = jnp.asarray(points, jnp.float32)
    denoised, followed, interpolated = (
        np.std(sample(fit(jnp.asarray(noisy), GRID), at) - truth)
        for fit in (jax.jit(partial(fit_positive, noise=noise)), positive, spline)
    )
    assert denoised < 0.8 * followed
    assert denoised < 0.8 * interpolated


@pytest.fixture(scope="module")
def in_solvent():
    """Atoms with noise in the middle of a box of solvent, and points among them."""
    rng = np.random.default_rng(7)
    atoms = rng.uniform(13, 19, (20, 3))
    z, y, x = np.indices((32, 32, 32))
    volume = density(np.stack([x, y, z], -1).reshape(-1, 3), atoms, 1.0).reshape(x.shape)
    points = rng.uniform(13, 19, (1000, 3))
    truth = density(points, atoms, 1.0)
    noise = 0.25 * truth.std()
    noisy = (volume + noise * rng.normal(size=volume.shape)).astype(np.float32)
    return noisy, points, truth, noise


def denoised_in(noisy, points, noise, *, cut=0, level=0.0):
    """At the points by the field of a part of the map, another density added to all of it."""
    part = noisy[(slice(cut, len(noisy) - cut),) * 3] + np.float32(level)
    grid = voxel_grid(np.full(3, float(cut)), np.ones(3))
    field = closely(jnp.asarray(part), grid, noise=noise, level=level)
    return np.asarray(sample(field, jnp.asarray(points, jnp.float32))) - level


closely = jax.jit(fit_positive)


def test_how_much_solvent_is_around_the_density_changes_nothing_in_it(in_solvent):
    noisy, points, truth, noise = in_solvent
    tight, wide = (denoised_in(noisy, points, noise, cut=cut) for cut in (8, 0))
    assert np.std(wide - tight) < 0.02 * noise
    # The fit ends although noise below the solvent stays unexplained: at its last step it is 0.78.
    assert max(np.std(tight - truth), np.std(wide - truth)) < 0.7 * noise


@pytest.mark.parametrize("shift", [-1.0, 1.0])
def test_a_constant_added_to_the_map_is_added_to_the_field(in_solvent, shift):
    noisy, points, _, noise = in_solvent
    plain, raised = (
        denoised_in(noisy, points, noise, cut=8, level=level) for level in (0.0, shift * noise)
    )
    np.testing.assert_allclose(raised, plain, atol=0.01 * noise)


def test_no_noise_is_a_field_through_every_voxel(simulated):
    at = jnp.asarray(simulated[1][:200], jnp.float32)
    volume = jnp.asarray(simulated[0]).at[3, 4, 5].set(-0.2)
    none = sample(jax.jit(partial(fit_positive, noise=0.0))(volume, GRID), at)
    np.testing.assert_allclose(none, sample(positive(volume, GRID), at), atol=1e-5)


def test_it_goes_through_every_voxel_whatever_the_map():
    volume = np.random.default_rng(1).normal(size=SHAPE).astype(np.float32)
    index = np.stack(np.indices(volume.shape), -1).reshape(-1, 3)
    points = jnp.asarray(index[:, ::-1] * VOXEL, jnp.float32)
    found = sample(positive(jnp.asarray(volume), GRID), points)
    np.testing.assert_allclose(found, volume.ravel(), atol=2e-4)


def test_where_a_map_is_negative_it_is_no_worse_than_the_spline():
    """Band-limited noise has no floor that is known, and the voxels say all that there is."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.fftn(rng.normal(size=(48, 48, 48)))
    frequency = np.sqrt(sum(k**2 for k in np.meshgrid(*[np.fft.fftfreq(48)] * 3)))
    fine = np.fft.ifftn(np.where(frequency < 0.18, spectrum, 0)).real.astype(np.float32)
    between = rng.integers(8, 40, (2000, 3))
    points = jnp.asarray(between[:, ::-1] * VOXEL / 2, jnp.float32)
    truth = fine[tuple(between.T)]
    voxels = jnp.asarray(fine[::2, ::2, ::2])
    ours, other = (
        np.abs(sample(f(voxels, GRID), points) - truth).mean() for f in (positive, spline)
    )
    assert ours < other


def test_a_part_of_a_map_has_the_field_of_the_whole():
    volume = np.random.default_rng(4).normal(size=(33, 18, 18)).astype(np.float32)
    points = np.random.default_rng(5).uniform(9, 14, (200, 3)) * VOXEL
    whole = sample(positive(jnp.asarray(volume), GRID), jnp.asarray(points, jnp.float32))
    part = sample(positive(jnp.asarray(volume[:23]), GRID), jnp.asarray(points, jnp.float32))
    assert np.abs(part - whole).max() < 0.01 * np.ptp(volume)


def test_density_that_goes_through_a_face_is_known_there_too(simulated):
    """A map cut through its atoms: points within two voxels of the cut."""
    volume, points, truth = simulated
    cut = jnp.asarray(volume[8:])
    grid = voxel_grid(np.array([0, 0, 8 * VOXEL]), np.full(3, VOXEL))
    near = (points[:, 2] > 8 * VOXEL) & (points[:, 2] < 10 * VOXEL)
    at = jnp.asarray(points[near], jnp.float32)
    ours, other = (
        np.abs(sample(f(cut, grid), at) - truth[near]).mean() for f in (positive, spline)
    )
    assert ours < other


def test_heights_are_not_negative_and_explain_a_positive_map(simulated):
    volume = simulated[0]
    masses = np.asarray(masses_of(jnp.asarray(volume)))
    assert masses.shape == tuple(2 * n for n in volume.shape)
    assert masses.min() >= 0
    assert not np.asarray(masses_of(jnp.asarray(-volume))).any()


def test_map_units_and_empty_maps(simulated):
    volume, points, _ = simulated
    at = jnp.asarray(points[:50], jnp.float32)
    one = sample(positive(jnp.asarray(volume), GRID), at)
    other = sample(positive(jnp.asarray(1e-4 * volume), GRID), at)
    np.testing.assert_allclose(other, 1e-4 * one, rtol=1e-3, atol=1e-8)
    assert not np.asarray(sample(positive(jnp.zeros(SHAPE), GRID), at)).any()


@pytest.mark.parametrize("level", [None, 0.1])
def test_the_field_is_differentiable_by_the_map(simulated, level):
    with jax.enable_x64(True):
        noise, other = jnp.asarray(np.random.default_rng(2).normal(size=(2, 8, 8, 8)))
        # Some negative, none 0, where the floor has a kink.
        volume = jnp.asarray(simulated[0][4:12, 4:12, 4:12], jnp.float64) + 0.1 * noise
        grid = jax.tree.map(lambda a: a.astype(jnp.float64), GRID)
        point = jnp.array([2.1, 3.3, 2.7])

        @jax.jit
        def value(step):
            return fit_positive(volume + step * other, grid, noise=level).value(point)

        expected = (value(1e-6) - value(-1e-6)) / 2e-6
        slope = float(jax.jit(jax.grad(value))(0.0))
        assert slope == pytest.approx(float(expected), rel=1e-3)


def test_atoms_that_merged_part_again():
    z, y, x = np.indices((16, 16, 20))
    places = np.array([[7.2, 8.1, 7.6], [9.3, 8.3, 8.0]])
    square = ((np.stack([x, y, z], -1)[..., None, :] - places) ** 2).sum(-1)
    volume = np.exp(-square / (2 * 1.1**2)).sum(-1).astype(np.float32)
    grid = voxel_grid(np.zeros(3), np.ones(3))
    line = places[0] + np.linspace(-0.5, 1.5, 201)[:, None] * (places[1] - places[0])

    def tops(field) -> np.ndarray:
        along = np.asarray(query(field, jnp.asarray(line, jnp.float32)))
        inner = (along[1:-1] > along[:-2]) & (along[1:-1] > along[2:])
        return line[1:-1][inner]

    assert len(tops(jax.jit(fit_spline)(jnp.asarray(volume), grid))) == 1
    field = jax.jit(partial(fit_atoms, width=1.1, drawn=0.8))(jnp.asarray(volume), grid)
    parted = tops(field)
    assert len(parted) == 2
    # Nearer to each other than they are, but on their own sides.
    assert np.linalg.norm(parted - places, axis=1).max() < 0.5


def test_a_single_atom_is_drawn_narrower_and_as_high():
    z, y, x = np.indices((17, 17, 17))
    volume = 2.0 * np.exp(-((x - 8) ** 2 + (y - 8) ** 2 + (z - 8) ** 2) / 2.0).astype(np.float32)
    grid = voxel_grid(np.zeros(3), np.ones(3))
    field = jax.jit(partial(fit_atoms, width=1.0, drawn=0.8))(jnp.asarray(volume), grid)
    height = float(field.value(jnp.full(3, 8.0)))
    # Not all of it: some mass stays beside the middle.
    assert 0.8 * 2.0 < height < 2.0
    assert float(upsample(field, 1).sum()) / 8 == pytest.approx(
        0.8**3 * float(volume.sum()), rel=0.1
    )


def test_an_atom_is_round_in_voxels_that_are_not_cubes():
    z, y, x = np.indices((13, 25, 25))
    square = (x - 12) ** 2 + (y - 12) ** 2 + (2.0 * (z - 6)) ** 2
    volume = np.exp(-square / (2 * 1.8**2)).astype(np.float32)
    grid = voxel_grid(np.zeros(3), np.array([1.0, 1.0, 2.0]))
    widths = {"width": (0.9, 1.8, 1.8), "drawn": (0.7, 1.4, 1.4)}
    field = jax.jit(partial(fit_atoms, **widths))(jnp.asarray(volume), grid)
    bend = np.asarray(jax.jit(jax.hessian(field.value))(jnp.full(3, 12.0)))
    assert bend[2, 2] < 0
    assert bend[2, 2] == pytest.approx(bend[0, 0], rel=0.1)
