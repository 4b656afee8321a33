"""``reconstruct`` beside other programs: the same particles, the same poses.

Particles by ``relion_project`` (Debian's RELION 3.1.3): CTF with astigmatism, shifts, white noise.
Programs run in turns as whole processes; times are medians. ``relion_reconstruct --ctf`` makes one
map. Ours, ``cryodrgn backproject_voxel`` and the mean of recovar's pipeline make two halves and
compare them; ours and recovar's filter the map of both by it, and ours is judged besides (mask,
corrected curve, B-factor, local resolution, views). ``relion_halves`` is RELION doing the same but
for local resolution and views: both halves, the map of all, a mask above a threshold that is given,
and ``relion_postprocess``. Poses and CTF in cryodrgn's own files are not timed. Compared with the
truth are the maps of all: filters that depend on the shell alone change no curve. cryodrgn leaves
in its map what the interpolation of slices makes of it, darker towards the faces, which acts as a
mask: ours is compared with it as it is, and as dark (``ours_tapered``). A peer runs where its
interpreter is given.

    python experiments/maps/reconstruct.py --data DATA --work WORK --results RESULTS
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record, write_density
from relion import project

from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.io import read_map, read_particles
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.metrics.fsc import fourier_shell_correlation

FIELD, ENTRY, SNR = 192.0, "1a9x", 0.1


class Program(NamedTuple):
    """Commands, and the map that they leave."""

    commands: list[list[str]]
    map: Path


def relion(particles: Path, work: Path, pixel: float, threshold: float) -> dict[str, Program]:
    """RELION's map of all images, and the same with both halves and what they tell."""
    size = ["--angpix", f"{pixel:g}"]
    command = ["relion_reconstruct", "--i", str(particles), "--ctf", *size]
    whole, mask = work / "relion.mrc", work / "relion_mask.mrc"
    halves = [work / f"relion_half{n}.mrc" for n in (1, 2)]
    of_all = [*command, "--o", str(whole)]
    of_halves = [[*command, "--subset", f"{n}", "--o", str(halves[n - 1])] for n in (1, 2)]
    judged = ["relion_postprocess", "--i", str(halves[0]), "--i2", str(halves[1]), *size]
    judged += ["--o", str(work / "relion_post"), "--mask", str(mask), "--auto_bfac"]
    masked = ["relion_mask_create", "--i", str(whole), "--o", str(mask), *size, "--lowpass", "15"]
    masked += ["--ini_threshold", f"{threshold:g}", "--width_soft_edge", "5", "--j", "2"]
    return {
        "relion": Program([of_all], whole),
        "relion_halves": Program([*of_halves, of_all, masked, judged], whole),
    }


def in_halves(particles: Path) -> Path:
    """The particles with a column that deals them out to two halves in turn."""
    path = particles.with_name("halves.star")
    table = read_particles(particles)
    write_particles(with_columns(table, {"half_set": 1 + np.arange(len(table)) % 2}), path)
    return path


def cryodrgn(python: Path, particles: Path, work: Path, pixel: float) -> Program:
    """Back-projection by cryodrgn, its files of poses and CTF made."""
    program, poses, ctf = str(python.parent / "cryodrgn"), work / "poses.pkl", work / "ctf.pkl"
    box = ["-D", str(round(FIELD / pixel)), "--Apix", f"{pixel:g}"]
    for verb, path in (("parse_pose_star", poses), ("parse_ctf_star", ctf)):
        command = [program, verb, str(particles), "-o", str(path), *box]
        subprocess.run(command, check=True, capture_output=True)
    command = [program, "backproject_voxel", str(particles), "--poses", str(poses)]
    command += ["--ctf", str(ctf), "--uninvert-data", "-o", str(work / "cryodrgn")]
    return Program([command], work / "cryodrgn/backproject.mrc")


