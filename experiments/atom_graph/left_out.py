"""Error of fields at voxels that they were not given: experimental maps, and simulated half-maps.

Of a map every second voxel along each axis is kept; fields are fitted to these and asked for the
others: those above the mean of the map plus three deviations (``dense``), and all inside its mask,
two voxels from its edge (``inside``). Mean absolute and rms errors are shares of the rms density
there. Below two kept voxels per resolution the kept grid is aliased and no field can be right.

Simulated: half-maps of structures (``graphs.py``: B-factors, noise of each half as strong as where
halves cross 0.143 at the resolution, sharpened, weighed and cut as maps are). Fields are fitted to
kept voxels of one half and held at left-out voxels within 3 Å of atoms against that half
(``itself``), the other (``half``) and the density without noise (``clean``); ``denoised`` takes the
noise and level from the kept voxels; with ``--networks`` these too, on their way.

    python experiments/atom_graph/left_out.py --data ../shared/data --structures 4 \
        --results experiments/atom_graph/left_out.json
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import NamedTuple

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
from graphs import SSNR_AT_LIMIT, density_of, near_atoms, with_noise
from interpolation import FIELDS, POINTS, Asked, ask, asked, structures
from scipy.ndimage import binary_erosion

from cryojax_graph.fields import VoxelGrid, fit_positive, voxel_grid
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.map_noise import constants_of
from cryojax_graph.models.atom_graph.config import NeuralMapConfig, default, paper
from cryojax_graph.training.loop import Progress, fit
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map

MAP_FILES = "map.mrc.gz", "map.ccp4.gz"
# Resolutions in Å.
MAPS = {
    "emd_1044": 4.0,
    "emd_5185": 3.3,
    "emd_5168": 6.6,
    "emd_5830": 3.8,
    "emd_4118": 4.5,
    "emd_3240": 4.3,
    "emd_6770": 4.0,
    "emd_44046": 2.99,
    "emd_20026": 1.75,
    "emd_6374": 2.9,
    "emd_0093": 3.4,
    "emd_4413": 2.3,
}
# Resolution and voxel that is kept, Å.
HALVES = ((1.5, 0.5), (2.2, 0.8), (3.0, 1.0), (3.0, 1.4))
# The noise of a half has twice the power of the noise of the whole.
SSNR_OF_HALF = SSNR_AT_LIMIT / 2

# Networks that are watched on their way, on half-maps of the first structure.
NETWORKS = {"siren": default(), "paper": replace(paper(), steps=500)}
LOOK = 25

Errors = dict[str, dict[str, list[float]]]


def left_out(wanted: np.ndarray) -> np.ndarray:
    """Some of the wanted voxels that are not kept, indices (z, y, x) between kept ones."""
    wanted = wanted.copy()
    wanted[::2, ::2, ::2] = False
    last = [(n - 1) // 2 * 2 + 1 for n in wanted.shape]
    index = np.argwhere(wanted[: last[0], : last[1], : last[2]])
    return np.random.default_rng(0).permutation(index)[:POINTS]


def asked_for(density: Map, index: np.ndarray) -> tuple[np.ndarray, VoxelGrid, np.ndarray]:
    """Kept voxels of a map, their grid, and the points (x, y, z) of voxels, Å."""
    grid = voxel_grid(density.origin, 2 * density.voxel_size)
    points = density.origin + index[:, ::-1] * density.voxel_size
    return density.values[::2, ::2, ::2], grid, points


def said_of(field: Asked, density: Map, index: np.ndarray) -> np.ndarray:
    """Density at voxels by a field of every second one."""
    return field(*asked_for(density, index))


def error(said: np.ndarray, truth: np.ndarray) -> list[float]:
    """Mean absolute and rms error, as shares of the rms density."""
    wrong = said - truth
    scale = np.sqrt(np.mean(truth**2))
    return [float(np.abs(wrong).mean() / scale), float(np.sqrt(np.mean(wrong**2)) / scale)]


def of_map(density: Map) -> Errors:
    """Errors of every field on an experimental map."""
    values = density.values.astype(float)
    inside = binary_erosion(values != 0, np.ones((5, 5, 5)))
    wanted = {"dense": values > values.mean() + 3 * values.std(), "inside": inside}
    found: Errors = {name: {} for name in FIELDS}
    for which, voxels in wanted.items():
        index = left_out(voxels)
        if not len(index):
            # A mask of thin pieces has no inside.
            continue
        for name, field in FIELDS.items():
            said = said_of(field, density, index)
            found[name][which] = error(said, values[tuple(index.T)])
    return found


class Halves(NamedTuple):
    """A half-map, left-out voxels of it, and what density there is held against."""

    first: Map
    index: np.ndarray
    truths: dict[str, np.ndarray]


def halves(structure: gemmi.Structure, resolution: float, voxel: float) -> Halves:
    """Simulated half-maps, of which voxels of some size are kept."""
    model = density_of(structure, voxel / 2)
    first, second = (
        with_noise(model.volume, resolution, voxel / 2, at_limit=SSNR_OF_HALF, seed=seed)
        for seed in (1, 2)
    )
    index = left_out(near_atoms(model, voxel / 2))
    wanted = {"itself": first.noisy, "half": second.noisy, "clean": first.clean}
    truths = {name: values[tuple(index.T)] for name, values in wanted.items()}
    density = Map(first.noisy.astype(np.float32), np.full(3, voxel / 2), model.origin)
    return Halves(density, index, truths)


def errors(said: np.ndarray, truths: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """Errors against every truth."""
    return {name: error(said, truth) for name, truth in truths.items()}


def denoised(volume: np.ndarray, grid: VoxelGrid, points: np.ndarray) -> np.ndarray:
    """Density by the Gaussians that follow the kept voxels no closer than their own noise."""
    kept = Map(volume, np.ones(3), np.zeros(3))
    constants = constants_of(kept, "denoised", file="the kept voxels")
    return asked(partial(fit_positive, **constants))(volume, grid, points)


def of_halves(structure: gemmi.Structure, resolution: float, voxel: float) -> Errors:
    """Errors of every field on simulated half-maps."""
    pair = halves(structure, resolution, voxel)
    return {
        name: errors(said_of(field, pair.first, pair.index), pair.truths)
        for name, field in (FIELDS | {"denoised": denoised}).items()
    }


def in_training(
    structure: gemmi.Structure, resolution: float, voxel: float, *, config: NeuralMapConfig
) -> Errors:
    """Errors of networks on their way, by step."""
    pair = halves(structure, resolution, voxel)
    volume, grid, points = asked_for(pair.first, pair.index)
    run = prepare_neural_map(volume, grid, config, key=jax.random.key(0), steps_per_call=LOOK)
    found: Errors = {}

    def look(progress: Progress) -> None:
        field = run.field(layers=progress.state.params["networks"].layers)
        said = np.asarray(ask(field, jnp.asarray(points, jnp.float32)))
        found[f"step {progress.step}"] = errors(said, pair.truths)

    fit(run.state, run.step, run.batches, steps=config.steps, callbacks=[look])
    return found


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=4)
    parser.add_argument("--networks", action="store_true", help="watch them in training")
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}

    def record(name: str, sampling: float, measure: Callable[[], Errors]) -> None:
        if name in rows:
            return
        found = measure()
        rows[name] = {"kept_voxels_per_resolution": round(sampling, 2), "errors": found}
        arguments.results.write_text(json.dumps(rows, indent=1) + "\n")
        jax.clear_caches()
        print(f"{name}, {sampling:.2f} kept voxels per resolution")
        for field, row in found.items():
            cells = [f"{k} {mean:.4f} / {rms:.4f}" for k, (mean, rms) in row.items()]
            print(f"  {field:15}" + ", ".join(cells), flush=True)

    for name, resolution in MAPS.items():
        folder = arguments.data / "maps" / name
        density = read_map(folder / next(f for f in MAP_FILES if (folder / f).exists()))
        sampling = resolution / 2 / float(density.voxel_size.max())
        record(name, sampling, partial(of_map, density))
    found = structures(arguments.data, arguments.structures)
    for (name, structure), (resolution, voxel) in product(found, HALVES):
        key = f"{name}, {resolution} Å, {voxel} Å voxels"
        record(key, resolution / voxel, partial(of_halves, structure, resolution, voxel))
    if arguments.networks:
        (name, structure), (resolution, voxel) = found[0], HALVES[-1]
        for kind, config in NETWORKS.items():
            watch = partial(in_training, structure, resolution, voxel, config=config)
            record(f"{name}, {resolution} Å, {kind}", resolution / voxel, watch)


if __name__ == "__main__":
    main()
