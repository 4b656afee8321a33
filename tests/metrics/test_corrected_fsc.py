"""Correction by random phases: what it keeps, what it destroys, what it takes away."""

import jax
import numpy as np
import pytest

from cryojax_graph.metrics import (
    correct_correlation,
    fsc_curves,
    half_spectrum,
    randomisation_shell,
    randomise_phases,
    real_map,
    shell_sums,
    spectral_radius,
)

BOX = 32


def noise(seed: int, box: int = BOX) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((box,) * 3).astype(np.float32)


def low_pass(volume: np.ndarray, shell: float) -> np.ndarray:
    spectrum = half_spectrum(volume)
    return real_map(np.where(spectral_radius(len(volume)) < shell, spectrum, 0))


def ball(radius: float, edge: float, box: int = BOX) -> np.ndarray:
    axis = (np.arange(box) - box // 2) ** 2
    distance = np.sqrt(axis[:, None, None] + axis[:, None] + axis)
    outside = np.clip((distance - radius) / edge, 0, 1)
    return (0.5 + 0.5 * np.cos(np.pi * outside)).astype(np.float32)


@pytest.mark.parametrize("box", [16, 17])
def test_random_phases_keep_amplitudes_and_what_is_below(box):
    spectrum = half_spectrum(noise(0, box))
    turned = randomise_phases(jax.random.key(0), spectrum, from_shell=5)
    np.testing.assert_allclose(abs(turned), abs(spectrum), rtol=1e-5)
    below = spectral_radius(box) < 5
    np.testing.assert_array_equal(turned[below], spectrum[below])
    assert (turned[~below] != spectrum[~below]).mean() > 0.99


@pytest.mark.parametrize("box", [16, 17])
def test_random_phases_are_those_of_a_real_map(box):
    """The half spectrum of the map is what was asked for: no coefficient lost its Friedel mate."""
    turned = randomise_phases(jax.random.key(1), half_spectrum(noise(1, box)), from_shell=3)
    np.testing.assert_allclose(half_spectrum(real_map(turned)), turned, atol=2e-3)


def test_random_phases_destroy_the_correlation():
    spectrum = half_spectrum(noise(2, 48))
    turned = randomise_phases(jax.random.key(2), spectrum, from_shell=6)
    curve = shell_sums(spectrum, turned).correlation()
    np.testing.assert_allclose(curve[:6], 1.0, atol=1e-5)
    assert abs(curve[8:]).max() < 0.1


def test_two_keys_give_two_phases_and_one_key_the_same():
    spectrum = half_spectrum(noise(3))
    first, again, other = (
        randomise_phases(jax.random.key(k), spectrum, from_shell=3) for k in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_correction_is_the_formula_from_two_shells_beyond_on():
    masked, randomised = np.array([1, 0.9, 0.8, 0.7, 0.6]), np.array([1, 0.9, 0.5, 0.4, 0.2])
    found = correct_correlation(masked, randomised, from_shell=1)
    np.testing.assert_allclose(found, [1, 0.9, 0.8, 0.3 / 0.6, 0.4 / 0.8])


def test_correction_of_what_noise_correlates_fully_is_nothing():
    found = correct_correlation(np.ones(4), np.ones(4), from_shell=0)
    np.testing.assert_array_equal(found, [1, 1, 0, 0])


def test_phases_become_random_where_the_curve_first_falls():
    assert randomisation_shell(np.array([0.1, 0.9, 0.7, 0.95]), below=0.8) == 2
    assert randomisation_shell(np.ones(4), below=0.8) is None


def test_correlation_that_only_a_tight_mask_makes_is_taken_away():
    """Signal up to shell 6, and a mask so small that it smears it over the shells above."""
    signal = 40 * low_pass(noise(4), 6.5)
    first, second = signal + noise(5), signal + noise(6)
    mask = ball(5, 1)
    curves = fsc_curves(jax.random.key(0), first, second, mask)
    assert curves.randomised_from == 7
    beyond = slice(9, 15)
    assert curves.masked[beyond].mean() > 0.5
    assert abs(curves.unmasked[beyond]).max() < 0.2
    assert abs(curves.corrected[beyond].mean()) < 0.3
    np.testing.assert_array_equal(curves.corrected[:9], curves.masked[:9])


def test_without_a_mask_there_is_one_curve():
    curves = fsc_curves(jax.random.key(0), noise(7), noise(8), None)
    assert curves.randomised_from is None
    np.testing.assert_array_equal(curves.corrected, curves.unmasked)


def test_maps_that_agree_everywhere_need_no_random_phases():
    a = noise(9)
    curves = fsc_curves(jax.random.key(0), a, a, ball(8, 3))
    assert curves.randomised_from is None
    np.testing.assert_allclose(curves.corrected, 1.0, atol=1e-6)
