"""What ``pose`` says where there is nothing to find: noise, another particle, the other hand.

White noise is searched with the map of one molecule of ``relion.py``, whose work folder is needed,
the images of that molecule with the map of the other, and with their poses given with its own map
and with the mirrored one.
Rotations that nothing is known of have a deviation of 132 degrees, less with the symmetry of a
molecule, which is stated. Done work is not done again.

    python experiments/poses/nulls.py --work WORK --results expected.json
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from molecules import record
from relion import BOX, MOLECULES, PIXEL, finished

from cryojax_graph.io import read_map, read_particles, write_map
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose

MOLECULE, OTHER, IMAGES = "1a9x", "1n7g", 500
KEPT = (
    "evidence_mean_nats",
    "probability_of_mode_mean",
    "rotation_deviation_median_degrees",
    "poses_within_10_degrees_percent",
    "shift_deviation_median_angstrom",
    "hand_evidence_mean_nats",
    "hand_evidence_error_nats",
)


def some_of(particles: Path, path: Path) -> Path:
    """The first images of a set."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        table = subset(read_particles(particles), np.arange(IMAGES))
        stack = particles.with_suffix(".mrcs").relative_to(path.parents[1])
        names = np.full(IMAGES, str(stack), np.dtypes.StringDType())
        write_particles(with_columns(table, {"image_path": names}), path)
    return path


def noise_alone(like: Path, path: Path) -> Path:
    """The table of a set, its images white noise."""
    if not path.exists():
        noise = np.random.default_rng(12).standard_normal((IMAGES, BOX, BOX), np.float32)
        write_stack(path.with_suffix(".mrcs"), noise, pixel_size=PIXEL)
        stack = path.with_suffix(".mrcs").relative_to(path.parents[1])
        names = np.full(IMAGES, str(stack), np.dtypes.StringDType())
        write_particles(with_columns(read_particles(like), {"image_path": names}), path)
    return path


def mirrored(source: Path, path: Path) -> Path:
    """The map of the other hand."""
    density = read_map(source)
    # The middle of an even box stays where it is.
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.roll(density.values[::-1], 1 - len(density.values) % 2, axis=0)
    write_map(path, replace(density, values=np.ascontiguousarray(values)))
    return path


def said(
    particles: Path, reference: Path, symmetry: str, folder: Path, start: str
) -> dict[str, Any]:
    """What the job reports of its images."""
    if not finished(folder):
        config = PoseConfig(
            str(particles),
            str(reference),
            symmetry=symmetry,
            start=start,
            image_root=str(folder.parents[1]),
        )
        try:
            pose(config, options=JobOptions(output=str(folder)))
        except InputError as error:
            return {"refused": error.cause}
    figures = json.loads((folder / "metrics.json").read_text())
    manifest = read_manifest(folder)
    assert manifest is not None
    kept = {name: round(figures[name], 3) for name in KEPT if name in figures}
    return {**kept, "warnings": manifest["warnings"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--snr", type=float, nargs="*", default=[0.1, 0.03])
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    own, nulls = work / MOLECULE / "map.mrc", work / "nulls"
    other = mirrored(own, nulls / "mirrored.mrc")
    figures: dict[str, Any] = {"images": IMAGES}
    for snr in arguments.snr:
        of_set = work / MOLECULE / f"snr_{snr:g}/particles.star"
        particles = some_of(of_set, nulls / f"some_{snr:g}.star")
        noise = noise_alone(particles, nulls / "noise.star")
        for name, images, reference, shown, start in (
            ("noise", noise, own, MOLECULE, "search"),
            ("other_particle", particles, work / OTHER / "map.mrc", OTHER, "search"),
            ("true_hand", particles, own, MOLECULE, "given"),
            ("other_hand", particles, other, MOLECULE, "given"),
        ):
            case = name if name == "noise" else f"{name}_snr_{snr:g}"
            figures[case] = said(images, reference, MOLECULES[shown], nulls / case, start)
    record(arguments.results, "nulls", figures)


if __name__ == "__main__":
    main()
