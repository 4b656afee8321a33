"""Memory and time of ``reconstruct`` as particles become many, in processes of their own.

The images of ``relion_project`` are 2,000 and stand in more tables under more names: 25,000, 50,000
and 100,000 rows show stacks that are links to one file, so that every row is an image of its own to
the program, and is read. The disk's cache holds the file; reading is not what is measured.

    python experiments/maps/streaming.py --data DATA --work WORK --results RESULTS
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record, write_density
from relion import project

from cryojax_graph.io import read_particles
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import with_columns, write_particles

ENTRY, BOX, PIXEL, SNR, IMAGES = "1a9x", 128, 1.5, 0.1, 2000


def repeated(particles: Path, count: int) -> Path:
    """A table of so many rows, every 2,000 of them in a stack with a name of its own."""
    path = particles.parent / f"rows_{count}.star"
    index = np.arange(count) % IMAGES
    names = [f"stack_{number:03d}.mrcs" for number in range(-(-count // IMAGES))]
    for name in names:
        link = particles.parent / name
        if not link.exists():
            os.link(particles.parent / "particles.mrcs", link)
    paths = np.repeat(np.array(names, np.dtypes.StringDType()), IMAGES)[:count]
    table = subset(read_particles(particles), index)
    write_particles(with_columns(table, {"image_path": paths, "image_index": index}), path)
    return path


def measured(table: Path, folder: Path) -> dict[str, float]:
    """Seconds and peak memory of one process."""
    command = [sys.executable, "-m", "cryojax_graph", "reconstruct", str(table), "-o", str(folder)]
    began = time.monotonic()
    process = subprocess.Popen([*command, "--overwrite"], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{table}: reconstruct failed")
    return {
        "seconds": round(time.monotonic() - began, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--rows", nargs="*", type=int, default=[2000, 25000, 50000, 100000])
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    work = arguments.work.resolve() / f"{ENTRY}_{BOX}_{IMAGES}"
    work.mkdir(parents=True, exist_ok=True)
    truth = work / "map.mrc"
    if not truth.exists():
        write_density(read_entry(arguments.data, ENTRY, work), BOX, PIXEL, truth)
    particles = project(work, IMAGES, SNR, box=BOX, pixel=PIXEL)
    rows = []
    for count in arguments.rows:
        row = {"box": BOX, "images": count}
        rows.append(row | measured(repeated(particles, count), work / "streamed"))
        print(rows[-1], flush=True)
    record(arguments.results, "streaming", rows)


if __name__ == "__main__":
    main()