def programs(
    particles: Path, work: Path, pixel: float, threshold: float, peers: dict[str, Path]
) -> dict[str, Program]:
    """Ours, RELION's, and those whose interpreters are given."""
    ours = work / "ours"
    us = [sys.executable, "-m", "cryojax_graph", "reconstruct", str(particles)]
    found = relion(particles, work, pixel, threshold)
    found["ours"] = Program([[*us, "-o", str(ours), "--overwrite"]], ours / "map.mrc")
    if "cryodrgn" in peers:
        found["cryodrgn"] = cryodrgn(peers["cryodrgn"], particles, work, pixel)
    if "recovar" in peers:
        worker = Path(__file__).resolve().parent / "worker_recovar.py"
        path = work / "recovar.mrc"
        command = [str(peers["recovar"]), str(worker), str(particles), str(path)]
        found["recovar"] = Program([command], path)
    return found


def taper(box: int) -> np.ndarray:
    """What linear interpolation between coefficients of an unpadded spectrum makes of a map."""
    along = np.sinc((np.arange(box) - box // 2) / box) ** 2
    return along[:, None, None] * along[:, None] * along


def timed(programs: dict[str, Program], turns: int, folder: Path) -> dict[str, list[float]]:
    """Seconds of every turn of every program."""
    times: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(turns):
        for name, program in programs.items():
            # Paths of the table are relative to where it lies.
            began = time.monotonic()
            for command in program.commands:
                subprocess.run(command, check=True, capture_output=True, cwd=folder)
            times[name].append(time.monotonic() - began)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["64:2000", "128:10000"], help="box:images")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--cryodrgn-python", type=Path)
    parser.add_argument("--recovar-python", type=Path)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    given = {"cryodrgn": arguments.cryodrgn_python, "recovar": arguments.recovar_python}
    peers = {name: path.absolute() for name, path in given.items() if path}
    rows = []
    for box, images in (tuple(map(int, s.split(":"))) for s in arguments.sets):
        work, pixel = arguments.work.resolve() / f"{ENTRY}_{box}_{images}", FIELD / box
        work.mkdir(parents=True, exist_ok=True)
        truth = work / "map.mrc"
        if not truth.exists():
            write_density(read_entry(arguments.data, ENTRY, work), box, pixel, truth)
        particles = in_halves(project(work, images, SNR, box=box, pixel=pixel))
        true = jnp.asarray(read_map(truth).values)
        running = programs(particles, work, pixel, float(true.std()), peers)
        times = timed(running, arguments.turns, particles.parent)
        ball = np.asarray(soft_sphere(box, radius=box / 2 - 3, edge=3.0))
        maps = {
            name: ball * read_map(program.map).values
            for name, program in running.items()
            if name != "relion_halves"
        }
        curves = {
            name: np.asarray(fourier_shell_correlation(jnp.asarray(density), true))
            for name, density in (maps | {"ours_tapered": maps["ours"] * taper(box)}).items()
        }
        between = np.asarray(
            fourier_shell_correlation(*(jnp.asarray(maps[name]) for name in ("ours", "relion")))
        )
        weight = np.clip(curves["relion"], 0, 1) * np.arange(box // 2 + 1) ** 2
        difference = curves["ours"] - curves["relion"]
        ratios = {
            name: statistics.median(a / b for a, b in zip(times["ours"], times[name], strict=True))
            for name in ("relion", "relion_halves")
        }
        seconds = {name: round(statistics.median(row), 2) for name, row in times.items()}
        rows.append(
            {
                "box": box,
                "images": images,
                "seconds": seconds,
                "time_ratio": {name: round(ratio, 3) for name, ratio in ratios.items()},
                "correlation_weighted": round(float((weight * between).sum() / weight.sum()), 4),
                "fsc_truth_least_difference": round(float(difference.min()), 4),
                "fsc_truth_mean_difference": round(float(difference.mean()), 4),
                "fsc_truth": {k: v.astype(float).round(3).tolist() for k, v in curves.items()},
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    record(arguments.results, "reconstruct", rows)


if __name__ == "__main__":
    main()
