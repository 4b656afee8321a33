"""Poses of adenylate kinase from images without shifts: how near to the statistical floor.

214 C-alpha atoms as Gaussians of 1.9 Å, half-way through the transition, 64 px of 1.5 Å, one CTF
(2 µm, 300 kV, Cs 2.7 mm, amplitude contrast 0.06), white noise. The floor is refinement from the
true pose, which no search knows. Images are made of the map that they are compared with: this
measures the search, not a molecule's.

    python experiments/poses/adk.py --data DATA --results expected.json
"""

import argparse
from pathlib import Path

import jax.numpy as jnp
from known_shifts import Scene, measure
from molecules import record

from cryojax_graph.forward import CTF
from cryojax_graph.io.trajectories import read_trajectory
from cryojax_graph.poses.search import SearchConfig

BOX, PIXEL, WIDTH = 64, 1.5, 1.9
SNRS = (0.1, 1 / 16, 0.03)
MICROSCOPE = CTF(20_000.0, 20_000.0, amplitude_contrast=0.06)


def half_way(data: Path) -> Scene:
    """Adenylate kinase in the middle of its transition."""
    trajectory = read_trajectory(data / "trajectories/adk_dims.npz")
    frame = trajectory.positions[len(trajectory.positions) // 2]
    c_alpha = frame[trajectory.atoms.name == "CA"]
    positions = jnp.asarray(c_alpha - c_alpha.mean(axis=0), jnp.float32)
    masses, widths = jnp.ones(len(positions)), jnp.full(len(positions), WIDTH)
    return Scene((positions, masses, widths), BOX, PIXEL, MICROSCOPE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    scene = half_way(arguments.data)
    config = SearchConfig()
    rows = [measure(scene, snr, arguments.images, config) for snr in SNRS]
    record(arguments.results, "adk", rows)


if __name__ == "__main__":
    main()
