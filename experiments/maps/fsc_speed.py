"""Seconds for the FSC of two 256³ maps in memory, beside ``relion_image_handler --fsc``.

Ours are timed by their parts and in whole: on the host, which jobs use, and compiled by JAX, which
gradients need. RELION is a whole process that reads both maps from disk. Turns alternate, so that
a busy machine is equally busy for all.

    python experiments/maps/fsc_speed.py --work WORK --results FILE
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from cryojax_graph.io import Map, write_map
from cryojax_graph.metrics import fourier_shell_correlation, half_spectrum, shell_sums


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    jax.block_until_ready(work())
    return time.perf_counter() - start


def tasks(box: int, work: Path) -> dict[str, Callable[[], object]]:
    """What is timed, ready to run, compiled and agreeing with each other."""
    noise = np.random.default_rng(0).standard_normal((3, box, box, box), np.float32)
    first, second = noise[0] + noise[1], noise[0] + noise[2]
    for name, values in (("first", first), ("second", second)):
        write_map(work / f"{name}.mrc", Map(values, np.ones(3), np.zeros(3)))
    spectra = half_spectrum(first), half_spectrum(second)
    compiled = jax.jit(fourier_shell_correlation)
    on_device = jnp.asarray(first), jnp.asarray(second)
    by_host = shell_sums(*spectra).correlation()
    np.testing.assert_allclose(by_host, compiled(*on_device), atol=1e-4)
    command = ["relion_image_handler", "--i", "first.mrc", "--fsc", "second.mrc", "--angpix", "1"]
    return {
        "host": lambda: shell_sums(half_spectrum(first), half_spectrum(second)).correlation(),
        "host_transforms": lambda: (half_spectrum(first), half_spectrum(second)),
        "host_shells": lambda: shell_sums(*spectra),
        "jax": lambda: compiled(*on_device),
        "relion_process": lambda: (
            subprocess.run(command, cwd=work, capture_output=True, check=True).returncode
        ),
    }


def main() -> None:
    """Time all in turns and write medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--results", type=Path)
    parser.add_argument("--box", type=int, default=256)
    parser.add_argument("--turns", type=int, default=9)
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    timed = tasks(arguments.box, arguments.work)
    turns = [{name: seconds(work) for name, work in timed.items()} for _ in range(arguments.turns)]
    found = {
        "box": arguments.box,
        "turns": arguments.turns,
        "cores": len(os.sched_getaffinity(0)),
        "load_average": round(os.getloadavg()[0], 1),
        "median_seconds": {n: round(float(np.median([t[n] for t in turns])), 4) for n in timed},
        "best_seconds": {n: round(min(t[n] for t in turns), 4) for n in timed},
        "relion_over_host_median": round(
            float(np.median([t["relion_process"] / t["host"] for t in turns])), 1
        ),
    }
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.results:
        arguments.results.write_text(text + "\n")


if __name__ == "__main__":
    main()
