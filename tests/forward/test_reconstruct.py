"""Insertion of slices and the map that is solved from them."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.fourier import to_image, to_spectrum
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.reconstruct import (
    _inside,
    back_project,
    complete_sums,
    insert_slices,
    no_slices,
    shell_weights,
    solve_map,
    sums_of_map,
    symmetrize_sums,
)
from cryojax_graph.forward.slices import slice_spectrum, volume_spectrum
from cryojax_graph.geometry import symmetry_rotations

insert = jax.jit(insert_slices)
complete = jax.jit(complete_sums)
solve = jax.jit(solve_map, static_argnames="box")
adjoint = jax.jit(back_project, static_argnames="padding")


def rotations(count, seed=0):
    return jnp.asarray(Rotation.random(count, random_state=seed).as_matrix(), jnp.float32)


@partial(jax.jit, static_argnames="padding")
def project(volume, rotation, padding=2, voxel_size=1.0):
    spectrum = volume_spectrum(volume, padding=padding, voxel_size=voxel_size)
    slices = jax.vmap(lambda r: slice_spectrum(spectrum, r, box=volume.shape[0]))(rotation)
    return jax.vmap(to_image)(slices)


@jax.jit
def spectra(images):
    return jax.vmap(to_spectrum)(images)


def particle(box, seed=0):
    """Blobs inside the sphere of the box, without symmetry."""
    rng = np.random.default_rng(seed)
    u = np.arange(box) - box // 2
    volume = np.zeros((box,) * 3)
    for x, y, z in rng.uniform(-1, 1, (10, 3)) * box / 6:
        square = (u[:, None, None] - z) ** 2 + (u[:, None] - y) ** 2 + (u - x) ** 2
        volume += np.exp(-square / (2 * 1.6**2))
    return jnp.asarray(volume, jnp.float32)


def correlation(first, second):
    return float(np.corrcoef(np.ravel(first), np.ravel(second))[0, 1])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10**6), box=st.sampled_from([12, 13]), padding=st.sampled_from([1, 2]))
def test_back_projection_is_the_adjoint_of_projection(seed, box, padding):
    rng = np.random.default_rng(seed)
    volume = jnp.asarray(rng.normal(size=(box,) * 3), jnp.float32)
    images = jnp.asarray(rng.normal(size=(2, box, box)), jnp.float32)
    rotation = rotations(2, seed)
    there = np.asarray(project(volume, rotation, padding, 1.5), np.float64)
    back = np.asarray(adjoint(images, rotation, padding=padding, voxel_size=1.5), np.float64)
    scale = np.linalg.norm(there) * np.linalg.norm(images)
    assert abs((there * images).sum() - (volume * back).sum()) < 1e-5 * scale


def oracle_sums(data, weights, rotation, box, padding):
    """Insertion coefficient by coefficient into the whole spectrum, in float64."""
    size = padding * box
    whole = np.zeros((size + 2,) * 3, complex)
    total = np.zeros((size + 2,) * 3)
    for datum, weight, matrix in zip(data, weights, np.asarray(rotation, np.float64), strict=True):
        for row in range(box):
            for kx in range(box // 2 + 1):
                ky = (row + box // 2) % box - box // 2
                if kx**2 + ky**2 > (box // 2) ** 2:
                    continue
                for sign in (1, -1):
                    point = sign * padding * (kx * matrix[0] + ky * matrix[1])
                    low = np.floor(point).astype(int)
                    value = datum[row, kx] if sign > 0 else datum[row, kx].conj()
                    # Column 0 holds both signs already.
                    half = 0.5 if kx == 0 else 1.0
                    for corner in np.ndindex(2, 2, 2):
                        place = low + corner
                        near = np.prod(1 - np.abs(point - place)) * half
                        index = tuple((place + size // 2) % (size + 2))[::-1]
                        whole[index] += near * value
                        total[index] += near * weight[row, kx]
    return whole[:size, :size, size // 2 : size], total[:size, :size, size // 2 : size]


def test_sums_equal_those_of_a_loop_over_coefficients():
    box, padding, rng = 8, 2, np.random.default_rng(1)
    data = np.asarray(spectra(jnp.asarray(rng.normal(size=(3, box, box)), jnp.float32)))
    weights = np.broadcast_to(rng.random((3, 1, box // 2 + 1)), (3, box, box // 2 + 1))
    rotation = rotations(3)
    sums = insert(
        no_slices(box, padding=padding), data, jnp.asarray(weights, jnp.float32), rotation
    )
    found = complete(sums)
    expected, total = oracle_sums(data, weights, rotation, box, padding)
    inside = (slice(1, None), slice(1, None))
    columns = expected.shape[2]
    np.testing.assert_allclose(found.data[:-1, :-1, :columns][inside], expected[inside], atol=2e-5)
    np.testing.assert_allclose(found.weight[:-1, :-1, :columns][inside], total[inside], atol=2e-5)


@pytest.mark.parametrize(
    ("box", "padding", "least", "off"),
    [(32, 2, 0.999, 0.02), (33, 2, 0.999, 0.02), (32, 1, 0.99, 0.08)],
)
def test_projections_give_the_map_again(box, padding, least, off):
    volume, rotation = particle(box), rotations(400)
    images = project(volume, rotation)
    ones = jnp.ones((len(images), box, box // 2 + 1))
    sums = insert(no_slices(box, padding=padding), spectra(images), ones, rotation)
    found = solve(complete(sums), box=box)
    ball = soft_sphere(box, radius=box / 2 - 3, edge=3.0)
    assert correlation(found * ball, volume) > least
    scale = float(jnp.vdot(found * ball, volume) / jnp.vdot(volume, volume))
    assert abs(scale - 1) < off


@pytest.mark.parametrize("count", [20, 200])
def test_finer_padding_is_no_worse(count):
    box = 12
    volume, rotation = particle(box), rotations(count)
    data = spectra(project(volume, rotation))
    off = []
    for padding in (1, 2, 3):
        sums = insert(no_slices(box, padding=padding), data, jnp.ones(data.shape), rotation)
        found = solve(complete(sums), box=box)
        ball = soft_sphere(box, radius=box / 2 - 2, edge=2.0)
        off.append(float(jnp.linalg.norm((found - volume) * ball)))
    assert off[2] < 1.3 * off[1] < 1.3 * off[0]


def test_a_weight_counts_as_so_many_images():
    box, rotation = 16, rotations(2)
    data = spectra(project(particle(box), rotation))
    ones = jnp.ones((2, box, box // 2 + 1))
    twice = insert(no_slices(box), data[:, None].repeat(2, 1).reshape(4, box, -1),
                   jnp.ones((4, box, box // 2 + 1)), jnp.repeat(rotation, 2, axis=0))  # fmt: skip
    weighed = insert(no_slices(box), 2 * data, 2 * ones, rotation)
    np.testing.assert_allclose(twice.values, weighed.values, atol=1e-3)


@pytest.mark.parametrize("group", ["D2", "C4"])
def test_operators_that_map_the_grid_to_itself_are_exact(group):
    box, rotation = 16, rotations(5)
    operators = symmetry_rotations(group)
    data = spectra(project(particle(box), rotation))
    ones = jnp.ones((5, box, box // 2 + 1))
    symmetric = jax.jit(partial(symmetrize_sums, operators=operators))(
        complete(insert(no_slices(box), data, ones, rotation))
    )
    every = jnp.einsum("nij,ojk->onik", rotation, operators).reshape(-1, 3, 3)
    copies = len(operators)
    expected = complete(
        insert(
            no_slices(box), jnp.tile(data, (copies, 1, 1)), jnp.tile(ones, (copies, 1, 1)), every
        )
    )
    assert float(symmetric.smoothed) == 0
    along = np.arange(33) - 16
    square = along[:, None, None] ** 2 + along[:, None] ** 2 + np.arange(18) ** 2
    for found, wanted in zip(symmetric[:2], expected[:2], strict=True):
        inside = square < 15**2
        np.testing.assert_allclose(
            found * inside, wanted * inside, atol=2e-5 * np.abs(wanted).max()
        )


@pytest.mark.parametrize("group", ["C3", "T"])
def test_a_symmetric_particle_needs_a_fraction_of_the_images(group):
    box, operators = 32, symmetry_rotations(group)
    parts = [project_whole(particle(box), operator) for operator in operators]
    volume = jnp.asarray(sum(parts) / len(parts), jnp.float32)
    rotation = rotations(60)
    images = project(volume, rotation)
    ones = jnp.ones((len(images), box, box // 2 + 1))
    sums = complete(insert(no_slices(box), spectra(images), ones, rotation))
    symmetric = jax.jit(partial(symmetrize_sums, operators=operators))(sums)
    ball = soft_sphere(box, radius=box / 2 - 3, edge=3.0)
    alone, joined = (solve(s, box=box) * ball for s in (sums, symmetric))
    assert correlation(joined, volume) > 0.995
    assert correlation(joined, volume) > correlation(alone, volume)
    assert abs(float(jnp.vdot(joined, volume) / jnp.vdot(volume, volume)) - 1) < 0.05


def project_whole(volume, operator):
    """A rotated map, through its spectrum."""
    from scipy.ndimage import affine_transform

    box = volume.shape[0]
    reverse = np.asarray(operator)[::-1, ::-1]
    centre = np.full(3, box // 2)
    return affine_transform(np.asarray(volume), reverse, centre - reverse @ centre, order=3)


def test_the_wiener_filter_divides_by_one_and_the_inverse_signal_to_noise_ratio():
    box, rotation = 24, rotations(200)
    data = spectra(project(particle(box), rotation))
    sums = complete(insert(no_slices(box), data, jnp.ones((200, box, box // 2 + 1)), rotation))
    weights = shell_weights(sums, box=box)
    free = solve(sums, box=box)
    halved = solve(sums, weights, box=box)
    spectrum = [np.abs(np.fft.rfftn(volume)) for volume in (free, halved)]
    ratio = (spectrum[1][0, 0, 1:6] / spectrum[0][0, 0, 1:6]).mean()
    assert abs(ratio - 0.5) < 0.05
    assert float(jnp.abs(solve(sums, 1e9 * weights, box=box)).max()) < 1e-6 * float(free.max())


def test_the_last_shell_weighs_what_the_others_do():
    box = 12
    sums = complete(no_slices(box))
    weight = jnp.where(_inside(sums, box)[0], 1.0, 0.0)
    even = sums._replace(weight=sums.weight.at[:-1, :-1, :-1].set(weight))
    np.testing.assert_allclose(shell_weights(even, box=box), 1.0, rtol=1e-6)


def test_where_nothing_was_inserted_the_map_is_zero():
    found = solve(complete(no_slices(12)), box=12)
    assert float(jnp.abs(found).max()) == 0


def test_maps_made_in_one_pass_are_those_made_apart():
    box, count = 12, 5
    rng = np.random.default_rng(8)
    data = spectra(jnp.asarray(rng.normal(size=(count, box, box)), jnp.float32))
    weights = jnp.asarray(rng.uniform(size=data.shape), jnp.float32)
    shares = jnp.asarray(rng.uniform(size=(count, 3)), jnp.float32)
    rotation = rotations(count)
    together = insert(no_slices(box, maps=3), data, weights, rotation, shares)
    for number in range(3):
        share = shares[:, number, None, None]
        apart = insert(no_slices(box), share * data, share * weights, rotation).values
        own = sums_of_map(together, number).values
        np.testing.assert_allclose(own, apart, atol=1e-5 * float(jnp.abs(apart).max()))
