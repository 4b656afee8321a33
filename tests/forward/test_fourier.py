import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.fourier import (
    crop_spectrum,
    filter_image,
    low_pass,
    pad_spectrum,
    shift_image,
    shift_phase,
    to_image,
    to_spectrum,
)

spectrum_of, image_of, shifted = map(jax.jit, (to_spectrum, to_image, shift_image))
cropped, padded = (jax.jit(f, static_argnames="box") for f in (crop_spectrum, pad_spectrum))


def smooth_image(box: int, x0: float = 0.0, y0: float = 0.0) -> np.ndarray:
    """A periodic band-limited image moved by (x0, y0) pixels, origin at pixel box // 2."""
    u = 2 * np.pi * (np.arange(box) - box // 2) / box
    x, y = u - 2 * np.pi * x0 / box, (u - 2 * np.pi * y0 / box)[:, None]
    waves = np.cos(2 * x) * np.cos(y) + 0.5 * np.sin(3 * x + 2 * y) + 0.3 * np.sin(y)
    return (1 + waves).astype(np.float32)


@pytest.mark.parametrize("box", [12, 13])
def test_spectrum_is_the_definition_and_inverts(box):
    image = np.asarray(jax.random.normal(jax.random.key(0), (box, box)))
    r = np.arange(box) - box // 2
    k = np.fft.fftfreq(box)
    wave = np.exp(-2j * np.pi * k[:, None] * r)
    expected = (wave @ image @ wave.T)[:, : box // 2 + 1]
    spectrum = spectrum_of(jnp.asarray(image))
    np.testing.assert_allclose(spectrum, expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(image_of(spectrum), image, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.sampled_from([16, 17]))
def test_shift_moves_the_content_towards_larger_coordinates(x, y, box):
    moved = shifted(jnp.asarray(smooth_image(box)), jnp.array([1.5 * x, 1.5 * y]), pixel_size=1.5)
    np.testing.assert_allclose(moved, smooth_image(box, x, y), atol=2e-5)


def test_shift_phase_is_what_shift_image_applies():
    image, shift = jnp.asarray(smooth_image(16)), jnp.array([1.2, -0.4])
    phase = shift_phase(shift, box=16, pixel_size=1.0)
    np.testing.assert_allclose(
        image_of(spectrum_of(image) * phase), shifted(image, shift), atol=1e-5
    )


@pytest.mark.parametrize("box", [12, 13])
def test_filtering_is_a_product_of_spectra(box):
    image = jax.random.normal(jax.random.key(1), (box, box))
    transfer = jax.random.normal(jax.random.key(2), (box, box // 2 + 1))
    expected = np.fft.irfft2(np.fft.rfft2(np.asarray(image, float)) * transfer, s=(box, box))
    np.testing.assert_allclose(filter_image(image, transfer), expected, atol=1e-5)


@pytest.mark.parametrize(("large", "small"), [(24, 16), (24, 13), (17, 12), (17, 11), (16, 16)])
def test_cropping_and_padding_resample_a_band_limited_image(large, small):
    fine, coarse = smooth_image(large), smooth_image(small)
    down = image_of(cropped(spectrum_of(jnp.asarray(fine)), box=small))
    up = image_of(padded(spectrum_of(jnp.asarray(coarse)), box=large))
    np.testing.assert_allclose(down, coarse, atol=1e-5)
    np.testing.assert_allclose(up, fine, atol=1e-5)


@pytest.mark.parametrize(("large", "small"), [(12, 8), (11, 8), (12, 7)])
def test_padding_passes_through_the_pixels_of_any_image(large, small):
    """Interpolation keeps the samples, Nyquist included, where the finer grid holds the coarse."""
    image = jax.random.normal(jax.random.key(3), (small, small))
    doubled = image_of(padded(spectrum_of(image), box=2 * small))
    start = small - 2 * (small // 2)
    np.testing.assert_allclose(doubled[start::2, start::2], image, atol=1e-5)
    back = cropped(padded(spectrum_of(image), box=large), box=small)
    np.testing.assert_allclose(image_of(back).mean(), image.mean(), atol=1e-6)


def test_a_box_in_the_wrong_direction_is_refused():
    spectrum = spectrum_of(jnp.zeros((8, 8)))
    with pytest.raises(ValueError, match="box 8 to box 10"):
        cropped(spectrum, box=10)
    with pytest.raises(ValueError, match="box 8 to box 6"):
        padded(spectrum, box=6)


def test_low_pass_is_one_half_at_its_resolution():
    values = np.asarray(low_pass(8.0, box=64, pixel_size=2.0, edge=4.0))[0]
    assert values[0] == 1.0
    assert values[16] == pytest.approx(0.5, abs=1e-5)  # 16 / (64 * 2 Å) = 1 / (8 Å)
    assert values[18] == pytest.approx(0.0, abs=1e-5)
    assert (np.diff(values) <= 0).all()
