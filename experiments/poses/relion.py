"""Particles by RELION's own simulator, searched by ``pose`` with the true map and blurred ones.

The map of a model is projected by ``relion_project`` (Debian's RELION 3.1.3) with CTF, astigmatism,
shifts and white noise; ``pose`` searches the images with the map as it is and low-passed to 15 and
40 Å. The floor is ``pose --start given`` around the true poses. What is done is not done again.

    python experiments/poses/relion.py --model MODEL.cif --pixel-size 3 --work WORK
"""

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.geometry import orientation_grid, random_rotations
from cryojax_graph.io import Map, new_particles, read_map, read_particles, write_map
from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.particles import write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.stacks import open_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose
from cryojax_graph.jobs.pose.reference import density_of_model
from cryojax_graph.jobs.validate import ValidatePosesConfig, validate_poses

BLURRED = {"true": None, "15": 15.0, "40": 40.0}
KEPT = (
    "rotation_error_median_degrees",
    "rotation_error_median_low_degrees",
    "rotation_error_median_high_degrees",
    "rotation_error_mean_degrees",
    "rotation_below_5_percent",
    "rotation_below_10_percent",
    "rotation_error_over_deviation",
    "shift_error_median_pixels",
)


def finished(folder: Path) -> bool:
    manifest = read_manifest(folder)
    return manifest is not None and manifest["status"] == "done"


def make_map(model: Path, box: int, pixel: float, path: Path) -> None:
    """The density of a model's heavy atoms, its centroid in the middle."""
    atoms = read_atoms(model)
    atoms = select_atoms(atoms, ~np.isin(np.char.upper(atoms.element.astype(str)), ("H", "D")))
    centred = (atoms.positions - atoms.positions.mean(axis=0)).astype(np.float32)
    density = density_of_model(replace(atoms, positions=centred), model, box=box, voxel_size=pixel)
    write_map(path, Map(np.asarray(density), np.full(3, pixel), np.zeros(3)))


def blur(source: Path, resolution: float, path: Path) -> None:
    """The map without what is finer than a resolution."""
    density = read_map(source)
    box, voxel = len(density.values), float(density.voxel_size[0])
    # A radial filter of the volume from that of an image: the radius is all that counts.
    shells = np.asarray(low_pass(resolution, box=box, pixel_size=voxel))[0]
    k = np.fft.fftfreq(box) * box
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k[: box // 2 + 1] ** 2)
    factor = np.interp(radius, np.arange(len(shells)), shells)
    values = np.fft.irfftn(np.fft.rfftn(density.values) * factor, s=(box,) * 3)
    write_map(path, replace(density, values=values.astype(np.float32)))


def project(work: Path, images: int, box: int, pixel: float, snr: float) -> Path:
    """Particles of ``relion_project``, and the table of their true poses."""
    folder = work / f"snr_{snr:g}"
    particles = folder / "particles.star"
    if particles.exists():
        return particles
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    rotation = np.asarray(random_rotations(jax.random.key(0), images), np.float64)
    defocus = rng.uniform(1.0e4, 2.5e4, images)
    fields: dict[str, Any] = {
        "image_path": np.full(images, "particles.mrcs", np.dtypes.StringDType()),
        "image_index": np.arange(images),
        "euler_degrees": euler_from_rotation(rotation),
        "shift_angstrom": 1.5 * pixel * rng.standard_normal((images, 2)),
        "defocus_u": defocus + 300.0,
        "defocus_v": defocus - 300.0,
        "defocus_angle_degrees": rng.uniform(0, 180, images),
        "phase_shift_degrees": np.zeros(images),
        "b_factor": np.zeros(images),
        "voltage_kv": np.full(images, 300.0),
        "spherical_aberration_mm": np.full(images, 2.7),
        "amplitude_contrast": np.full(images, 0.1),
        "pixel_size": np.full(images, pixel),
        "box": np.full(images, box),
    }
    table = new_particles(particles, fields)
    write_particles(table, folder / "angles.star")
    command = ["relion_project", "--i", "../map.mrc", "--ang", "angles.star", "--ctf"]
    command += ["--angpix", str(pixel)]
    run = {"cwd": folder, "check": True, "capture_output": True}
    subprocess.run([*command, "--o", "clean"], **run)
    clean = open_stack(folder / "clean.mrcs").read(np.arange(images))
    deviation = float(np.sqrt(clean.var() / snr))
    noise = ["--add_noise", "--white_noise", f"{deviation:.8g}"]
    subprocess.run([*command, *noise, "--o", "particles_relion"], **run)
    (folder / "particles_relion.mrcs").rename(folder / "particles.mrcs")
    (folder / "clean.mrcs").unlink()
    write_particles(table, particles)
    return particles


def searched(
    particles: Path, reference: Path, folder: Path, symmetry: str, given: bool
) -> dict[str, float]:
    """Figures of one search."""
    if not finished(folder / "pose"):
        config = PoseConfig(
            str(particles),
            str(reference),
            symmetry=symmetry,
            start="given" if given else "search",
            within=5.0,
        )
        pose(config, options=JobOptions(output=str(folder / "pose")))
    if not finished(folder / "score"):
        found = folder / "pose/particles.star"
        config = ValidatePosesConfig(str(found), str(particles), symmetry=symmetry)
        validate_poses(config, options=JobOptions(output=str(folder / "score")))
    scores = json.loads((folder / "score/metrics.json").read_text())
    made = json.loads((folder / "pose/metrics.json").read_text())
    kept = {name: round(scores[name], 3) for name in KEPT}
    found, truth = (read_particles(p) for p in (folder / "pose/particles.star", particles))
    views = [rotation_from_euler(t.euler_degrees)[:, 2] for t in (found, truth)]
    kept |= {f"view_class_order_{k}_percent": same_class(*views, k) for k in (0, 1, 2)}
    return kept | {"wall_seconds": made["wall_seconds"]}


def same_class(found: np.ndarray, truth: np.ndarray, order: int) -> float:
    """Share of images whose viewing direction lies in the true cell of the sphere."""
    turns = 6 * 2**order
    centres = rotation_from_euler(orientation_grid(order)[::turns])[:, 2]
    classes = [np.argmax(views @ centres.T, axis=1) for views in (found, truth)]
    return round(100 * float(np.mean(classes[0] == classes[1])), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--pixel-size", type=float, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--snr", type=float, nargs="*", default=[0.1, 0.03])
    parser.add_argument("--symmetry", default="C1")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    if not (work / "map.mrc").exists():
        make_map(arguments.model, arguments.box, arguments.pixel_size, work / "map.mrc")
    rows = []
    for snr in arguments.snr:
        particles = project(work, arguments.images, arguments.box, arguments.pixel_size, snr)
        for name, resolution in [*BLURRED.items(), ("floor", None)]:
            reference = work / "map.mrc"
            if resolution is not None:
                reference = work / f"map_{name}.mrc"
                blur(work / "map.mrc", resolution, reference)
            folder = particles.parent / name
            figures = searched(particles, reference, folder, arguments.symmetry, name == "floor")
            rows.append({"snr": snr, "reference": name, "images": arguments.images, **figures})
            print(json.dumps(rows[-1]), flush=True)
    if arguments.results:
        known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}
        known["relion"] = rows
        arguments.results.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
