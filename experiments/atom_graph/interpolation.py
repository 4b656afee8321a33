"""Error of a map between its voxels: simulated maps, every field, the paper's protocol.

Maps are simulated as the paper's were (Ranno & Si 2022; molmap: Gaussians of 0.225 times the
resolution, a voxel of a third of it, cut at five deviations), once of the atoms named C, N and O
alone, as there, and once of all heavy atoms. Errors are taken at random points of a grid of 0.2 Å
where the density is not zero, as a share of the highest voxel. ``misregistered`` is trilinear with
the y and z origin taken from x, as in the paper's own script.

    python experiments/atom_graph/interpolation.py --data ../shared/data --structures 12 \
        --results experiments/atom_graph/interpolation.json
"""

import argparse
import csv
import gzip
import json
import tarfile
from functools import partial
from pathlib import Path

import gemmi
import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial import KDTree

from cryojax_graph.fields import fit_fourier, fit_positive, fit_spline, query, voxel_grid

RESOLUTIONS = (1.2, 2.0, 3.0, 4.0)
FITS = {
    "trilinear": partial(fit_spline, degree=1),
    "cubic spline": partial(fit_spline, degree=3),
    "quintic spline": partial(fit_spline, degree=5),
    "Fourier": fit_fourier,
    "positive": fit_positive,
}
POINTS, CONTROL, CUT = 30_000, 0.2, 5.0


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


def one(structure: gemmi.Structure, resolution: float, backbone: bool) -> dict[str, list[float]]:
    """Mean error of every field, over all points and over the tenth of highest density."""
    positions, weights = atoms_of(structure, backbone)
    sigma, voxel = 0.225 * resolution, resolution / 3
    origin = positions.min(0) - 3 * resolution
    shape = np.ceil((np.ptp(positions, axis=0) + 6 * resolution) / voxel).astype(int)[::-1] + 1
    voxels = origin + np.stack(np.indices(shape), -1).reshape(-1, 3)[:, ::-1] * voxel
    volume = density_at(voxels, positions, weights, sigma).reshape(shape)
    rng = np.random.default_rng(0)
    steps = ((shape[::-1] - 1) * voxel / CONTROL).astype(int)
    points = origin + rng.integers(0, steps, (20 * POINTS, 3)) * CONTROL
    points = points[KDTree(positions).query(points)[0] < CUT * sigma][:POINTS]
    truth, highest = density_at(points, positions, weights, sigma), volume.max()
    top = truth >= np.quantile(truth, 0.9)
    errors = {}
    at = jnp.asarray(points, jnp.float32)

    def compare(name: str, fit, origin: np.ndarray) -> None:
        grid = voxel_grid(origin, np.full(3, voxel))
        field = jax.jit(fit)(jnp.asarray(volume, jnp.float32), grid)
        error = np.abs(np.asarray(jax.jit(query)(field, at)) - truth) / highest
        errors[name] = [float(error.mean()), float(error[top].mean())]

    for name, fit in FITS.items():
        compare(name, fit, origin)
    compare("misregistered", FITS["trilinear"], origin[[0, 0, 0]])
    return errors


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=12)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text()) if arguments.results.exists() else []
    done = {(row["structure"], row["resolution"], row["backbone"]) for row in rows}
    for name, structure in structures(arguments.data, arguments.structures):
        for resolution in RESOLUTIONS:
            for backbone in (True, False):
                if (name, resolution, backbone) in done:
                    continue
                errors = one(structure, resolution, backbone)
                row = {"structure": name, "resolution": resolution, "backbone": backbone}
                rows.append(row | {"errors": errors})
                arguments.results.write_text(json.dumps(rows, indent=1) + "\n")
                jax.clear_caches()
    names = [*FITS, "misregistered"]
    print(f"{'':24}" + "".join(f"{n:>18}" for n in names))
    for resolution in RESOLUTIONS:
        for backbone in (True, False):
            some = [
                [r["errors"][n] for n in names]
                for r in rows
                if (r["resolution"], r["backbone"]) == (resolution, backbone)
            ]
            mean = np.mean(some, axis=0)
            cells = "".join(f"{a:11.4f}/{t:.4f}" for a, t in mean)
            kind = "backbone" if backbone else "all atoms"
            print(f"{resolution:4.1f} Å {kind:10} n={len(some):2} {cells}")


if __name__ == "__main__":
    main()
