"""A field as a file: its size beside that of the map, its error, and the time to ask it.

Sizes are of real maps, masked and not, and of simulated ones without noise and with it; each at the
accuracy that ``locate`` takes and without any error. Times are of one process; points are random in
the box, the field of a map of 128 voxels along each axis, with value and gradient.

    taskset -c 1 env JAX_NUM_CPU_DEVICES=1 python experiments/atom_graph/stored.py \
        --data ../shared/data --results experiments/atom_graph/expected_stored.json
"""

import argparse
import gzip
import json
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from cryojax_graph.fields import RECIPES, usual_constants
from cryojax_graph.io import Map, StoredVoxels, read_field, read_map, write_field, write_map
from cryojax_graph.io.voxel_codec import DIFFERENCES, pack_voxels
from cryojax_graph.jobs.map_noise import noise_of
from cryojax_graph.jobs.query.evaluate import at_points
from cryojax_graph.jobs.stored_field import accuracy_of, build_field

REAL = ("emd_6824", "emd_20026", "emd_44046", "emd_5778")
BOX, POINTS = 128, 1_000_000


def simulated(noise: float) -> Map:
    """Two thousand Gaussians at three voxels per resolution in a ball."""
    rng = np.random.default_rng(0)
    values = np.zeros((BOX,) * 3)
    direction = rng.normal(size=(2000, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    centres = BOX / 2 + 0.35 * BOX * direction * np.cbrt(rng.random((2000, 1)))
    near = np.stack(np.meshgrid(*[np.arange(-4, 5)] * 3, indexing="ij"), -1).reshape(-1, 3)
    for centre in centres:
        voxels = np.rint(centre).astype(int) + near
        square = ((voxels - centre) ** 2).sum(axis=1)
        values[tuple(voxels.T)] += np.exp(-square / (2 * 0.675**2))
    values += noise * rng.normal(size=values.shape)
    return Map(values.astype(np.float32), np.full(3, 1.0), np.zeros(3))


def real(data: Path, name: str) -> Map:
    """A map of the folder."""
    return read_map(next((data / "maps" / name).glob("map.*")))


def timed(work):
    """What it returns, and seconds."""
    began = time.monotonic()
    result = work()
    return result, round(time.monotonic() - began, 3)


def size_of(density: Map, folder: Path) -> dict:
    """Bytes and errors of one map."""
    path = folder / "map.mrc"
    write_map(path, density)
    content = path.read_bytes()
    noise = noise_of(density)
    row = {
        "voxels": int(density.values.size),
        "share_not_zero": round(float((density.values != 0).mean()), 4),
        "noise": noise,
        "mrc_bytes": len(content),
        "mrc_gz_bytes": len(gzip.compress(content, 6)),
    }
    for name, accuracy in (("stated", accuracy_of(density, noise)), ("exact", 0.0)):
        stored = StoredVoxels(density, "positive", usual_constants("positive"), accuracy)
        _, write = timed(lambda stored=stored: write_field(folder / "field.npz", stored))
        again, read = timed(lambda: read_field(folder / "field.npz"))
        error = np.abs(again.density.values.astype(float) - density.values).max()
        assert error <= accuracy
        row[name] = {
            "accuracy": accuracy,
            "largest_error": float(error),
            "bytes": (folder / "field.npz").stat().st_size,
            "write_seconds": write,
            "read_seconds": read,
            "bytes_by_axes_of_differences": [
                len(pack_voxels(density.values, accuracy, differences=axes).residuals)
                for axes in DIFFERENCES
            ],
        }
    return row


def time_of(recipe: str, density: Map) -> dict:
    """Seconds to fit a field and to ask it; the first time it is compiled."""
    stored = StoredVoxels(density, recipe, usual_constants(recipe))
    points = np.random.default_rng(0).uniform(0, BOX - 1, (POINTS, 3))
    row = {}
    for name in ("fit_seconds_first", "fit_seconds"):
        field, row[name] = timed(lambda: jax.block_until_ready(build_field(stored)))
    for name, hessian in (("gradient", False), ("hessian", True)):
        for when in ("seconds_first", "seconds"):
            parts = at_points(field, points, np.ones(POINTS, bool), hessian=hessian)
            _, row[f"{name}_{when}"] = timed(lambda parts=parts: list(parts))
    return row


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    results: dict = {"sizes": {}, "times": {}}
    maps = {name: real(arguments.data, name) for name in REAL}
    maps |= {"simulated": simulated(0.0), "simulated, noise": simulated(0.05)}
    with tempfile.TemporaryDirectory() as folder:
        for name, density in maps.items():
            row = results["sizes"][name] = size_of(density, Path(folder))
            print(
                f"{name:18} {row['mrc_bytes']:>12,} gz {row['mrc_gz_bytes']:>12,} "
                f"stated {row['stated']['bytes']:>11,} exact {row['exact']['bytes']:>11,}",
                flush=True,
            )
    for recipe in RECIPES:
        row = results["times"][recipe] = time_of(recipe, simulated(0.05))
        print(f"{recipe:18} {row}", flush=True)
    arguments.results.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
