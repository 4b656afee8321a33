import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.grids import (
    frequency_axes,
    pixel_coordinates,
    radial_frequency,
    spectrum_multiplicity,
)


@pytest.mark.parametrize("box", [8, 9])
def test_the_origin_is_pixel_half_the_box(box):
    coordinates = np.asarray(pixel_coordinates(box, 1.5))
    assert coordinates[box // 2] == 0.0
    np.testing.assert_allclose(np.diff(coordinates), 1.5)


@pytest.mark.parametrize("box", [8, 9])
def test_frequencies_are_those_of_the_transform(box):
    ky, kx = frequency_axes(box, 1.5)
    np.testing.assert_allclose(ky, np.fft.fftfreq(box, 1.5), rtol=1e-6)
    np.testing.assert_allclose(kx, np.fft.rfftfreq(box, 1.5), rtol=1e-6)
    expected = np.hypot(np.fft.fftfreq(box, 1.5)[:, None], np.fft.rfftfreq(box, 1.5))
    np.testing.assert_allclose(radial_frequency(box, 1.5), expected, rtol=1e-6)


@pytest.mark.parametrize("box", [8, 9])
def test_multiplicities_complete_the_spectrum(box):
    """Parseval's theorem holds on the half spectrum."""
    image = np.random.default_rng(0).standard_normal((box, box))
    power = np.abs(np.fft.rfft2(image)) ** 2
    total = (np.asarray(spectrum_multiplicity(box)) * power).sum() / box**2
    np.testing.assert_allclose(total, (image**2).sum(), rtol=1e-6)


def test_a_pixel_size_may_be_an_array():
    assert frequency_axes(4, jnp.asarray(2.0))[1][-1] == 0.25
