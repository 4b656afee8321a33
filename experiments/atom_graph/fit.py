"""Models shaken and fitted back: simulated maps at several resolutions, and one experimental map.

Simulated: structures kept for validation, heavy atoms without water; Gaussians of 0.225 times the
resolution, voxel a third of it, noise that makes the signal to noise ratio near the atoms 4; atoms
shaken half by random numbers of their own, half by a motion that is smooth over some 6 Å. Distances
are to the atoms that the map was made of, geometry is against ideal values.

Experimental: EMD-20026 at 1.75 Å and its deposited model, fitted as it is and after shaking;
distances are to the deposited model without its water. Nothing was chosen by what comes out there.

    python experiments/atom_graph/fit.py --data ../shared/data --structures 3 \
        --results experiments/atom_graph/fit.json
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
from interpolation import structures
from scipy.spatial import KDTree

from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.fit import FitConfig
from cryojax_graph.jobs.fit.molecule import read_molecule
from cryojax_graph.jobs.fit.scores import scores_of
from cryojax_graph.jobs.fit.search import fit_model, level_of
from cryojax_graph.metrics import atom_density

RESOLUTIONS, SHAKES, SNR, SMOOTH = (1.5, 2.5, 3.5), (0.3, 0.6, 1.0), 4.0, 6.0


def shaken(positions: np.ndarray, size: float, seed: int) -> np.ndarray:
    """Positions moved by a root mean square of ``size``, half of it smoothly."""
    rng = np.random.default_rng(seed)
    alone = rng.normal(size=positions.shape)
    near = KDTree(positions).sparse_distance_matrix(
        KDTree(positions), 3 * SMOOTH, output_type="coo_matrix"
    )
    near.data = np.exp(-(near.data**2) / (2 * SMOOTH**2))
    together = near.tocsr() @ rng.normal(size=positions.shape)
    parts = [p / np.sqrt(np.mean(np.sum(p**2, axis=1))) for p in (alone, together)]
    moves = parts[0] + parts[1]
    return positions + size * moves / np.sqrt(np.mean(np.sum(moves**2, axis=1)))


def simulated(molecule, resolution: float) -> Map:
    """A map of a model with noise."""
    voxel = np.full(3, resolution / 3)
    origin = molecule.positions.min(0) - 8.0
    shape = np.ceil((np.ptp(molecule.positions, axis=0) + 16.0) / voxel).astype(int)[::-1] + 1
    z, y, x = (int(n) for n in shape)
    values = atom_density(
        (z, y, x),
        voxel,
        origin,
        molecule.positions,
        molecule.masses,
        width=0.225 * resolution,
    )
    noise = values[values > 0].std() / np.sqrt(SNR)
    values += noise * np.random.default_rng(1).normal(size=values.shape)
    return Map(values.astype(np.float32), voxel, origin)


def rms(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.sum((first - second) ** 2, axis=1))))


def measured(density: Map, molecule, truth: np.ndarray, config: FitConfig, resolution: float):
    """Fit, and compare with the truth."""
    fitted = fit_model(density, level_of(density), molecule, config)
    scores = scores_of(density, molecule, fitted, resolution)
    solid = ~np.isin(molecule.labels.residue_name, ("HOH", "WAT"))
    backbone = solid & np.isin(molecule.labels.name, ("N", "CA", "C", "O"))
    states = molecule.positions, fitted.positions
    jax.clear_caches()
    return {
        "rmsd": [rms(p[solid], truth[solid]) for p in states],
        "rmsd_backbone": [rms(p[backbone], truth[backbone]) for p in states],
        "density": scores.density,
        "correlation": scores.correlation,
        "bonds": [g.bonds for g in scores.geometry],
        "angles": [g.angles for g in scores.geometry],
        "hands": [g.hands for g in scores.geometry],
        "clashes": scores.clashes,
        "weight": fitted.weight,
    }


def without_water(path: Path, text: str) -> None:
    """A model of one location per atom, without hydrogens and water."""
    path.write_text(text)
    atoms = read_atoms(path, model=1)
    kept = ~np.isin(atoms.element, ("H", "D")) & ~np.isin(atoms.residue_name, ("HOH", "WAT"))
    write_atoms(path.with_suffix(".cif"), select_atoms(atoms, kept))


def one(folder: Path, name: str, text: str, resolution: float, shake: float) -> dict:
    """A structure at one resolution and one size of the shake."""
    without_water(folder / f"{name}.pdb", text)
    true = read_molecule(str(folder / f"{name}.cif"))
    density = simulated(true, resolution)
    atoms = true.records.atoms
    moved = shaken(true.positions, shake, seed=0).astype(np.float32)
    write_atoms(folder / "shaken.cif", replace(atoms, positions=moved))
    config = FitConfig("", "", resolution=resolution)
    molecule = read_molecule(str(folder / "shaken.cif"))
    return measured(density, molecule, true.positions, config, resolution)


def experimental(data: Path, folder: Path, shake: float) -> dict:
    """The deposited model of EMD-20026, as it is or shaken."""
    density = read_map(data / "maps/emd_20026/map.mrc.gz")
    atoms = read_atoms(data / "maps/emd_20026/model.pdb.gz")
    truth = atoms.positions.astype(float)
    start = shaken(truth, shake, seed=0) if shake else truth
    write_atoms(folder / "start.cif", replace(atoms, positions=start.astype(np.float32)))
    config = FitConfig("", "", resolution=1.75)
    molecule = read_molecule(str(folder / "start.cif"))
    return measured(density, molecule, truth, config, 1.75)


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--structures", type=int, default=3)
    parser.add_argument("--results", type=Path, required=True)
    arguments = parser.parse_args()
    folder = arguments.results.resolve().parent / "fit_work"
    folder.mkdir(exist_ok=True)
    rows = json.loads(arguments.results.read_text()) if arguments.results.exists() else []
    done = {(row["structure"], row["resolution"], row["shake"]) for row in rows}

    def keep(name: str, resolution: float, shake: float, found: dict) -> None:
        rows.append({"structure": name, "resolution": resolution, "shake": shake} | found)
        arguments.results.write_text(json.dumps(rows, indent=1) + "\n")

    for name, structure in structures(arguments.data, arguments.structures):
        text = structure.make_pdb_string()
        for resolution in RESOLUTIONS:
            for shake in SHAKES:
                if (name, resolution, shake) not in done:
                    keep(name, resolution, shake, one(folder, name, text, resolution, shake))
    for shake in (0.0, *SHAKES):
        if ("EMD-20026", 1.75, shake) not in done:
            keep("EMD-20026", 1.75, shake, experimental(arguments.data, folder, shake))
    columns = [
        "rmsd",
        "rmsd_backbone",
        "density",
        "correlation",
        "bonds",
        "angles",
        "hands",
        "clashes",
    ]
    print(f"{'':26}" + "".join(f"{c:>16}" for c in columns))
    kinds = dict.fromkeys((r["structure"][:4] == "EMD-", r["resolution"], r["shake"]) for r in rows)
    for real, resolution, shake in kinds:
        some = [
            [r[c] for c in columns]
            for r in rows
            if (r["structure"][:4] == "EMD-", r["resolution"], r["shake"])
            == (real, resolution, shake)
        ]
        mean = np.mean(some, axis=0)
        cells = "".join(f"{a:8.3f} {b:7.3f}" for a, b in mean)
        name = "EMD-20026" if real else f"simulated n={len(some)}"
        print(f"{name:14} {resolution:.2f} Å {shake:.1f} {cells}")


if __name__ == "__main__":
    main()
