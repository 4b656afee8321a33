from dataclasses import replace
from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.image import gaussian_image
from cryojax_graph.models.backbone_graph.config import default, paper
from cryojax_graph.models.backbone_graph.imaging import (
    init_imaging,
    predicted_spectrum,
    score_image,
    shell_of_coefficients,
    spectrum_of,
)
from cryojax_graph.models.backbone_graph.objective import sharpened, sharpest
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.protein import place_beads

BOX = 16


def images(seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(2, BOX, BOX)).astype(np.float32)


def best_in_real_space(predicted, observed, variance, deviation):
    """Contrast and likelihood of images without their mean, in pixels and float64."""
    p, y = (x.astype(float) - x.astype(float).mean() for x in (predicted, observed))
    prior = deviation**-2 if deviation else 0.0
    contrast = ((p * y).sum() / variance + prior) / ((p * p).sum() / variance + prior)
    contrast = max(contrast, 0.0) if deviation else 1.0
    error = ((y - contrast * p) ** 2).sum() / (2 * variance)
    error += 0.5 * (BOX**2 - 1) * np.log(variance) + 0.5 * prior * (contrast - 1) ** 2
    gain = (y**2).sum() / (2 * variance) - ((y - contrast * p) ** 2).sum() / (2 * variance)
    return error, gain, contrast


