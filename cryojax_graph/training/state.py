"""Everything that a run must carry from one step to the next."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, Key, PyTree

RowOptimizers = Mapping[str, optax.GradientTransformation]
"""Optimiser of each per-image table, by the table's name in the parameters."""


class TrainState(NamedTuple):
    """Parameters, optimiser moments and counters; a pytree that a checkpoint holds whole.

    Attributes:
        params: nested dict of arrays; per-image tables are top-level entries whose leaves have one
            row per image.
        optimizer_state: state of the optimiser of all parameters but the tables.
        row_states: for each table, the state of one optimiser per row (leading axis: images).
        step: number of steps taken, skipped ones included.
        key: root of all randomness; step s draws from ``fold_in(key, s)``.
        skipped: steps whose gradient was not finite, over the whole run.
        skipped_in_a_row: the same since the last good step.
    """

    params: dict[str, Any]
    optimizer_state: optax.OptState
    row_states: dict[str, optax.OptState]
    step: Int[Array, ""]
    key: Key[Array, ""]
    skipped: Int[Array, ""]
    skipped_in_a_row: Int[Array, ""]


def init_state(
    key: Key[Array, ""],
    params: dict[str, Any],
    optimizer: optax.GradientTransformation,
    *,
    row_optimizers: RowOptimizers | None = None,
) -> TrainState:
    """State before the first step.

    Args:
        key: root of the run's randomness.
        params: nested dict of arrays.
        optimizer: for every parameter outside the tables.
        row_optimizers: for each per-image table its optimiser; the name is a top-level name in
            ``params`` and every leaf below it has one row per image.

    Returns:
        a state at step 0; its arrays are copies, because a step donates the state that it is given.
    """
    row_optimizers = row_optimizers or {}
    # A Python number would make a weakly typed leaf, whose type changes with the first step: the
    # step function would be compiled twice.
    params = jax.tree.map(lambda leaf: jnp.array(leaf, jnp.result_type(leaf), copy=True), params)
    dense, tables = split_tables(params, row_optimizers)
    return TrainState(
        params=params,
        optimizer_state=optimizer.init(dense),
        row_states={name: jax.vmap(row_optimizers[name].init)(tables[name]) for name in tables},
        step=jnp.zeros((), jnp.int32),
        key=jax.random.clone(key),
        skipped=jnp.zeros((), jnp.int32),
        skipped_in_a_row=jnp.zeros((), jnp.int32),
    )


def split_tables(
    params: dict[str, Any], row_optimizers: RowOptimizers
) -> tuple[dict[str, PyTree], dict[str, PyTree]]:
    """Part the parameters into those that every image shares and the per-image tables.

    Args:
        params: nested dict of arrays.
        row_optimizers: by table name.

    Returns:
        the shared parameters and the tables, both by top-level name.
    """
    dense = {name: value for name, value in params.items() if name not in row_optimizers}
    return dense, {name: params[name] for name in row_optimizers}
