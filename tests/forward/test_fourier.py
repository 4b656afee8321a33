import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.fourier import (
    crop_spectrum,
    pad_spectrum,
    shift_image,
    to_image,
    to_spectrum,
)


def smooth_image(box: int, scale: float = 1.0, x0: float = 0.0, y0: float = 0.0) -> np.ndarray:
    """A periodic band-limited image sampled on box pixels, origin at pixel box // 2."""
    u = 2 * np.pi * ((np.arange(box) - box // 2) / box)
    x, y = u - 2 * np.pi * x0, (u - 2 * np.pi * y0)[:, None]
    return (1 + np.cos(2 * x) * np.cos(y) + 0.5 * np.sin(3 * x + 2 * y) + 0.3 * np.sin(y)).astype(
        np.float32
    )


@pytest.mark.parametrize("box", [12, 13])
def test_spectrum_is_the_definition_and_inverts(box):
    image = np.asarray(jax.random.normal(jax.random.key(0), (box, box)))
    r = np.arange(box) - box // 2
    k = np.fft.fftfreq(box)
    wave = np.exp(-2j * np.pi * k[:, None] * r)
    expected = (wave @ image @ wave.T)[:, : box // 2 + 1]
    spectrum = to_spectrum(jnp.asarray(image))
    np.testing.assert_allclose(spectrum, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(to_image(spectrum), image, atol=1e-5)


@pytest.mark.parametrize("box", [16, 17])
def test_shift_moves_the_content_towards_larger_coordinates(box):
    moved = shift_image(jnp.asarray(smooth_image(box)), jnp.array([0.7, -1.3]), pixel_size=1.0)
    np.testing.assert_allclose(moved, smooth_image(box, x0=0.7 / box, y0=-1.3 / box), atol=1e-5)


@pytest.mark.parametrize(("large", "small"), [(24, 16), (24, 13), (17, 12), (17, 11), (16, 16)])
def test_cropping_and_padding_resample_a_band_limited_image(large, small):
    fine, coarse = smooth_image(large), smooth_image(small)
    down = to_image(crop_spectrum(to_spectrum(jnp.asarray(fine)), box=small))
    up = to_image(pad_spectrum(to_spectrum(jnp.asarray(coarse)), box=large))
    np.testing.assert_allclose(down, coarse, atol=1e-5)
    np.testing.assert_allclose(up, fine, atol=1e-5)
