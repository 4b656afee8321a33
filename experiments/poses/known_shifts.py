"""Search beside floor on images without shifts.

Images are drawn of the Gaussians that the reference is made of. The floor is refinement from the
true pose, which no search knows.
"""

import time
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cryojax_graph.forward import CTF, density_of_gaussians, gaussian_image
from cryojax_graph.forward.batched import map_images
from cryojax_graph.geometry import matrix_from_euler_degrees, orientations_at, random_rotations
from cryojax_graph.metrics import bootstrap_interval
from cryojax_graph.poses.matching import Candidates
from cryojax_graph.poses.reference import reference_of
from cryojax_graph.poses.refine import Prior
from cryojax_graph.poses.search import (
    Search,
    SearchConfig,
    prepare_search,
    refine_candidates,
    search_pose,
)

# Known shifts and contrast: priors that leave them no freedom.
PRIOR = Prior(shift=1e6, contrast=1e4)
_GAUSSIANS_AT_ONCE = 1024


class Scene(NamedTuple):
    """What images show: Gaussians (positions, masses, widths), through one CTF."""

    gaussians: tuple[jax.Array, jax.Array, jax.Array]
    box: int
    pixel_size: float
    ctf: CTF


def density_of(scene: Scene) -> jax.Array:
    """Map of the Gaussians, some at a time: each takes a slab of memory."""
    draw = jax.jit(partial(density_of_gaussians, box=scene.box, voxel_size=scene.pixel_size))
    count = len(scene.gaussians[0])
    parts = [slice(i, i + _GAUSSIANS_AT_ONCE) for i in range(0, count, _GAUSSIANS_AT_ONCE)]
    return sum(
        (draw(*(values[part] for values in scene.gaussians)) for part in parts),
        jnp.zeros((scene.box,) * 3),
    )


def degrees_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """From the chord, which keeps small angles."""
    chord = np.linalg.norm(first.astype(np.float64) - second, axis=(1, 2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.minimum(chord, 1)))


def summary(errors: np.ndarray) -> dict[str, float]:
    """Median with its bootstrap interval, mean and deviation, shares below 5 and 10 degrees."""
    low, high = bootstrap_interval(
        jax.random.key(0), errors, statistic=lambda drawn: float(np.median(drawn))
    )
    return {
        "median_degrees": round(float(np.median(errors)), 3),
        "median_low_degrees": round(low, 3),
        "median_high_degrees": round(high, 3),
        "mean_degrees": round(float(errors.mean()), 3),
        "deviation_degrees": round(float(errors.std()), 3),
        "below_5_percent": round(100 * float(np.mean(errors < 5)), 1),
        "below_10_percent": round(100 * float(np.mean(errors < 10)), 1),
    }


def drawn(scene: Scene, rotations: jax.Array) -> jax.Array:
    """Images without noise."""

    def one(rotation: jax.Array) -> jax.Array:
        return gaussian_image(
            *scene.gaussians,
            rotation,
            jnp.zeros(2),
            scene.ctf,
            box=scene.box,
            pixel_size=scene.pixel_size,
        )

    return map_images(one, rotations, chunk=2)


def simulated(
    scene: Scene, snr: float, count: int, seed: int = 0
) -> tuple[jax.Array, jax.Array, float]:
    """Rotations, noisy images and the variance of their noise."""
    for_poses, for_noise = jax.random.split(jax.random.key(seed))
    truth = random_rotations(for_poses, count)
    clean = jax.jit(partial(drawn, scene))(truth)
    variance = float(clean.var()) / snr
    return truth, clean + np.sqrt(variance) * jax.random.normal(for_noise, clean.shape), variance


def measure(
    scene: Scene, snr: float, count: int, config: SearchConfig, *, images_at_once: int = 4
) -> dict[str, Any]:
    """Errors of the search and of refinement from the truth, no shifts, contrast known."""
    box, pixel = scene.box, scene.pixel_size
    truth, images, variance = simulated(scene, snr, count)
    density = density_of(scene)
    reference = reference_of(density, voxel_size=pixel, field=box * pixel, pixel_size=pixel)
    views = 12 * 4**config.order
    angles = orientations_at(np.arange(views) * 6 * 2**config.order, config.order)
    angles[:, 2] = 0.0
    search = jax.jit(partial(prepare_search, config=config))(
        reference,
        jax.vmap(matrix_from_euler_degrees)(jnp.asarray(angles, jnp.float32)),
        jnp.zeros((1, 2)),
        jnp.full(box // 2 + 1, variance),
    )

    def found(search: Search, images: jax.Array) -> jax.Array:
        def one(image: jax.Array) -> jax.Array:
            estimate = search_pose(image, scene.ctf, search, config, pixel_size=pixel, prior=PRIOR)
            return estimate.pose.rotation

        return map_images(one, images, chunk=images_at_once)

    def from_truth(search: Search, images: jax.Array, truth: jax.Array) -> jax.Array:
        def one(image: jax.Array, rotation: jax.Array) -> jax.Array:
            ones = jnp.ones(1)
            start = Candidates(rotation[None], jnp.zeros((1, 2)), ones, ones, ones)
            modes = refine_candidates(
                image, scene.ctf, start, search, config, pixel_size=pixel, prior=PRIOR
            )
            return modes.pose.rotation[0]

        return map_images(one, images, truth)

    run = jax.jit(found).lower(search, images).compile()
    started = time.perf_counter()
    rotations = np.asarray(run(search, images))
    seconds = time.perf_counter() - started
    floor = np.asarray(jax.jit(from_truth)(search, images, truth))
    evaluations = sum(k * s for k, s in zip(config.kept, config.steps, strict=True))
    return {
        "snr": round(snr, 5),
        "energy": round(snr * box**2),
        "images": count,
        "renders_per_image": round(views / count + evaluations, 1),
        "milliseconds_per_image": round(1000 * seconds / count, 2),
        "search": summary(degrees_between(rotations, np.asarray(truth))),
        "floor": summary(degrees_between(floor, np.asarray(truth))),
    }
