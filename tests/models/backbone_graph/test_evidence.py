"""Evidence for motion: nothing from nothing, the right amount from a known mixture."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.geometry import random_rotations
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import default
from cryojax_graph.models.backbone_graph.embed import log_evidence, log_likelihoods
from cryojax_graph.models.backbone_graph.evidence import motion_gain
from cryojax_graph.models.backbone_graph.imaging import (
    extra_variance,
    pose_slope,
    predicted_spectrum,
    score_conformation,
    spectrum_of,
)
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.models.backbone_graph.views import (
    PoseTable,
    arm,
    corrected_views,
    improved_poses,
    pose_surprise,
)

BOX, PIXEL = 32, 1.4
NOISE, EXPECTED = 0.4, 0.1


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


def test_a_conformation_of_no_frequency_leaves_the_gain_finite() -> None:
    gain = motion_gain(np.array([[0.0, -5000.0], [0.0, -5000.0]]), np.array([0.0, 1.0]))
    assert np.isfinite(gain).all()
    assert (gain < 0).all()


@pytest.fixture(scope="module")
def scene(make_chain) -> SimpleNamespace:
    """Noisy images of one conformation of a chain, in poses that are not quite right, and another.

    The other conformation has half of the chain shifted: much of the difference is made up for by
    another pose.
    """
    config = replace(default(), objective=replace(default().objective, contrast_deviation=0.0))
    template = build_template(make_chain(16), config, pixel_size=PIXEL)
    for_views, for_noise, for_errors = jax.random.split(jax.random.key(2), 3)
    count = 6
    rotation, shift = random_rotations(for_views, count), jnp.zeros((count, 2))
    ctf = CTF(*(jnp.float32(v) for v in (15000.0, 15000.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0)))
    transfer = contrast_transfer(ctf, box=BOX, pixel_size=PIXEL)
    imaging = {
        "log_scale": jnp.zeros(()),
        "extra_variance": jnp.float32(1.0),
        "log_noise": jnp.full(BOX // 2 + 1, np.log(NOISE), jnp.float32),
    }
    half = (jnp.arange(len(template.c_alpha)) < 8)[:, None] * jnp.array([0.0, 1.0, 0.5])
    conformations = jnp.stack([template.c_alpha, template.c_alpha + half])
    draw = partial(predicted_spectrum, template=template, pixel_size=PIXEL)
    clean = jax.jit(jax.vmap(draw, in_axes=(None, 0, 0, None, None)))(
        conformations[0], rotation, shift, transfer, extra_variance(imaging)
    )
    noise = jnp.sqrt(NOISE) * jax.random.normal(for_noise, (count, BOX, BOX))
    error = EXPECTED * jax.random.normal(for_errors, (count, 5))
    given = corrected_views(error, rotation, shift, template=template)
    batch = {
        "spectrum": clean + jax.vmap(spectrum_of)(noise),
        "transfer": jnp.broadcast_to(transfer, clean.shape),
        **given,
    }
    params = {"decoder": {}, "imaging": imaging, "pose_error": jnp.log(jnp.full(2, EXPECTED))}
    return SimpleNamespace(
        config=config, template=template, params=params, batch=batch, conformations=conformations
    )


def evidence_in(scene, monkeypatch, correction: jax.Array, in_any_pose: int = 2) -> np.ndarray:
    """Of the scene's conformations, which stand for decoded latents."""
    monkeypatch.setattr(network, "apply", lambda *_, **__: scene.conformations)
    found = jax.jit(
        partial(
            log_evidence,
            config=scene.config,
            template=scene.template,
            pixel_size=PIXEL,
            in_any_pose=in_any_pose,
        )
    )(
        scene.params,
        jnp.zeros((2, scene.config.decoder.latent_size)),
        scene.batch | {"correction": correction},
    )
    return np.asarray(found, float)


