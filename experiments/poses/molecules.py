"""Molecules of the data folder, their maps, and where figures are kept."""

import csv
import gzip
import json
import tarfile
from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from cryojax_graph.geometry import superpose, symmetry_rotations
from cryojax_graph.io import Map, write_map
from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.jobs.pose.reference import density_of_model

SPIKE = ("trajectories/spike_trimer_template.pdb",)
LARGE_SUBUNIT = tuple(
    f"states/empiar_10076_50S/model_{part}.pdb.gz" for part in ("prots1", "RNA1", "RNA_5S")
)


def read_entry(data: Path, entry: str, folder: Path) -> AtomTable:
    """Heavy atoms of an entry of the structures, their centroid at the origin."""
    with (data / "structures/index.csv").open() as file:
        row = next(row for row in csv.DictReader(file) if row["id"] == entry)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{entry}.pdb"
    if not path.exists():
        with tarfile.open(data / "structures" / row["shard"]) as archive:
            packed = archive.extractfile(row["file"])
            assert packed is not None
            path.write_bytes(gzip.decompress(packed.read()))
    return _heavy([path])


def read_files(data: Path, names: Sequence[str]) -> AtomTable:
    """Heavy atoms of one molecule in several files, their centroid at the origin."""
    return _heavy([data / name for name in names])


def _heavy(paths: Sequence[Path]) -> AtomTable:
    tables = [read_atoms(path) for path in paths]
    columns = [np.concatenate([getattr(t, f.name) for t in tables]) for f in fields(AtomTable)]
    atoms = AtomTable(*columns)
    atoms = select_atoms(atoms, ~np.isin(np.char.upper(atoms.element.astype(str)), ("H", "D")))
    return moved(atoms, atoms.positions - atoms.positions.mean(axis=0))


def moved(atoms: AtomTable, positions: np.ndarray) -> AtomTable:
    """The atoms elsewhere."""
    return replace(atoms, positions=positions.astype(np.float32))


def made_symmetric(atoms: AtomTable) -> AtomTable:
    """A tetramer of four equal chains turned onto the axes of D2, its first chain in four places.

    Every two chains share a twofold axis; the three axes are made perpendicular (Löwdin 1950).
    """
    c_alpha = select_atoms(atoms, atoms.name == "CA")
    chains = [select_atoms(c_alpha, c_alpha.chain == name) for name in np.unique(c_alpha.chain)]
    common = set.intersection(*({*chain.residue_number.tolist()} for chain in chains))
    points = [c.positions[np.isin(c.residue_number, list(common))] for c in chains]
    centre = np.mean(points, axis=(0, 1))
    axes = []
    for other in points[1:]:
        turn = np.asarray(superpose(points[0], other).rotation, np.float64)
        # Half a turn about an axis a is 2 a aᵀ - 1.
        axes.append(np.linalg.eigh(turn + turn.T)[1][:, 2])
    left, _, right = np.linalg.svd(np.stack(axes))
    frame = left @ right
    frame[2] *= np.linalg.det(frame)
    first = select_atoms(atoms, atoms.chain == chains[0].chain[0])
    placed = (first.positions - centre) @ frame.T
    copies = [moved(first, placed @ element.T) for element in symmetry_rotations("D2")]
    return AtomTable(
        *(np.concatenate([getattr(c, f.name) for c in copies]) for f in fields(AtomTable))
    )


def write_density(atoms: AtomTable, box: int, pixel: float, path: Path) -> None:
    """The map of a molecule, cut off at its Nyquist frequency."""
    density = density_of_model(atoms, path, box=box, voxel_size=pixel)
    write_map(path, Map(np.asarray(density), np.full(3, pixel), np.zeros(3)))


def record(path: Path | None, measurement: str, figures: Any) -> None:
    """Print figures and put them into the file; leave those of other measurements alone."""
    print(json.dumps(figures, indent=1))
    if path is None:
        return
    known = json.loads(path.read_text()) if path.exists() else {}
    known[measurement] = figures
    path.write_text(json.dumps(known, indent=1) + "\n")
