from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.geometry import exp_map, geodesic_distance, log_map, random_rotations
from cryojax_graph.models.backbone_graph.config import PoseConfig, default
from cryojax_graph.models.backbone_graph.imaging import (
    pose_slope,
    predicted_spectrum,
    score_conformation,
)
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.models.backbone_graph.views import (
    PoseTable,
    Proposals,
    arm,
    choose_corrections,
    corrected_views,
    fitted_views,
    improved_poses,
    init_poses,
    pose_surprise,
    propose_corrections,
    steered,
    with_poses,
)

BOX, PIXEL = 32, 1.4


@pytest.fixture(scope="module")
def scene(make_chain):
    """One noise-free image of a chain, in a pose that is known."""
    template = build_template(make_chain(16), default(), pixel_size=PIXEL)
    rotation = random_rotations(jax.random.key(3), 1)[0]
    shift = jnp.array([1.5, -2.5])
    ctf = CTF(*(jnp.float32(v) for v in (15000.0, 15000.0, 0.0, 300.0, 2.7, 0.1, 0.0, 0.0)))
    transfer = contrast_transfer(ctf, box=BOX, pixel_size=PIXEL)
    imaging = {
        "log_scale": jnp.float32(0.3),
        "extra_variance": jnp.float32(1.0),
        "log_noise": jnp.full(BOX // 2 + 1, np.log(0.05), jnp.float32),
    }
    place = {"template": template, "pixel_size": PIXEL}
    predict = jax.jit(partial(predicted_spectrum, **place))
    spectrum = np.exp(0.3) * predict(
        template.c_alpha, rotation, shift, transfer, jax.nn.softplus(1.0)
    )
    image = {"spectrum": spectrum, "transfer": transfer, "rotation": rotation, "shift": shift}
    given, band = (imaging, template.c_alpha), jnp.ones((BOX, BOX // 2 + 1))
    return SimpleNamespace(
        template=template,
        imaging=imaging,
        image=image,
        score=jax.jit(
            lambda image: score_conformation(*given, image, band, contrast_deviation=0.0, **place)
        ),
        slope=jax.jit(lambda image: pose_slope(*given, image, band, jnp.float32(1.0), **place)),
    )


def off_by(scene, turn, move):
    """The image with a pose that is wrong by a rotation vector and a shift in Å."""
    image = scene.image
    return image | {
        "rotation": exp_map(jnp.asarray(turn)) @ image["rotation"],
        "shift": image["shift"] + jnp.asarray(move),
    }


def log_likelihood(scene, image):
    return -scene.score(image).loss


def slope_at(scene, image):
    return scene.slope(image)


def test_slope_is_the_gradient_of_the_likelihood(scene):
    image = off_by(scene, [0.05, -0.08, 0.1], [0.7, 0.4])

    def moved(by):
        turned = exp_map(by[:3]) @ image["rotation"]
        return log_likelihood(scene, image | {"rotation": turned, "shift": image["shift"] + by[3:]})

    exact = jax.jit(jax.grad(moved))(jnp.zeros(5))
    found = slope_at(scene, image).gradient
    # Turns are differences of images 0.01 radians apart.
    np.testing.assert_allclose(found, exact, rtol=0.05, atol=0.02 * float(jnp.abs(exact).max()))
    np.testing.assert_allclose(found[3:], exact[3:], rtol=5e-3)


def test_curvature_predicts_what_a_small_error_costs(scene):
    curvature = np.asarray(slope_at(scene, scene.image).curvature, float)
    best = float(log_likelihood(scene, scene.image))
    rng = np.random.default_rng(0)
    for _ in range(4):
        by = rng.normal(size=5) * np.array([0.02, 0.02, 0.02, 0.2, 0.2])
        wrong = off_by(scene, by[:3].astype(np.float32), by[3:].astype(np.float32))
        cost = best - float(log_likelihood(scene, wrong))
        assert cost > 0.1
        np.testing.assert_allclose(cost, 0.5 * by @ curvature @ by, rtol=0.1)


def test_steps_find_the_pose_from_ten_degrees_off(scene):
    unit = arm(scene.template)
    wrong = off_by(scene, [0.1, -0.1, 0.1], [1.0, 0.5])
    given = wrong["rotation"][None], wrong["shift"][None]
    # Nothing is expected of the given pose but that it may be far off.
    log_error = jnp.log(jnp.array([10.0, 10.0]))
    correction = jnp.zeros((1, 5))
    for _ in range(8):
        views = corrected_views(correction, *given, template=scene.template)
        image = scene.image | {name: value[0] for name, value in views.items()}
        slope = jax.tree.map(lambda a: a[None], slope_at(scene, image))
        table = improved_poses(correction, slope, log_error, unit=unit)
        correction = table.mean
    found = corrected_views(correction, *given, template=scene.template)
    angle = geodesic_distance(found["rotation"][0], scene.image["rotation"])
    assert float(jnp.degrees(angle)) < 0.1
    np.testing.assert_allclose(found["shift"][0], scene.image["shift"], atol=0.01)
    covariance = table.spread[0] @ table.spread[0].T
    sizes = jnp.array([1.0, 1.0, 1.0, unit, unit])
    information = slope.curvature[0] * sizes[:, None] * sizes + jnp.eye(5) / 100
    np.testing.assert_allclose(covariance @ information, np.eye(5), atol=2e-3)


def test_without_evidence_the_posterior_is_what_was_expected(scene):
    log_error = jnp.log(jnp.array([0.1, 0.02]))
    nothing = jax.tree.map(lambda a: jnp.zeros((1, *a.shape)), slope_at(scene, scene.image))
    drawn = jnp.array([[0.05, 0.02, -0.03, 0.01, 0.0]])
    table = improved_poses(drawn, nothing, log_error, unit=arm(scene.template))
    np.testing.assert_allclose(table.mean, 0.0, atol=1e-6)
    expected = np.diag([0.1, 0.1, 0.1, 0.02, 0.02])
    np.testing.assert_allclose(table.spread[0], expected, rtol=1e-5, atol=1e-7)


def test_no_step_is_longer_than_ten_degrees(scene):
    far = slope_at(scene, off_by(scene, [0.4, 0.4, 0.0], [0.0, 0.0]))
    slope = jax.tree.map(lambda a: 1e4 * a[None], far._replace(curvature=1e-8 * far.curvature))
    table = improved_poses(jnp.zeros((1, 5)), slope, jnp.zeros(2), unit=arm(scene.template))
    np.testing.assert_allclose(jnp.linalg.norm(table.mean), np.radians(10.0), rtol=1e-4)


def test_the_expected_error_is_that_of_the_draws():
    error = np.array([0.15, 0.08])
    drawn = np.random.default_rng(1).normal(size=(4000, 5)) * np.repeat(error, [3, 2])

    def mean_surprise(log_error):
        return jnp.mean(pose_surprise(jnp.asarray(drawn, jnp.float32), log_error))

    expected = np.sqrt([np.mean(drawn[:, :3] ** 2), np.mean(drawn[:, 3:] ** 2)])
    slope = jax.grad(mean_surprise)(jnp.log(jnp.asarray(expected, jnp.float32)))
    np.testing.assert_allclose(slope, 0.0, atol=1e-4)
    tighter = jax.grad(mean_surprise)(jnp.log(jnp.asarray(0.8 * expected, jnp.float32)))
    assert (np.asarray(tighter) < -0.1).all()


def test_steering_costs_nothing_and_leads_to_the_target():
    keys = jax.random.split(jax.random.key(0), 4)
    here = PoseTable(jax.random.normal(keys[0], (3, 5)), jax.random.normal(keys[1], (3, 5, 5)))
    there = PoseTable(jax.random.normal(keys[2], (3, 5)), jax.random.normal(keys[3], (3, 5, 5)))
    weight = jnp.array([1.0, 1.0, 0.0])
    value, way = jax.value_and_grad(partial(steered, towards=there, weight=weight))(here)
    assert float(value) == 0.0
    arrived = jax.tree.map(jnp.subtract, here, way)
    for found, target, start in zip(*map(jax.tree.leaves, (arrived, there, here)), strict=True):
        np.testing.assert_allclose(found[:2], target[:2], rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(found[2], start[2])


def a_row(mean, deviation, images):
    """The same Gaussian for many images."""
    mean, spread = jnp.asarray(mean, jnp.float32), deviation * jnp.eye(5)
    return PoseTable(jnp.tile(mean, (images, 1)), jnp.tile(spread, (images, 1, 1)))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_weights_make_the_prior_of_any_proposals(share):
    error = np.array([0.2, 0.1])
    table = a_row([0.1, 0.0, -0.1, 0.05, 0.0], 0.2, 8000)
    config = PoseConfig(draws=8, expected_share=share)
    found = propose_corrections(jax.random.key(0), table, jnp.log(jnp.asarray(error)), config)
    assert found.correction.shape == (8000, 8, 5)
    weight = np.exp(np.asarray(found.log_weight, float)).ravel()
    np.testing.assert_allclose(weight.mean(), 1.0, atol=0.05)
    drawn = np.asarray(found.correction, float).reshape(-1, 5)
    expected = np.repeat(error, [3, 2])
    np.testing.assert_allclose(weight @ drawn / len(drawn) / expected, 0.0, atol=0.06)
    square = weight @ drawn**2 / len(drawn)
    np.testing.assert_allclose(square / expected**2, 1.0, atol=0.12)


def test_what_is_chosen_is_the_posterior():
    """A Gaussian likelihood whose posterior is known."""
    error, noise, seen = np.array([0.2, 0.1]), 0.15, np.array([0.2, -0.1, 0.0, 0.1, 0.05])
    prior = np.repeat(error, [3, 2])
    variance = 1 / (prior**-2 + noise**-2)
    mean = variance * seen / noise**2
    # Proposals are neither prior nor posterior.
    table = a_row(0.5 * mean, 0.25, 20000)
    for_draws, for_choice = jax.random.split(jax.random.key(3))
    proposals = propose_corrections(
        for_draws, table, jnp.log(jnp.asarray(error)), PoseConfig(draws=64)
    )
    off = (proposals.correction - seen) / noise
    drawn, effective = choose_corrections(for_choice, proposals, -0.5 * jnp.sum(off**2, axis=-1))
    drawn = np.asarray(drawn, float)
    np.testing.assert_allclose(drawn.mean(0), mean, atol=0.006)
    np.testing.assert_allclose(drawn.var(0) / variance, 1.0, atol=0.08)
    assert 4 < float(effective.mean()) < 64


def test_effective_draws_count_equals_and_single_ones():
    correction = jnp.arange(20.0).reshape(2, 2, 5)
    proposals = Proposals(correction, jnp.zeros((2, 2)))
    likelihood = jnp.array([[1e4, 1e4], [0.0, 300.0]])
    drawn, effective = choose_corrections(jax.random.key(0), proposals, likelihood)
    np.testing.assert_allclose(effective, [2.0, 1.0], rtol=1e-5)
    np.testing.assert_array_equal(drawn[1], correction[1, 1])


def test_a_fresh_table_has_a_fresh_error():
    old = {"decoder": {}, "pose_error": jnp.zeros(2), "poses": a_row(np.ones(5), 1.0, 2)}
    params = with_poses(old, 3, PoseConfig(expected_error=5.0))
    np.testing.assert_allclose(jnp.exp(params["pose_error"]), np.radians(5.0), rtol=1e-6)
    assert params["poses"].mean.shape == (3, 5)
    assert not params["poses"].mean.any()


def test_known_poses_stay_and_fitted_ones_are_corrected(scene):
    given = random_rotations(jax.random.key(1), 2), jnp.array([[1.0, 2.0], [3.0, 4.0]])
    same = fitted_views({}, *given, template=scene.template)
    np.testing.assert_array_equal(same["rotation"], given[0])
    table = init_poses(2, PoseConfig(first_deviation=2.0))
    np.testing.assert_allclose(table.spread[1], np.radians(2.0) * np.eye(5), rtol=1e-6)
    table = table._replace(mean=table.mean.at[1].set(jnp.array([0.1, 0.2, -0.1, 0.5, -0.5])))
    fitted = fitted_views({"poses": table}, *given, template=scene.template)
    np.testing.assert_allclose(fitted["rotation"][0], given[0][0], atol=1e-6)
    turn = log_map(fitted["rotation"][1] @ given[0][1].T)
    np.testing.assert_allclose(turn, [0.1, 0.2, -0.1], atol=1e-5)
    moved = (fitted["shift"][1] - given[1][1]) / arm(scene.template)
    np.testing.assert_allclose(moved, [0.5, -0.5], rtol=1e-5)
