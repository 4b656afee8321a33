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
    arm,
    corrected_views,
    drawn_corrections,
    fitted_views,
    improved_poses,
    init_pose_error,
    init_poses,
    pose_surprise,
    steered,
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
        "log_pose_error": init_pose_error(PoseConfig()),
    }
    spectrum = jnp.exp(0.3) * predicted_spectrum(
        template.c_alpha,
        rotation,
        shift,
        transfer,
        jax.nn.softplus(1.0),
        template=template,
        pixel_size=PIXEL,
    )
    image = {"spectrum": spectrum, "transfer": transfer, "rotation": rotation, "shift": shift}
    return SimpleNamespace(template=template, imaging=imaging, image=image)


def off_by(scene, turn, move):
    """The image with a pose that is wrong by a rotation vector and a shift in Å."""
    image = scene.image
    return image | {
        "rotation": exp_map(jnp.asarray(turn)) @ image["rotation"],
        "shift": image["shift"] + jnp.asarray(move),
    }


def log_likelihood(scene, image):
    return -score_conformation(
        scene.imaging,
        scene.template.c_alpha,
        image,
        jnp.ones((BOX, BOX // 2 + 1)),
        template=scene.template,
        pixel_size=PIXEL,
        contrast_deviation=0.0,
    ).loss


def slope_at(scene, image):
    return pose_slope(
        scene.imaging,
        scene.template.c_alpha,
        image,
        jnp.ones((BOX, BOX // 2 + 1)),
        jnp.float32(1.0),
        template=scene.template,
        pixel_size=PIXEL,
    )


def test_slope_is_the_gradient_of_the_likelihood(scene):
    image = off_by(scene, [0.05, -0.08, 0.1], [0.7, 0.4])

    def moved(by):
        turned = exp_map(by[:3]) @ image["rotation"]
        return log_likelihood(scene, image | {"rotation": turned, "shift": image["shift"] + by[3:]})

    exact = jax.grad(moved)(jnp.zeros(5))
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
    np.testing.assert_allclose(pose_surprise(table, log_error), 0.0, atol=1e-5)


def test_no_step_is_longer_than_ten_degrees(scene):
    far = slope_at(scene, off_by(scene, [0.4, 0.4, 0.0], [0.0, 0.0]))
    slope = jax.tree.map(lambda a: 1e4 * a[None], far._replace(curvature=1e-8 * far.curvature))
    table = improved_poses(jnp.zeros((1, 5)), slope, jnp.zeros(2), unit=arm(scene.template))
    np.testing.assert_allclose(jnp.linalg.norm(table.mean), np.radians(10.0), rtol=1e-4)


def test_surprise_is_the_divergence_of_gaussians():
    rng = np.random.default_rng(1)
    spread = np.tril(rng.normal(size=(3, 5, 5))) * 0.05
    spread[:, range(5), range(5)] = rng.uniform(0.05, 0.2, size=(3, 5))
    mean, error = 0.1 * rng.normal(size=(3, 5)), np.array([0.15, 0.08])
    prior = np.diag(np.repeat(error, [3, 2]) ** 2)
    expected = []
    for m, lower in zip(mean, spread, strict=True):
        covariance = lower @ lower.T
        ratio = np.linalg.solve(prior, covariance)
        expected.append(
            0.5
            * (np.trace(ratio) + m @ np.linalg.solve(prior, m) - 5 - np.log(np.linalg.det(ratio)))
        )
    table = PoseTable(jnp.asarray(mean, jnp.float32), jnp.asarray(spread, jnp.float32))
    found = pose_surprise(table, jnp.log(jnp.asarray(error, jnp.float32)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)


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


def test_draws_have_the_mean_and_covariance_of_the_posterior():
    lower = 0.1 * jnp.tril(jnp.ones((5, 5)))
    table = PoseTable(jnp.tile(jnp.arange(5.0), (20000, 1)), jnp.tile(lower, (20000, 1, 1)))
    drawn = np.asarray(drawn_corrections(jax.random.key(0), table))
    np.testing.assert_allclose(drawn.mean(0), np.arange(5.0), atol=0.01)
    np.testing.assert_allclose(np.cov(drawn.T), lower @ lower.T, atol=2e-3)


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
