"""Error of a map between its voxels: simulated maps, every field, the paper's protocol.

Maps are simulated as the paper's were (Ranno & Si 2022; molmap: Gaussians of 0.225 times the
resolution, a voxel of a third of it, cut at five deviations), once of the atoms named C, N and O
alone, as there, and once of all heavy atoms, both in the box of all. Errors are taken at random
points of a grid of 0.2 Å where the density is not zero, as a share of the highest voxel.
``misregistered`` is trilinear with the y and z origin taken from x, as in the paper's own script;
``tricubic`` is the local convolution that many programs have. Networks are trained with
``--networks`` alone, for the maps that are small enough for a processor.

    python experiments/atom_graph/interpolation.py --data ../shared/data --structures 12 \
        --results experiments/atom_graph/interpolation.json
"""

import argparse
import csv
import gzip
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from cryojax_graph.fields import VoxelGrid, fit_fourier, fit_positive, fit_spline, query, voxel_grid
from cryojax_graph.models.atom_graph.config import NeuralMapConfig, default, paper
from cryojax_graph.training.loop import fit
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map, trained_field

RESOLUTIONS = (1.2, 2.0, 3.0, 4.0)
POINTS, CONTROL, CUT = 30_000, 0.2, 5.0
# Below this size the published network reaches its end within minutes on a processor.
NETWORK_VOXELS = 60_000

Asked = Callable[[np.ndarray, VoxelGrid, np.ndarray], np.ndarray]
"""Density at points (x, y, z) in Å, by the voxels of a map on a grid."""

ask = jax.jit(query)


def asked(fit_field: Callable) -> Asked:
    """A fit of the package as a function of voxels and points."""
    compiled = jax.jit(fit_field)

    def at_points(volume: np.ndarray, grid: VoxelGrid, points: np.ndarray) -> np.ndarray:
        field = compiled(jnp.asarray(volume, jnp.float32), grid)
        return np.asarray(ask(field, jnp.asarray(points, jnp.float32)))

    return at_points


def tricubic(volume: np.ndarray, grid: VoxelGrid, points: np.ndarray) -> np.ndarray:
    """Convolution with the cubic of Keys (1981, IEEE Trans. ASSP 29:1153), a = -1/2."""
    index = ((points - np.asarray(grid.origin)) / np.asarray(grid.voxel_size))[:, ::-1]
    first = np.floor(index)
    taps = np.arange(-1, 3)
    away = np.abs((index - first)[..., None] - taps)
    near, far = 1.5 * away**3 - 2.5 * away**2 + 1, -0.5 * away**3 + 2.5 * away**2 - 4 * away + 2
    z, y, x = np.moveaxis(np.where(away < 1, near, far), 1, 0)
    last = np.array(volume.shape)[:, None] - 1
    of_z, of_y, of_x = np.moveaxis(np.clip(first[..., None] + taps, 0, last).astype(int), 1, 0)
    voxels = volume[of_z[:, :, None, None], of_y[:, None, :, None], of_x[:, None, None, :]]
    return np.einsum("nzyx,nz,ny,nx->n", voxels, z, y, x)


def trained(config: NeuralMapConfig) -> Asked:
    """Networks, trained to their own end."""

    def at_points(volume: np.ndarray, grid: VoxelGrid, points: np.ndarray) -> np.ndarray:
        run = prepare_neural_map(volume, grid, config, key=jax.random.key(0))
        state = fit(run.state, run.step, run.batches, steps=config.steps)
        return np.asarray(ask(trained_field(run, state), jnp.asarray(points, jnp.float32)))

    return at_points


FIELDS: dict[str, Asked] = {
    "trilinear": asked(partial(fit_spline, degree=1)),
    "tricubic": tricubic,
    "cubic spline": asked(partial(fit_spline, degree=3)),
    "quintic spline": asked(partial(fit_spline, degree=5)),
    "Fourier": asked(fit_fourier),
    "positive": asked(fit_positive),
}
NETWORKS: dict[str, Asked] = {"siren": trained(default()), "paper": trained(paper())}


def structures(data: Path, count: int) -> list[tuple[str, gemmi.Structure]]:
    """The smallest structures that are kept for validation and state B-factors."""
    folder = data / "structures"
    with (folder / "index.csv").open() as file:
        rows = [
            r for r in csv.DictReader(file) if r["split"] == "valid" and r["b_factors"] == "yes"
        ]
    rows.sort(key=lambda row: int(row["n_residues"]))
    found = []
    for row in rows[:count]:
        with tarfile.open(folder / row["shard"]) as shard:
            content = shard.extractfile(row["file"])
            assert content is not None
            text = gzip.decompress(content.read()).decode()
        found.append((row["id"], gemmi.read_pdb_string(text)))
    return found


