"""Peaks of maps against the atoms that they are of: every field, simulated and experimental maps.

Simulated: structures kept for validation, Gaussians whose widths are their B-factors, noise that is
a third of the signal power at the resolution limit of the whole map (half-maps cross 0.143 there),
spectrum sharpened by a B-factor fitted to the map and weighed by its correlation with the truth,
voxels beyond 3 Å of an atom set to 0. The widths and the share of false peaks of ``locate --field
atoms`` were chosen on the first two of these structures at 1.2 to 3 Å.

Experimental: map-model pairs of ``maps/`` as they are: most are zones around the model that hold
density of neighbours and of water, which the model scored against does not, so that the share of
peaks that are atoms cannot come near 100 %. Nothing was chosen by what comes out there. Scores are
of heavy atoms without water, within 1 Å, and of C-alpha atoms within 3 Å, each paired once; beside
them, what figure 6 of the paper counts, where any peak near a C-alpha atom will do:
``ca_with_node``, ``nodes_near_ca`` and ``ca_nearest_node_rmsd``.

    python experiments/atom_graph/graphs.py --data ../shared/data --structures 4 \
        --results experiments/atom_graph/graphs.json
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from interpolation import structures
from scipy.spatial import KDTree

from cryojax_graph.fields import fit_recipe, usual_constants
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.locate import LocateConfig
from cryojax_graph.jobs.locate.decoys import find_decoys, without_false
from cryojax_graph.jobs.locate.fitting import fit_sharper
from cryojax_graph.jobs.locate.search import climb_to_peaks, threshold_of, walk_to_peaks
from cryojax_graph.jobs.map_parts import crop
from cryojax_graph.metrics import score_nearest, score_nodes

RESOLUTIONS = ((1.2, 0.4), (1.5, 0.5), (1.75, 0.65), (2.2, 0.8), (3.0, 1.0))
PAIRS = {
    "emd_5830": 3.8,
    "emd_2566": 3.2,
    "emd_5185": 3.3,
    "emd_6770": 4.0,
    "emd_6374": 2.9,
    "emd_4413": 2.3,
    "emd_5778": 3.28,
    "emd_2513": 3.36,
    "emd_1044": 4.0,
    "emd_0093": 3.4,
    "emd_20026": 1.75,
}
METHODS = ("spline", "positive", "walk", "atoms")
SSNR_AT_LIMIT, LEAST_B, OF_THE_ATOM, ZONE = 1 / 3, 15.0, 0.3, 3.0


class Model(NamedTuple):
    """Density of a structure by its B-factors, and its heavy atoms without water."""

    volume: np.ndarray
    origin: np.ndarray
    atoms: np.ndarray
    c_alpha: np.ndarray


def density_of(structure, voxel: float) -> Model:
    """Gaussians whose widths are the B-factors of the atoms, in a box that holds them."""
    sites = [
        site
        for site in structure[0].all()
        if site.atom.element.name not in ("H", "D") and site.residue.name != "HOH"
    ]
    place = np.array([site.atom.pos.tolist() for site in sites])
    charge = np.array([float(site.atom.element.atomic_number) for site in sites])
    b = np.array([site.atom.b_iso for site in sites])
    b = np.maximum(b - np.percentile(b, 5), 0.0) + LEAST_B
    square = b / (8 * np.pi**2) + OF_THE_ATOM**2
    origin = place.min(0) - 5.0
    shape = (np.ceil((np.ptp(place, axis=0) + 10.0) / voxel).astype(int)[::-1] // 2 + 1) * 2
    volume = np.zeros(shape)
    sides = [origin[k] + np.arange(shape[2 - k]) * voxel for k in range(3)]
    for at, z, s in zip(place, charge, square, strict=True):
        part, profile = [], []
        for k in range(3):
            middle, reach = round((at[k] - origin[k]) / voxel), int(5 * s**0.5 / voxel) + 1
            part.append(slice(max(middle - reach, 0), middle + reach + 1))
            profile.append(np.exp(-((sides[k][part[k]] - at[k]) ** 2) / (2 * s)))
        density = np.einsum("z,y,x->zyx", profile[2], profile[1], profile[0])
        volume[tuple(part[::-1])] += z * (2 * np.pi * s) ** -1.5 * density
    names = np.array([site.atom.name for site in sites])
    return Model(volume, origin, place, names == "CA")


def near_atoms(model: Model, voxel: float) -> np.ndarray:
    """Which voxels lie within 3 Å of an atom."""
    points = model.origin + np.argwhere(np.ones(model.volume.shape, bool))[:, ::-1] * voxel
    away = KDTree(model.atoms).query(points, distance_upper_bound=ZONE)[0]
    return np.isfinite(away).reshape(model.volume.shape)


def simulated(structure, resolution: float, voxel: float) -> tuple[Map, np.ndarray, np.ndarray]:
    """Map with noise, heavy atoms, and which are C-alpha."""
    model = density_of(structure, voxel)
    values = with_noise(model.volume, resolution, voxel).noisy
    values = np.where(near_atoms(model, voxel), values, 0).astype(np.float32)
    return Map(values, np.full(3, voxel), model.origin), model.atoms, model.c_alpha


class Processed(NamedTuple):
    """A map as it is deposited, and what it would be without noise by the same filter."""

    noisy: np.ndarray
    clean: np.ndarray


def with_noise(
    volume: np.ndarray,
    resolution: float,
    voxel: float,
    *,
    at_limit: float = SSNR_AT_LIMIT,
    seed: int = 0,
) -> Processed:
    """White noise added, then sharpened, weighed and cut at the resolution as maps are."""
    frequency = np.sqrt(
        sum(np.meshgrid(*[np.fft.fftfreq(n, voxel) ** 2 for n in volume.shape], indexing="ij"))
    )
    size = max(volume.shape) * voxel
    shell = np.round(frequency * size).astype(int)
    count = np.bincount(shell.ravel())

    def power(spectrum: np.ndarray) -> np.ndarray:
        return np.bincount(shell.ravel(), np.abs(spectrum.ravel()) ** 2) / count

    signal = np.fft.fftn(volume)
    limit = int(size / resolution)
    of_noise = power(signal)[limit - 2 : limit + 3].mean() / at_limit
    noise = np.fft.fftn(np.random.default_rng(seed).normal(size=volume.shape))
    noise *= np.sqrt(of_noise / np.mean(np.abs(noise) ** 2))
    ratio = power(signal) / of_noise
    known = ratio / (1 + ratio)
    at = np.arange(len(count)) / size
    fitted = (at > 0.25) & (at < 1 / resolution)
    falls = np.log(power(signal + noise)[fitted] * known[fitted])
    b = -2 * np.polyfit(at[fitted] ** 2, falls, 1)[0]
    weight = np.exp(b / 4 * np.minimum(at, 1 / resolution) ** 2) * np.sqrt(known)
    weight /= 1 + np.exp((at - 1 / resolution) * size)
    return Processed(
        np.fft.ifftn((signal + noise) * weight[shell]).real,
        np.fft.ifftn(signal * weight[shell]).real,
    )


def peaks_by(method: str, density: Map, resolution: float) -> tuple[np.ndarray, np.ndarray]:
    """Positions and heights, the highest first; all as ``locate`` is set."""
    kinds = {"walk": "paper", "atoms": "atoms"}
    config = LocateConfig("", field=kinds.get(method, "spline"), resolution=resolution)
    threshold = threshold_of(density, config, file="")
    part = crop(density, density.values > threshold)
    if method == "atoms":
        field = fit_sharper(part, density, config)
    else:
        recipe = "quintic" if method == "walk" else method
        constants = usual_constants(recipe)
        field = fit_recipe(part.values, part.origin, part.voxel_size, recipe, constants)
    search = walk_to_peaks if method == "walk" else climb_to_peaks
    found = search(field, part, threshold, config)
    decoys = find_decoys(density, part, threshold, config) if method == "atoms" else None
    peaks = (found if decoys is None else without_false(found, decoys, config)).peaks
    return peaks.position, peaks.value


def scores_of(
    position: np.ndarray, height: np.ndarray, atoms: np.ndarray, c_alpha: np.ndarray
) -> dict[str, float]:
    """Scores of all peaks, in percent and Å."""
    all_, trace = (
        score_nodes(position, points, within=within)
        for points, within in ((atoms, 1.0), (atoms[c_alpha], 3.0))
    )
    any_ = score_nearest(position, atoms[c_alpha], within=3.0)
    return {
        "nodes": len(position),
        "sensitivity": 100 * all_.sensitivity,
        "specificity": 100 * all_.specificity,
        "f1": 100 * all_.f1,
        "rmsd": all_.rmsd,
        "ca_recall": 100 * trace.sensitivity,
        "ca_precision": 100 * trace.specificity,
        "ca_rmsd": trace.rmsd,
        "ca_with_node": 100 * any_.with_point,
        "nodes_near_ca": 100 * any_.near_atom,
        "ca_nearest_node_rmsd": any_.rmsd,
        "nodes_per_residue": len(position) / max(int(c_alpha.sum()), 1),
    }


def specificity_at(
    position: np.ndarray, atoms: np.ndarray, sensitivity: float, within: float
) -> float:
    """Share of peaks that are atoms when the highest are taken until so many atoms are found."""
    low, high = 1, len(position)
    while low < high:
        middle = (low + high) // 2
        enough = score_nodes(position[:middle], atoms, within=within).sensitivity >= sensitivity
        low, high = (low, middle) if enough else (middle + 1, high)
    found = score_nodes(position[:low], atoms, within=within)
    return 100 * found.specificity if found.sensitivity >= sensitivity else float("nan")


def measured(density: Map, resolution: float, atoms: np.ndarray, c_alpha: np.ndarray) -> dict:
    """Scores of every method; its specificity and that of the walk at the lower sensitivity."""
    found = {method: peaks_by(method, density, resolution) for method in METHODS}
    rows: dict = {method: scores_of(*found[method], atoms, c_alpha) for method in METHODS}
    for method in METHODS:
        for name, points, within in (("", atoms, 1.0), ("ca_", atoms[c_alpha], 3.0)):
            both = found[method][0], found["walk"][0]
            goal = min(score_nodes(p, points, within=within).sensitivity for p in both)
            rows[method][f"{name}at_equal_sensitivity"] = [
                100 * goal,
                *(specificity_at(p, points, goal, within) for p in both),
            ]
    return rows


def pair(data: Path, name: str) -> tuple[Map, np.ndarray, np.ndarray]:
    """Map, heavy atoms without water, and which are C-alpha."""
    folder = data / "maps" / name
    density = read_map(next(f for f in sorted(folder.iterdir()) if f.name.startswith("map.")))
    atoms = read_atoms(folder / "model.pdb.gz")
    kept = ~np.isin(atoms.element, ("H", "D")) & ~np.isin(atoms.residue_name, ("HOH", "WAT"))
    return density, atoms.positions[kept].astype(float), atoms.name[kept] == "CA"


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=4)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    rows = json.loads(arguments.results.read_text()) if arguments.results.exists() else {}

    def record(name: str, density: Map, resolution: float, *model: np.ndarray) -> None:
        rows[name] = {"resolution": resolution, "methods": measured(density, resolution, *model)}
        arguments.results.write_text(json.dumps(rows, indent=1) + "\n")
        jax.clear_caches()
        print(f"{name}, {resolution} Å, {len(model[0])} atoms")
        for method, row in rows[name]["methods"].items():
            cells = [f"{k} {np.array2string(np.array(v), precision=4)}" for k, v in row.items()]
            print(f"  {method:10}" + ", ".join(cells), flush=True)

    for name, structure in structures(arguments.data, arguments.structures):
        for resolution, voxel in RESOLUTIONS:
            key = f"{name} {resolution}"
            if key not in rows:
                density, *model = simulated(structure, resolution, voxel)
                record(key, density, resolution, *model)
    for name, resolution in PAIRS.items():
        if name not in rows:
            density, *model = pair(arguments.data, name)
            record(name, density, resolution, *model)


if __name__ == "__main__":
    main()
