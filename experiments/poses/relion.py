"""Particles by RELION's own simulator, searched by ``pose`` with the true map and blurred ones.

Maps of a heterodimer (carbamoyl phosphate synthetase, 160 kDa) and of a tetramer made exactly D2
(GDP-mannose dehydratase, 148 kDa) are projected by ``relion_project`` (Debian's RELION 3.1.3) with
CTF, astigmatism, shifts and white noise; ``pose`` searches the images with the map as it is and
low-passed to 15 and 40 Å. The floor is ``pose --start given`` around the true poses. A viewing
direction is right in a class when it lies in the HEALPix pixel of the true one. What is done is not
done again.

    python experiments/poses/relion.py --data DATA --work WORK --results expected.json
"""

import argparse
import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from molecules import made_symmetric, read_entry, record, write_density

from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.geometry import nearest_equivalent, random_rotations
from cryojax_graph.io import new_particles, read_map, read_particles, write_map
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particles import write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.stacks import open_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose import PoseConfig, pose
from cryojax_graph.jobs.validate import ValidatePosesConfig, validate_poses

BOX, PIXEL = 64, 3.0
MOLECULES = {"1a9x": "C1", "1n7g": "D2"}
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


def blur(source: Path, resolution: float, path: Path) -> None:
    """The map without what is finer than a resolution."""
    density = read_map(source)
    box, voxel = len(density.values), float(density.voxel_size[0])
    # A radial filter of the volume from that of an image: the radius is all that counts.
    shells = np.asarray(low_pass(resolution, box=box, pixel_size=voxel))[0]
    k = np.fft.fftfreq(box) * box
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k[: box // 2 + 1] ** 2)
    factor = np.interp(radius, np.arange(len(shells)), shells)
    values = np.fft.irfftn(np.fft.rfftn(density.values) * factor, s=(box,) * 3, axes=(0, 1, 2))
    write_map(path, replace(density, values=values.astype(np.float32)))


def project(work: Path, images: int, snr: float, *, box: int = BOX, pixel: float = PIXEL) -> Path:
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


def searched(particles: Path, name: str, symmetry: str) -> dict[str, Any]:
    """Figures of one search."""
    folder, reference = particles.parent / name, particles.parents[1] / "map.mrc"
    resolution = BLURRED.get(name)
    if resolution is not None:
        blurred = particles.parents[1] / f"map_{name}.mrc"
        blur(reference, resolution, blurred)
        reference = blurred
    if not finished(folder / "pose"):
        config = PoseConfig(
            str(particles),
            str(reference),
            symmetry=symmetry,
            start="given" if name == "floor" else "search",
            within=5.0 if name == "floor" else None,
        )
        pose(config, options=JobOptions(output=str(folder / "pose")))
    found = folder / "pose/particles.star"
    if not finished(folder / "score"):
        config = ValidatePosesConfig(str(found), str(particles), symmetry=symmetry)
        validate_poses(config, options=JobOptions(output=str(folder / "score")))
    scores = json.loads((folder / "score/metrics.json").read_text())
    kept = {figure: round(scores[figure], 3) for figure in KEPT}
    rotation, truth = (
        rotation_from_euler(read_particles(p).euler_degrees) for p in (found, particles)
    )
    rotation = nearest_equivalent(rotation, truth, symmetry)
    views = rotation[:, 2], truth[:, 2]
    return kept | {f"view_class_order_{k}_percent": same_class(*views, k) for k in (0, 1, 2)}


def same_class(found: np.ndarray, truth: np.ndarray, order: int) -> float:
    """Share of images whose viewing direction lies in the true pixel of the sphere."""
    same = healpix_pixels(found, order) == healpix_pixels(truth, order)
    return round(100 * float(np.mean(same.all(axis=1))), 1)


def healpix_pixels(views: np.ndarray, order: int) -> np.ndarray:
    """Base pixel, and column and row in it, of directions (Górski et al. 2005, section 4)."""
    side, z = 2**order, views[:, 2]
    longitude = np.arctan2(views[:, 1], views[:, 0]) % (2 * np.pi) * (2 / np.pi)
    # Around the equator, pixels lie between two families of lines of slope ± 4 / 3.
    rising, falling = (np.floor(side * (0.5 + longitude + s * 0.75 * z)) for s in (-1, 1))
    up, down = rising // side, falling // side
    face = np.where(up == down, up % 4 + 4, np.where(up < down, up, down + 8))
    belt = face, falling % side, side - 1 - rising % side
    # In the caps, lines run along meridians of a quadrant, drawn together towards the pole.
    quadrant = np.minimum(np.floor(longitude), 3)
    width = side * np.sqrt(3 * np.maximum(1 - np.abs(z), 0))
    left, right = (
        np.minimum(np.floor(width * t), side - 1)
        for t in (longitude - quadrant, 1 - (longitude - quadrant))
    )
    north = z > 0
    cap = (
        np.where(north, quadrant, quadrant + 8),
        np.where(north, side - 1 - right, left),
        np.where(north, side - 1 - left, right),
    )
    inside = np.abs(z) <= 2 / 3
    pixel = [np.where(inside, b, c) for b, c in zip(belt, cap, strict=True)]
    return np.stack(pixel, axis=1).astype(int)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--molecules", nargs="*", default=list(MOLECULES))
    parser.add_argument("--snr", type=float, nargs="*", default=[0.1, 0.03])
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    rows = []
    for entry in arguments.molecules:
        work = arguments.work.resolve() / entry
        work.mkdir(parents=True, exist_ok=True)
        if not (work / "map.mrc").exists():
            atoms = read_entry(arguments.data, entry, work)
            atoms = made_symmetric(atoms) if MOLECULES[entry] == "D2" else atoms
            write_density(atoms, BOX, PIXEL, work / "map.mrc")
        for snr in arguments.snr:
            particles = project(work, arguments.images, snr)
            for name in (*BLURRED, "floor"):
                try:
                    figures = searched(particles, name, MOLECULES[entry])
                except InputError as error:
                    figures = {"refused": error.cause}
                about = {"molecule": entry, "symmetry": MOLECULES[entry], "snr": snr}
                rows.append({**about, "reference": name, "images": arguments.images, **figures})
                print(json.dumps(rows[-1]), flush=True)
    record(arguments.results, "relion", rows)


if __name__ == "__main__":
    main()
