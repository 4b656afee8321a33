"""Poses of adenylate kinase from images without shifts: how near to the statistical floor.

214 C-alpha atoms as Gaussians of 1.9 Å, half-way through the transition, 64 px of 1.5 Å, one CTF
(2 µm, 300 kV, Cs 2.7 mm, amplitude contrast 0.06), white noise. The floor is refinement from the
true pose, which no search knows. Images are made of the map that they are compared with: this
measures the search, not a molecule's.

    python experiments/poses/adk.py --trajectory DATA/trajectories/adk_dims.npz
"""

import argparse
import json
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cryojax_graph.forward import CTF, density_of_gaussians, gaussian_image
from cryojax_graph.forward.batched import map_images
from cryojax_graph.geometry import matrix_from_euler_degrees, orientations_at, random_rotations
from cryojax_graph.io.trajectories import read_trajectory
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

BOX, PIXEL, WIDTH = 64, 1.5, 1.9
SNRS = (0.1, 1 / 16, 0.03)
# Known shifts and contrast: priors that leave them no freedom.
PRIOR = Prior(shift=1e6, contrast=1e4)
MICROSCOPE = CTF(20_000.0, 20_000.0, amplitude_contrast=0.06)


def degrees_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    trace = np.einsum("nij,nij->n", first, second, dtype=np.float64)
    return np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))


def summary(errors: np.ndarray) -> dict[str, float]:
    """Median with its bootstrap interval, mean, share below 10 degrees."""
    low, high = bootstrap_interval(
        jax.random.key(0), errors, statistic=lambda drawn: float(np.median(drawn))
    )
    return {
        "median_degrees": round(float(np.median(errors)), 2),
        "median_low_degrees": round(low, 2),
        "median_high_degrees": round(high, 2),
        "mean_degrees": round(float(errors.mean()), 2),
        "below_10_percent": round(100 * float(np.mean(errors < 10)), 1),
    }


def measure(c_alpha: np.ndarray, snr: float, count: int, config: SearchConfig) -> dict[str, Any]:
    """Errors of the search and of refinement from the truth."""
    for_poses, for_noise = jax.random.split(jax.random.key(0))
    truth = random_rotations(for_poses, count)
    positions = jnp.asarray(c_alpha, jnp.float32)
    masses, widths = jnp.ones(len(positions)), jnp.full(len(positions), WIDTH)

    def draw(rotation: jax.Array) -> jax.Array:
        return gaussian_image(
            positions,
            masses,
            widths,
            rotation,
            jnp.zeros(2),
            MICROSCOPE,
            box=BOX,
            pixel_size=PIXEL,
        )

    clean = jax.jit(lambda rotations: map_images(draw, rotations))(truth)
    variance = float(clean.var()) / snr
    images = clean + np.sqrt(variance) * jax.random.normal(for_noise, clean.shape)
    density = density_of_gaussians(positions, masses, widths, box=BOX, voxel_size=PIXEL)
    field = BOX * PIXEL
    reference = reference_of(density, voxel_size=PIXEL, field=field, pixel_size=PIXEL)
    views = 12 * 4**config.order
    angles = orientations_at(np.arange(views) * 6 * 2**config.order, config.order)
    angles[:, 2] = 0.0
    search = jax.jit(partial(prepare_search, config=config))(
        reference,
        jax.vmap(matrix_from_euler_degrees)(jnp.asarray(angles, jnp.float32)),
        jnp.zeros((1, 2)),
        jnp.full(BOX // 2 + 1, variance),
    )

    def found(search: Search, images: jax.Array) -> jax.Array:
        def one(image: jax.Array) -> jax.Array:
            estimate = search_pose(image, MICROSCOPE, search, config, pixel_size=PIXEL, prior=PRIOR)
            return estimate.pose.rotation

        return map_images(one, images, chunk=4)

    def from_truth(search: Search, images: jax.Array, truth: jax.Array) -> jax.Array:
        def one(image: jax.Array, rotation: jax.Array) -> jax.Array:
            ones = jnp.ones(1)
            start = Candidates(rotation[None], jnp.zeros((1, 2)), ones, ones, ones)
            modes = refine_candidates(
                image, MICROSCOPE, start, search, config, pixel_size=PIXEL, prior=PRIOR
            )
            return modes.pose.rotation[0]

        return map_images(one, images, truth)

    run = jax.jit(found)
    np.asarray(run(search, images))
    started = time.perf_counter()
    rotations = np.asarray(run(search, images))
    seconds = time.perf_counter() - started
    floor = np.asarray(jax.jit(from_truth)(search, images, truth))
    evaluations = sum(k * s for k, s in zip(config.kept, config.steps, strict=True))
    return {
        "snr": round(snr, 4),
        "energy": round(snr * BOX**2),
        "images": count,
        "renders_per_image": round(views / count + evaluations, 1),
        "milliseconds_per_image": round(1000 * seconds / count, 2),
        "search": summary(degrees_between(rotations, np.asarray(truth))),
        "floor": summary(degrees_between(floor, np.asarray(truth))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trajectory", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    trajectory = read_trajectory(arguments.trajectory)
    frame = trajectory.positions[len(trajectory.positions) // 2]
    c_alpha = frame[trajectory.atoms.name == "CA"]
    c_alpha = c_alpha - c_alpha.mean(axis=0)
    config = SearchConfig()
    rows = [measure(c_alpha, snr, arguments.images, config) for snr in SNRS]
    print(json.dumps(rows, indent=1))
    if arguments.results:
        known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
        known["adk"] = rows
        arguments.results.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
