"""``refine`` beside RELION's auto-refine, on the same particles, from the same 40 Å reference.

Maps of a heterodimer and of a tetramer made exactly D2 are projected by ``relion_project``
(Debian's RELION 3.1.3) with CTF, astigmatism, shifts and white noise. Both programs get the
particles without poses, the true map low-passed to 40 Å and a sphere of the same diameter. Errors
are those after one global alignment; maps are compared with the truth as they are. Wall times are
those of whole processes. What is done is not done again, and rows of the results that
were not asked for stay. ``--null`` refines images of white noise
from the same reference instead, by ours alone: halves that agree beyond 40 Å would be a fault
(``halves_agree_angstrom``; the curve of the maps within their mask has a share of what they share).

    python experiments/maps/refine.py --data DATA --work WORK --results expected_refine.json
"""

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import made_symmetric, read_entry, record, write_density
from relion import MOLECULES, project

from cryojax_graph.io import read_map, read_particles
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.validate import ValidatePosesConfig, validate_poses
from cryojax_graph.metrics.fsc import fourier_shell_correlation, resolution_angstrom

FIELD = 192.0
# Å; the box holds no larger sphere.
DIAMETER = 180
ORDER = "molecule", "box", "snr", "seed", "program"
POSES = (
    "rotation_error_median_degrees",
    "rotation_error_mean_degrees",
    "rotation_below_5_percent",
    "rotation_below_10_percent",
    "shift_error_median_angstrom",
)


def timed(command: list[str], done: Path, log: Path, **more: Any) -> float:
    """Seconds that a program took, now or when it was run before."""
    kept = log.with_suffix(".seconds")
    if not (done.exists() and kept.exists()):
        with log.open("w") as file:
            began = time.monotonic()
            subprocess.run(command, check=True, stdout=file, stderr=file, **more)
            kept.write_text(f"{time.monotonic() - began:.1f}")
    return float(kept.read_text())


def without_poses(particles: Path) -> Path:
    """The particles as they come from picking."""
    path = particles.with_name("unaligned.star")
    table = read_particles(particles)
    nothing = {
        "euler_degrees": np.zeros((len(table), 3)),
        "shift_angstrom": np.zeros((len(table), 2)),
    }
    write_particles(with_columns(table, nothing), path)
    return path


def null(particles: Path, truth: Path, symmetry: str) -> dict[str, Any]:
    """How far the halves of noise agree."""
    folder = particles.parent / "null"
    folder.mkdir(exist_ok=True)
    table = read_particles(particles)
    shape = open_stack(particles.with_name("particles.mrcs")).read(np.arange(1)).shape[1:]
    noise = np.random.default_rng(0).standard_normal((len(table), *shape), np.float32)
    write_stack(folder / "particles.mrcs", noise, pixel_size=float(table.pixel_size[0]))
    copied = folder / particles.name
    write_particles(table, copied)
    found, _ = by_us(copied, truth, symmetry, 0)
    figures = json.loads((found / "metrics.json").read_text())
    names = ("halves_agree_angstrom", "resolution_angstrom", "rounds")
    names += ("rotation_deviation_median_degrees", "poses_within_10_degrees_percent")
    manifest = read_manifest(found)
    assert manifest is not None
    kept = {name: round(figures[name], 2) for name in names if name in figures}
    return {**kept, "warnings": manifest["warnings"]}


def by_us(particles: Path, reference: Path, symmetry: str, seed: int) -> tuple[Path, float]:
    folder = particles.parent / f"ours_{seed}"
    command = [sys.executable, "-m", "cryojax_graph", "refine", str(particles)]
    command += ["--reference", str(reference), "--low-pass", "40", "--symmetry", symmetry]
    command += ["--diameter", str(DIAMETER), "--seed", str(seed), "-o", str(folder)]
    done = folder / "metrics.json"
    return folder, timed(command, done, particles.parent / f"ours_{seed}.log")


