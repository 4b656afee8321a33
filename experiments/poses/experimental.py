"""Poses of experimental images beside the deposited ones: tilt images of six ribosomes in a cell.

Of 219 images (64 px of 14.56 Å, six particles) those of each particle are compared with a map
reconstructed by ``relion_reconstruct`` from the deposited poses of the five others. Searched
around the deposited poses, around poses turned by 10 degrees about random axes (``--within 20``),
and everywhere. Angles are to the deposited rotation, in the frame of the map.

    python experiments/poses/experimental.py --data DATA --work WORK --results expected.json
"""

import argparse
import os
import subprocess
from pathlib import Path
from typing import Any

import jax
import numpy as np
from known_shifts import degrees_between, summary
from molecules import record
from relion import finished

from cryojax_graph.geometry import exp_map
from cryojax_graph.io import new_particles, read_particles
from cryojax_graph.io.particles import write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose

SET = "particles/tilt_ribosome_219"
STACK = "ay19102021_L3_position6_ribo_it09_bin8_1.82A.mrcs"
BOX, PIXEL, TILTS, WITHIN, TURNED = 64, 14.56, 39, 20.0, 10.0


def table_of(data: Path, rows: np.ndarray, turned: float, path: Path) -> Path:
    """Some images with their deposited poses, or turned ones."""
    deposited = read_particles(data / SET / "sta_testing_bin8.star")
    kept = np.load(data / SET / "poses_ctf.npz")
    ctf = dict(zip(kept["ctf_columns"].tolist(), kept["ctf"].T, strict=True))
    rotation = rotation_from_euler(deposited.euler_degrees)
    axes = np.random.default_rng(3).standard_normal((len(rotation), 3))
    axes *= np.radians(turned) / np.linalg.norm(axes, axis=1, keepdims=True)
    turns = np.asarray(jax.vmap(exp_map)(axes.astype(np.float32)), np.float64)
    fields: dict[str, Any] = {
        "image_path": np.full(len(rows), STACK, np.dtypes.StringDType()),
        "image_index": rows,
        "euler_degrees": euler_from_rotation(turns[rows] @ rotation[rows]),
        "shift_angstrom": kept["translations_frac"][rows] * BOX * PIXEL,
        "defocus_u": ctf["defocusU_A"][rows],
        "defocus_v": ctf["defocusV_A"][rows],
        "defocus_angle_degrees": ctf["defocus_angle_deg"][rows],
        "phase_shift_degrees": np.zeros(len(rows)),
        "b_factor": np.zeros(len(rows)),
        "voltage_kv": ctf["voltage_kV"][rows],
        "spherical_aberration_mm": ctf["cs_mm"][rows],
        "amplitude_contrast": ctf["amp_contrast"][rows],
        "pixel_size": np.full(len(rows), PIXEL),
        "box": np.full(len(rows), BOX),
    }
    write_particles(new_particles(path, fields), path)
    return path


def angles(found: Path, deposited: Path) -> np.ndarray:
    tables = (read_particles(path) for path in (found, deposited))
    return degrees_between(*(rotation_from_euler(table.euler_degrees) for table in tables))


def of_particle(data: Path, work: Path, number: int, images: int) -> dict[str, np.ndarray]:
    """Angles of one particle's images, before and after each search."""
    folder = work / f"particle_{number}"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / STACK).exists():
        os.symlink((data / SET / STACK).resolve(), folder / STACK)
    own = np.arange(images) // TILTS == number
    others = table_of(data, np.flatnonzero(~own), 0.0, folder / "others.star")
    given = table_of(data, np.flatnonzero(own), 0.0, folder / "given.star")
    turned = table_of(data, np.flatnonzero(own), TURNED, folder / "turned.star")
    reference = folder / "others.mrc"
    if not reference.exists():
        command = ["relion_reconstruct", "--i", others.name, "--o", reference.name, "--ctf"]
        command += ["--angpix", str(PIXEL)]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    errors = {"turned_before": angles(turned, given)}
    for name, table, start in (
        ("from_deposited", given, "given"),
        ("from_turned", turned, "given"),
        ("searched", given, "search"),
    ):
        if not finished(folder / name):
            config = PoseConfig(str(table), str(reference), start=start, within=WITHIN)
            pose(config, options=JobOptions(output=str(folder / name)))
        errors[name] = angles(folder / name / "particles.star", given)
    return errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work, images = arguments.work.resolve(), 219
    parts = [
        of_particle(arguments.data, work, number, images) for number in range(-(-images // TILTS))
    ]
    figures = {
        name: {"images": images, **summary(np.concatenate([part[name] for part in parts]))}
        for name in parts[0]
    }
    record(arguments.results, "experimental", figures)


if __name__ == "__main__":
    main()
