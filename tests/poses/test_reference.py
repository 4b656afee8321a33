import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.poses.reference import amplify, coarser_than, project, reference_of


def test_maps_of_any_box_and_voxel_size_have_the_same_projections():
    """Sampled finely or coarsely, in a box of its own: periods per box of the images count."""
    rng = np.random.default_rng(0)
    positions = jnp.asarray(rng.uniform(-12, 12, (8, 3)), jnp.float32)
    rotation = jnp.asarray(Rotation.random(random_state=1).as_matrix(), jnp.float32)
    k = jnp.asarray(rng.uniform(-10, 10, (2, 50)), jnp.float32)

    def projected(size: int, voxel: float):
        density = density_of_gaussians(
            positions, jnp.ones(8), jnp.full(8, 3.0), box=size, voxel_size=voxel
        )
        reference = reference_of(density, voxel_size=voxel, field=64.0, pixel_size=2.0)
        return project(reference, rotation, *k)

    expected = projected(32, 2.0)
    for size, voxel in ((48, 1.5), (61, 1.25), (30, 2.5)):
        found = projected(size, voxel)
        # Trilinear interpolation of small boxes is good to a few percent.
        assert jnp.abs(found - expected).max() < 0.05 * jnp.abs(expected).max()


@pytest.mark.parametrize("box", [24, 25])
@pytest.mark.parametrize("padding", [1, 2])
def test_amplifying_is_slicing_then_multiplying(box, padding):
    rng = np.random.default_rng(6)
    position = (np.arange(box) - box // 2) / (0.12 * box)
    window = np.exp(-0.5 * position**2)
    density = rng.normal(size=(box,) * 3) * window * window[:, None] * window[:, None, None]
    density = jnp.asarray(density, jnp.float32)
    reference = reference_of(
        density, voxel_size=1.0, field=float(box), pixel_size=1.0, padding=padding
    )
    radii = np.arange(box // 2 + 1)
    first, second = (jnp.asarray(g, jnp.float32) for g in (2 + np.cos(radii / 4), radii / box))
    rotation = jnp.asarray(Rotation.random(random_state=7).as_matrix(), jnp.float32)
    kx, ky = np.arange(box // 2 + 1.0), np.rint(np.fft.fftfreq(box) * box)
    inside = jnp.asarray(np.hypot(ky[:, None], kx) <= box // 2)

    def sliced(reference):
        waves = jnp.asarray(kx, jnp.float32), jnp.asarray(ky, jnp.float32)[:, None]
        return jnp.where(inside, project(reference, rotation, *waves), 0.0)

    plain = sliced(reference)
    factor = np.interp(np.hypot(ky[:, None], kx), radii, first)
    found = sliced(amplify(reference, first))
    np.testing.assert_allclose(
        found, factor * plain, atol=(0.06 if padding == 1 else 0.02) * float(jnp.abs(plain).max())
    )

    sums = amplify(reference, first + 3 * second).volume.coefficients
    parts = [amplify(reference, gain).volume.coefficients for gain in (first, second)]
    scale = float(jnp.abs(sums).max())
    np.testing.assert_allclose(sums, parts[0] + 3 * parts[1], atol=1e-5 * scale)
    np.testing.assert_array_equal(
        amplify(reference, jnp.ones(len(radii))).volume.coefficients,
        reference.volume.coefficients,
    )


def test_amplified_references_have_the_gain_on_the_axes():
    """At whole periods along the axes there is nothing to interpolate."""
    density = jax.random.normal(jax.random.key(8), (16, 16, 16))
    reference = reference_of(density, voxel_size=1.0, field=16.0, pixel_size=1.0)
    gain = jnp.asarray(np.random.default_rng(9).uniform(1, 3, 9), jnp.float32)
    for axes in np.eye(3)[[[0, 1, 2], [1, 2, 0], [2, 0, 1]]]:
        rotation, k = jnp.asarray(axes, jnp.float32), jnp.arange(9.0)
        before, after = (
            project(r, rotation, k, 0 * k) for r in (reference, amplify(reference, gain))
        )
        np.testing.assert_allclose(after, gain * before, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shells", [3, 7])
def test_projections_of_a_coarser_reference_end_with_their_last_shell(shells):
    box = 24
    density = jnp.asarray(np.random.default_rng(8).normal(size=(box,) * 3), jnp.float32)
    reference = reference_of(density, voxel_size=1.0, field=float(box), pixel_size=1.0)
    rotation = jnp.asarray(Rotation.random(random_state=9).as_matrix(), jnp.float32)
    radius = jnp.linspace(0.0, 11.0, 200)
    kx, ky = radius * np.cos(0.3), radius * np.sin(0.3)
    plain, coarse = (
        np.abs(project(r, rotation, kx, ky)) for r in (reference, coarser_than(reference, shells))
    )
    # Interpolation between samples half a period apart, in three dimensions.
    assert (coarse[np.asarray(radius) > shells - 1 + np.sqrt(3) / 2] == 0).all()
    kept = np.asarray(radius) < shells - 1 - np.sqrt(3) / 2
    np.testing.assert_allclose(coarse[kept], plain[kept], rtol=1e-5)
