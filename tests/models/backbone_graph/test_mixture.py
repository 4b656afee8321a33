"""Frequencies of greatest likelihood, posteriors that sum to one, draws as probable as they are."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.special import logsumexp, softmax

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import DecoderConfig, default
from cryojax_graph.models.backbone_graph.imaging import init_imaging
from cryojax_graph.models.backbone_graph.mixture import (
    Mixture,
    draw_latents,
    evidence_of_each,
    evidence_of_mixture,
    fit_frequencies,
    membership,
    moments,
    position_spread,
)
from cryojax_graph.models.backbone_graph.objective import Scene, likelihood_loss
from cryojax_graph.models.backbone_graph.template import build_template

BOX = 16


def points(seed: int, images: int, *, spread: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihoods of points near four places, and the share of each place."""
    rng = np.random.default_rng(seed)
    places, shares = np.array([-3.0, -1.0, 1.0, 4.0]), np.array([0.1, 0.4, 0.2, 0.3])
    seen = rng.choice(places, images, p=shares) + spread * rng.normal(size=images)
    return -0.5 * ((seen[:, None] - places) / spread) ** 2, shares


def test_frequencies_are_those_of_greatest_likelihood() -> None:
    scores, _ = points(0, 200)
    found = fit_frequencies(scores)

    def minus_log_likelihood(logits: np.ndarray) -> float:
        return -logsumexp(scores + np.log(softmax(logits)), axis=1).sum()

    best = minimize(minus_log_likelihood, np.zeros(4))
    assert minus_log_likelihood(np.log(found)) < best.fun + 1e-3
    np.testing.assert_allclose(found, softmax(best.x), atol=0.01)


def test_frequencies_of_many_images_are_the_true_ones() -> None:
    scores, shares = points(1, 20_000)
    np.testing.assert_allclose(fit_frequencies(scores), shares, atol=0.02)


def test_one_image_does_not_overthrow_what_was_known_before() -> None:
    scores, shares = points(2, 1)
    alone, with_others = fit_frequencies(scores), fit_frequencies(scores, shares)
    assert alone.max() > 0.99
    # It counts as one image of five: those expected count as four.
    np.testing.assert_allclose(with_others, (membership(scores, with_others)[0] + 4 * shares) / 5)
    many, _ = points(3, 20_000)
    wrong = np.array([0.7, 0.1, 0.1, 0.1])
    np.testing.assert_allclose(fit_frequencies(many, wrong), fit_frequencies(many), atol=1e-3)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.floats(-1e4, 1e4))
def test_memberships_sum_to_one_and_know_no_constant(seed: int, constant: float) -> None:
    scores, shares = points(seed, 7, spread=0.05)
    weights = membership(scores, shares)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(membership(scores + constant, shares), weights, atol=1e-6)


def test_evidence_of_a_mixture_is_the_mean_likelihood() -> None:
    scores, shares = points(7, 9)
    np.testing.assert_allclose(
        evidence_of_mixture(scores - 2000.0, shares), np.log(np.exp(scores) @ shares) - 2000.0
    )


def test_evidence_of_an_image_by_itself_is_the_integral_over_its_latent() -> None:
    # Seen is the latent with noise: its evidence is a Gaussian in closed form.
    rng = np.random.default_rng(8)
    seen, noise = rng.normal(size=(3, 2)), 0.6
    variance = 1.0 / (1.0 + noise**-2)
    mean, deviation = variance * seen / noise**2 + 0.1, np.full((3, 2), 1.2 * np.sqrt(variance))
    draws = mean[:, None] + deviation[:, None] * rng.normal(size=(3, 50_000, 2))
    likelihood = -0.5 * np.sum(((seen[:, None] - draws) / noise) ** 2, axis=-1)
    total = 1.0 + noise**2
    exact = -0.5 * np.sum(seen**2, axis=1) / total - np.log(total) + 2 * np.log(noise)
    found = evidence_of_each(likelihood, draws, mean, deviation)
    np.testing.assert_allclose(found, exact, atol=0.02)


