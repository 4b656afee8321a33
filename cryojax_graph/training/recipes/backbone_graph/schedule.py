"""The learning rate over a run, its lengths part of the state and not of the program."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

_START, _END = 0.1, 0.02


class ScheduleState(NamedTuple):
    """Where a run stands.

    Attributes:
        count: steps taken.
        warm_up: steps in which the rate rises.
        rest: steps in which it falls.
    """

    count: Int[Array, ""]
    warm_up: Int[Array, ""]
    rest: Int[Array, ""]


def scale_by_run(
    rate: float, *, warm_up: int, rest: int, decay: bool
) -> optax.GradientTransformation:
    """Multiply updates by minus a rate that rises from a tenth and falls along half a cosine.

    Runs of all lengths share one compiled step, for the lengths are arrays of the state.

    Args:
        rate: the highest.
        warm_up: steps until it is reached.
        rest: steps from there to a fiftieth of it.
        decay: whether it falls at all.

    Returns:
        the transformation, to follow one without a rate, such as ``optax.scale_by_adam``.
    """

    def init(params: optax.Params) -> ScheduleState:
        del params
        return ScheduleState(jnp.zeros((), int), jnp.asarray(warm_up), jnp.asarray(rest))

    def update(
        updates: optax.Updates, state: optax.OptState, params: optax.Params | None = None
    ) -> tuple[optax.Updates, optax.OptState]:
        del params
        assert isinstance(state, ScheduleState)
        step = -rate * relative_rate(state, decay=decay)
        updates = jax.tree.map(lambda u: step.astype(u.dtype) * u, updates)
        return updates, state._replace(count=state.count + 1)

    return optax.GradientTransformation(init, update)


def relative_rate(state: ScheduleState, *, decay: bool) -> Float[Array, ""]:
    """The rate of the next step as a share of the highest.

    Args:
        state: of the run.
        decay: whether it falls after the warm-up.
    """
    rising = _START + (1.0 - _START) * state.count / state.warm_up
    done = jnp.clip((state.count - state.warm_up) / state.rest, 0.0, 1.0)
    falling = _END + (1.0 - _END) * 0.5 * (1.0 + jnp.cos(jnp.pi * done)) if decay else 1.0
    return jnp.where(state.count < state.warm_up, rising, falling)
