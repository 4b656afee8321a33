"""Parts of a model move as rigid bodies to where a map is highest."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from cryojax_graph.fields import Field
from cryojax_graph.geometry.rotations import exp_map
from cryojax_graph.geometry.stable import product

_MOVER = optax.scale_by_adam()


class RigidDescent(NamedTuple):
    """Bodies on their way.

    Attributes:
        motion: of each body: rotation vector times its radius, and translation, Å.
        moments: state of Adam.
    """

    motion: Float[Array, "bodies 6"]
    moments: optax.OptState


def start_rigid(bodies: int) -> RigidDescent:
    """Bodies where they are.

    Args:
        bodies: their number.
    """
    motion = jnp.zeros((bodies, 6))
    return RigidDescent(motion, _MOVER.init(motion))


def move_bodies(
    positions: Float[Array, "n 3"], body: Int[Array, " n"], motion: Float[Array, "bodies 6"]
) -> Float[Array, "n 3"]:
    """Turn every body about its centre, then shift it.

    Args:
        positions: of the atoms, Å.
        body: that each belongs to.
        motion: rotation vector times the radius of gyration, and translation, Å, so that all six
            numbers move atoms by about as much.

    Returns:
        Å.
    """
    count = len(motion)
    members = jnp.maximum(jnp.zeros(count).at[body].add(1.0), 1.0)
    centre = jnp.zeros((count, 3)).at[body].add(positions) / members[:, None]
    arm = positions - centre[body]
    radius = jnp.sqrt(jnp.zeros(count).at[body].add(jnp.sum(arm**2, axis=1)) / members)
    turn = jax.vmap(exp_map)(motion[:, :3] / jnp.maximum(radius, 1.0)[:, None])
    turned = product(turn[body], arm[:, :, None])[:, :, 0]
    return centre[body] + turned + motion[body, 3:]


def descend_rigid(
    field: Field,
    masses: Float[Array, " n"],
    positions: Float[Array, "n 3"],
    body: Int[Array, " n"],
    start: RigidDescent,
    strides: Float[Array, " steps"],
) -> tuple[RigidDescent, Float[Array, " steps"]]:
    """Some steps of Adam towards the highest density.

    Args:
        field: density of a map, smooth on the scale of the way to go.
        masses: weight of the density at each atom.
        positions: of the atoms before any motion, Å.
        body: that each belongs to.
        start: where the bodies are.
        strides: how far a body goes in each step, Å.

    Returns:
        where they are then, and the weighted mean of the density before every step, map units.
    """
    # Adam does not mind the scale of a map, but for the smallest numbers.
    share = masses / jnp.sum(masses)
    level = jnp.max(jnp.abs(field.values(positions)))
    level = jax.lax.stop_gradient(jnp.where(level > 0, level, 1.0))

    def loss(motion: Float[Array, "bodies 6"]) -> Float[Array, ""]:
        values = field.values(move_bodies(positions, body, motion))
        return -jnp.sum(share * values) / level

    def step(now: RigidDescent, stride: Float[Array, ""]) -> tuple[RigidDescent, Array]:
        value, slope = jax.value_and_grad(loss)(now.motion)
        along, moments = _MOVER.update(slope, now.moments)
        assert isinstance(along, jax.Array)
        return RigidDescent(now.motion - stride * along, moments), -value * level

    return jax.lax.scan(step, start, jnp.asarray(strides))