@pytest.mark.parametrize("deviation", [0.0, 0.1, 3.0])
def test_score_is_the_likelihood_in_real_space(deviation):
    predicted, observed = images(0)
    observed = observed + predicted
    score = score_image(
        spectrum_of(jnp.asarray(predicted)),
        spectrum_of(jnp.asarray(observed)),
        jnp.full(BOX // 2 + 1, 1.7),
        jnp.ones((BOX, BOX // 2 + 1)),
        contrast_deviation=deviation,
    )
    loss, gain, contrast = best_in_real_space(predicted, observed, 1.7, deviation)
    np.testing.assert_allclose(score.loss, loss, rtol=1e-5)
    np.testing.assert_allclose(score.gain, gain, rtol=1e-4)
    np.testing.assert_allclose(score.contrast, contrast, rtol=1e-4)


def test_gradient_with_the_contrast_held_fixed_is_the_whole_gradient():
    predicted, observed = images(1)
    observed = observed + predicted

    def loss(scale):
        return score_image(
            spectrum_of(scale * jnp.asarray(predicted)),
            spectrum_of(jnp.asarray(observed)),
            jnp.full(BOX // 2 + 1, 1.3),
            jnp.ones((BOX, BOX // 2 + 1)),
            contrast_deviation=0.2,
        ).loss

    step = 1e-2
    numeric = [
        best_in_real_space(s * predicted, observed, 1.3, 0.2)[0] for s in (1.2 + step, 1.2 - step)
    ]
    np.testing.assert_allclose(
        jax.grad(loss)(1.2), (numeric[0] - numeric[1]) / (2 * step), rtol=2e-3
    )


def test_a_prediction_is_the_image_of_the_forward_model(make_chain):
    atoms = make_chain(10)
    template = build_template(atoms, default(), pixel_size=1.5)
    ctf = CTF(defocus_u=15_000.0, defocus_v=14_000.0, defocus_angle=0.4)
    rotation = jnp.asarray(np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0])
    shift = jnp.asarray([1.0, -2.0])
    transfer = contrast_transfer(ctf, box=32, pixel_size=2.0)
    predict = jax.jit(partial(predicted_spectrum, template=template, pixel_size=2.0))
    spectrum = predict(template.c_alpha, rotation, shift, transfer, 1.0)
    image = jax.jit(partial(gaussian_image, box=32, pixel_size=2.0))(
        place_beads(template.beads, template.c_alpha),
        template.beads.mass,
        jnp.sqrt(template.beads.variance + 1.0),
        rotation,
        shift,
        ctf,
    )
    np.testing.assert_allclose(jnp.fft.irfft2(spectrum), image, atol=1e-4)


def test_noise_starts_at_the_power_of_the_images():
    noise = 3.0 * np.random.default_rng(2).normal(size=(300, BOX, BOX))
    imaging = init_imaging(np.fft.rfft2(noise), "likelihood")
    np.testing.assert_allclose(np.exp(imaging["log_noise"]), 9.0, rtol=0.1)


def test_shells_reach_nyquist_and_corners_join_the_last():
    shell = np.asarray(shell_of_coefficients(BOX))
    assert shell[0, 0] == 0
    assert shell[0, -1] == BOX // 2
    assert shell[BOX // 2, BOX // 2] == BOX // 2
    assert set(shell.ravel()) == set(range(BOX // 2 + 1))


def test_resolution_marches_from_coarse_to_nyquist():
    config = default()
    march = [
        float(sharpest(sharpened(jnp.asarray(s), 100, config), config, 1.5))
        for s in range(0, 101, 10)
    ]
    assert march[0] == pytest.approx(config.objective.coarsest)
    assert march[-1] == pytest.approx(3.0)
    assert (np.diff(march) <= 1e-6).all()


def test_published_loss_sees_only_bonds_and_centroid_of_the_geometry(make_chain):
    from cryojax_graph.models.backbone_graph import network
    from cryojax_graph.models.backbone_graph.objective import Scene, squared_error_loss

    config = paper()
    template = build_template(make_chain(12), config, pixel_size=1.5)
    start = jax.jit(partial(network.init, config=config.decoder, template=template))
    params = {
        "decoder": start(jax.random.key(0)),
        "imaging": init_imaging(np.zeros((1, BOX, BOX // 2 + 1), complex), "squared_error"),
        "latents": {"mean": jax.random.normal(jax.random.key(1), (3, 8))},
    }
    observed = np.random.default_rng(3).normal(size=(3, BOX, BOX))
    transfer = np.ones((3, BOX, BOX // 2 + 1), np.float32)
    batch = {
        "spectrum": jnp.asarray(np.fft.rfft2(observed), jnp.complex64),
        "transfer": jnp.asarray(transfer),
        "rotation": jnp.broadcast_to(jnp.eye(3), (3, 3, 3)),
        "shift": jnp.zeros((3, 2)),
        "weight": jnp.ones(3),
        "index": jnp.arange(3),
        "step": jnp.asarray(0),
    }
    scene = Scene(template, 3.0, 3, 10)
    loss = jax.jit(partial(squared_error_loss, config=config, scene=scene))
    value, terms = loss(params, batch, key=jax.random.key(0))
    decode = jax.jit(partial(network.apply, config=config.decoder, template=template))
    predict = jax.jit(partial(predicted_spectrum, template=template, pixel_size=3.0))
    expected, bonds, centroids = [], [], []
    known = np.linalg.norm(np.diff(np.asarray(template.c_alpha), axis=0), axis=1)
    for z, y in zip(params["latents"]["mean"], observed, strict=True):
        c_alpha = decode(params["decoder"], z)
        spectrum = predict(c_alpha, jnp.eye(3), jnp.zeros(2), jnp.asarray(transfer[0]), 0.0)
        expected.append(((np.fft.irfft2(spectrum) + 0.1) / 10.0 - y) ** 2)
        bonds.append((np.linalg.norm(np.diff(np.asarray(c_alpha), axis=0), axis=1) - known) ** 2)
        centroids.append((np.asarray(c_alpha - template.c_alpha).mean(0) ** 2).sum())
    np.testing.assert_allclose(terms["squared_error"], np.mean(expected), rtol=1e-4)
    total = np.mean(expected) + 5e-4 * np.mean(bonds) + 0.01 * np.mean(centroids)
    np.testing.assert_allclose(value, total, rtol=1e-4)


def test_restraints_start_stiff_and_end_as_they_are(make_chain):
    from cryojax_graph.models.backbone_graph import network
    from cryojax_graph.models.backbone_graph.objective import Scene, likelihood_loss

    config = default()
    template = build_template(make_chain(24), config, pixel_size=3.0)
    start = jax.jit(partial(network.init, config=config.decoder, template=template))
    decoder = start(jax.random.key(0))
    # Far from the template, so that there is an energy to be weighted.
    decoder["mean"] = 3.0 * jax.random.normal(jax.random.key(1), decoder["mean"].shape)
    params = {
        "decoder": decoder,
        "imaging": init_imaging(np.ones((4, BOX, BOX // 2 + 1), np.complex64), "likelihood"),
        "latents": {"mean": jnp.zeros((2, 8)), "log_deviation": jnp.full((2, 8), -5.0)},
    }
    batch = {
        "spectrum": jnp.zeros((2, BOX, BOX // 2 + 1), jnp.complex64),
        "transfer": jnp.zeros((2, BOX, BOX // 2 + 1)),
        "rotation": jnp.broadcast_to(jnp.eye(3), (2, 3, 3)),
        "shift": jnp.zeros((2, 2)),
        "weight": jnp.ones(2),
    }
    scene = Scene(template, 3.0, 2000, 100, None, 2)

    @cache
    def compiled(config):
        return jax.jit(partial(likelihood_loss, config=config, scene=scene))

    def loss(step: int, stiff: float) -> tuple[float, float]:
        restraints = replace(config.objective.restraints, stiff_at_first=stiff)
        changed = replace(config, objective=replace(config.objective, restraints=restraints))
        given = params, batch | {"step": jnp.asarray(step)}
        value, terms = compiled(changed)(*given, key=jax.random.key(2))
        return float(value), float(terms["restraint_energy"])

    # 20 conformations among 2,000 images: a hundredth of the energy counts, at first all of it.
    (stiff, energy), (soft, _) = loss(0, 100.0), loss(0, 1.0)
    assert energy > 10
    assert stiff - soft == pytest.approx(0.99 * energy, rel=1e-3)
    assert loss(100, 100.0)[0] == pytest.approx(loss(100, 1.0)[0], rel=1e-6)


def test_mass_that_leaves_its_window_is_told(make_chain):
    from cryojax_graph.jobs.flex.results import undrawn_mass

    template = build_template(make_chain(64), paper(), pixel_size=2.0)
    still = np.asarray(template.c_alpha)
    torn = still + 40.0 * np.random.default_rng(0).normal(size=still.shape)
    share = undrawn_mass(
        np.stack([still, torn]).astype(np.float32),
        np.broadcast_to(np.eye(3, dtype=np.float32), (2, 3, 3)),
        template=template,
        extra_variance=0.0,
        box=128,
        pixel_size=2.0,
    )
    assert share[0] < 1e-3
    assert share[1] > 0.1
