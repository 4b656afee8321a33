"""What ``reconstruct`` makes of the stacks of ``particles/``: a toy volume, and tilts of ribosomes.

Noise-free projections of a toy volume are held against it. The 219 tilts show six ribosomes; their
halves are drawn in three ways: three particles each, which is honest but leaves each half three
particles; at random among the tilts, so that both halves hold the same particles and surroundings;
and noise with the power of the images, halves by particle. Each map is also masked to a sphere.

    python experiments/maps/stacks.py --data DATA --work WORK --results RESULTS
"""

import argparse
import json
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from experimental import EDGE, MASK, read_tilts, texts, toy_particles
from molecules import record

from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.io import read_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.metrics.fsc import fourier_shell_correlation, resolution_angstrom

KEPT = ("resolution_angstrom", "resolution_unmasked_fsc0143_angstrom", "cfar", "mask_percent")


def mapped(particles: Path, folder: Path) -> dict:
    """Figures of one reconstruction."""
    reconstruct(
        ReconstructConfig(str(particles)), options=JobOptions(output=str(folder), overwrite=True)
    )
    figures = json.loads((folder / "metrics.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {name: round(figures[name], 3) for name in KEPT if name in figures}
    return found | {"warnings": manifest["warnings"]}


def curve_of(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.asarray(fourier_shell_correlation(jnp.asarray(first), jnp.asarray(second)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work.resolve()
    particles = toy_particles(data, work / "toy", 1000)
    row = {"set": "sim_toy_1000", "images": 1000} | mapped(particles, work / "toy/map")
    true = read_map(data / "particles/sim_toy_1000/toymodel.mrc").values
    found = read_map(work / "toy/map/map_unsharpened.mrc").values
    rows = [row | {"fsc_truth": np.round(curve_of(found, true).astype(float), 3).tolist()}]
    tilts = read_tilts(data, work / "tilts")
    by_particle = 1 + tilts.particle % 2
    at_random = 1 + np.random.default_rng(0).permutation(len(by_particle)) % 2
    trials = {
        "halves by particle": (by_particle, "particles.mrcs"),
        "halves at random": (at_random, "particles.mrcs"),
        "noise, halves by particle": (by_particle, "noise.mrcs"),
    }
    for name, (halves, stack) in trials.items():
        path = work / "tilts" / f"{name.replace(', ', '_').replace(' ', '_')}.star"
        fields = {"half_set": halves, "image_path": texts(stack, len(halves))}
        fields["image_index"] = np.arange(len(halves))
        write_particles(with_columns(tilts.table, fields), path)
        row = {"set": "tilt_ribosome_219", "halves": name} | mapped(path, path.with_suffix(""))
        first, second = (read_map(path.with_suffix("") / f"half{n}.mrc") for n in (1, 2))
        box, voxel = len(first.values), float(first.voxel_size[0])
        edge = EDGE / voxel
        ball = np.asarray(soft_sphere(box, radius=MASK / voxel - edge / 2, edge=edge))
        curve = curve_of(first.values * ball, second.values * ball)
        resolution = resolution_angstrom(
            jnp.asarray(curve), threshold=0.143, box_angstrom=box * voxel
        )
        rows.append(row | {"resolution_in_sphere_angstrom": round(float(resolution), 1)})
    record(arguments.results, "stacks", rows)


if __name__ == "__main__":
    main()
