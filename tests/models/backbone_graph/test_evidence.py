"""Evidence for motion: nothing from nothing, the right amount from a known mixture."""

import numpy as np
import pytest

from cryojax_graph.models.backbone_graph.evidence import motion_gain


def scores(images: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """Log-likelihoods of points under unit Gaussians around the candidates."""
    return -0.5 * ((images[:, None] - candidates) ** 2).sum(-1)


def test_candidates_that_agree_gain_nothing() -> None:
    same = np.repeat(np.random.default_rng(0).normal(size=(50, 1)), 7, axis=1)
    np.testing.assert_allclose(motion_gain(same), 0.0, atol=1e-12)


def test_two_well_separated_states_gain_their_distance() -> None:
    # Half of the images lie 12 away from either candidate: 72 nats, and log 2 for the choice.
    candidates = np.array([[0.0, 0.0], [12.0, 0.0]])
    gain = motion_gain(scores(np.repeat(candidates, [60, 40], axis=0), candidates))
    np.testing.assert_allclose(gain[:60], -np.log(2), atol=1e-9)
    np.testing.assert_allclose(gain[60:], 72.0 - np.log(2), atol=1e-9)


@pytest.mark.parametrize("spread", [0.3, 1.0, 3.0])
def test_images_of_one_state_gain_nothing_whatever_the_candidates(spread: float) -> None:
    rng = np.random.default_rng(7)
    images = rng.normal(size=(4000, 6))
    candidates = np.concatenate([np.zeros((1, 6)), spread * rng.normal(size=(64, 6))])
    gain = motion_gain(scores(images, candidates))
    assert gain.mean() < 2 * gain.std() / np.sqrt(len(gain))


def test_small_motion_in_much_noise_is_found_in_many_images() -> None:
    rng = np.random.default_rng(8)
    images = 0.8 * rng.normal(size=(2000, 3)) + rng.normal(size=(2000, 3))
    gain = motion_gain(scores(images, 0.8 * rng.normal(size=(256, 3))))
    error = gain.std() / np.sqrt(len(gain))
    # The gain of the true population: log N(x; 0, 1.64) - log N(x; 0, 1).
    exact = 0.5 * (images**2).sum(-1) * (1 - 1 / 1.64) - 1.5 * np.log(1.64)
    assert gain.mean() > 4 * error
    assert abs(gain.mean() - exact.mean()) < 0.1
