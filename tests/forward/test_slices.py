import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.fourier import to_image
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.forward.slices import slice_at, slice_spectrum, volume_spectrum

prepare = jax.jit(volume_spectrum, static_argnames="padding")
slice_of = jax.jit(slice_spectrum, static_argnames="box")


def blobs(box: int, rotation: np.ndarray | None = None):
    """A map of Gaussians inside its sphere, and their projected centres."""
    rng = np.random.default_rng(0)
    positions = rng.uniform(-1, 1, (12, 3)) * box / 6
    width = 1.8
    u = np.arange(box) - box // 2
    volume = np.zeros((box,) * 3)
    for x, y, z in positions:
        volume += np.exp(
            -((u[:, None, None] - z) ** 2 + (u[:, None] - y) ** 2 + (u - x) ** 2) / (2 * width**2)
        )
    volume /= (2 * np.pi * width**2) ** 1.5
    centres = positions if rotation is None else positions @ rotation.T
    return jnp.asarray(volume, jnp.float32), jnp.asarray(centres[:, :2], jnp.float32), width


def random_rotation(seed: int) -> np.ndarray:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return (matrix * np.sign(np.linalg.det(matrix))).astype(np.float32)


@pytest.mark.parametrize("box", [32, 33])
@pytest.mark.parametrize(("padding", "tolerance"), [(1, 0.06), (2, 0.012)])
def test_the_slice_is_the_projection_of_the_rotated_map(box, padding, tolerance):
    rotation = random_rotation(1)
    volume, centres, width = blobs(box, rotation)
    n = len(centres)
    expected = project_gaussians(centres, jnp.ones(n), jnp.full(n, width), box=box, pixel_size=1.0)
    prepared = prepare(volume, padding=padding)
    image = to_image(slice_of(prepared, jnp.asarray(rotation), box=box))
    error = jnp.abs(image - expected).max() / expected.max()
    assert float(error) < tolerance


def test_without_rotation_the_slice_is_the_sum_along_z_times_the_voxel():
    volume, _, _ = blobs(24)
    spectrum = slice_of(prepare(volume, voxel_size=1.5), jnp.eye(3), box=24)
    expected = 1.5 * volume.sum(0)
    # On grid points nothing is interpolated, so the correction for it shows, by a few per cent.
    np.testing.assert_allclose(to_image(spectrum), expected, atol=0.05 * float(expected.max()))


def oracle_slice(coefficients: np.ndarray, rotation: np.ndarray, box: int) -> np.ndarray:
    """Trilinear interpolation of the whole spectrum, point by point, in float64."""
    size = coefficients.shape[0] - 1
    padding, middle = size // box, size // 2
    result = np.zeros((box, box // 2 + 1), complex)
    for i, ky in enumerate(np.rint(np.fft.fftfreq(box) * box)):
        for j in range(box // 2 + 1):
            if j**2 + ky**2 > (box // 2) ** 2:
                continue
            k = padding * (rotation.T.astype(float) @ np.array([j, ky, 0.0]))
            sign = -1 if k[0] < 0 else 1
            k = sign * k
            low = np.floor(k).astype(int)
            total = 0.0
            for corner in np.ndindex(2, 2, 2):
                weight = np.prod([f if c else 1 - f for c, f in zip(corner, k - low, strict=True)])
                x, y, z = low + np.array(corner)
                if weight > 1e-12:
                    total += weight * coefficients[z + middle, y + middle, x]
            result[i, j] = total if sign > 0 else np.conj(total)
    return result


@pytest.mark.parametrize(("box", "padding"), [(8, 2), (9, 1)])
def test_interpolation_agrees_with_the_definition(box, padding):
    volume = jax.random.normal(jax.random.key(0), (box, box, box))
    prepared = prepare(volume, padding=padding)
    rotation = random_rotation(4)
    expected = oracle_slice(np.asarray(prepared.coefficients, complex), rotation, box)
    computed = slice_of(prepared, jnp.asarray(rotation), box=box)
    np.testing.assert_allclose(computed, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("box", [8, 9])
def test_the_border_of_the_spectrum_is_its_last_coefficient(box):
    prepared = prepare(jax.random.normal(jax.random.key(3), (box,) * 3))
    middle, last = (prepared.coefficients.shape[0] - 1) // 2, box // 2
    coefficients = np.asarray(prepared.coefficients)
    # The x axis of the image along each axis of the object.
    for shift, place in enumerate([(0, 0, last), (0, last, 0), (last, 0, 0)]):
        rotation = jnp.asarray(np.roll(np.eye(3), shift, axis=1), jnp.float32)
        found = slice_at(prepared, rotation, jnp.array([float(last)]), jnp.zeros(1), box=box)
        z, y, x = 2 * np.array(place)
        np.testing.assert_allclose(found[0], coefficients[z + middle, y + middle, x], rtol=1e-5)


def test_the_transpose_is_the_adjoint():
    """<slice(v), s> = <v, sliceᵀ(s)>: what back-projection needs."""
    box, rotation = 8, jnp.asarray(random_rotation(2))

    def project(volume):
        return slice_of(prepare(volume), rotation, box=box)

    volume, other = jax.random.normal(jax.random.key(1), (2, box, box, box))
    cotangent = project(other)

    @jax.jit
    def both(volume):
        image, transpose = jax.vjp(project, volume)
        return image, transpose(cotangent)[0]

    image, back = both(volume)
    # JAX's transpose is bilinear: no conjugation on either side.
    np.testing.assert_allclose(jnp.sum(image * cotangent).real, jnp.sum(volume * back), rtol=1e-4)
