"""What is minimised when a model is fitted to a map: energy of its geometry less its density."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.fields import Field
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.protein import (
    Contacts,
    GeometryRestraints,
    repulsion_energy,
    restraint_energy,
)

# Half the width of the peak of an atom: there its density is steepest.
_ASIDE = 0.3


class Target(NamedTuple):
    """What atoms are fitted to.

    Attributes:
        field: density of the map.
        masses: weight of the density at each atom, for instance electrons times occupancy in those
            of carbon.
        scale: of the density, map units; its standard deviation.
        restraints: of the geometry.
        contacts: of the neighbourhood.
    """

    field: Field
    masses: Float[Array, " n"]
    scale: Float[Array, ""]
    restraints: GeometryRestraints
    contacts: Contacts


def density_score(target: Target, positions: Float[Array, "n 3"]) -> Float[Array, ""]:
    """Weighted sum of the density at the atoms.

    Args:
        target: what they are fitted to.
        positions: Å.

    Returns:
        in standard deviations of the map.
    """
    values = target.field.values(positions)
    return jnp.sum(target.masses * values) / target.scale


def fit_energy(
    target: Target, positions: Float[Array, "n 3"], pull: Float[Array, ""]
) -> Float[Array, ""]:
    """Minus log-probability of the geometry, less the density times its weight.

    Args:
        target: what atoms are fitted to.
        positions: Å.
        pull: weight of the density, kT per standard deviation at a carbon atom.

    Returns:
        kT.
    """
    geometry = restraint_energy(target.restraints, positions)
    geometry += repulsion_energy(target.contacts, positions)
    return geometry - pull * density_score(target, positions)


def first_pull(
    key: Key[Array, ""],
    target: Target,
    positions: Float[Array, "n 3"],
    *,
    deviation: Scalar,
    bond_deviation: float = 0.02,
) -> Float[Array, ""]:
    """Weight at which the density pulls at atoms about as strongly as a stretched bond does.

    Args:
        key: draws where the pull of the density is looked at: atoms that stand on a peak feel none.
        target: what atoms are fitted to.
        positions: Å.
        deviation: by which the bond is stretched, Å.
        bond_deviation: standard deviation of a bond, Å.

    Returns:
        kT per standard deviation at a carbon atom.
    """
    aside = positions + _ASIDE * jax.random.normal(key, positions.shape)
    slope = jax.grad(density_score, argnums=1)(target, aside)
    size = jnp.sqrt(jnp.mean(jnp.sum(slope**2, axis=1)))
    return jnp.asarray(deviation) / bond_deviation**2 / jnp.where(size > 0, size, 1.0)
