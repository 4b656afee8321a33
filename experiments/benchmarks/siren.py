"""Seconds and memory of a step of the published network on one box, beside PyTorch, in turns.

    python siren.py --torch-python PATH --out expected.json

One box of 64 voxels a side, all of them in every step, one network of 264,449 weights, Adam. Both
programs stay alive, one computes at a time, each with as many threads as there are processors.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np
from record import record
from training import Worker

HERE = Path(__file__).parent


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch-python", required=True, help="interpreter that has PyTorch")
    parser.add_argument("--python", default=sys.executable, help="one that has cryojax_graph")
    parser.add_argument("--box", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    seconds: dict[str, list] = {"torch": [], "ours": []}
    with tempfile.TemporaryDirectory() as folder:
        volume = str(Path(folder) / "volume.npy")
        values = np.random.default_rng(0).uniform(-1, 1, [chosen.box] * 3)
        np.save(volume, values.astype(np.float32))
        threads = ["--threads", str(os.cpu_count())]
        torch = [chosen.torch_python, str(HERE / "worker_siren_torch.py"), volume, *threads]
        ours = [chosen.python, str(HERE / "worker_siren.py"), volume]
        workers = {"torch": Worker(torch), "ours": Worker(ours)}
        for worker in workers.values():
            worker.epoch("warm up")
        for _ in range(chosen.repeats):
            for name, worker in workers.items():
                seconds[name].append(worker.epoch("step"))
    for worker in workers.values():
        worker.close()
    figures = {
        name: {
            "wall_median": round(statistics.median(row[0] for row in rows), 3),
            "cpu_median": round(statistics.median(row[1] for row in rows), 3),
            "peak_memory_gib": round(rows[-1][2] / 2**30, 3),
        }
        for name, rows in seconds.items()
    }
    turns = zip(seconds["torch"], seconds["ours"], strict=True)
    figures["ratio"] = {
        "wall_median": round(statistics.median(a[0] / b[0] for a, b in turns), 2),
        "memory": round(seconds["torch"][-1][2] / seconds["ours"][-1][2], 2),
    }
    print(json.dumps(figures, indent=1))
    if chosen.out:
        record(chosen.out, "siren", {"box": chosen.box, "step": figures})


if __name__ == "__main__":
    main()
