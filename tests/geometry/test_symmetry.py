import numpy as np
import pytest
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.orientations import orientation_count, orientations_at
from cryojax_graph.geometry.symmetry import (
    asymmetric_unit,
    nearest_equivalent,
    symmetry_generators,
    symmetry_rotations,
)

ORDERS = {
    **{"C1": 1, "C4": 4, "C7": 7, "C99": 99, "D1": 2, "D2": 4, "D7": 14, "D99": 198},
    **{"T": 12, "O": 24, "I": 60, "I1": 60, "I2": 60, "I3": 60, "I4": 60},
}
TRUTH = Rotation.random(300, rng=np.random.default_rng(0)).as_matrix()


def directions(count: int) -> np.ndarray:
    views = np.random.default_rng(1).normal(size=(count, 3))
    return views / np.linalg.norm(views, axis=1, keepdims=True)


def grid_directions(order: int) -> np.ndarray:
    first = np.arange(0, orientation_count(order), 6 * 2**order)
    rot, tilt = np.radians(orientations_at(first, order)[:, :2]).T
    return np.stack([np.sin(tilt) * np.cos(rot), np.sin(tilt) * np.sin(rot), np.cos(tilt)], 1)


def axis_directions(group: str) -> np.ndarray:
    axes = Rotation.from_matrix(symmetry_rotations(group)[1:]).as_rotvec()
    return axes / np.linalg.norm(axes, axis=1, keepdims=True)


