"""Cones against their definition, and maps whose anisotropy is known."""

import numpy as np
import pytest

from cryojax_graph.metrics import (
    area_ratio,
    conical_correlation,
    conical_share,
    even_axes,
    half_spectrum,
    shell_sums,
    sphericity,
)

BOX = 40


def frequencies(box: int) -> np.ndarray:
    """(x, y, z) of every coefficient of a half spectrum."""
    k, columns = np.fft.fftfreq(box, 1 / box), np.arange(box // 2 + 1)
    return np.stack(np.broadcast_arrays(columns, k[:, None], k[:, None, None]), axis=-1)


def halves(box: int, strength: np.ndarray) -> list[np.ndarray]:
    """Half spectra of a common white signal of some strength, and unit noise in each."""
    signal, *noise = np.random.default_rng(0).standard_normal((3, box, box, box))
    return [half_spectrum(signal) * strength + half_spectrum(n) for n in noise]


def test_axes_are_unit_and_even():
    axes = even_axes(256)
    np.testing.assert_allclose(np.linalg.norm(axes, axis=1), 1.0, rtol=1e-12)
    assert (axes[:, 2] > 0).all()
    cosine = abs(axes @ axes.T) - 2 * np.eye(256)
    nearest = np.degrees(np.arccos(cosine.max(axis=1)))
    assert nearest.min() > 4
    assert nearest.max() < 9


@pytest.mark.parametrize("box", [24, 25])
def test_a_cone_is_what_lies_around_its_axis(box):
    """All sums by the definition; cells are 1.5° wide, so the edge of a cone is rough."""
    f, g = halves(box, 1.0)
    cones = conical_correlation(f, g, axes=12, half_angle_degrees=35.0)
    k = frequencies(box)
    radius = np.linalg.norm(k, axis=-1)
    twice = np.where((k[..., 0] == 0) | (2 * k[..., 0] == box), 1, 2)
    for axis, curve in zip(cones.axes, cones.curves, strict=True):
        inside = abs(k @ axis) >= np.cos(np.radians(35)) * radius
        for shell in (6, 10, 12):
            those = inside & (np.rint(radius) == shell)
            a, b, w = f[those], g[those], twice[those]
            expected = (w * (a * b.conj()).real).sum() / np.sqrt(
                (w * abs(a) ** 2).sum() * (w * abs(b) ** 2).sum()
            )
            assert curve[shell] == pytest.approx(expected, abs=0.08)


def test_a_cone_that_holds_everything_is_the_shell():
    f, g = halves(24, 1.0)
    cones = conical_correlation(f, g, axes=5, half_angle_degrees=90.0)
    expected = shell_sums(f, g).correlation()
    np.testing.assert_allclose(cones.curves, np.tile(expected, (5, 1)), atol=1e-6)


def test_an_isotropic_map_has_a_high_ratio_and_one_without_views_a_low_one():
    """Signal falls off alike everywhere, or only near one axis, as when side views are missing."""
    k = frequencies(BOX)
    radius = np.maximum(np.linalg.norm(k, axis=-1), 1e-9)
    fall_off = 4 * np.exp(-((radius / 12) ** 2))
    even = conical_correlation(*halves(BOX, fall_off))
    missing = abs(k[..., 2]) / radius > np.cos(np.radians(45))
    uneven = conical_correlation(*halves(BOX, np.where(missing, 0.0, fall_off)))
    assert area_ratio(even.curves) > 0.8
    assert area_ratio(uneven.curves) < 0.3
    areas = uneven.curves[:, 1:].mean(axis=1)
    assert abs(uneven.axes[areas.argmin(), 2]) > np.cos(np.radians(30))
    assert abs(uneven.axes[areas.argmax(), 2]) < np.cos(np.radians(60))


@pytest.mark.parametrize("direction", range(3))
def test_the_poor_direction_is_found_along_each_axis(direction):
    k = frequencies(24)
    radius = np.maximum(np.linalg.norm(k, axis=-1), 1e-9)
    poor = abs(k[..., direction]) / radius > np.cos(np.radians(40))
    cones = conical_correlation(*halves(24, np.where(poor, 0.0, 3.0)), axes=100)
    worst = cones.axes[cones.curves[:, 1:].mean(axis=1).argmin()]
    assert abs(worst[direction]) > np.cos(np.radians(25))


def test_ratio_of_areas():
    curves = np.array([[1.0, 0.5, 0.5], [0.0, 0.25, 0.25], [1.0, 1.0, 1.0]])
    assert area_ratio(curves) == 0.25
    assert area_ratio(-curves) == 0.0


def test_a_ball_is_a_ball_whatever_its_radius():
    axes = even_axes(256)
    assert sphericity(axes, np.ones(256)) == pytest.approx(1.0)
    assert sphericity(axes, np.full(256, 0.3)) == pytest.approx(1.0)


@pytest.mark.parametrize("ratio", [0.25, 0.5, 2.0, 3.0])
def test_sphericity_of_an_ellipsoid_is_that_of_the_formula(ratio):
    """A spheroid with two axes of 1 and one of another length; its surface by quadrature."""
    axes = even_axes(1500)
    reach = 1 / np.sqrt(axes[:, 0] ** 2 + axes[:, 1] ** 2 + (axes[:, 2] / ratio) ** 2)
    angle = (np.arange(20_000) + 0.5) * np.pi / 20_000
    arc = np.sqrt(np.cos(angle) ** 2 + (ratio * np.sin(angle)) ** 2)
    surface = 2 * np.pi * np.mean(np.sin(angle) * arc) * np.pi
    expected = 4 * np.pi * ratio ** (2 / 3) / surface
    assert sphericity(axes, reach) == pytest.approx(expected, abs=0.01)


def test_the_share_of_deviations_is_told_along_the_axis_that_has_them():
    box = 24
    point = frequencies(box)
    radius = np.linalg.norm(point, axis=-1)
    power = np.random.default_rng(0).random(radius.shape) + 0.5
    along_z = np.abs(point[..., 2]) >= np.cos(np.radians(45.0)) * radius
    variance = np.where(along_z, 0.25, 0.01) * power
    # Beyond the last shell that counts.
    variance = np.where(np.rint(radius) > 8, 100.0, variance)
    axes, share = conical_share(variance, power, shells=8)
    tilt = np.degrees(np.arccos(np.abs(axes[:, 2])))
    np.testing.assert_allclose(share[tilt < 20], 0.5, atol=1e-3)
    np.testing.assert_allclose(share[tilt > 70], 0.1, atol=1e-3)
    assert (conical_share(0 * variance, 0 * power, shells=8)[1] == 0).all()
