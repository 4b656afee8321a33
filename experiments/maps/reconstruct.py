"""``reconstruct`` beside ``relion_reconstruct``: the same particles, the same poses.

Particles by ``relion_project`` (Debian's RELION 3.1.3): CTF with astigmatism, shifts, white noise.
Programs run in turns as whole processes; times are medians. ``relion_reconstruct --ctf`` makes one
map; ours makes two halves, compares them and filters the map of both, which is done inside the time
given. Compared are RELION's map and our ``map.mrc``: filters that depend on the shell alone change
no curve.

    python experiments/maps/reconstruct.py --data DATA --work WORK --results RESULTS
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "poses"))

from molecules import read_entry, record, write_density
from relion import project

from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.io import read_map
from cryojax_graph.metrics.fsc import fourier_shell_correlation

FIELD, ENTRY, SNR = 192.0, "1a9x", 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--sets", nargs="*", default=["64:2000", "128:10000"], help="box:images")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    rows = []
    for box, images in (tuple(map(int, s.split(":"))) for s in arguments.sets):
        work, pixel = arguments.work.resolve() / f"{ENTRY}_{box}_{images}", FIELD / box
        work.mkdir(parents=True, exist_ok=True)
        truth = work / "map.mrc"
        if not truth.exists():
            write_density(read_entry(arguments.data, ENTRY, work), box, pixel, truth)
        particles = project(work, images, SNR, box=box, pixel=pixel)
        theirs, folder = work / "relion.mrc", work / "ours"
        commands = {
            "relion": ["relion_reconstruct", "--i", str(particles), "--o", str(theirs), "--ctf"],
            "ours": [sys.executable, "-m", "cryojax_graph", "reconstruct", str(particles)],
        }
        commands["relion"] += ["--angpix", f"{pixel:g}"]
        commands["ours"] += ["-o", str(folder), "--overwrite"]
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(arguments.turns):
            for name, command in commands.items():
                # Paths of the table are relative to where it lies.
                began = time.monotonic()
                subprocess.run(command, check=True, capture_output=True, cwd=particles.parent)
                times[name].append(time.monotonic() - began)
        true, relion = jnp.asarray(read_map(truth).values), read_map(theirs).values
        ball = np.asarray(soft_sphere(box, radius=box / 2 - 3, edge=3.0))
        ours = read_map(folder / "map.mrc").values
        curves = {
            name: np.asarray(fourier_shell_correlation(jnp.asarray(density * ball), true))
            for name, density in (("ours", ours), ("relion", relion))
        }
        between = np.asarray(
            fourier_shell_correlation(jnp.asarray(ours * ball), jnp.asarray(relion * ball))
        )
        weight = np.clip(curves["relion"], 0, 1) * np.arange(box // 2 + 1) ** 2
        difference = curves["ours"] - curves["relion"]
        ratios = [a / b for a, b in zip(times["ours"], times["relion"], strict=True)]
        rows.append(
            {
                "box": box,
                "images": images,
                "seconds_ours": round(statistics.median(times["ours"]), 2),
                "seconds_relion": round(statistics.median(times["relion"]), 2),
                "time_ratio": round(statistics.median(ratios), 3),
                "correlation_weighted": round(float((weight * between).sum() / weight.sum()), 4),
                "fsc_truth_least_difference": round(float(difference.min()), 4),
                "fsc_truth_mean_difference": round(float(difference.mean()), 4),
                "fsc_truth_ours": curves["ours"].astype(float).round(3).tolist(),
                "fsc_truth_relion": curves["relion"].astype(float).round(3).tolist(),
            }
        )
        print(json.dumps(rows[-1]), flush=True)
    record(arguments.results, "reconstruct", rows)


if __name__ == "__main__":
    main()
