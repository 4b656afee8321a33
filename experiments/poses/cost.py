"""Time and memory of ``pose``, each time a process of its own, beside what its plan says.

Images of a heterodimer (field 192 Å) and of the spike trimer (320 Å) by ``simulate``, in boxes of
64 to 256 px; both on views of HEALPix order 2, scored up to frequencies that follow their radius.
Seconds are of the whole process, from start to report; searches per second come from the difference
of a large and a small set, of which each image of the sample is searched some times more. How the
search grows with its grid is told in one process, once compiled: milliseconds per image of 64 px on
grids of HEALPix orders 1 to 3, all else equal. Done work is not done again: remove WORK/*.json to
measure anew.

    python experiments/poses/cost.py --data DATA --work WORK --results expected.json
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from molecules import SPIKE, read_entry, record

from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import read_particle_set
from cryojax_graph.jobs.pose import PoseConfig, plan_pose
from cryojax_graph.jobs.pose.reference import read_reference
from cryojax_graph.jobs.pose.searcher import Searcher
from cryojax_graph.jobs.pose.settings import settings_for
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.poses.search import plan_search

# Molecule, box, Å per pixel, small and large number of images.
CASES = (
    ("1a9x", 64, 3.0, 512, 1024),
    ("1a9x", 64, 3.0, 1024, 2048),
    ("1a9x", 128, 1.5, 256, 512),
    ("1a9x", 256, 0.75, 256, 512),
    ("spike", 64, 5.0, 8, 16),
)
ORDERS, TURNS = (1, 2, 3), 5


def searches(images: int) -> int:
    """How many single images a job searches: its sample some times, then all."""
    return images + 2 * min(256, images) + min(64, images)


def make_images(data: Path, molecule: str, box: int, pixel: float, count: int, work: Path) -> Path:
    """Particles of one molecule."""
    folder = work / f"{molecule}_{box}_{count}"
    if not (folder / "report.html").exists():
        model = data / SPIKE[0]
        if molecule != "spike":
            read_entry(data, molecule, work)
            model = work / f"{molecule}.pdb"
        config = SimulateConfig(str(model), images=count, box=box, pixel_size=pixel, snr=0.1)
        simulate(config, options=JobOptions(output=str(folder), overwrite=True))
    return folder


def measured(images: Path, config: PoseConfig, folder: Path) -> dict[str, Any]:
    """Seconds and peak memory of one process, and what its plan says."""
    done = folder.with_suffix(".json")
    if not done.exists():
        plan = plan_pose(config, options=JobOptions(output=str(folder)))
        command = [sys.executable, "-m", "cryojax_graph", "pose", config.particles]
        command += ["--reference", config.reference, "-o", str(folder), "--overwrite"]
        started, load = time.perf_counter(), os.getloadavg()[0]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        assert status == 0, images
        figures = {
            "seconds": round(time.perf_counter() - started, 1),
            "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
            "planned_seconds": round(plan.seconds, 1),
            "peak_mib": round(usage.ru_maxrss / 1024),
            "planned_mib": round(plan.memory_bytes / 2**20),
            "load_before": round(load, 2),
        }
        done.write_text(json.dumps(figures))
    return json.loads(done.read_text())


def of_orders(images: Path) -> list[dict[str, Any]]:
    """Milliseconds per image of a search on finer and finer grids, median of five."""
    particles = read_particle_set(str(images / "particles.star"), image_root=None)
    given = read_reference(str(images / "reference.cif"), particles, origin="auto")
    field = particles.box * particles.pixel_size
    plan = plan_search(field=field, radius=given.radius, finest=particles.box // 2)
    noise, every = np.ones(particles.box // 2 + 1), np.arange(64)
    rows = []
    for order in ORDERS:
        settings = settings_for(
            replace(plan, order=order),
            field=field,
            shift_range=field / 12,
            within_degrees=None,
            symmetry="C1",
        )
        searcher = Searcher(particles, settings)
        search = searcher.prepare(given.reference, noise)
        seconds = []
        for _ in range(TURNS + 1):
            began = time.perf_counter()
            searcher.find(search, every, 4.0)
            seconds.append(time.perf_counter() - began)
        row = {"order": order, "rotations": settings.cells, "shifts": len(settings.shifts)}
        row["milliseconds_per_image"] = round(1000 * float(np.median(seconds[1:])) / len(every), 2)
        rows.append(row)
        print(json.dumps(row), flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--cases", type=int, nargs="*", default=range(len(CASES)))
    parser.add_argument("--orders", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    rows = []
    for molecule, box, pixel, *counts in (CASES[number] for number in arguments.cases):
        pair = []
        for count in counts:
            images = make_images(arguments.data, molecule, box, pixel, count, work)
            config = PoseConfig(str(images / "particles.star"), str(images / "reference.cif"))
            name = f"pose_{molecule}_{box}_{count}"
            pair.append(measured(images, config, work / name))
        extra = [pair[1][kind] - pair[0][kind] for kind in ("seconds", "processor_seconds")]
        searched = searches(counts[1]) - searches(counts[0])
        row = {"molecule": molecule, "box": box, "images": counts[1], **pair[1]}
        row["seconds_of_fewer"] = {counts[0]: pair[0]["seconds"]}
        row["searches_per_second"] = round(searched / extra[0], 2)
        row["processor_milliseconds_per_search"] = round(1000 * extra[1] / searched, 1)
        rows.append(row)
        print(json.dumps(row), flush=True)
    if rows:
        record(arguments.results, "cost", rows)
    if arguments.orders:
        images = make_images(arguments.data, *CASES[0][:4], work)
        record(arguments.results, "cost_of_orders", of_orders(images))


if __name__ == "__main__":
    main()
