"""Shell sums of the host against the definition, the whole spectrum and the function of JAX."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.metrics import (
    first_crossing,
    fourier_shell_correlation,
    half_spectrum,
    real_map,
    resolution_angstrom,
    shell_sums,
    spectral_radius,
)


def maps(seed: int, box: int, kind=np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((2, box, box, box)).astype(kind)


def whole(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spectrum without symmetry tricks in float64, and the shell of each coefficient."""
    k = np.fft.fftfreq(len(volume), 1 / len(volume))
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    return np.fft.fftn(volume.astype(float)), np.rint(radius)


@pytest.mark.parametrize("box", [8, 9, 16, 17])
@pytest.mark.parametrize(("kind", "error"), [(np.float32, 2e-6), (np.float64, 1e-12)])
def test_sums_are_those_of_the_whole_spectrum(box, kind, error):
    a, b = maps(0, box, kind)
    sums = shell_sums(half_spectrum(a), half_spectrum(a + b))
    (f, shell), (g, _) = whole(a), whole(a + b)
    for s in range(box // 2 + 1):
        inside = shell == s
        expected = [
            (f[inside] * g[inside].conj()).real.sum(),
            (abs(f[inside]) ** 2).sum(),
            (abs(g[inside]) ** 2).sum(),
            inside.sum(),
        ]
        found = [part[s] for part in sums]
        np.testing.assert_allclose(found, expected, rtol=0, atol=error * max(expected))


@pytest.mark.parametrize("box", [16, 17])
def test_correlation_is_that_of_jax(box):
    a, b = maps(1, box)
    found = shell_sums(half_spectrum(a), half_spectrum(a + b)).correlation()
    expected = fourier_shell_correlation(jnp.asarray(a), jnp.asarray(a + b))
    np.testing.assert_allclose(found, expected, atol=2e-6)


def test_a_map_correlates_with_itself_fully_and_with_nothing_not_at_all():
    a = half_spectrum(maps(2, 12)[0])
    np.testing.assert_allclose(shell_sums(a, a).correlation(), 1.0, atol=1e-7)
    assert not shell_sums(a, 0 * a).correlation().any()


def test_independent_noise_correlates_within_its_bounds():
    """Deviation 1 / sqrt(independent coefficients): half of a shell, the other half mirrors it."""
    a, b = maps(3, 48)
    sums = shell_sums(half_spectrum(a), half_spectrum(b))
    inner = slice(3, None)
    standard = sums.correlation()[inner] * np.sqrt(sums.count[inner] / 2)
    assert abs(standard).max() < 4
    assert 0.5 < standard.std() < 1.5


@pytest.mark.parametrize("box", [10, 11])
def test_the_inverse_gives_the_map_back(box):
    a = maps(4, box)[0]
    np.testing.assert_allclose(real_map(half_spectrum(a)), a, atol=1e-5)
    assert half_spectrum(a).dtype == np.complex64


@pytest.mark.parametrize("box", [10, 11])
def test_radii_are_those_of_the_frequencies(box):
    k, columns = np.fft.fftfreq(box) * box, np.fft.rfftfreq(box) * box
    expected = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + columns**2)
    np.testing.assert_allclose(spectral_radius(box), expected, rtol=1e-6)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-0.5, 1, width=32), min_size=3, max_size=12), st.floats(0.05, 0.95))
def test_crossings_are_those_of_the_function_of_jax(values, threshold):
    threshold = float(np.float32(threshold))
    curve = np.array(values, np.float32)
    expected = 1.0 / resolution_angstrom(jnp.asarray(curve), threshold=threshold, box_angstrom=1.0)
    found = first_crossing(np.stack([curve, curve]), threshold=threshold)
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-3)
