"""A model before and after its fit, in figures."""

from typing import NamedTuple

import numpy as np

from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.fit.molecule import Molecule
from cryojax_graph.jobs.fit.search import Fitted
from cryojax_graph.jobs.map_parts import part_around
from cryojax_graph.metrics import atom_density, masked_correlation
from cryojax_graph.protein import (
    GeometryScores,
    count_clashes,
    find_contacts,
    pairs_within_bonds,
    score_geometry,
)

# Width of an atom at a resolution, as programs that simulate maps of models have it.
WIDTH = 0.225
# Widths beyond which a drawn atom is 0.
_REACH = 4.0
# Å that a backbone moves, and the least gain in correlation that pays for it: on simulated maps at
# 3.5 Å a true error of 0.3 Å pays 0.022 when it is mended.
_MOVED, _PAID = 0.15, 0.02
# Of amino acids and of nucleotides.
_BACKBONE = ("N", "CA", "C", "O", "P", "O5'", "C5'", "C4'", "C3'", "O3'")


class FitScores(NamedTuple):
    """Figures of a fit; pairs are before and after.

    Attributes:
        density: mean at heavy atoms, weighted by occupancy, standard deviations above the mean.
        correlation: of the map with the density of the model, at voxels near the model.
        geometry: deviations from the restraints.
        clashes: number of pairs of atoms that are too close.
        shift: of atoms, root mean square, Å.
        largest_shift: of an atom, Å.
        backbone: density at backbone atoms, as at heavy ones; at these where there are none.
        backbone_shift: of the same atoms, root mean square, Å.
    """

    density: tuple[float, float]
    correlation: tuple[float, float]
    geometry: tuple[GeometryScores, GeometryScores]
    clashes: tuple[int, int]
    shift: float
    largest_shift: float
    backbone: tuple[float, float]
    backbone_shift: float

    @property
    def pays(self) -> bool:
        """Whether the map is so much better explained that moving the backbone was worth it."""
        before, after = self.correlation
        return self.backbone_shift <= _MOVED or after - before >= _PAID


def scores_of(density: Map, molecule: Molecule, fitted: Fitted, resolution: float) -> FitScores:
    """Compare a model with its map and its restraints, before and after.

    Args:
        density: the map.
        molecule: the model as given.
        fitted: the model in the map.
        resolution: of the map, Å.

    Returns:
        figures.
    """
    occupancy = molecule.records.atoms.occupancy * molecule.heavy
    states, width = (molecule.positions, fitted.positions), WIDTH * resolution
    part = part_around(density, np.concatenate(states), _REACH * width / density.voxel_size)
    drawn = [
        atom_density(
            part.values.shape,
            part.voxel_size,
            part.origin,
            positions,
            molecule.masses,
            width=width,
        )
        for positions in states
    ]
    # The same voxels for both, so that the figures can be compared.
    near = (drawn[0] != 0) | (drawn[1] != 0)
    bonds = np.asarray(molecule.restraints.bonds)
    joined = pairs_within_bonds(bonds, len(molecule.masses))
    backbone = occupancy * np.isin(molecule.labels.name, _BACKBONE)
    if not backbone.any():
        backbone = occupancy
    before, after = (np.average(v, weights=occupancy) for v in (fitted.before, fitted.after))
    low, high = (np.average(v, weights=backbone) for v in (fitted.before, fitted.after))
    first, second = (masked_correlation(part.values, d, near) for d in drawn)
    shift = np.sum((states[1] - states[0]) ** 2, axis=1)
    clashes = [count_clashes(find_contacts(p, molecule.labels, joined), p) for p in states]
    return FitScores(
        (float(before), float(after)),
        (first, second),
        (
            score_geometry(molecule.restraints, states[0]),
            score_geometry(molecule.restraints, states[1]),
        ),
        (clashes[0], clashes[1]),
        float(np.sqrt(shift.mean())),
        float(np.sqrt(shift.max())),
        (float(low), float(high)),
        float(np.sqrt(np.average(shift, weights=backbone))),
    )
