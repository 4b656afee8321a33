import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from cryojax_graph.metrics.latents import (
    bootstrap_interval,
    distance_correlation,
    leading_direction,
    neighbourhood_hit,
    spearman,
)

RNG = np.random.default_rng(0)


@given(st.lists(st.integers(0, 5), min_size=3, max_size=30), st.integers(0, 1000))
@settings(max_examples=50, deadline=None)
def test_spearman_agrees_with_scipy_also_with_ties(values, seed):
    first = np.array(values, float)
    second = np.random.default_rng(seed).integers(0, 4, len(values)).astype(float)
    if first.std() > 0 and second.std() > 0:
        np.testing.assert_allclose(spearman(first, second), spearmanr(first, second)[0], atol=1e-12)
    else:
        assert spearman(first, second) == 0


def test_spearman_sees_only_the_order():
    values = RNG.normal(size=50)
    assert spearman(values, np.exp(3 * values)) == pytest.approx(1)
    assert spearman(values, -(values**3)) == pytest.approx(-1)


def test_leading_direction_is_the_most_spread_one():
    scores = RNG.normal(size=500)
    latents = np.outer(scores, [3.0, 4.0, 0.0]) + 0.1 * RNG.normal(size=(500, 3)) + 100
    direction = leading_direction(latents)
    assert abs(np.corrcoef(direction, scores)[0, 1]) > 0.999
    assert direction.std() == pytest.approx(5 * scores.std(), rel=0.01)


def dcor_by_centring(x: np.ndarray, y: np.ndarray) -> float:
    """The definition with whole matrices."""

    def centred(v):
        d = np.linalg.norm(v[:, None] - v[None], axis=2)
        return d - d.mean(0) - d.mean(1)[:, None] + d.mean()

    a, b = centred(x), centred(y)
    return np.sqrt((a * b).mean() / np.sqrt((a * a).mean() * (b * b).mean()))


@pytest.mark.parametrize("n", [20, 700])
def test_distance_correlation_agrees_with_its_definition(n):
    x = RNG.normal(size=(n, 3))
    y = x[:, :2] ** 2 + 0.3 * RNG.normal(size=(n, 2))
    assert distance_correlation(x, y) == pytest.approx(dcor_by_centring(x, y), rel=1e-9)


def test_distance_correlation_sees_a_fold_that_rank_correlation_does_not():
    x = np.linspace(-1, 1, 301)
    assert abs(spearman(x, x**2)) < 0.01
    assert distance_correlation(x[:, None], (x**2)[:, None]) > 0.4
    assert distance_correlation(x[:, None], 5 - 2 * x[:, None]) == pytest.approx(1)
    assert distance_correlation(x[:, None], np.ones((301, 1))) == 0


def test_neighbourhood_hit_of_separate_mixed_and_equal_latents():
    labels = np.arange(300) % 3
    separate = labels[:, None] * 100.0 + RNG.normal(size=(300, 1))
    assert neighbourhood_hit(separate, labels) == 1
    assert abs(neighbourhood_hit(RNG.normal(size=(300, 2)), labels) - 1 / 3) < 0.06
    equal = np.zeros((300, 2))
    assert 0 <= neighbourhood_hit(equal, labels) <= 1


def test_neighbourhood_hit_leaves_the_image_itself_out():
    pairs = np.array([0.0, 0.1, 10.0, 10.1])[:, None]
    assert neighbourhood_hit(pairs, np.array([0, 1, 0, 1]), neighbours=1) == 0


def test_bootstrap_interval_of_a_mean_is_that_of_theory():
    values = RNG.normal(3.0, 2.0, 400)
    low, high = bootstrap_interval(jax.random.key(0), values)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.04)


def test_bootstrap_draws_pairs_together_and_repeats_with_the_key():
    first = RNG.normal(0, 10, 200)
    both = np.stack([first, first + 1 + 0.1 * RNG.normal(size=200)], 1)
    settings = {"statistic": lambda rows: rows[:, 1].mean() - rows[:, 0].mean(), "resamples": 200}
    low, high = bootstrap_interval(jax.random.key(1), both, **settings)
    assert 0.9 < low < high < 1.1
    assert (low, high) == bootstrap_interval(jax.random.key(1), both, **settings)
    assert (low, high) != bootstrap_interval(jax.random.key(2), both, **settings)


def test_too_few_images_are_refused():
    with pytest.raises(ValueError, match="3 images have no 3 neighbours each"):
        neighbourhood_hit(np.zeros((3, 1)), np.arange(3), neighbours=3)
    assert neighbourhood_hit(np.zeros((3, 1)), np.zeros(3, int), neighbours=2) == 1
    with pytest.raises(ValueError, match="there are no values"):
        bootstrap_interval(jax.random.key(0), np.zeros(0))
