"""Images per second of the forward model, beside cryojax and recovar, alternating.

    python renderer.py --model TEMPLATE.pdb --cryojax-python PATH --recovar-python PATH

Each program runs in its own process and environment; only one computes at a time, in turns, so that
a busy machine is busy for all. Peers are first timed in every mode, and their fastest one counts.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gemmi
import numpy as np
from record import record
from scipy.spatial.transform import Rotation

HERE = Path(__file__).parent
TASKS = {
    "forward_ca_128": (128, 1.0),
    "forward_atoms_128": (128, 1.0),
    "gradient_ca_128": (128, 1.0),
    "gradient_atoms_128": (128, 1.0),
    "forward_ca_64": (64, 1.5),
    "gradient_ca_64": (64, 1.5),
    "slice_128": (128, 1.0),
}
OUR_MODE = {"forward": "windows", "gradient": "windows", "slice": "padding_1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", type=Path, required=True, help="PDB or mmCIF file of a protein")
    parser.add_argument("--cryojax-python", type=Path, help="interpreter that has cryojax 0.6")
    parser.add_argument("--recovar-python", type=Path, help="interpreter that has recovar 1.0")
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--devices", type=int, nargs="*", default=[1, 2])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--out", type=Path, help="write the figures as JSON")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for task in chosen.tasks:
            write_inputs(Path(folder) / f"{task}.npz", task, chosen.model, chosen.images)
        figures = {task: compare(task, Path(folder), chosen) for task in chosen.tasks}
    if chosen.out:
        report = {"images": chosen.images, "repeats": chosen.repeats, "tasks": figures}
        record(chosen.out, "renderer", report)


def write_inputs(path: Path, task: str, model: Path, images: int) -> None:
    """Structure, poses, defoci and images to compare with, the same for every program."""
    box, pixel_size = TASKS[task]
    rng = np.random.default_rng(0)
    only_ca = "_ca_" in task
    atoms = [
        (atom.pos.tolist(), atom.element.atomic_number)
        for chain in gemmi.read_structure(str(model))[0]
        for residue in chain
        for atom in residue
        if not atom.is_hydrogen() and (atom.name == "CA" or not only_ca)
    ]
    positions = np.array([position for position, _ in atoms])
    positions -= positions.mean(axis=0)
    quaternions = Rotation.random(images, random_state=1).as_quat(scalar_first=True)
    arrays: dict[str, Any] = {
        "box": box,
        "pixel_size": pixel_size,
        "positions": positions,
        "masses": np.array([55.0 if only_ca else number for _, number in atoms]),
        "widths": np.full(len(atoms), 1.9 if only_ca else 1.2),
        "quaternions": quaternions,
        "rotations": Rotation.from_quat(quaternions, scalar_first=True).as_matrix(),
        "defoci": rng.uniform(8000, 25000, images),
    }
    if task.startswith("slice"):
        arrays["volume"] = rng.normal(size=(box, box, box))
    else:
        arrays["moved"] = positions + rng.normal(size=(images, len(atoms), 3)) * 0.3
        arrays["observed"] = rng.normal(size=(images, box, box))
    single = {name: np.asarray(value) for name, value in arrays.items()}
    np.savez(
        path, **{n: a.astype(np.float32) if a.dtype == float else a for n, a in single.items()}
    )


class Worker:
    """One program with its devices, in a process of its own."""

    def __init__(self, name: str, python: Path, folder: Path, devices: int) -> None:
        self.name, self.devices = name, devices
        script = HERE / f"worker_{name}.py"
        command = [str(python), str(script), str(folder), "--devices", str(devices)]
        settings = {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": str(devices)}
        environment = {**os.environ, **settings}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def ask(self, *words: str) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(*words, file=self.process.stdin, flush=True)
        for line in self.process.stdout:
            if line.startswith(("[", '"')):
                return json.loads(line)
        raise RuntimeError(f"the worker for {self.name} stopped")

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(task: str, folder: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Medians of every program on one task, after choosing each one's fastest mode."""
    pythons = {"ours": Path(sys.executable)}
    peer = "recovar" if task.startswith("slice") else "cryojax"
    for name in {peer, "cryojax"}:
        python = getattr(chosen, f"{name}_python")
        if python:
            pythons[name] = python
    workers = [
        Worker(name, python, folder, devices)
        for name, python in pythons.items()
        for devices in chosen.devices
    ]
    try:
        return race(task, workers, chosen)
    finally:
        for worker in workers:
            worker.close()


def race(task: str, workers: list[Worker], chosen: argparse.Namespace) -> dict[str, Any]:
    ways: dict[str, list[tuple[Worker, str]]] = {}
    for worker in workers:
        ways.setdefault(worker.name, []).extend(
            (worker, mode) for mode in worker.ask("build", task)
        )
    kind = task.split("_")[0]
    ways["ours"] = [way for way in ways["ours"] if way[1] == OUR_MODE[kind]]
    best = {name: fastest(task, options) for name, options in ways.items()}
    agree(task, best)
    times: dict[str, list[list[float]]] = {name: [] for name in best}
    for _ in range(chosen.repeats):
        for name, (worker, mode) in best.items():
            times[name].append(worker.ask("run", task, mode))
    figures: dict[str, Any] = {}
    for name, seconds in times.items():
        wall, cpu = (statistics.median(column) for column in zip(*seconds, strict=True))
        worker, mode = best[name]
        figures[name] = {
            "mode": mode,
            "devices": worker.devices,
            "images_per_second": round(chosen.images / wall),
            "best_images_per_second": round(chosen.images / min(run[0] for run in seconds)),
            "cpu_microseconds_per_image": round(1e6 * cpu / chosen.images, 1),
        }
        if name != "ours":
            ratios = [
                theirs[0] / ours[0] for theirs, ours in zip(seconds, times["ours"], strict=True)
            ]
            figures[f"ratio_to_{name}"] = round(statistics.median(ratios), 2)
    print(task, json.dumps(figures, indent=1), flush=True)
    return figures


def fastest(task: str, ways: list[tuple[Worker, str]]) -> tuple[Worker, str]:
    """The way with the shortest of three runs, taken in turns."""
    seconds = [[worker.ask("run", task, mode)[0] for worker, mode in ways] for _ in range(3)]
    return ways[int(np.argmin(np.min(seconds, axis=0)))]


def agree(task: str, best: dict[str, tuple[Worker, str]]) -> None:
    """The programs compute the same thing: correlation of their results for the first images.

    The sign does not count, because cryojax draws protein black.

    Slices are left out: on random numbers, frames and borders that differ by half a voxel show.
    """
    if task.startswith("slice") or len(best) == 1:
        return
    with tempfile.TemporaryDirectory() as folder:
        results = {}
        for name, (worker, mode) in best.items():
            path = worker.ask("save", task, mode, f"{folder}/{name}.npy")
            results[name] = np.load(path).ravel()
    for name in set(results) - {"ours"}:
        result = results[name]
        correlation = abs(np.corrcoef(results["ours"], result)[0, 1])
        print(f"{task}: correlation of ours and {name} {correlation:.5f}", flush=True)
        if correlation < 0.999:
            raise RuntimeError(f"{task}: {name} computes something else")


if __name__ == "__main__":
    main()
