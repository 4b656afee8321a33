"""One compiled function that takes several optimisation steps.

A parameter that belongs to one image (its latent, its shift, its contrast) is a row of a table. A
batch reads and writes only its own rows, together with their optimiser moments, so that a step
costs the same with a thousand images and with a million. The rule is exact rather than approximate:
**every row has an optimiser of its own, which steps when the row's image is seen**, and row r
follows bit for bit the path of that optimiser alone. When each batch holds every image, this is the
dense optimiser; when not, moments do not decay and Adam's bias correction does not advance while an
image is out of sight (PyTorch's ``SparseAdam`` shares one step count among rows; this does not). A
schedule inside a row optimiser therefore counts visits, that is, epochs.
"""

from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from cryojax_graph.training.state import RowOptimizers, TrainState, split_tables

Batch = dict[str, Any]
"""Arrays by name, one row per image; with ``index``, the image's number, and ``weight``, 0 for
padding."""

Metrics = dict[str, Array]

Tree = TypeVar("Tree")


@runtime_checkable
class Loss(Protocol):
    """An objective: scalar to minimise, and scalars to report.

    ``params`` holds, in place of each table, the rows of the batch's images. ``batch`` holds the
    arrays of the reader, ``index``, ``weight`` and ``step``, the number of the step, for schedules.
    Images of weight 0 are padding. ``constants`` are those given to ``make_step``.
    """

    def __call__(
        self,
        params: dict[str, Any],
        batch: Batch,
        *,
        config: Any,
        key: Key[Array, ""],
        **constants: Any,
    ) -> tuple[Float[Array, ""], Metrics]:
        """Value and metrics."""
        ...


Step = Callable[[TrainState, Batch, int], tuple[TrainState, Metrics]]


def make_step(
    loss: Loss,
    optimizer: optax.GradientTransformation,
    *,
    config: Hashable,
    row_optimizers: RowOptimizers | None = None,
    constants: dict[str, Any] | None = None,
) -> Step:
    """Compile ``loss`` and its optimisers to one function of state and stacked batches.

    A step whose loss or gradient is not finite changes no parameter and no moment; it is counted,
    and the next step draws new randomness and another batch.

    Args:
        loss: the objective.
        optimizer: for every parameter outside the tables.
        config: passed to ``loss`` as it is.
        row_optimizers: optimiser of each per-image table, as given to ``init_state``.
        constants: more keyword arguments of ``loss``, trees of arrays that no step changes. They
            are arguments of the compiled program: runs that differ in them alone share it.

    Returns:
        ``step(state, batches, count)``: takes ``count`` steps, one for each of the first ``count``
        batches stacked along the leading axis of every array, and returns the new state and the
        metrics of each step (same leading axis; entries from ``count`` on are zero), with ``loss``,
        ``gradient_norm`` and ``skipped`` added. The state given is donated: do not use it
        afterwards. ``count`` is no compile-time constant, so that a short last group runs the same
        program and how steps are grouped changes no bit of the result.
    """
    tables = row_optimizers or {}

    def several_steps(
        state: TrainState, batches: Batch, count: Int[Array, ""], constants: dict[str, Any]
    ) -> tuple[TrainState, Metrics]:
        def one_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
            return _one_step(
                state,
                batch,
                loss=partial(loss, **constants),
                optimizer=optimizer,
                row_optimizers=tables,
                config=config,
            )

        def batch_at(i: Int[Array, ""]) -> Batch:
            return jax.tree.map(
                lambda x: jax.lax.dynamic_index_in_dim(x, i, keepdims=False), batches
            )

        def body(
            i: Int[Array, ""], carry: tuple[TrainState, Metrics]
        ) -> tuple[TrainState, Metrics]:
            state, history = carry
            state, metrics = one_step(state, batch_at(i))
            return state, jax.tree.map(lambda all_, one: all_.at[i].set(one), history, metrics)

        length = batches["index"].shape[0]
        _, kinds = jax.eval_shape(one_step, state, batch_at(jnp.int32(0)))
        history = jax.tree.map(lambda kind: jnp.zeros((length, *kind.shape), kind.dtype), kinds)
        return jax.lax.fori_loop(0, count, body, (state, history))

    compiled = jax.jit(several_steps, donate_argnums=0)
    never_changed = constants or {}
    return lambda state, batches, count: compiled(state, batches, count, never_changed)


def _one_step(
    state: TrainState,
    batch: Batch,
    *,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    row_optimizers: RowOptimizers,
    config: Hashable,
) -> tuple[TrainState, Metrics]:
    index = batch["index"]
    shared, tables = split_tables(state.params, row_optimizers)
    rows = _gather(tables, index)
    (value, metrics), gradient = jax.value_and_grad(loss, has_aux=True)(
        {**shared, **rows},
        {**batch, "step": state.step},
        config=config,
        key=jax.random.fold_in(state.key, state.step),
    )
    finite = _all_finite((value, gradient))
    shared_gradient, row_gradients = split_tables(gradient, row_optimizers)

    old = shared, state.optimizer_state
    new = _update(optimizer, shared_gradient, state.optimizer_state, shared)
    shared, optimizer_state = _choose(finite, new, old)
    row_states = {}
    for name, row_optimizer in row_optimizers.items():
        old = rows[name], _gather(state.row_states[name], index)
        new = jax.vmap(partial(_update, row_optimizer))(row_gradients[name], old[1], rows[name])
        # The choice is made on rows, before they are written: between tables it would touch all.
        whole = tables[name], state.row_states[name]
        tables[name], row_states[name] = _scatter(whole, index, _choose(finite, new, old))

    bad = (~finite).astype(jnp.int32)
    new_state = TrainState(
        params={**shared, **tables},
        optimizer_state=optimizer_state,
        row_states=row_states,
        step=state.step + 1,
        key=state.key,
        skipped=state.skipped + bad,
        skipped_in_a_row=(state.skipped_in_a_row + 1) * bad,
    )
    norm = optax.tree.norm(gradient)
    return new_state, {"loss": value, "gradient_norm": norm, "skipped": bad, **metrics}


def _update(
    optimizer: optax.GradientTransformation, gradient: PyTree, state: PyTree, params: PyTree
) -> tuple[PyTree, PyTree]:
    updates, state = optimizer.update(gradient, state, params)
    return optax.apply_updates(params, updates), state


def _all_finite(tree: PyTree) -> Bool[Array, ""]:
    return jnp.stack([jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(tree)]).all()


def _choose(condition: Bool[Array, ""], if_true: Tree, if_false: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), if_true, if_false)


def _gather(tables: PyTree, index: Int[Array, " batch"]) -> PyTree:
    # Padding has indices past the end: it reads the last row and writes nothing.
    return jax.tree.map(lambda table: table.at[index].get(mode="clip"), tables)


def _scatter(tables: PyTree, index: Int[Array, " batch"], rows: PyTree) -> PyTree:
    return jax.tree.map(lambda table, row: table.at[index].set(row, mode="drop"), tables, rows)
