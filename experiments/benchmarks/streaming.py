"""Memory and seconds per epoch of ``flex`` for growing numbers of images that stay on disk.

    python streaming.py --particles images/particles.star --template images/reference.cif \\
        --work DIR --out expected.json

``images`` comes from ``cryojax-graph simulate … --images 50000 --box 128 --pixel-size 1``.
"""

import argparse
import itertools
import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import numpy as np
from record import record

from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import read_particles, write_particles

EPOCHS = 6


def epoch_seconds(log: Path) -> list[float]:
    """Time between the ends of epochs, after the first, which holds the compilation."""
    ends = [
        datetime.fromisoformat(line.split()[0])
        for line in log.read_text().splitlines()
        if " Fitting: epoch " in line
    ]
    return [(b - a).total_seconds() for a, b in itertools.pairwise(ends)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--particles", type=Path, required=True)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="*", default=[5000, 10000, 20000, 50000])
    parser.add_argument("--out", type=Path)
    chosen = parser.parse_args()
    table = read_particles(chosen.particles)
    assert table.box is not None
    box = int(table.box[0])
    chosen.work.mkdir(parents=True, exist_ok=True)
    figures = {}
    for count in chosen.counts:
        rows = np.linspace(0, len(table) - 1, count).astype(int)
        particles = chosen.work / f"{count}.star"
        write_particles(subset(table, rows), particles)
        job = chosen.work / f"{count}"
        command = [sys.executable, "-m", "cryojax_graph", "flex", str(particles)]
        command += [
            "--template",
            str(chosen.template),
            "--image-root",
            str(chosen.particles.parent),
        ]
        command += ["--epochs", str(EPOCHS), "--held-out", "0.005", "-o", str(job), "--overwrite"]
        subprocess.run(command, check=True)
        metrics = json.loads((job / "metrics.json").read_text())
        seconds = epoch_seconds(job / "run.log")
        figures[str(count)] = {
            "epoch_seconds_median": round(float(np.median(seconds)), 2),
            "milliseconds_per_image": round(1e3 * float(np.median(seconds)) / count, 3),
            "peak_memory_gib": round(metrics["peak_memory_bytes"] / 2**30, 2),
            "images_gib": round(count * box**2 * 4 / 2**30, 2),
        }
        print(count, figures[str(count)], flush=True)
    if chosen.out:
        record(chosen.out, "streaming", {"epochs": EPOCHS, "images": figures})


if __name__ == "__main__":
    main()
