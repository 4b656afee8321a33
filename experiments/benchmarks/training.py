"""Seconds per epoch of fitting motion, beside the published autodecoder in PyTorch, in turns.

    python training.py --particles images/particles.star --template images/reference.cif \\
        --torch-python PATH --out expected.json

Images: 5,100 of 64 px. Both programs stay alive, one computes at a
time. PyTorch is timed with one thread, as its authors' code was, and with two.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import mrcfile
import numpy as np
from record import record

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.jobs.flex.inputs import read_template, read_views

HERE = Path(__file__).parent


class Worker:
    """A process that does one epoch for each name it is sent."""

    def __init__(self, command: list[str]) -> None:
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def epoch(self, model: str) -> tuple[float, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(model, file=self._process.stdin, flush=True)
        return tuple(json.loads(self._process.stdout.readline()))


def write_inputs(path: Path, particles: Path, template: Path) -> None:
    """What PyTorch needs: standardised images, rotations, one CTF, the template and its graph."""
    views = read_views(particles, image_root=None)
    model = read_template(template)
    stack = mrcfile.read(particles.with_suffix(".mrcs")).astype(np.float32)
    stack = (stack - stack.mean((1, 2), keepdims=True)) / stack.std((1, 2), keepdims=True)
    ctf = CTF(*(float(np.ravel(field)[0]) for field in views.views.ctf))
    graph = model.arrays.graph
    count = len(model.arrays.c_alpha)
    adjacency = 2.0 * np.eye(count, dtype=np.float32)
    adjacency[graph.senders, graph.receivers] = 1.0
    scale = 1.0 / np.sqrt(adjacency.sum(1))
    np.savez(
        path,
        images=stack,
        rotations=views.views.rotation.astype(np.float32),
        ctf=np.asarray(contrast_transfer(ctf, box=views.box, pixel_size=views.pixel_size)),
        template=model.arrays.c_alpha.astype(np.float32),
        adjacency=(scale[:, None] * adjacency * scale).astype(np.float32),
        mass=model.arrays.electrons.astype(np.float32),
        width=model.arrays.width.astype(np.float32),
        pixel_size=np.float32(views.pixel_size),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=Path, required=True)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--torch-python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        write_inputs(inputs, chosen.particles, chosen.template)
        torch = [chosen.torch_python, str(HERE / "worker_torch.py"), str(inputs)]
        ours = [sys.executable, str(HERE / "worker_training.py")]
        ours += [str(chosen.particles), str(chosen.template)]
        workers = {
            "torch_1_thread": Worker([*torch, "--threads", "1"]),
            "torch_2_threads": Worker([*torch, "--threads", "2"]),
            "ours_1_device": Worker([*ours, "--devices", "1"]),
            "ours_2_devices": Worker([*ours, "--devices", "2"]),
        }
        cases = [(name, model) for model in ("paper", "mlp") for name in workers]
        cases += [("ours_1_device", "default"), ("ours_2_devices", "default")]
        for name, model in cases:
            workers[name].epoch(model)
        seconds: dict[str, list[tuple[float, float]]] = {}
        for _ in range(chosen.repeats):
            for name, model in cases:
                seconds.setdefault(f"{model}_{name}", []).append(workers[name].epoch(model))
    for worker in workers.values():
        worker.close()
    figures = {
        case: {
            "wall_median": round(statistics.median(wall for wall, _ in values), 3),
            "wall_least": round(min(wall for wall, _ in values), 3),
            "cpu_median": round(statistics.median(cpu for _, cpu in values), 3),
        }
        for case, values in seconds.items()
    }
    for model in ("paper", "mlp"):
        for peer in ("torch_1_thread", "torch_2_threads"):
            turns = zip(seconds[f"{model}_{peer}"], seconds[f"{model}_ours_2_devices"], strict=True)
            ratio = statistics.median(theirs / mine for (theirs, _), (mine, _) in turns)
            figures[f"{model}_ratio_to_{peer}"] = {"wall_median": round(ratio, 2)}
    print(json.dumps(figures, indent=1))
    if chosen.out:
        record(chosen.out, "training", {"repeats": chosen.repeats, "epoch_seconds": figures})


if __name__ == "__main__":
    main()
