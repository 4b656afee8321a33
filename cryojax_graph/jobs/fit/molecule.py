"""The model to be fitted, as arrays."""

from dataclasses import replace
from typing import NamedTuple

import gemmi
import numpy as np
from jaxtyping import Bool, Float, Int

from cryojax_graph.io.altlocs import resolve_altlocs
from cryojax_graph.io.atom_table import AtomRecords, residue_starts
from cryojax_graph.io.atoms import parse_records
from cryojax_graph.io.errors import InputError
from cryojax_graph.protein import AtomLabels, GeometryRestraints, geometry_restraints

_CARBON = 6.0
_GIVE_ALL_ATOMS = "name a model of the map with all its atoms"


class Molecule(NamedTuple):
    """A model and what holds it together.

    Attributes:
        records: as the file lists them, alternate locations included.
        labels: of the atoms.
        positions: Å.
        masses: electrons times occupancy, in those of carbon: weights of the density.
        restraints: of its geometry.
    """

    records: AtomRecords
    labels: AtomLabels
    positions: Float[np.ndarray, "n 3"]
    masses: Float[np.ndarray, " n"]
    restraints: GeometryRestraints

    @property
    def heavy(self) -> Bool[np.ndarray, " n"]:
        """Which atoms are not hydrogens."""
        return ~np.isin(self.labels.element, ("H", "D"))

    @property
    def chain(self) -> Int[np.ndarray, " n"]:
        """Number of the chain of each atom."""
        return self.labels.chain


def read_molecule(path: str) -> Molecule:
    """Read a model with all its alternate locations.

    Args:
        path: PDB or mmCIF file of one model.

    Returns:
        the model.

    Raises:
        InputError: the file cannot be used, holds several models, an atom occurs twice, or no two
            atoms are bonded.
    """
    records = parse_records(path)
    count = int(records.model.max()) + 1
    if count > 1:
        cause = f"it holds {count} models"
        raise InputError(path, "its contents", cause, "write one of them to a file of its own")
    # For what it refuses: all locations are fitted.
    resolve_altlocs(records, file=path)
    atoms = records.atoms
    if len(atoms) < 2:
        raise InputError(path, "its atoms", "it holds a single atom", _GIVE_ALL_ATOMS)
    labels = labels_of(records)
    positions = atoms.positions.astype(float)
    restraints = geometry_restraints(positions, labels)
    if len(restraints.bonds) == 0:
        cause = f"no two of its {len(atoms):,} atoms are bonded"
        raise InputError(path, "its atoms", cause, _GIVE_ALL_ATOMS)
    electrons = {e: gemmi.Element(e).atomic_number for e in set(atoms.element.tolist())}
    number = np.array([electrons[e] for e in atoms.element.tolist()], float)
    masses = number * atoms.occupancy / _CARBON
    if not masses.max() > 0:
        cause = "every atom has occupancy 0"
        raise InputError(path, "its occupancies", cause, "set those of atoms that are there to 1")
    return Molecule(records, labels, positions, masses, restraints)


def labels_of(records: AtomRecords) -> AtomLabels:
    """What a model says of its atoms, for its restraints.

    Args:
        records: of one model.

    Returns:
        labels.
    """
    atoms = records.atoms
    starts = residue_starts(atoms)
    residue = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(atoms))))
    return AtomLabels(
        element=atoms.element,
        name=atoms.name,
        residue_name=atoms.residue_name,
        altloc=records.altloc,
        residue=residue,
        residue_number=atoms.residue_number.astype(int),
        chain=np.unique(atoms.chain, return_inverse=True)[1].reshape(-1),
    )


def moved(records: AtomRecords, positions: Float[np.ndarray, "n 3"]) -> AtomRecords:
    """The same model with other coordinates.

    Args:
        records: of one model.
        positions: Å.
    """
    atoms = replace(records.atoms, positions=positions.astype(np.float32))
    return replace(records, atoms=atoms)