def by_relion(
    particles: Path, reference: Path, symmetry: str, seed: int, pixel: float
) -> tuple[Path, float]:
    folder = particles.parent / f"relion_{seed}"
    folder.mkdir(exist_ok=True)
    command = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3", "relion_refine_mpi"]
    command += ["--o", f"{folder.name}/run", "--auto_refine", "--split_random_halves"]
    command += ["--i", particles.name, "--ref", str(reference), "--firstiter_cc", "--ini_high"]
    command += ["40", "--dont_combine_weights_via_disc", "--preread_images", "--pool", "30"]
    command += ["--pad", "1", "--ctf", "--ctf_corrected_ref", "--particle_diameter", str(DIAMETER)]
    command += ["--flatten_solvent", "--zero_mask", "--oversampling", "1", "--healpix_order", "2"]
    command += ["--auto_local_healpix_order", "3", "--offset_range", "3", "--offset_step", "2"]
    command += ["--sym", symmetry, "--low_resol_join_halves", "40", "--norm", "--scale", "--j"]
    command += ["1", "--random_seed", str(seed + 1), "--angpix", f"{pixel:g}"]
    log = particles.parent / f"relion_{seed}.log"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    seconds = timed(
        command, folder / "run_class001.mrc", log, cwd=particles.parent, env=environment
    )
    return folder, seconds


def figures(
    table: Path, halves: list[Path], whole: Path, truth: Path, particles: Path, symmetry: str
) -> dict[str, Any]:
    """Errors of poses and maps."""
    score = table.parent / f"score_{symmetry}"
    if not (score / "metrics.json").exists():
        config = ValidatePosesConfig(str(table), str(particles), symmetry=symmetry)
        validate_poses(config, options=JobOptions(output=str(score)))
    poses = json.loads((score / "metrics.json").read_text())
    first, second = (read_map(path).values for path in halves)
    true, density = read_map(truth).values, read_map(whole).values
    curves = {
        "halves_fsc0143_angstrom": (first, second, 0.143),
        "truth_fsc05_angstrom": (density, true, 0.5),
        "halves_truth_fsc05_angstrom": (first + second, true, 0.5),
    }
    found = {
        name: round(
            float(
                resolution_angstrom(
                    fourier_shell_correlation(jnp.asarray(a), jnp.asarray(b)),
                    threshold=threshold,
                    box_angstrom=FIELD,
                )
            ),
            2,
        )
        for name, (a, b, threshold) in curves.items()
    }
    return {name: round(poses[name], 3) for name in POSES} | found


def keep(path: Path | None, about: dict[str, Any], seconds: float, score: dict[str, Any]) -> None:
    """Put a row into the file, in place of one of the same run."""
    row = {**about, "wall_seconds": seconds, **score}
    print(json.dumps(row), flush=True)
    if path is not None:
        known = json.loads(path.read_text()) if path.exists() else {}
        others = [r for r in known.get("refine", []) if not about.items() <= r.items()]
        rows = sorted([*others, row], key=lambda r: [r[k] for k in ORDER])
        path.write_text(json.dumps(known | {"refine": rows}, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--molecules", nargs="*", default=list(MOLECULES))
    parser.add_argument("--snr", type=float, nargs="*", default=[0.1, 0.03])
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--programs", nargs="*", default=["ours", "relion"])
    parser.add_argument("--null", action="store_true")
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    nulls, pixel = [], FIELD / arguments.box
    for entry in arguments.molecules:
        symmetry = MOLECULES[entry]
        work = arguments.work.resolve() / f"{entry}_{arguments.box}"
        work.mkdir(parents=True, exist_ok=True)
        truth = work / "map.mrc"
        if not truth.exists():
            atoms = read_entry(arguments.data, entry, work)
            atoms = made_symmetric(atoms) if symmetry == "D2" else atoms
            write_density(atoms, arguments.box, pixel, truth)
        for snr in arguments.snr:
            particles = project(work, arguments.images, snr, box=arguments.box, pixel=pixel)
            start = without_poses(particles)
            if arguments.null:
                about = {"reference": entry, "images": arguments.images}
                nulls.append(about | null(start, truth, symmetry))
                continue
            for seed in arguments.seeds:
                for program in arguments.programs:
                    if program == "ours":
                        folder, seconds = by_us(start, truth, symmetry, seed)
                        table = folder / "particles.star"
                        halves = [folder / f"half{n}.mrc" for n in (1, 2)]
                        whole = folder / "map.mrc"
                    else:
                        folder, seconds = by_relion(start, truth, symmetry, seed, pixel)
                        table = folder / "run_data.star"
                        halves = [folder / f"run_half{n}_class001_unfil.mrc" for n in (1, 2)]
                        whole = folder / "run_class001.mrc"
                    about = {"molecule": entry, "symmetry": symmetry, "box": arguments.box}
                    about |= {"snr": snr, "images": arguments.images, "seed": seed}
                    score = figures(table, halves, whole, truth, particles, symmetry)
                    keep(arguments.results, {**about, "program": program}, seconds, score)
    if nulls:
        record(arguments.results, "null", nulls)


if __name__ == "__main__":
    main()
