"""Atoms move down the energy of their fit, a slice of steps in one compiled program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from cryojax_graph.models.atom_graph.objective import Target, fit_energy

# Bonds are some thousand times stiffer than density: a long memory of squares lets both move.
_MOVER = optax.scale_by_adam(b1=0.9, b2=0.98)


class Descent(NamedTuple):
    """Atoms on their way.

    Attributes:
        positions: Å.
        moments: state of Adam.
    """

    positions: Float[Array, "n 3"]
    moments: optax.OptState


def start_descent(positions: Float[Array, "n 3"]) -> Descent:
    """Atoms at rest.

    Args:
        positions: Å.
    """
    return Descent(positions, _MOVER.init(positions))


def descend(
    target: Target, start: Descent, pull: Float[Array, ""], strides: Float[Array, " steps"]
) -> tuple[Descent, Float[Array, " steps"]]:
    """Some steps of Adam (Kingma & Ba 2015).

    Args:
        target: what atoms are fitted to.
        start: where they are.
        pull: weight of the density, kT per standard deviation at a carbon atom.
        strides: how far an atom goes in each step along an axis, Å.

    Returns:
        where they are then, and the energy before every step, kT.
    """

    def step(now: Descent, stride: Float[Array, ""]) -> tuple[Descent, Float[Array, ""]]:
        energy, slope = jax.value_and_grad(fit_energy, argnums=1)(target, now.positions, pull)
        along, moments = _MOVER.update(slope, now.moments)
        assert isinstance(along, jax.Array)
        return Descent(now.positions - stride * along, moments), energy

    return jax.lax.scan(step, start, jnp.asarray(strides))
