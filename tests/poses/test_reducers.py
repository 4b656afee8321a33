"""Poses from the scored grid alone, beside its best cell and beside refinement."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.geometry import (
    matrix_from_euler_degrees,
    orientations_at,
    symmetry_rotations,
)
from cryojax_graph.poses.grids import grid_rotations, shift_grid
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.reducers import (
    mass_around,
    nearest_copies,
    reduce_grid,
    reduced_rotation,
)
from cryojax_graph.poses.refine import Pose, Prior
from cryojax_graph.poses.search import (
    SearchConfig,
    prepare_search,
    score_orientations,
    search_pose,
)

IMAGES, SNR, WANDER = 60, 0.1, 1.5
PRIOR = Prior(1 / WANDER**2, 100.0)
CONFIG = SearchConfig()


class Scene(NamedTuple):
    """True poses, and what each method makes of their images."""

    truth: Pose
    best_cell: jax.Array
    refined: PoseEstimate
    esl: PoseEstimate
    mmse: PoseEstimate
    of_noise: PoseEstimate


@pytest.fixture(scope="module")
def scene(adenylate_kinase) -> Scene:
    rng = np.random.default_rng(0)
    truth = Pose(
        jnp.asarray(Rotation.random(IMAGES, random_state=1).as_matrix(), jnp.float32),
        jnp.asarray(rng.normal(size=(IMAGES, 2)) * WANDER, jnp.float32),
        jnp.ones(IMAGES),
    )
    defocus = jnp.asarray(rng.uniform(8e3, 2.5e4, IMAGES), jnp.float32)
    optics = jax.vmap(lambda d: CTF(*map(jnp.asarray, (d, d, 0.0))))(defocus)
    clean = jax.vmap(adenylate_kinase.image)(truth.rotation, truth.shift, optics)
    variance = float(clean.var()) / SNR
    noise = np.sqrt(variance) * jax.random.normal(jax.random.key(2), clean.shape)
    directions = orientations_at(np.arange(192) * 24, 2) * (1, 1, 0)
    search = jax.jit(partial(prepare_search, config=CONFIG))(
        adenylate_kinase.reference(),
        jax.vmap(matrix_from_euler_degrees)(jnp.asarray(directions, jnp.float32)),
        jnp.asarray(shift_grid(3 * WANDER, 2.0), jnp.float32),
        jnp.full(33, variance),
    )
    place = {"config": CONFIG, "pixel_size": 1.5, "prior": PRIOR}

    @partial(jax.jit, static_argnames="method")
    def run(images, search, method):
        def one(image, ctf):
            if method == "refined":
                return search_pose(image, ctf, search, **place)
            if method == "cell":
                marginal = score_orientations(image, ctf, search, **place).marginal.reshape(-1)
                return search.rotations[jnp.argmax(marginal)]
            return reduce_grid(image, ctf, search, **place, reducer=method)

        return jax.lax.map(lambda each: one(*each), (images, optics))

    images = clean + noise
    found = [run(images, search, method) for method in ("cell", "refined", "esl", "mmse")]
    return Scene(truth, *found, run(noise, search, "esl"))


def degrees_off(rotation, truth: Pose) -> np.ndarray:
    cosine = (np.einsum("nij,nij->n", rotation, truth.rotation) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def test_both_are_better_than_the_best_cell_and_worse_than_refinement(scene):
    best, refined = (
        np.median(degrees_off(r, scene.truth))
        for r in (scene.best_cell, scene.refined.pose.rotation)
    )
    esl, mmse = (
        np.median(degrees_off(found.pose.rotation, scene.truth))
        for found in (scene.esl, scene.mmse)
    )
    # Where the posterior is narrower than a cell, its mean is hardly more than the best cell.
    assert 1.2 * refined < esl < 0.65 * best
    assert esl < mmse < 0.95 * best


@pytest.mark.parametrize("method", ["esl", "mmse"])
def test_the_rest_of_the_pose_and_its_uncertainty(scene, method):
    found = getattr(scene, method)
    away = np.asarray(found.pose.shift - scene.truth.shift)
    assert np.median(np.linalg.norm(away, axis=1)) < 1.0
    np.testing.assert_allclose(np.median(found.pose.scale), 1, atol=0.1)
    error = np.radians(degrees_off(found.pose.rotation, scene.truth))
    stated = np.asarray(found.rotation_deviation)
    # The whole cell counts as possible, of which an estimate between cells knows more.
    assert 0.3 < np.sqrt(np.mean(error**2) / np.mean(stated**2)) < 1.2
    turned = np.trace(found.covariance[:, :3, :3], axis1=1, axis2=2)
    np.testing.assert_allclose(turned, stated**2, rtol=1e-3)
    assert np.median(found.probability) > 0.9
    # A grid that misses the maximum knows less of it than refinement, but not much less.
    assert (found.log_likelihood < scene.refined.log_likelihood + 1).mean() > 0.95
    assert np.median(found.evidence) > 5


def test_nothing_is_not_found(scene):
    assert np.median(np.degrees(scene.of_noise.rotation_deviation)) > 60
    assert np.median(scene.of_noise.probability) < 0.3


@pytest.fixture(scope="module")
def rotations() -> jax.Array:
    angles = orientations_at(np.arange(48) * 12, 1) * (1, 1, 0)
    views = jax.jit(jax.vmap(matrix_from_euler_degrees))(jnp.asarray(angles, jnp.float32))
    return jax.jit(grid_rotations, static_argnums=1)(views, 24)


def two_peaks(rotations: jax.Array, first: float, second: float) -> jax.Array:
    """Log-posterior with maxima at two cells a quarter of a turn apart."""
    every = np.asarray(rotations, float)
    to_first, to_second = (np.einsum("nij,ij->n", every, every[n]) for n in (100, 106))
    return jnp.asarray(np.logaddexp(20 * to_first + first, 20 * to_second + second), jnp.float32)


def test_a_second_mode_draws_the_mean_not_the_barycentre(rotations):
    both, alone = two_peaks(rotations, 0.0, -1.0), two_peaks(rotations, 0.0, -1e3)
    for reducer, moved in (("esl", False), ("mmse", True)):
        reduce = jax.jit(partial(reduced_rotation, rotations=rotations, reducer=reducer, mode=0.6))
        drawn = np.abs(np.asarray(reduce(both)) - np.asarray(reduce(alone))).max()
        assert (drawn > 1e-2) == moved


def test_the_mass_is_what_lies_near(rotations):
    around = jax.jit(partial(mass_around, mode=1.0))
    centre = rotations[100]
    near, square = around(two_peaks(rotations, 0.0, np.log(1 / 3)), rotations, centre)
    assert float(near) == pytest.approx(0.75, abs=0.01)
    within = float(around(two_peaks(rotations, 0.0, -1e3), rotations, centre)[1])
    assert float(square) == pytest.approx(0.75 * within + 0.25 * (np.pi / 2) ** 2, rel=0.08)


def test_copies_are_the_nearest_of_all_symmetric_ones(rotations):
    operators = jnp.asarray(symmetry_rotations("D3"), jnp.float32)
    to = rotations[17]
    found = np.asarray(jax.jit(nearest_copies)(rotations, to, operators))
    copies = np.einsum("nij,gjk->gnik", rotations, operators)
    traces = np.einsum("gnik,ik->gn", copies, to)
    np.testing.assert_allclose(np.einsum("nik,ik->n", found, to), traces.max(axis=0), atol=1e-5)
    # The same views, at most a sixth of all rotations away.
    same = np.abs(copies - found).max(axis=(2, 3)).min(axis=0)
    assert same.max() < 1e-5


def test_a_mode_across_the_border_of_an_asymmetric_unit_is_one(rotations):
    """Cells of one half space alone, the mode at their border."""
    operators = jnp.asarray(symmetry_rotations("C2"), jnp.float32)
    every = np.asarray(rotations, float)
    inside = every[:, 2, 0] >= 0
    # A view along the border.
    centre = every[np.argmin(np.abs(every[:, 2, 0]) + (np.abs(every[:, 2, 1]) < 0.5))]
    cells = jnp.asarray(every[inside], jnp.float32)
    traces = [np.einsum("nij,ij->n", every[inside] @ g, centre) for g in np.asarray(operators)]
    posterior = jnp.asarray(8 * np.max(traces, axis=0), jnp.float32)
    folded = nearest_copies(cells, cells[jnp.argmax(posterior)], operators)

    def off(rotation: jax.Array) -> float:
        angles = [
            Rotation.from_matrix(np.asarray(rotation, float) @ g @ centre.T).magnitude()
            for g in np.asarray(operators, float)
        ]
        return float(np.degrees(min(angles)))

    reduce = jax.jit(partial(reduced_rotation, reducer="mmse", mode=0.6))
    assert off(reduce(posterior, folded)) < 5
    # The copies on the other side of the map draw it away.
    assert off(reduce(posterior, cells)) > 10
