"""Local resolution: windows, cubes and a map of which one half is blurred."""

import jax
import numpy as np
import pytest

from cryojax_graph.metrics import (
    cut_out,
    first_crossing,
    fsc_curves,
    half_spectrum,
    local_correlation,
    real_map,
    spectral_radius,
    sphere_centres,
    sphere_window,
    spread_resolution,
)


def test_a_window_is_a_ball_with_a_soft_edge():
    window = sphere_window(radius=3.0, edge=4.0)
    assert window.shape == (15, 15, 15)
    middle = window[7, 7]
    assert (middle[4:11] == 1).all()
    assert middle[12] == pytest.approx(0.5, abs=1e-6)
    assert middle[0] == pytest.approx(0.0, abs=1e-6)
    np.testing.assert_allclose(window, window[::-1].transpose(2, 0, 1), atol=1e-7)


def test_centres_are_a_grid_through_the_middle_inside_the_mask():
    mask = np.zeros((20, 20, 20), np.float32)
    mask[4:17, 8:13, 8:13] = 1.0
    found = sphere_centres(mask, spacing=6)
    assert found.tolist() == [[4, 10, 10], [10, 10, 10], [16, 10, 10]]


@pytest.mark.parametrize("centre", [(4, 5, 6), (0, 5, 9), (9, 9, 9)])
def test_a_cube_is_cut_out_with_zeros_beyond_the_map(centre):
    volume = np.random.default_rng(0).standard_normal((10, 10, 10)).astype(np.float32)
    padded = np.pad(volume, 3)
    z, y, x = centre
    expected = padded[z : z + 7, y : y + 7, x : x + 7]
    np.testing.assert_array_equal(cut_out(volume, np.array(centre), 7), expected)


def test_resolution_is_the_harmonic_mean_of_the_spheres_around():
    window = np.ones((3, 3, 3), np.float32)
    centres = np.array([[2, 2, 2], [2, 2, 4]])
    found = spread_resolution(np.array([4.0, 8.0]), centres, window, box=7, elsewhere=50.0)
    assert found[2, 2, 1] == pytest.approx(4.0)
    assert found[2, 2, 3] == pytest.approx(2 / (1 / 4 + 1 / 8))
    assert found[2, 2, 5] == pytest.approx(8.0)
    assert found[6, 6, 6] == 50.0


def test_the_curve_of_a_window_over_all_is_that_of_the_masked_maps():
    box = 21
    signal, *noise = np.random.default_rng(1).standard_normal((3, box, box, box)).astype(np.float32)
    maps = np.stack([signal + n for n in noise])
    window = sphere_window(radius=4.0, edge=6.0)
    centre = np.full(3, box // 2)
    found = local_correlation(maps, maps, window, centre, from_shell=box)
    masked = fsc_curves(jax.random.key(0), *maps, window).masked
    np.testing.assert_allclose(found, masked, atol=1e-5)


def test_the_half_of_a_map_that_is_blurred_has_the_lower_resolution():
    box = 64
    signal, *noise = np.random.default_rng(2).standard_normal((3, box, box, box)).astype(np.float32)
    spectrum, radius = half_spectrum(signal), spectral_radius(box)
    sharp, blurred = (real_map(np.where(radius < r, spectrum, 0)) for r in (24, 10))
    left = (np.arange(box) < box // 2)[:, None, None]
    common = 10 * np.where(left, blurred, sharp)
    maps = np.stack([common + n for n in noise]).astype(np.float32)
    window = sphere_window(radius=5.0, edge=10.0)
    curves = [
        local_correlation(maps, maps, window, np.array([z, 32, 32]), from_shell=99)
        for z in (16, 48)
    ]
    shells = first_crossing(np.stack(curves), threshold=0.5) * box / len(window)
    # A shell of the window is two of the map, and the window smears over one or two of its own.
    np.testing.assert_allclose(shells, [10, 24], atol=4)
