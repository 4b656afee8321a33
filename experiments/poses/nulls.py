"""What ``pose`` says where there is nothing to find: noise, another particle, the other hand.

White noise and the images of one molecule of ``relion.py`` (whose work folder is needed) are
searched with the map of the other; images with their poses are refined with the mirrored map.
Rotations that nothing is known of have a deviation of 132 degrees. Done work is not done again.

    python experiments/poses/nulls.py --work WORK --results expected.json
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from molecules import record
from relion import BOX, PIXEL, finished

from cryojax_graph.io import read_map, read_particles, write_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose

MOLECULE, OTHER = "1a9x", "1n7g"


def noise_alone(like: Path, folder: Path) -> Path:
    """The table of a set, its images white noise."""
    folder.mkdir(parents=True, exist_ok=True)
    table = read_particles(like)
    noise = np.random.default_rng(12).standard_normal((len(table), BOX, BOX), np.float32)
    write_stack(folder / "noise.mrcs", noise, pixel_size=PIXEL)
    path = folder / "particles.star"
    changes = {
        "image_path": np.full(len(table), "noise.mrcs", np.dtypes.StringDType()),
        "image_index": np.arange(len(table)),
    }
    write_particles(with_columns(table, changes), path)
    return path


def mirrored(source: Path, path: Path) -> Path:
    """The map of the other hand."""
    density = read_map(source)
    # The middle of an even box stays where it is.
    values = np.roll(density.values[::-1], 1 - len(density.values) % 2, axis=0)
    write_map(path, replace(density, values=np.ascontiguousarray(values)))
    return path


def said(particles: Path, reference: Path, folder: Path, start: str) -> dict[str, Any]:
    """What the job reports of its images."""
    if not finished(folder):
        config = PoseConfig(str(particles), str(reference), start=start)
        pose(config, options=JobOptions(output=str(folder)))
    figures = json.loads((folder / "metrics.json").read_text())
    manifest = read_manifest(folder)
    assert manifest is not None
    figures = {k: round(v, 3) for k, v in figures.items() if isinstance(v, int | float)}
    return {**figures, "warnings": manifest["warnings"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--snr", type=float, nargs="*", default=[0.1, 0.03])
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    own, nulls = work / MOLECULE / "map.mrc", work / "nulls"
    noise = noise_alone(work / MOLECULE / "snr_0.1/particles.star", nulls / "noise")
    figures = {"noise": said(noise, own, nulls / "noise/pose", "search")}
    other = mirrored(own, nulls / "mirrored.mrc")
    for snr in arguments.snr:
        particles = work / MOLECULE / f"snr_{snr:g}/particles.star"
        cases = {
            "other_particle": (work / OTHER / "map.mrc", "search"),
            "given_true_hand": (own, "given"),
            "given_other_hand": (other, "given"),
        }
        for name, (reference, start) in cases.items():
            folder = nulls / f"{name}_{snr:g}"
            figures[f"{name}_snr_{snr:g}"] = said(particles, reference, folder, start)
    record(arguments.results, "nulls", figures)


if __name__ == "__main__":
    main()