def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Largest difference of the entries of every matrix of one set and every one of the other."""
    return abs(first[:, None] - second).max(axis=(2, 3))


def degrees(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.degrees(Rotation.from_matrix(first.swapaxes(1, 2) @ second).magnitude())


@pytest.mark.parametrize(("group", "order"), ORDERS.items())
def test_elements_are_a_group_of_rotations_with_the_identity_first(group, order):
    elements = symmetry_rotations(group)
    assert len(elements) == order
    np.testing.assert_array_equal(elements[0], np.eye(3))
    np.testing.assert_allclose(elements @ elements.swapaxes(1, 2), [np.eye(3)] * order, atol=1e-13)
    np.testing.assert_allclose(np.linalg.det(elements), 1, atol=1e-13)
    assert (apart(elements, elements) < 1e-6).sum() == order
    assert apart(elements.swapaxes(1, 2), elements).min(axis=1).max() < 1e-12
    for element in elements:
        assert apart(element @ elements, elements).min(axis=1).max() < 1e-12


@pytest.mark.parametrize("group", ORDERS)
def test_products_of_the_generators_are_all_elements(group):
    generators = symmetry_generators(group.lower())
    assert len(generators) <= 2
    found = np.eye(3)[None]
    for _ in range(ORDERS[group]):
        products = np.concatenate([found, *(found @ generator for generator in generators)])
        _, first = np.unique(products.round(6).reshape(-1, 9) + 0.0, axis=0, return_index=True)
        found = products[first]
    assert len(found) == ORDERS[group]
    assert apart(symmetry_rotations(group), found).min(axis=1).max() < 1e-9


@pytest.mark.parametrize(
    ("group", "fold", "axis"),
    [
        ("C5", 5, [0, 0, 1]),
        ("D5", 2, [1, 0, 0]),
        ("T", 3, [0, 0, 1]),
        ("O", 4, [1, 0, 0]),
        ("I1", 5, [0.8507, 0, 0.5257]),
        ("I2", 5, [0.5257, 0, 0.8507]),
        ("I3", 2, [-0.5257, 0, 0.8507]),
        ("I4", 2, [0.5257, 0, 0.8507]),
    ],
)
def test_axes_lie_where_they_are_said_to(group, fold, axis):
    turn = Rotation.from_rotvec(2 * np.pi / fold * np.array(axis)).as_matrix()
    assert apart(turn[None], symmetry_rotations(group)).min() < 1e-3


def test_icosahedral_settings_differ_but_for_the_default():
    elements = {group: symmetry_rotations(group) for group in ("I", "I1", "I2", "I3", "I4")}
    np.testing.assert_array_equal(elements["I"], elements["I2"])
    for first, second in [("I1", "I2"), ("I1", "I3"), ("I2", "I3"), ("I3", "I4")]:
        assert apart(elements[first], elements[second]).min(axis=1).max() > 0.1


def test_names_are_known_in_either_case():
    np.testing.assert_array_equal(symmetry_rotations("d7"), symmetry_rotations("D7"))
    np.testing.assert_array_equal(symmetry_rotations("i3"), symmetry_rotations("I3"))


@pytest.mark.parametrize("name", ["", "C", "C0", "D0", "C100", "C-1", "C2V", "TD", "I5", "X", "C٣"])
def test_other_names_are_refused_with_those_that_are_known(name):
    with pytest.raises(ValueError, match="C1 to C99, D1 to D99, T, O, I, I1, I2, I3, I4"):
        symmetry_rotations(name)


def test_changing_what_was_returned_changes_nothing_else():
    symmetry_rotations("D2")[:] = 0
    np.testing.assert_array_equal(symmetry_rotations("D2")[0], np.eye(3))


@pytest.mark.parametrize("group", ["C3", "D2", "T", "O", "I"])
def test_the_group_stands_next_to_the_object(group):
    """R and R g show the same image of an object of that symmetry; g R shows another."""
    elements = symmetry_rotations(group)
    points = np.random.default_rng(2).normal(size=(4, 3))
    points = np.concatenate([points @ element.T for element in elements])

    def image(rotation: np.ndarray) -> np.ndarray:
        projected = (points @ rotation.T)[:, :2].round(9)
        return projected[np.lexsort(projected.T)]

    for element in elements[1:]:
        np.testing.assert_allclose(image(TRUTH[0] @ element), image(TRUTH[0]), atol=1e-8)
        assert abs(image(element @ TRUTH[0]) - image(TRUTH[0])).max() > 0.01


@pytest.mark.parametrize(("group", "order"), ORDERS.items())
def test_every_direction_has_one_equivalent_in_the_asymmetric_unit(group, order):
    views = directions(2000)
    inside = [asymmetric_unit(views @ g, group) for g in symmetry_rotations(group)]
    np.testing.assert_array_equal(np.sum(inside, axis=0), 1)
    spread = np.sqrt(20000 / order)
    assert abs(asymmetric_unit(directions(20000), group).sum() - 20000 / order) < 4 * spread


@pytest.mark.parametrize("group", ["C4", "D2", "D7", "T", "O", "I", "I3"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_direction_on_an_axis_is_not_lost(group, dtype):
    """Float32 moves it off the axis, to a place of which the grid need not hold the equivalents."""
    axes = axis_directions(group).astype(dtype)
    orbits = np.stack([axes @ g.astype(dtype) for g in symmetry_rotations(group)])
    inside = np.stack([asymmetric_unit(orbit, group) for orbit in orbits])
    for which in range(len(axes)):
        places = {tuple(place) for place in (orbits[inside[:, which], which].round(3) + 0.0)}
        assert len(places) == 1


@pytest.mark.parametrize(("group", "order"), [("C1", 1), ("C2", 2), ("C4", 4), ("D2", 4)])
def test_a_grid_of_the_same_symmetry_is_divided_evenly(group, order):
    """The grid of views has no direction on the border of the domain."""
    views = grid_directions(3)
    assert asymmetric_unit(views, group).sum() == len(views) / order


@pytest.mark.parametrize("group", ["C4", "D7", "T", "O", "I", "I1", "I3"])
def test_the_part_of_a_grid_in_the_unit_still_covers_the_sphere(group):
    grid, views = grid_directions(4), directions(4000)
    kept = grid[asymmetric_unit(grid, group)]
    equivalents = np.concatenate([kept @ g for g in symmetry_rotations(group)])
    whole, part = cKDTree(grid).query(views)[0], cKDTree(equivalents).query(views)[0]
    assert part.max() < 2 * whole.max()
    assert part.mean() < 1.05 * whole.mean()


@pytest.mark.parametrize("group", ["C1", "C4", "D7", "T", "O", "I", "I4"])
def test_the_nearest_equivalent_is_found(group):
    elements = symmetry_rotations(group)
    rng = np.random.default_rng(3)
    noise = Rotation.from_rotvec(rng.normal(0, 0.01, (300, 3))).as_matrix()
    near = noise @ TRUTH
    moved = near @ elements[rng.integers(len(elements), size=300)]
    np.testing.assert_allclose(nearest_equivalent(moved, TRUTH, group), near, atol=1e-12)


@pytest.mark.parametrize("group", ["D7", "I"])
def test_no_equivalent_is_nearer(group):
    wrong = Rotation.random(300, rng=np.random.default_rng(4)).as_matrix()
    found = degrees(nearest_equivalent(wrong, TRUTH, group), TRUTH)
    each = np.array([degrees(wrong @ g, TRUTH) for g in symmetry_rotations(group)])
    np.testing.assert_allclose(found, each.min(axis=0), atol=1e-9)
