"""A B-factor put in comes out; weights and mean amplitudes by their definitions."""

import numpy as np
import pytest

from cryojax_graph.metrics import (
    fit_b_factor,
    half_spectrum,
    mean_amplitudes,
    real_map,
    shell_weights,
    spectral_radius,
)

VOXEL = 1.3


def faded(box: int, b_factor: float) -> np.ndarray:
    """White noise whose amplitudes fall as exp(-B k² / 4)."""
    noise = np.random.default_rng(0).standard_normal((box,) * 3)
    square = (spectral_radius(box) / (box * VOXEL)) ** 2
    return real_map(half_spectrum(noise) * np.exp(-b_factor / 4 * square))


@pytest.mark.parametrize("b_factor", [40.0, 150.0, -30.0])
@pytest.mark.parametrize("box", [48, 49])
def test_a_known_b_factor_is_recovered(box, b_factor):
    amplitudes = mean_amplitudes(half_spectrum(faded(box, b_factor)))
    fit = fit_b_factor(
        amplitudes, np.ones(box // 2 + 1), box_angstrom=box * VOXEL, lowest=10.0, highest=3.0
    )
    assert fit.b_factor == pytest.approx(b_factor, abs=1.5)
    line = fit.intercept - b_factor / 4 * fit.inverse_square[fit.fitted]
    np.testing.assert_allclose(fit.weighted[fit.fitted], line, atol=0.1)


def test_the_line_goes_through_the_range_and_no_further():
    fit = fit_b_factor(np.ones(25), np.ones(25), box_angstrom=48.0, lowest=12.0, highest=4.0)
    assert np.flatnonzero(fit.fitted).tolist() == list(range(4, 13))
    assert fit.b_factor == pytest.approx(0.0, abs=1e-9)


def test_weights_steepen_the_line():
    weights = np.exp(-(np.linspace(0, 2, 25) ** 2) / 4)
    plain, weighted = (
        fit_b_factor(np.ones(25), w, box_angstrom=48.0, highest=3.0)
        for w in (1 + 0 * weights, weights)
    )
    assert weighted.b_factor > plain.b_factor + 10


def test_too_few_shells_give_no_b_factor():
    fit = fit_b_factor(np.ones(25), np.ones(25), box_angstrom=48.0, lowest=10.0, highest=9.0)
    assert fit.b_factor is None
    assert not fit.fitted.any()


def test_shells_without_weight_are_left_out():
    weights = np.ones(25)
    weights[8:] = 0.0
    fit = fit_b_factor(np.ones(25), weights, box_angstrom=48.0, lowest=24.0, highest=2.0)
    assert np.flatnonzero(fit.fitted).tolist() == list(range(2, 8))


@pytest.mark.parametrize("box", [12, 13])
def test_mean_amplitudes_are_those_of_the_whole_spectrum(box):
    volume = np.random.default_rng(1).standard_normal((box,) * 3)
    k = np.fft.fftfreq(box, 1 / box)
    shell = np.rint(np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2))
    amplitude = abs(np.fft.fftn(volume))
    expected = [amplitude[shell == s].mean() for s in range(box // 2 + 1)]
    np.testing.assert_allclose(mean_amplitudes(half_spectrum(volume)), expected, rtol=1e-10)


def test_weights_are_the_expected_correlation_of_the_mean_with_the_truth():
    """Measured on Gaussian signal and noise of unit power each: FSC 1/2, weight sqrt(2/3)."""
    signal, *noise = np.random.default_rng(2).standard_normal((3, 100_000))
    mean = signal + (noise[0] + noise[1]) / 2
    expected = np.corrcoef(mean, signal)[0, 1]
    assert shell_weights(np.array([1.0, 0.5]))[1] == pytest.approx(expected, abs=0.01)


def test_weights_end_where_the_curve_first_ends():
    found = shell_weights(np.array([0.3, 1.0, 0.5, -0.1, 0.4]))
    np.testing.assert_allclose(found, [1, 1, np.sqrt(2 / 3), 0, 0])