def atoms_of(structure: gemmi.Structure, backbone: bool) -> tuple[np.ndarray, np.ndarray]:
    """Positions and atomic numbers."""
    chosen = [
        (site.atom.pos.tolist(), site.atom.element.atomic_number)
        for site in structure[0].all()
        if not backbone or site.atom.name in ("C", "N", "O")
    ]
    return np.array([p for p, _ in chosen]), np.array([float(z) for _, z in chosen])


def density_at(
    points: np.ndarray, positions: np.ndarray, weights: np.ndarray, sigma: float
) -> np.ndarray:
    """Sum of Gaussians at some points, cut at five deviations."""
    found = np.zeros(len(points))
    for first in range(0, len(points), 50_000):
        part = KDTree(points[first : first + 50_000])
        near = part.sparse_distance_matrix(KDTree(positions), CUT * sigma, output_type="ndarray")
        value = weights[near["j"]] * np.exp(-(near["v"] ** 2) / (2 * sigma**2))
        found[first : first + part.n] = np.bincount(near["i"], value, minlength=part.n)
    return found


class Case(NamedTuple):
    """A simulated map, and its density at points between voxels."""

    volume: np.ndarray
    origin: np.ndarray
    voxel: float
    points: np.ndarray
    truth: np.ndarray


def simulated(structure: gemmi.Structure, resolution: float, backbone: bool) -> Case:
    """Map and points by the paper's protocol."""
    everything, _ = atoms_of(structure, backbone=False)
    positions, weights = atoms_of(structure, backbone)
    sigma, voxel = 0.225 * resolution, resolution / 3
    # One box for both kinds of map: the fits are compiled once.
    origin = everything.min(0) - 3 * resolution
    extent = np.ptp(everything, axis=0) + 6 * resolution
    shape = np.ceil(extent / voxel).astype(int)[::-1] + 1
    voxels = origin + np.stack(np.indices(shape), -1).reshape(-1, 3)[:, ::-1] * voxel
    volume = density_at(voxels, positions, weights, sigma).reshape(shape)
    rng = np.random.default_rng(0)
    steps = ((shape[::-1] - 1) * voxel / CONTROL).astype(int)
    points = origin + rng.integers(0, steps, (20 * POINTS, 3)) * CONTROL
    points = points[KDTree(positions).query(points)[0] < CUT * sigma][:POINTS]
    return Case(volume, origin, voxel, points, density_at(points, positions, weights, sigma))


def error_of(field: Asked, case: Case, origin: np.ndarray) -> list[float]:
    """Mean error over all points and over the tenth of highest density."""
    said = field(case.volume, voxel_grid(origin, np.full(3, case.voxel)), case.points)
    error = np.abs(said - case.truth) / case.volume.max()
    return [float(error.mean()), float(error[case.truth >= np.quantile(case.truth, 0.9)].mean())]


def errors_of(fields: dict[str, Asked], case: Case) -> dict[str, list[float]]:
    """Mean errors by field."""
    found = {name: error_of(field, case, case.origin) for name, field in fields.items()}
    if "trilinear" in fields:
        found["misregistered"] = error_of(fields["trilinear"], case, case.origin[[0, 0, 0]])
    return found


def table(rows: list[dict], names: list[str]) -> None:
    """Print means over the maps that all of some fields were asked about."""
    rows = [row for row in rows if row["errors"].keys() >= set(names)]
    print(f"{'':24}" + "".join(f"{n:>18}" for n in names))
    for resolution in RESOLUTIONS:
        for backbone in (True, False):
            some = [
                [row["errors"][n] for n in names]
                for row in rows
                if (row["resolution"], row["backbone"]) == (resolution, backbone)
            ]
            if some:
                cells = "".join(f"{a:11.4f}/{t:.4f}" for a, t in np.mean(some, axis=0))
                kind = "backbone" if backbone else "all atoms"
                print(f"{resolution:4.1f} Å {kind:10} n={len(some):2} {cells}")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=12)
    parser.add_argument("--networks", action="store_true", help="train them for the smallest maps")
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text()) if arguments.results.exists() else []
    by_map = {(row["structure"], row["resolution"], row["backbone"]): row for row in rows}
    for name, structure in structures(arguments.data, arguments.structures):
        for resolution in RESOLUTIONS:
            for backbone in (True, False):
                row = {"structure": name, "resolution": resolution, "backbone": backbone}
                row = by_map.setdefault((name, resolution, backbone), row | {"errors": {}})
                case = simulated(structure, resolution, backbone)
                fields = dict(FIELDS)
                if arguments.networks and case.volume.size < NETWORK_VOXELS:
                    fields |= NETWORKS
                fields = {k: v for k, v in fields.items() if k not in row["errors"]}
                row["errors"] |= errors_of(fields, case)
                arguments.results.write_text(json.dumps([*by_map.values()], indent=1) + "\n")
            jax.clear_caches()
    found = [*by_map.values()]
    table(found, [*FIELDS, "misregistered"])
    table(found, ["cubic spline", "positive", *NETWORKS])


if __name__ == "__main__":
    main()
