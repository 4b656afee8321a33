from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.ctf import contrast_transfer
from cryojax_graph.poses.band import fourier_band, observe, points_within, prefix


def whole_plane(box: int) -> tuple[np.ndarray, np.ndarray]:
    """Signed frequencies of every coefficient of ``np.fft.fft2``."""
    k = np.rint(np.fft.fftfreq(box) * box)
    return k[None, :] + 0 * k[:, None], k[:, None] + 0 * k[None, :]


@settings(deadline=None)
@given(st.integers(5, 20), st.data())
def test_sums_over_the_band_are_sums_over_the_plane(box, data):
    """Each coefficient once, those without mirror image with half the weight; Nyquist included."""
    inner = data.draw(st.floats(0.1, box // 2))
    outer = data.draw(st.one_of(st.just(float(box // 2)), st.floats(inner, box // 2)))
    band = fourier_band(box, inner, outer)
    image = np.random.default_rng(box).normal(size=(box, box))
    half = np.fft.rfft2(image).ravel()[band.index]
    kx, ky = whole_plane(box)
    inside = (np.hypot(kx, ky) >= inner) & (np.hypot(kx, ky) <= outer)
    expected = (abs(np.fft.fft2(image)) ** 2)[inside].sum()
    np.testing.assert_allclose((band.multiplicity * abs(half) ** 2).sum(), expected, rtol=1e-10)
    assert band.multiplicity.sum() == inside.sum()
    assert len(np.unique(band.index)) == len(band.index)


@pytest.mark.parametrize("box", [10, 11])
def test_frequencies_are_those_of_the_half_spectrum(box):
    band = fourier_band(box, 1, box // 2)
    row, column = np.divmod(band.index, box // 2 + 1)
    np.testing.assert_array_equal(band.kx, column)
    np.testing.assert_array_equal(band.ky, np.rint(np.fft.fftfreq(box) * box)[row])


@settings(deadline=None)
@given(st.integers(6, 20), st.data())
def test_a_prefix_is_the_band_of_a_lower_resolution(box, data):
    radius = data.draw(st.one_of(st.integers(1, box // 2), st.floats(1, box // 2)))
    band = fourier_band(box, 1, box // 2)
    assert (np.diff(np.hypot(band.kx, band.ky)) >= 0).all()
    part, expected = prefix(band, points_within(band, radius)), fourier_band(box, 1, radius)
    for found, wanted in zip(part, expected, strict=True):
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("box", [24, 25])
def test_an_image_is_observed_as_defined(box, ctf):
    rng = np.random.default_rng(1)
    image, noise = rng.normal(size=(box, box)), rng.uniform(1, 3, box // 2 + 1)
    band = fourier_band(box, 1.5, box // 2)
    seen = jax.jit(partial(observe, band=band, pixel_size=2.0))(
        jnp.asarray(image, jnp.float32), ctf, jnp.asarray(noise, jnp.float32)
    )
    position = np.arange(box) - box // 2
    wave_x = np.exp(-2j * np.pi / box * np.outer(band.kx, position))
    wave_y = np.exp(-2j * np.pi / box * np.outer(band.ky, position))
    spectrum = np.einsum("ky,yx,kx->k", wave_y, image, wave_x)
    np.testing.assert_allclose(seen.spectrum, spectrum, atol=2e-4)
    power = np.interp(np.hypot(band.kx, band.ky), np.arange(box // 2 + 1), noise)
    np.testing.assert_allclose(seen.weight, band.multiplicity / (box**2 * power), rtol=1e-5)
    transfer = np.asarray(contrast_transfer(ctf, box=box, pixel_size=2.0))
    np.testing.assert_allclose(seen.transfer, transfer.ravel()[band.index], atol=1e-5)
