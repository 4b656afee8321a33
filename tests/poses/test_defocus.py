"""Defocus refined with the pose: exact steps, honest deviations, nothing out of nothing."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.defocus import DefocusEstimate, refine_defocus
from cryojax_graph.poses.matching import ViewBank
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.refine import Pose, Prior, refine_pose, refine_pose_and_defocus
from cryojax_graph.poses.search import Search, SearchConfig

IMAGES, DEVIATION = 100, 500.0
CONFIG = SearchConfig(coarse=12, radii=(16, 32))
PRIOR = Prior(0.1, 25.0)


class Scene(NamedTuple):
    """Images whose stated defocus is off, by as much as the prior says."""

    truth: Pose
    stated: CTF
    off: np.ndarray
    clean: jax.Array
    noise: jax.Array


@pytest.fixture(scope="module")
def scene(adenylate_kinase) -> Scene:
    rng = np.random.default_rng(0)
    truth = Pose(
        jnp.asarray(Rotation.random(IMAGES, random_state=1).as_matrix(), jnp.float32),
        jnp.asarray(rng.normal(size=(IMAGES, 2)), jnp.float32),
        jnp.ones(IMAGES),
    )
    stated, off = rng.uniform(8e3, 2e4, IMAGES), DEVIATION * rng.normal(size=IMAGES)

    def optics(defocus):
        as_float = partial(jnp.asarray, dtype=jnp.float32)
        return CTF(as_float(defocus), as_float(defocus - 700), jnp.full(IMAGES, 0.4))

    draw = jax.jit(jax.vmap(lambda r, s, u, v, a: adenylate_kinase.image(r, s, CTF(u, v, a))))
    clean = draw(truth.rotation, truth.shift, *optics(stated + off)[:3])
    noise = jax.random.normal(jax.random.key(2), clean.shape) * clean.std()
    return Scene(truth, optics(stated), off, clean, noise)


@pytest.fixture(scope="module")
def refine(adenylate_kinase, scene):
    """From the true pose, at some signal-to-noise ratio."""
    nothing = jnp.zeros(IMAGES)

    @jax.jit
    def run(reference, images, power) -> DefocusEstimate:
        none = jnp.zeros(0)
        noise = jnp.full(33, power)
        search = Search(reference, ViewBank(none, none, none), none, none, noise, none)
        # Nearly sure of the mode; 0.1 radians of doubt of others.
        found = PoseEstimate(
            pose=scene.truth,
            log_likelihood=nothing,
            covariance=jnp.zeros((IMAGES, 6, 6)),
            probability=0.9 + nothing,
            rotation_deviation=nothing,
            other_variance=0.1**2 + nothing,
            evidence=nothing,
        )
        one = partial(
            refine_defocus,
            search=search,
            config=CONFIG,
            pixel_size=1.5,
            prior=PRIOR,
            deviation=DEVIATION,
        )

        def of_each(each):
            image, (u, v, angle), estimate = each
            return one(image, CTF(u, v, angle), estimate)

        return jax.lax.map(of_each, (images, tuple(scene.stated[:3]), found))

    reference = adenylate_kinase.reference()
    variance = float(scene.clean.var())
    return lambda snr: run(reference, scene.clean + scene.noise / np.sqrt(snr), variance / snr)


def test_defocus_is_found_within_its_stated_deviation(scene, refine):
    found = refine(1.0)
    error = np.asarray(found.offset) - scene.off
    assert np.median(found.deviation) < 0.15 * DEVIATION
    assert np.median(abs(error)) < 0.15 * DEVIATION
    spread = error / np.asarray(found.deviation)
    assert 0.8 < np.sqrt(np.mean(spread**2)) < 1.25
    cosine = (np.einsum("nij,nij->n", found.estimate.pose.rotation, scene.truth.rotation) - 1) / 2
    assert np.degrees(np.arccos(np.clip(cosine, -1, 1))).max() < 3
    own = np.trace(found.estimate.covariance[:, :3, :3], axis1=1, axis2=2)
    assert own.min() > 0
    np.testing.assert_allclose(found.estimate.rotation_deviation**2, 0.1**2 + 0.9 * own, rtol=1e-4)


def test_without_evidence_defocus_stays(refine):
    found = refine(1e-3)
    assert np.sqrt(np.mean(np.asarray(found.offset) ** 2)) < 0.5 * DEVIATION
    # What an image without signal knows is the prior.
    faint = refine(1e-5)
    assert np.abs(faint.offset).max() < 0.15 * DEVIATION
    np.testing.assert_allclose(faint.deviation, DEVIATION, rtol=0.05)
    # Nor is it sure of a rotation, however wide the Gaussian of its mode is.
    assert np.all(faint.estimate.rotation_deviation > np.radians(60))
    assert np.all(faint.estimate.rotation_deviation < np.pi)


def test_a_step_with_defocus_is_the_damped_gauss_newton_step(adenylate_kinase, scene):
    """Gradient and curvature of all seven numbers, by central differences in float64."""
    box, pixel = adenylate_kinase.box, adenylate_kinase.pixel_size
    band = fourier_band(box, 1, 16)
    u, v, angle = (np.asarray(a[0], float) for a in scene.stated[:3])
    image, noise = scene.clean[0] + scene.noise[0], jnp.full(33, 0.5 * scene.clean.var())
    stated = CTF(*map(jnp.float32, (u, v, angle)))
    seen = jax.jit(partial(observe, band=band, pixel_size=pixel))(image, stated, noise)
    rotation = Rotation.from_rotvec([0.02, -0.01, 0.02]).as_matrix() @ scene.truth.rotation[0]
    start = Pose(jnp.asarray(rotation), scene.truth.shift[0] + 0.2, jnp.float32(0.9))
    offset = 120.0

    def transfer(extra):
        kx, ky = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)
        moved = CTF(stated.defocus_u + extra, stated.defocus_v + extra, stated.defocus_angle)
        return transfer_at(moved, kx, ky, box=box, pixel_size=pixel)

    @partial(jax.jit, static_argnames="steps")
    def refine(seen, start, steps):
        return refine_pose_and_defocus(
            adenylate_kinase.project(band),
            seen,
            start,
            band,
            transfer,
            field=adenylate_kinase.field,
            deviation=DEVIATION,
            offset=offset,
            steps=steps,
            prior=PRIOR,
        )

    spectrum, _, weight = (np.asarray(a).astype(complex) for a in seen)
    waves = np.stack([band.kx, band.ky]) / adenylate_kinase.field
    radius2, direction = (waves**2).sum(axis=0), np.arctan2(band.ky, band.kx)
    wavelength = 0.0196875
    fading = np.exp(-2 * (np.pi * adenylate_kinase.width) ** 2 * radius2) / pixel**2

    def predicted(by):
        turn = Rotation.from_rotvec(by[:3]).as_matrix() @ np.asarray(start.rotation, float)
        shift = np.asarray(start.shift, float) + by[3:5]
        centres = adenylate_kinase.positions @ turn[:2].T - shift
        defocus = 0.5 * (u + v) + 0.5 * (u - v) * np.cos(2 * (direction - angle)) + offset + by[6]
        phase = np.pi * wavelength * defocus * radius2
        phase -= 0.5 * np.pi * 2.7e7 * wavelength**3 * radius2**2
        transfer = np.sin(phase + np.arcsin(0.1))
        scale = float(start.scale) + by[5]
        return scale * transfer * fading * np.exp(-2j * np.pi * centres @ waves).sum(axis=0)

    root = np.sqrt(weight.real)
    sizes = np.array([1e-4, 1e-4, 1e-4, 1e-3, 1e-3, 1e-3, 1.0])
    rows = np.stack([root * (predicted(s) - predicted(-s)) for s in np.diag(sizes)])
    rows = np.concatenate([rows.real, rows.imag], axis=1) / (2 * sizes[:, None])
    residual = root * (spectrum - predicted(np.zeros(7)))
    precision = np.array([0, 0, 0, 0.1, 0.1, 25.0, DEVIATION**-2])
    off = np.array([0, 0, 0, *np.asarray(start.shift), float(start.scale) - 1, offset])
    gradient = rows @ np.concatenate([residual.real, residual.imag]) - precision * off
    curvature = rows @ rows.T + np.diag(precision)
    expected = np.linalg.solve(curvature + 0.01 * np.diag(np.diag(curvature)), gradient)
    deviation = np.sqrt(np.diag(np.linalg.inv(curvature)))

    before, after = refine(seen, start, 1), refine(seen, start, 2)
    np.testing.assert_allclose(before.deviation, deviation[6], rtol=5e-3)
    spread = np.sqrt(np.diag(before.refined.covariance))
    np.testing.assert_allclose(spread, deviation[:6], rtol=5e-3)
    assert float(after.offset) - offset == pytest.approx(expected[6], rel=0.02)
    moved = np.concatenate(
        [after.refined.pose.shift - start.shift, [after.refined.pose.scale - start.scale]]
    )
    np.testing.assert_allclose(moved / deviation[3:6], expected[3:6] / deviation[3:6], atol=0.02)


def test_a_narrow_prior_leaves_the_refinement_of_poses(adenylate_kinase, scene):
    band = fourier_band(adenylate_kinase.box, 1, 16)
    stated = CTF(*(a[0] for a in scene.stated[:3]))
    noise = jnp.full(33, float(scene.clean.var()))
    start = jax.tree.map(lambda a: a[0], scene.truth)

    @jax.jit
    def both(image):
        seen = observe(image, stated, noise, band, pixel_size=1.5)
        project, place = adenylate_kinase.project(band), {"field": adenylate_kinase.field}
        alone = refine_pose(project, seen, start, band, **place, prior=PRIOR)
        fixed = refine_pose_and_defocus(
            project,
            seen,
            start,
            band,
            lambda offset: seen.transfer * (1.0 + 1e-3 * offset),
            **place,
            deviation=1e-3,
            prior=PRIOR,
        )
        return alone, fixed

    alone, fixed = both(scene.clean[0] + scene.noise[0])
    for ours, theirs in zip(fixed.refined.pose, alone.pose, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    assert abs(float(fixed.offset)) < 1e-3
