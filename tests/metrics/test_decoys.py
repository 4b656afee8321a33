"""The share of false points, from decoys."""

import numpy as np
import pytest

from cryojax_graph.metrics import false_share


def test_decoys_above_a_cut_are_counted_against_points_above_it():
    height = np.array([5.0, 4.0, 3.0, 2.0, 1.0])
    decoys = np.array([3.5, 1.5, 0.5])
    # Cuts at 5 … 1 leave 0, 0, 1, 1, 2 decoys; that at 2 has a smaller share than that at 3.
    np.testing.assert_allclose(false_share(height, decoys), [0, 0, 1 / 4, 1 / 4, 2 / 5])


def test_order_and_unit_do_not_matter():
    rng = np.random.default_rng(0)
    height, decoys = rng.exponential(3, 200), rng.exponential(1, 150)
    share, order = false_share(height, decoys), rng.permutation(200)
    np.testing.assert_array_equal(false_share(7 * height[order], 7 * decoys), share[order])
    assert (np.diff(share[np.argsort(height)]) <= 0).all()


def test_without_decoys_nothing_is_false_and_noise_is_all_false():
    rng = np.random.default_rng(1)
    assert not false_share(rng.random(5), np.zeros(0)).any()
    assert false_share(np.zeros(0), rng.random(5)).shape == (0,)
    first, second = rng.normal(size=(2, 4000)) ** 2
    assert false_share(first, second).max() > 0.9


def test_the_share_is_right_on_a_mixture():
    rng = np.random.default_rng(2)
    atoms, noise = rng.normal(6, 1, 1000), np.abs(rng.normal(0, 1, (2, 3000)))
    height = np.concatenate([atoms, noise[0]])
    kept = false_share(height, noise[1]) <= 0.1
    assert kept[1000:].sum() / kept.sum() == pytest.approx(0.1, abs=0.03)
