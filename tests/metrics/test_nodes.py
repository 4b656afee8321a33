"""Points against atoms."""

import numpy as np
import pytest

from cryojax_graph.metrics import match_points, score_by_strength, score_nearest, score_nodes


def test_pairs_are_exclusive_and_the_nearest_come_first():
    atoms = np.array([[0.0, 0, 0], [1.0, 0, 0], [9.0, 0, 0]])
    points = np.array([[0.4, 0, 0], [0.1, 0, 0], [5.0, 0, 0]])
    point, atom, distance = match_points(points, atoms, within=1.0)
    assert list(zip(point.tolist(), atom.tolist(), strict=True)) == [(1, 0), (0, 1)]
    np.testing.assert_allclose(distance, [0.1, 0.6])
    scores = score_nodes(points, atoms, within=1.0)
    assert scores.sensitivity == scores.specificity == scores.f1 == pytest.approx(2 / 3)
    assert scores.rmsd == pytest.approx(np.sqrt((0.01 + 0.36) / 2))


def test_nothing_found_is_told():
    scores = score_nodes(np.zeros((0, 3)), np.zeros((2, 3)), within=1.0)
    assert (scores.sensitivity, scores.specificity, scores.f1) == (0, 0, 0)
    assert np.isnan(scores.rmsd)


def test_order_does_not_matter():
    rng = np.random.default_rng(0)
    points, atoms = rng.uniform(0, 6, (80, 3)), rng.uniform(0, 6, (60, 3))
    forth = score_nodes(points, atoms, within=1.0)
    back = score_nodes(points[::-1], atoms[rng.permutation(60)], within=1.0)
    assert forth == pytest.approx(back)
    assert 0 < forth.sensitivity < 1


def test_a_rising_cut_leaves_the_stronger_points():
    atoms = np.array([[0.0, 0, 0], [9.0, 0, 0]])
    points = np.array([[0.1, 0, 0], [9.1, 0, 0], [20.0, 0, 0], [30.0, 0, 0]])
    scores = score_by_strength(points, np.array([3.0, 2.0, 1.0, 1.0]), atoms, within=1.0)
    assert scores.cut.tolist() == [1, 2, 3]
    assert scores.points.tolist() == [4, 2, 1]
    assert scores.sensitivity.tolist() == [1, 1, 0.5]
    assert scores.specificity.tolist() == [0.5, 1, 1]


def test_points_of_one_strength_have_one_cut():
    scores = score_by_strength(np.zeros((3, 3)), np.ones(3), np.zeros((1, 3)), within=1.0)
    assert scores.cut.tolist() == [1]
    assert scores.points.tolist() == [3]


def test_crowds_count_where_points_are_not_paired():
    atoms = np.array([[0.0, 0, 0], [1.0, 0, 0], [9.0, 0, 0], [30.0, 0, 0]])
    points = np.array([[0.1, 0, 0], [0.2, 0, 0], [0.3, 0, 0], [10.0, 0, 0], [50.0, 0, 0]])
    scores = score_nearest(points, atoms, within=3.0)
    assert scores.with_point == pytest.approx(3 / 4)
    assert scores.near_atom == pytest.approx(4 / 5)
    assert scores.rmsd == pytest.approx(np.sqrt((0.1**2 + 0.7**2 + 1.0**2) / 3))
    # Paired, two atoms that share their points have one each, and others are left over.
    assert score_nodes(points, atoms, within=3.0).specificity == pytest.approx(3 / 5)


def test_nothing_near_is_told():
    none = score_nearest(np.zeros((0, 3)), np.zeros((2, 3)), within=1.0)
    far = score_nearest(np.full((3, 3), 9.0), np.zeros((2, 3)), within=1.0)
    for scores in (none, far):
        assert (scores.with_point, scores.near_atom) == (0, 0)
        assert np.isnan(scores.rmsd)
