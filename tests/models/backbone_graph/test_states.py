"""States along the leading motion: probabilities, places, and what the weights are for."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.models.backbone_graph.states import (
    effective_images,
    state_edges,
    state_places,
    state_probabilities,
    states_told_apart,
)


def posteriors(seed: int, images: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=images), rng.uniform(0.05, 0.8, images)


def mass(low: float, high: float, mean: float, deviation: float) -> float:
    below = [0.5 * math.erfc((mean - edge) / (deviation * math.sqrt(2.0))) for edge in (low, high)]
    return below[1] - below[0]


def test_probabilities_are_masses_of_gaussians() -> None:
    mean, deviation = posteriors(0, 20)
    edges = np.array([-0.7, 0.1, 0.9])
    bounds = [-math.inf, *edges, math.inf]
    expected = [
        [mass(bounds[k], bounds[k + 1], m, s) for k in range(4)]
        for m, s in zip(mean, deviation, strict=True)
    ]
    np.testing.assert_allclose(state_probabilities(mean, deviation, edges), expected, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), states=st.integers(2, 9))
def test_an_image_is_in_some_state_and_states_are_equally_full(seed: int, states: int) -> None:
    mean, deviation = posteriors(seed)
    edges = state_edges(mean, deviation, states=states)
    probability = state_probabilities(mean, deviation, edges)
    assert (np.diff(edges) > 0).all()
    assert (probability >= 0).all()
    np.testing.assert_allclose(probability.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(probability.sum(axis=0), len(mean) / states, rtol=1e-9)


def test_certain_images_are_in_one_state_each() -> None:
    mean, _ = posteriors(1)
    certain = np.zeros(len(mean))
    edges = state_edges(mean, certain, states=4)
    probability = state_probabilities(mean, certain, edges)
    order = np.argsort(np.argsort(mean)) * 4 // len(mean)
    np.testing.assert_array_equal(probability, np.eye(4)[order])
    np.testing.assert_array_equal(effective_images(probability), np.full(4, 50.0))
    assert states_told_apart(probability) == pytest.approx(4.0)
    means = [mean[order == k].mean() for k in range(4)]
    np.testing.assert_allclose(state_places(mean, certain, edges), means)


def test_places_are_means_over_the_posteriors() -> None:
    mean, deviation = posteriors(2, 30)
    edges = np.array([-0.5, 0.4])
    z = np.linspace(-6, 6, 20001)
    density = np.exp(-0.5 * ((z - mean[:, None]) / deviation[:, None]) ** 2) / deviation[:, None]
    total = density.sum(axis=0)
    state = np.digitize(z, edges)
    expected = [(z * total)[state == k].sum() / total[state == k].sum() for k in range(3)]
    np.testing.assert_allclose(state_places(mean, deviation, edges), expected, atol=1e-3)


def test_images_that_know_nothing_tell_nothing_apart() -> None:
    mean, deviation = np.zeros(50), np.full(50, 0.3)
    edges = state_edges(mean, deviation, states=5)
    probability = state_probabilities(mean, deviation, edges)
    np.testing.assert_allclose(effective_images(probability), 50.0)
    assert states_told_apart(probability) == pytest.approx(1.0)


def test_no_image_counts_for_nothing() -> None:
    np.testing.assert_array_equal(effective_images(np.zeros((3, 2))), [0.0, 0.0])


def test_weighed_data_average_to_the_state_where_sorted_data_bring_their_noise_along() -> None:
    # One datum for each image, z + noise; its posterior is exact.
    rng = np.random.default_rng(3)
    z, noise = rng.normal(size=100_000), 0.8
    datum = z + noise * rng.normal(size=len(z))
    shrink = 1.0 / (1.0 + noise**2)
    mean, deviation = shrink * datum, np.full(len(z), noise * math.sqrt(shrink))
    edges = state_edges(mean, deviation, states=4)
    truth = np.array([z[np.digitize(z, edges) == k].mean() for k in range(4)])
    weight = state_probabilities(mean, deviation, edges)
    weighed = (weight * datum[:, None]).sum(axis=0) / weight.sum(axis=0)
    np.testing.assert_allclose(weighed, truth, atol=0.02)
    best = weight.argmax(axis=1)
    assert datum[best == 3].mean() > truth[3] + 0.1
