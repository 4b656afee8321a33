from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry import geodesic_distance, log_map
from cryojax_graph.poses.band import Band, Observed, fourier_band, observe
from cryojax_graph.poses.refine import Pose, Prior, refine_pose

IMAGES, NOISE = 200, 3e-5
FLAT = Prior()


class Scene(NamedTuple):
    """Images of one particle at known poses, without and with noise."""

    band: Band
    truth: Pose
    clean: Observed
    noisy: Observed


@pytest.fixture(scope="module")
def scene(particle, ctf) -> Scene:
    band = fourier_band(particle.box, 1, 14)
    rng = np.random.default_rng(0)
    truth = Pose(
        jnp.asarray(Rotation.random(IMAGES, random_state=1).as_matrix(), jnp.float32),
        jnp.asarray(rng.normal(size=(IMAGES, 2)) * 2, jnp.float32),
        jnp.asarray(rng.uniform(0.8, 1.2, IMAGES), jnp.float32),
    )

    @jax.jit
    @jax.vmap
    def clean_and_noisy(pose, key):
        image = pose.scale * particle.image(pose.rotation, pose.shift, ctf)
        noise = jax.random.normal(key, image.shape) * jnp.sqrt(NOISE)
        power = jnp.full(particle.box // 2 + 1, NOISE)
        see = partial(observe, ctf=ctf, noise=power, band=band, pixel_size=particle.pixel_size)
        return see(image), see(image + noise)

    return Scene(band, truth, *clean_and_noisy(truth, jax.random.split(jax.random.key(2), IMAGES)))


@pytest.fixture(scope="module")
def refine(particle, scene):
    """Many images at once."""
    project = particle.project(scene.band)

    @partial(jax.jit, static_argnames="steps")
    def run(observed, start, *, steps=8, prior=FLAT):
        one = partial(
            refine_pose, project, band=scene.band, field=particle.field, steps=steps, prior=prior
        )
        return jax.vmap(lambda seen, pose: one(seen, start=pose))(observed, start)

    return run


def moved(pose: Pose, *, degrees: float, angstrom: float, seed: int = 3) -> Pose:
    """Each pose by the same distance in another direction."""
    rng = np.random.default_rng(seed)
    axis, way = rng.normal(size=(len(pose.scale), 3)), rng.normal(size=(len(pose.scale), 2))
    axis *= np.radians(degrees) / np.linalg.norm(axis, axis=1, keepdims=True)
    way *= angstrom / np.linalg.norm(way, axis=1, keepdims=True)
    turned = Rotation.from_rotvec(axis).as_matrix() @ np.asarray(pose.rotation)
    return Pose(
        jnp.asarray(turned, jnp.float32),
        pose.shift + jnp.asarray(way, jnp.float32),
        jnp.ones(len(pose.scale)),
    )


def degrees_between(first, second) -> np.ndarray:
    return np.degrees(jax.vmap(geodesic_distance)(first, second))


def errors(found: Pose, truth: Pose) -> np.ndarray:
    """In the frame of the covariance: rotation vector, shift, contrast."""
    turns = jax.vmap(lambda a, b: log_map(a @ b.T))(found.rotation, truth.rotation)
    return np.concatenate(
        [turns, found.shift - truth.shift, (found.scale - truth.scale)[:, None]], axis=1
    )


def loss_oracle(particle, scene: Scene, number: int, pose: Pose, off: np.ndarray, prior: Prior):
    """Loss at a pose moved by six numbers, and the whitened prediction, all in float64."""
    seen = [np.asarray(a[number]) for a in scene.noisy]
    rotation = Rotation.from_rotvec(off[:3]).as_matrix() @ np.asarray(pose.rotation[number], float)
    shift = np.asarray(pose.shift[number], float) + off[3:5]
    scale = float(pose.scale[number]) + off[5]
    waves = np.stack([scene.band.kx, scene.band.ky]) / particle.field
    centres = particle.positions @ rotation[:2].T - shift
    fading = np.exp(-2 * (np.pi * particle.width) ** 2 * (waves**2).sum(axis=0))
    spectrum = (np.exp(-2j * np.pi * centres @ waves).sum(axis=0)) * fading / 4.0
    root = np.sqrt(seen[2].astype(float))
    predicted, image = root * seen[1] * scale * spectrum, root * seen[0]
    loss = 0.5 * (abs(image - predicted) ** 2 - abs(image) ** 2).sum()
    loss += 0.5 * prior.shift * (shift**2).sum() + 0.5 * prior.contrast * (scale - 1) ** 2
    return loss, np.concatenate([predicted.real, predicted.imag])


def test_noise_free_images_lead_back_to_the_truth(scene, refine):
    start = moved(scene.truth, degrees=6, angstrom=2)
    assert degrees_between(start.rotation, scene.truth.rotation).min() > 5.9
    found = refine(scene.clean, start).pose
    assert degrees_between(found.rotation, scene.truth.rotation).max() < 0.05
    np.testing.assert_allclose(found.shift, scene.truth.shift, atol=0.01)
    np.testing.assert_allclose(found.scale, scene.truth.scale, atol=2e-3)


@pytest.mark.parametrize("prior", [FLAT, Prior(0.5, 400.0)])
def test_a_step_is_the_damped_gauss_newton_step(particle, scene, refine, prior):
    """Value, gradient and curvature, by central differences of the definition."""
    start = moved(scene.truth, degrees=2, angstrom=0.5)
    start = start._replace(scale=0.7 * start.scale)
    few = jax.tree.map(lambda a: a[:6], (scene.noisy, start))
    at_start = refine(*few, steps=1, prior=prior)
    after = refine(*few, steps=2, prior=prior)
    sizes = np.array([1e-4, 1e-4, 1e-4, 1e-3, 1e-3, 1e-3])
    precision = np.diag([0, 0, 0, prior.shift, prior.shift, prior.contrast])
    for n in range(6):
        at = partial(loss_oracle, particle, scene, n, start, prior=prior)
        ahead, behind = ([at(sign * step) for step in np.diag(sizes)] for sign in (1, -1))
        gradient = np.array([a[0] - b[0] for a, b in zip(ahead, behind, strict=True)]) / 2 / sizes
        slopes = np.stack([a[1] - b[1] for a, b in zip(ahead, behind, strict=True)])
        slopes /= 2 * sizes[:, None]
        curvature = slopes @ slopes.T + precision
        assert float(at_start.log_likelihood[n]) == pytest.approx(-at(np.zeros(6))[0], rel=1e-3)
        spread = np.sqrt(np.diag(np.linalg.inv(curvature)))
        np.testing.assert_allclose(
            at_start.covariance[n] / np.outer(spread, spread),
            np.linalg.inv(curvature) / np.outer(spread, spread),
            atol=5e-3,
        )
        step = -np.linalg.solve(curvature + 0.01 * np.diag(np.diag(curvature)), gradient)
        taken = errors(*jax.tree.map(lambda a, n=n: a[n : n + 1], (after.pose, start)))[0]
        np.testing.assert_allclose(
            taken / spread, step / spread, atol=0.02 * abs(step / spread).max()
        )


def test_errors_are_as_large_as_the_covariance_says(scene, refine):
    """Squared errors over their covariance follow chi² of as many degrees of freedom."""
    found = refine(scene.noisy, scene.truth)
    error, covariance = errors(found.pose, scene.truth), np.asarray(found.covariance)
    assert 0.3 < np.degrees(np.sqrt(covariance[:, 0, 0])).mean() < 6
    for numbers in (3, 5, 6):
        part = error[:, :numbers]
        squared = np.einsum(
            "ni,nij,nj->n", part, np.linalg.inv(covariance[:, :numbers, :numbers]), part
        )
        # Four standard errors of the mean of chi².
        assert abs(squared.mean() - numbers) < 4 * np.sqrt(2 * numbers / IMAGES), numbers
    spread = error / np.sqrt(np.diagonal(covariance, axis1=1, axis2=2))
    np.testing.assert_allclose(spread.std(axis=0), 1, atol=0.2)
    at_truth = refine(scene.noisy, scene.truth, steps=1).log_likelihood
    risen = 2 * (found.log_likelihood - at_truth)
    assert abs(float(risen.mean()) - 6) < 4 * np.sqrt(12 / IMAGES)


def test_a_prior_holds_what_it_is_about(scene, refine):
    strong = refine(scene.clean, scene.truth, prior=Prior(1e6, 1e7))
    np.testing.assert_allclose(strong.pose.shift, 0, atol=0.02)
    np.testing.assert_allclose(strong.pose.scale, 1, atol=0.01)
    spread = np.diagonal(strong.covariance, axis1=1, axis2=2)
    np.testing.assert_allclose(spread[:, 3:5], 1e-6, rtol=0.02)
    np.testing.assert_allclose(spread[:, 5], 1e-7, rtol=0.02)
    shift_only = refine(scene.clean, scene.truth, prior=Prior(1e6, 0.0))
    assert float(jnp.abs(shift_only.pose.scale - 1).max()) > 0.1


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_no_step_goes_down_and_contrast_stays_positive(scene, refine, sign):
    """From far away, and for images in negative, which no contrast above 0 describes."""
    images = scene.noisy._replace(spectrum=sign * scene.noisy.spectrum)
    start = moved(scene.truth, degrees=40, angstrom=5)
    first = refine(images, start, steps=1)
    found = refine(images, start)
    assert (found.log_likelihood >= first.log_likelihood).all()
    assert (found.log_likelihood > first.log_likelihood + 1).mean() > 0.9
    assert (found.pose.scale >= 0).all()
    if sign < 0:
        assert (found.pose.scale == 0).any()
    identity = found.pose.rotation @ jnp.swapaxes(found.pose.rotation, 1, 2)
    np.testing.assert_allclose(identity, np.broadcast_to(np.eye(3), identity.shape), atol=1e-5)


def test_every_step_is_up_or_none(scene, refine):
    """Seen faintly, a particle asks for steps that are too long: they are not taken."""
    start = moved(scene.truth, degrees=30, angstrom=3)._replace(scale=0.05 * scene.truth.scale)
    reached = [refine(scene.noisy, start, steps=n).log_likelihood for n in (1, 2, 8)]
    rises = np.diff(np.stack(reached), axis=0)
    assert (rises >= 0).all()
    waited = rises[0] == 0
    assert waited.sum() > 5
    assert (rises[1][waited] > 0).mean() > 0.9


def test_a_single_evaluation_returns_the_start(scene, refine):
    start = moved(scene.truth, degrees=3, angstrom=1)
    found = refine(scene.noisy, start, steps=1).pose
    for value, expected in zip(found, start, strict=True):
        np.testing.assert_array_equal(value, expected)


def test_an_empty_image_is_refined_to_finite_numbers(scene, refine):
    images = scene.noisy._replace(spectrum=0 * scene.noisy.spectrum)
    found = refine(images, scene.truth._replace(scale=0 * scene.truth.scale))
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(found))
    np.testing.assert_allclose(found.log_likelihood, 0, atol=1e-3)


def test_the_rotation_vector_lies_in_the_frame_of_the_image(scene, refine):
    """A turn about the optical axis is known best of all: it needs no depth."""
    covariance = np.asarray(refine(scene.clean, scene.truth, steps=1).covariance)
    spread = np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)).mean(axis=0)
    assert spread[2] < 0.8 * spread[:2].min()