def fitted_to(scene, conformation: int) -> PoseTable:
    """Corrections of the given poses that suit one conformation best, and how sure they are."""
    place = {"template": scene.template, "pixel_size": PIXEL}
    imaging, c_alpha = scene.params["imaging"], scene.conformations[conformation]
    band, unit = jnp.ones((BOX, BOX // 2 + 1)), arm(scene.template)

    @jax.jit
    def step(correction):
        given = scene.batch["rotation"], scene.batch["shift"]
        views = corrected_views(correction, *given, template=scene.template)
        slope = jax.lax.map(
            lambda image: pose_slope(imaging, c_alpha, image, band, jnp.float32(1.0), **place),
            scene.batch | views,
        )
        return improved_poses(correction, slope, scene.params["pose_error"], unit=unit)

    table = step(jnp.zeros((len(scene.batch["shift"]), 5)))
    for _ in range(8):
        table = step(table.mean)
    return table


def integrated(scene, conformation: int, table: PoseTable) -> np.ndarray:
    """The likelihood over many poses, drawn from a Gaussian wider than the posterior."""
    place = {"template": scene.template, "pixel_size": PIXEL}
    imaging, c_alpha = scene.params["imaging"], scene.conformations[conformation]
    wider, draws, band = 1.3, 400, jnp.ones((BOX, BOX // 2 + 1))
    noise = np.random.default_rng(0).normal(size=(len(table.mean), draws, 5))
    spread = wider * np.asarray(table.spread, float)
    drawn = np.asarray(table.mean)[:, None] + np.einsum("bij,bkj->bki", spread, noise)

    @jax.jit
    def of_image(image, corrections):
        def log_likelihood(correction):
            given = image["rotation"][None], image["shift"][None]
            views = corrected_views(correction[None], *given, template=scene.template)
            there = image | {name: value[0] for name, value in views.items()}
            score = score_conformation(
                imaging, c_alpha, there, band, contrast_deviation=0.0, **place
            )
            return -score.loss

        return jax.lax.map(log_likelihood, corrections, batch_size=50)

    images = ({name: a[i] for name, a in scene.batch.items()} for i in range(len(drawn)))
    corrections = jnp.asarray(drawn, jnp.float32)
    scores = np.array([of_image(*given) for given in zip(images, corrections, strict=True)])
    width = np.log(np.diagonal(spread, axis1=1, axis2=2)).sum(axis=1)[:, None]
    log_drawn = -0.5 * np.sum(noise**2, axis=-1) - width
    log_error = scene.params["pose_error"]
    log_prior = -np.array([pose_surprise(some, log_error) for some in corrections])
    return logsumexp(scores + log_prior - log_drawn, axis=1, b=1 / draws)


def test_evidence_is_the_likelihood_integrated_over_poses(scene, monkeypatch):
    tables = [fitted_to(scene, conformation) for conformation in (0, 1)]
    found = evidence_in(scene, monkeypatch, tables[0].mean)
    expected = [integrated(scene, number, table) for number, table in enumerate(tables)]
    np.testing.assert_allclose(found, np.transpose(expected), atol=0.4)


def test_no_conformation_is_preferred_for_the_pose_that_was_fitted_to_it(scene, monkeypatch):
    own, other = (fitted_to(scene, conformation).mean for conformation in (0, 1))

    def likelihood_in(correction: jax.Array) -> np.ndarray:
        given = scene.batch["rotation"], scene.batch["shift"]
        views = corrected_views(correction, *given, template=scene.template)
        found = log_likelihoods(
            scene.params,
            jnp.zeros((2, scene.config.decoder.latent_size)),
            scene.batch | views,
            config=scene.config,
            template=scene.template,
            pixel_size=PIXEL,
        )
        return np.asarray(found, float)

    def preferred(first: np.ndarray, second: np.ndarray) -> float:
        """How much better the first conformation looks from its pose than from the other's."""
        return float(((first - second) @ [1.0, -1.0]).mean())

    first, second = (evidence_in(scene, monkeypatch, start) for start in (own, other))
    assert abs(preferred(first, second)) < 0.1
    # In one pose for both it looks better by far.
    first, second = likelihood_in(own), likelihood_in(other)
    assert preferred(first, second) > 20.0


def test_conformations_that_are_less_probable_in_the_fitted_pose_can_be_left_out(
    scene, monkeypatch
):
    start = fitted_to(scene, 0).mean
    every = evidence_in(scene, monkeypatch, start)
    likely = evidence_in(scene, monkeypatch, start, in_any_pose=1)
    # From the pose that suits the first it is the more probable one of every image.
    np.testing.assert_allclose(likely[:, 0], every[:, 0], rtol=1e-5)
    assert np.all(np.isneginf(likely[:, 1]))
