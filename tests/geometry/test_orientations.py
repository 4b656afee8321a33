import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.orientations import (
    cell_directions,
    orientation_children,
    orientation_count,
    orientation_grid,
    orientation_spacing_degrees,
    orientations_at,
    view_cells,
    views_per_cell,
)


def directions(angles: np.ndarray) -> np.ndarray:
    rot, tilt = np.radians(angles[:, :2]).T
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], 1)


def quaternions(angles: np.ndarray) -> np.ndarray:
    """Of RELION's matrix, which is the transpose of the active ZYZ rotation."""
    return Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_quat()


def nearest_degrees(grid: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Angle from each rotation to the nearest of the grid; q and -q are the same rotation."""
    tree = cKDTree(np.concatenate([quaternions(grid), -quaternions(grid)]))
    chord, _ = tree.query(points)
    return np.degrees(4 * np.arcsin(chord / 2))


@pytest.mark.parametrize(
    ("order", "pixel", "rot", "tilt"),
    [
        (0, 0, 45.0, 48.189685),
        (0, 5, 90.0, 90.0),
        (0, 11, 315.0, 131.810315),
        (1, 13, 337.5, 48.189685),
        (2, 100, 202.5, 99.594068),
        (3, 63, 45.0, 5.850267),
        (3, 500, 281.25, 75.522488),
        (5, 4321, 355.78125, 102.024699),
        (5, 12287, 315.0, 91.193748),
    ],
)
def test_directions_are_healpix_pixel_centres(order, pixel, rot, tilt):
    """Figures of an independent HEALPix program, nested numbering."""
    angles = orientations_at(np.array([pixel * 6 * 2**order]), order)
    np.testing.assert_allclose(angles[0, :2], [rot, tilt], atol=1e-6)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_grid_has_the_announced_size_and_no_point_twice(order):
    grid = orientation_grid(order)
    assert len(grid) == orientation_count(order) == 72 * 8**order
    assert len(np.unique(grid.round(6), axis=0)) == len(grid)


@pytest.mark.parametrize("order", [0, 1, 2, 3, 4])
def test_directions_have_equal_areas(order):
    """Above z = 2/3 lies one sixth of the sphere; the ring on the line counts half."""
    views = directions(orientation_grid(order)[:: 6 * 2**order])
    on_line = np.isclose(views[:, 2], 2 / 3)
    above = (views[:, 2] > 2 / 3) & ~on_line
    assert above.sum() + on_line.sum() / 2 == len(views) / 6
    np.testing.assert_allclose(views.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(views.T @ views / len(views), np.eye(3) / 3, atol=0.06 / 4**order)


@pytest.mark.parametrize("order", [0, 1, 2])
def test_children_divide_the_next_grid_and_lie_in_their_parents_cell(order):
    parents = np.arange(orientation_count(order))
    children = orientation_children(parents, order)
    np.testing.assert_array_equal(np.sort(children.ravel()), np.arange(8 * len(parents)))
    finer = orientations_at(children.ravel(), order + 1)
    coarse = np.repeat(orientation_grid(order), 8, axis=0)
    cosine = (directions(finer) * directions(coarse)).sum(1)
    apart = np.degrees(np.arccos(cosine.clip(-1, 1)))
    assert apart.max() < 0.75 * orientation_spacing_degrees(order)
    np.testing.assert_allclose(abs(finer[:, 2] - coarse[:, 2]), 15 / 2**order)


def test_spacing_halves_and_agrees_with_the_neighbours():
    for order in (1, 2, 3):
        views = directions(orientation_grid(order)[:: 6 * 2**order])
        chord = cKDTree(views).query(views, k=2)[0][:, 1]
        nearest = np.degrees(2 * np.arcsin(chord / 2))
        assert 0.7 < np.median(nearest) / orientation_spacing_degrees(order) < 1.1
    assert orientation_spacing_degrees(2) == orientation_spacing_degrees(1) / 2
    assert round(orientation_spacing_degrees(0), 1) == 58.6


@pytest.mark.parametrize(
    ("order", "furthest", "mean"), [(0, 52.0, 29.0), (1, 26.0, 14.5), (2, 13.2, 7.2)]
)
def test_every_rotation_is_near_the_grid(order, furthest, mean):
    rotations = Rotation.random(4000, rng=np.random.default_rng(0)).as_quat()
    apart = nearest_degrees(orientation_grid(order), rotations)
    assert apart.max() < furthest
    assert apart.mean() < mean


def test_some_of_a_fine_grid_without_all_of_it():
    index = np.array([0, 17, 72 * 8**5 - 1])
    assert orientations_at(index, 5).shape == (3, 3)


@pytest.mark.parametrize("order", [0, 2])
def test_a_direction_is_in_the_cell_of_the_nearest_centre_or_its_opposite(order):
    turns = 6 * 2**order
    centres = directions(orientation_grid(order)[::turns])
    points = np.random.default_rng(order).normal(size=(300, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cells = view_cells(points, order)
    expected = np.minimum((points @ centres.T).argmax(1), (-points @ centres.T).argmax(1))
    np.testing.assert_array_equal(cells, expected)
    np.testing.assert_array_equal(cells, view_cells(-points, order))
    assert len(np.unique(cells)) <= 12 * 4**order // 2 + 4 * 2**order


def test_views_are_counted_at_the_nearest_direction():
    centres = cell_directions(2)
    counts = np.arange(len(centres)) % 4
    seen = np.repeat(centres, counts, axis=0)
    aside = seen + 0.02 * np.random.default_rng(0).standard_normal(seen.shape)
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    np.testing.assert_array_equal(views_per_cell(aside, 2), counts)
    assert views_per_cell(np.zeros((0, 3)), 1).shape == (48,)