def test_moments_are_those_of_the_mixture() -> None:
    rng = np.random.default_rng(4)
    weights, latents = rng.dirichlet(np.ones(5), size=3), 50.0 + rng.normal(size=(5, 2))
    mean, deviation = moments(weights, latents, width=0.3)
    draws = rng.multinomial(400_000, weights[1]) / 400_000
    np.testing.assert_allclose(mean[1], draws @ latents, atol=0.02)
    variance = draws @ (latents - mean[1]) ** 2 + 0.09
    np.testing.assert_allclose(deviation[1], np.sqrt(variance), rtol=0.01)


def test_spread_is_the_deviation_of_the_atoms_around_their_mean() -> None:
    rng = np.random.default_rng(6)
    weights, c_alpha = rng.dirichlet(np.ones(4), size=3), 30.0 + rng.normal(size=(4, 5, 3))
    mean = np.einsum("ik,knd->ind", weights, c_alpha)
    square = np.sum((c_alpha - mean[:, None]) ** 2, axis=-1).mean(axis=-1)
    expected = np.sqrt(np.sum(weights * square, axis=1))
    np.testing.assert_allclose(position_spread(weights, c_alpha), expected)
    sure = position_spread(np.eye(4), c_alpha)
    np.testing.assert_allclose(sure, 0.0, atol=1e-6)


def test_latents_are_drawn_as_often_as_they_are_probable() -> None:
    latents = jnp.array([[0.0], [10.0], [20.0]])
    weights = np.array([[0.2, 0.5, 0.3], [1e-30, 1.0, 1e-30]])
    mixture = Mixture(latents, jnp.log(weights))
    images = jnp.asarray(np.repeat([0, 1, 9], [20_000, 100, 100]))
    drawn = np.asarray(draw_latents(jax.random.key(0), mixture, images, width=0.5))[:, 0]
    of_first = drawn[:20_000]
    np.testing.assert_allclose(
        [np.mean(np.round(of_first / 10) == k) for k in range(3)], weights[0], atol=0.02
    )
    np.testing.assert_allclose(np.std(of_first - 10 * np.round(of_first / 10)), 0.5, rtol=0.03)
    # What is past the end is padding, and counts as the last image.
    assert np.all(np.round(drawn[20_000:] / 10) == 1)


def test_a_mixture_of_one_conformation_is_a_latent_that_is_known(make_chain) -> None:
    config = replace(default(), decoder=DecoderConfig(latent_size=2, width=8, modes=8))
    config = replace(config, mixture=replace(config.mixture, width=0.0))
    template = build_template(make_chain(12), config, pixel_size=1.5)
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft2(rng.normal(size=(3, BOX, BOX)))
    batch = {
        "spectrum": jnp.asarray(spectrum, jnp.complex64),
        "transfer": jnp.ones(spectrum.shape),
        "rotation": jnp.tile(jnp.eye(3), (3, 1, 1)),
        "shift": jnp.zeros((3, 2)),
        "weight": jnp.ones(3),
        "index": jnp.arange(3),
        "step": jnp.asarray(90),
    }
    shared = {
        "decoder": network.init(jax.random.key(0), config.decoder, template),
        "imaging": init_imaging(spectrum, "likelihood"),
    }
    latent = jnp.array([[0.7, -0.4]])
    loss = partial(
        likelihood_loss, config=config, key=jax.random.key(1), scene=Scene(template, 1.5, 3, 100)
    )

    def in_mixture(shared):
        return loss(shared, batch, mixture=Mixture(latent, jnp.zeros((3, 1))))[0]

    def known(shared):
        table = {"mean": jnp.tile(latent, (3, 1)), "log_deviation": jnp.full((3, 2), -30.0)}
        value, terms = loss(shared | {"latents": table}, batch)
        return value - terms["latent_information"]

    found, expected = (jax.jit(jax.value_and_grad(f))(shared) for f in (in_mixture, known))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-5)
    for one, other in zip(jax.tree.leaves(found[1]), jax.tree.leaves(expected[1]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)


def test_a_conformation_that_an_image_cannot_show_has_no_share_of_it() -> None:
    likelihoods = np.array([[0.0, -np.inf], [0.0, 1.0], [-np.inf, 2.0]])
    frequencies = fit_frequencies(likelihoods)
    weights = membership(likelihoods, frequencies)
    assert weights[0].tolist() == [1.0, 0.0]
    assert weights[2].tolist() == [0.0, 1.0]
    assert frequencies.sum() == pytest.approx(1.0)
    assert np.isfinite(evidence_of_mixture(likelihoods, frequencies)).all()
