"""Maps of the states of a motion: posterior weights beside sorted images and the map of all.

5,100 images of adenylate kinase at SNR 0.1 by an independent simulator (``--adk-images``: the
folder that ``adk_images.py --snr 0.1`` made), one ``flex`` job of the preset default, and from its
folder ``reconstruct --states 5``. Beside it maps of the subsets that ``flex`` writes, of subsets
sorted by the truth, and of all images. The truth of a state is the mean density of the true
conformations of a fifth of the images, ordered by the first principal component of the C-alpha
atoms. Maps compared are unfiltered: the mean of both halves, in the sphere of the box.

    python experiments/maps/states.py --data DATA --adk-images DIR --work WORK --results RESULTS
"""

import argparse
import json
from itertools import pairwise
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from cryojax_graph.forward import blur_map
from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.io import read_map, read_particles, write_particles
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.particle_table import subset
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.flex import FlexConfig, flex
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.jobs.reconstruct.flex_folder import read_flex_folder
from cryojax_graph.metrics import first_crossing
from cryojax_graph.metrics.fsc import fourier_shell_correlation
from cryojax_graph.models.backbone_graph.states import state_edges, state_probabilities

STATES, BOX, PIXEL, WIDTH = 5, 64, 1.5, 1.2
# Shells between which curves are averaged, 24 to 3.7 Å, and blur of the differences of states, Å.
BINS = (0.0, 0.05, 0.2, 0.4, 0.6, 0.8, 0.95, 1.01)
SHELLS, COARSE = slice(4, 27), 12.0


def finished(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "done"


def maps_of(particles: Path, folder: Path, images: Path, **settings) -> Path:
    """A finished ``reconstruct`` job."""
    if not finished(folder):
        config = ReconstructConfig(
            str(particles), image_root=str(images), contrast="white", **settings
        )
        reconstruct(config, options=JobOptions(output=str(folder)))
    return folder


def true_states(truth: dict[str, np.ndarray], leading: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """True density of each state, and the state of each image, in the order of the latent."""
    frame = truth["frame_index"]
    positions = truth["ca_coords"].astype(float).reshape(len(truth["ca_coords"]), -1)
    centred = positions - positions.mean(axis=0)
    along = (centred @ np.linalg.svd(centred, full_matrices=False)[2][0])[frame]
    along *= np.sign(np.corrcoef(along, leading)[0, 1])
    state = np.argsort(np.argsort(along, kind="stable"), kind="stable") * STATES // len(along)
    weights = jnp.asarray(truth["atom_weights"], jnp.float32)
    densities = np.stack(
        [
            density_of_gaussians(
                jnp.asarray(atoms, jnp.float32),
                weights,
                jnp.full(len(weights), WIDTH),
                box=BOX,
                voxel_size=PIXEL,
            )
            for atoms in truth["atom_coords"]
        ]
    )
    return np.stack([densities[frame[state == k]].mean(axis=0) for k in range(STATES)]), state


def fsc(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(fourier_shell_correlation(jnp.asarray(first), jnp.asarray(second)))


def figures(halves: list[tuple[np.ndarray, np.ndarray]], true: np.ndarray) -> dict:
    """One way of making maps of all states, held against the truth."""
    ball = np.asarray(soft_sphere(BOX, radius=BOX / 2 - 3, edge=3.0))
    means = np.stack([0.5 * (first + second) for first, second in halves])
    curves = [fsc(mean, density * ball) for mean, density in zip(means, true, strict=True)]
    agreement = [np.clip(fsc(*pair), 0.0, 1.0) for pair in halves]
    expected = [np.sqrt(2 * curve / (1 + curve)) for curve in agreement]

    def coarse(maps: np.ndarray) -> np.ndarray:
        blurred = np.stack([blur_map(m.astype(np.float32), COARSE, voxel_size=PIXEL) for m in maps])
        return blurred.reshape(len(maps), -1)

    ours, theirs = coarse(means), coarse(true * ball)
    mean, true_mean = ours.mean(axis=0), theirs.mean(axis=0)
    scale = (mean @ true_mean) / (true_mean @ true_mean)
    difference, true_difference = (ours - mean) / scale, theirs - true_mean
    pairs = list(zip(difference, true_difference, strict=True))
    return {
        "resolution_fsc05_truth_angstrom": [
            round(BOX * PIXEL / float(first_crossing(curve, threshold=0.5)), 2) for curve in curves
        ],
        "fsc_truth_mean": [round(float(curve[SHELLS].mean()), 3) for curve in curves],
        "halves_promise_too_much_by": [
            round(float((promised - curve)[SHELLS].mean()), 3)
            for promised, curve in zip(expected, curves, strict=True)
        ],
        "difference_amplitude": [round(float(d @ t / (t @ t)), 2) for d, t in pairs],
        "difference_correlation": [
            round(float(d @ t / np.linalg.norm(d) / np.linalg.norm(t)), 3) if d.any() else 0.0
            for d, t in pairs
        ],
    }


def calibration(probability: np.ndarray, state: np.ndarray) -> list[dict]:
    """Whether states are the true ones as often as their probabilities say."""
    true = state[:, None] == np.arange(STATES)
    rows = []
    for low, high in pairwise(BINS):
        inside = (probability >= low) & (probability < high)
        rows.append(
            {
                "count": int(inside.sum()),
                "probability_mean": round(float(probability[inside].mean()), 3),
                "share_true": round(float(true[inside].mean()), 3),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--adk-images", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work, images = arguments.work, arguments.adk_images.resolve()
    particles, motion = images / "snr0.1.star", work / "flex_0.1"
    if not finished(motion):
        template = arguments.data / "trajectories/adk_dims_template.pdb"
        config = FlexConfig(particles=str(particles), template=str(template))
        flex(config, options=JobOptions(output=str(motion)))
    true, state = true_states(
        read_npz(images / "truth.npz"), read_npz(motion / "latents.npz")["latents"][:, 0]
    )
    for number in range(STATES):
        rows = np.flatnonzero(state == number)
        write_particles(subset(read_particles(particles), rows), work / f"true_{number}.star")
    states = maps_of(motion, work / "states", images, states=STATES)
    every = maps_of(particles, work / "all", images)
    folders = {
        "posterior weights": [states / f"state_{k + 1}" for k in range(STATES)],
        "subsets of flex": [
            maps_of(motion / f"subsets/region_{k}.star", work / f"sorted_{k}", images)
            for k in range(STATES)
        ],
        "subsets by the truth": [
            maps_of(work / f"true_{k}.star", work / f"by_truth_{k}", images) for k in range(STATES)
        ],
        "all images": [every] * STATES,
    }
    results: dict = {}
    for name, of_states in folders.items():
        halves = [
            tuple(read_map(folder / f"half{n}.mrc").values for n in (1, 2)) for folder in of_states
        ]
        results[name] = figures(halves, true)
        print(name, json.dumps(results[name]), flush=True)
    flexed = read_flex_folder(motion)
    edges = state_edges(flexed.mean, flexed.deviation, states=STATES)
    probability = state_probabilities(flexed.mean, flexed.deviation, edges)
    results["calibration"] = calibration(probability, state)
    metrics = json.loads((states / "metrics.json").read_text())
    results["states_told_apart"] = round(metrics["states_told_apart"], 2)
    results["effective_images"] = [
        round(metrics[f"state_{k + 1}_effective_images"]) for k in range(STATES)
    ]
    results["wall_seconds_of_states"] = round(metrics["wall_seconds"], 1)
    if arguments.results:
        arguments.results.write_text(json.dumps({"states": results}, indent=2) + "\n")


if __name__ == "__main__":
    main()
