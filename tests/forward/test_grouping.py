import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.grouping import plan_groups


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 40))
def test_every_point_has_exactly_one_place(n, size):
    positions = np.random.default_rng(n).normal(size=(n, 3))
    plan = plan_groups(positions, np.ones(n), pixel_size=1.0, size=size)
    members, occupied = np.asarray(plan.members), np.asarray(plan.occupied) > 0
    assert sorted(members[occupied]) == list(range(n))
    assert members.shape[1] <= size
    np.testing.assert_array_equal(members.ravel()[np.asarray(plan.places)], np.arange(n))
    assert occupied.sum(1).max() - occupied.sum(1).min() <= 1


def test_unoccupied_places_repeat_a_point_of_their_group():
    """They must not stretch the window."""
    plan = plan_groups(
        np.random.default_rng(0).normal(size=(11, 3)), np.ones(11), pixel_size=1.0, size=4
    )
    for members, occupied in zip(np.asarray(plan.members), np.asarray(plan.occupied), strict=True):
        assert set(members) == set(members[occupied > 0])


def test_the_window_holds_the_widest_group_and_its_reach():
    positions = np.array([[0.0, 0, 0], [10.0, 0, 0]])
    plan = plan_groups(positions, np.array([1.0, 2.0]), pixel_size=2.0, size=2, reach=3.0)
    assert plan.window == 12  # (10 + 2 * 3 * 2) / 2 pixels and one, rounded up to even
    loose = plan_groups(positions, np.array([1.0, 2.0]), pixel_size=2.0, reach=3.0, slack=4.0)
    assert loose.window == 14


def test_coincident_points_are_divided_like_any_others():
    plan = plan_groups(np.zeros((9, 3)), np.ones(9), pixel_size=1.0, size=4)
    assert plan.members.shape == (3, 3)


@pytest.mark.parametrize("positions", [np.zeros((0, 3)), np.full((3, 3), np.nan)])
def test_no_point_or_no_place_is_refused(positions):
    with pytest.raises(ValueError, match="at least one point and finite positions"):
        plan_groups(positions, np.ones(len(positions)), pixel_size=1.0)
