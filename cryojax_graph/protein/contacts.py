"""Atoms that no bond joins keep their distance."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.geometry.stable import length
from cryojax_graph.protein.covalent import AtomLabels
from cryojax_graph.protein.pairs import pairs_within

# Bondi (1964), J. Phys. Chem. 68, 441, Å; hydrogens as they are bonded to carbon.
_CONTACT_RADII = {"H": 1.0, "D": 1.0, "C": 1.70, "N": 1.55, "O": 1.52, "F": 1.47, "P": 1.80}
_CONTACT_RADII |= {"S": 1.80, "Cl": 1.75, "Se": 1.90, "Br": 1.85, "I": 1.98}
_OVERLAP = 0.5
# Hydrogen bonds are closer.
_POLAR, _LEAST_POLAR, _LEAST_HYDROGEN = ("N", "O", "S", "F"), 2.3, 1.6
# How far two atoms may come together before the list is made again, Å.
_SKIN = 1.0


class Contacts(NamedTuple):
    """Pairs of atoms that must not come too close.

    Attributes:
        pairs: atoms more than three bonds apart; an atom with itself where the list is padded.
        least: distance below which a pair costs energy, Å; 0 where the list is padded.
    """

    pairs: Int[Array | np.ndarray, "contacts 2"]
    least: Float[Array | np.ndarray, " contacts"]


def repulsion_energy(
    contacts: Contacts, positions: Float[Array, "n 3"], *, deviation: float = 0.1
) -> Float[Array, ""]:
    """Energy of atoms that are too close to each other.

    Args:
        contacts: of the model.
        positions: Å.
        deviation: overlap that costs one half kT, Å.

    Returns:
        sum over pairs of half the squared overlap in deviations.
    """
    first, second = contacts.pairs[:, 0], contacts.pairs[:, 1]
    overlap = jnp.maximum(contacts.least - length(positions[first] - positions[second]), 0.0)
    return 0.5 * jnp.sum(overlap**2) / deviation**2


def find_contacts(
    positions: Float[np.ndarray, "n 3"],
    labels: AtomLabels,
    joined: Int[np.ndarray, " pairs"],
    *,
    size: int = 0,
) -> Contacts:
    """Pairs of atoms that are near each other and might come too close.

    Closer than the sum of their van der Waals radii less 0.5 Å is too close; 2.3 Å where both may
    share a hydrogen, 1.6 Å for a hydrogen and what it is shared with. Metals touch anything.

    Args:
        positions: Å.
        labels: of the atoms.
        joined: pairs that few bonds join, from ``pairs_within_bonds``.
        size: least length of the list, so that lists of several rounds fit one compiled program.

    Returns:
        pairs that are not farther than 1 Å from being too close.
    """
    element = labels.element
    radius = np.array([_CONTACT_RADII.get(e, np.nan) for e in element.tolist()])
    pairs = pairs_within(positions, 2 * max(_CONTACT_RADII.values()) - _OVERLAP + _SKIN)
    pairs = pairs[~np.isin(pairs[:, 0].astype(np.int64) * len(positions) + pairs[:, 1], joined)]
    first, second = pairs.T
    apart = np.linalg.norm(positions[first] - positions[second], axis=1)
    least = radius[first] + radius[second] - _OVERLAP
    polar, hydrogen = np.isin(element, _POLAR), np.isin(element, ("H", "D"))
    least = np.where(polar[first] & polar[second], _LEAST_POLAR, least)
    shared = (polar[first] & hydrogen[second]) | (hydrogen[first] & polar[second])
    least = np.where(shared, _LEAST_HYDROGEN, least)
    place = labels.altloc
    together = (place[first] == place[second]) | (place[first] == "") | (place[second] == "")
    kept = together & (apart < least + _SKIN)
    more = max(size - int(kept.sum()), 0)
    return Contacts(
        np.pad(pairs[kept], ((0, more), (0, 0))).astype(np.int32),
        np.pad(least[kept], (0, more)).astype(np.float32),
    )
