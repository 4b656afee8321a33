"""Graph convolution of Kipf & Welling (2017) on a static graph, for many feature sets at a time.

The normalised adjacency is kept as neighbour lists and applied as a weighted sum of gathered rows
with the batch in the fastest axis. On two CPU cores this beats a dense matrix product and a
segment sum from 56 residues upwards, and its cost grows linearly with the chain.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.graphs.neighbours import NeighbourLists

_SELF_LOOP = 2.0
# Most entries of a row in one group; there are at least two groups, as XLA unrolls a loop of one.
_GROUP = 8

Parameters = dict[str, Array]


class NormalisedAdjacency(NamedTuple):
    """The symmetric matrix D^-1/2 (A + 2 I) D^-1/2 by its rows, their entries in groups.

    Attributes:
        index: column of each entry, shape (groups, entries, nodes).
        weight: value of each entry, 0 in empty ones. It is taken as constant: no gradient reaches
            it.
    """

    index: Int[Array, "groups entries n"]
    weight: Float[Array, "groups entries n"]


def normalised_adjacency(neighbours: NeighbourLists) -> NormalisedAdjacency:
    """Adjacency of an undirected graph with self-loops of weight 2, symmetrically normalised.

    Args:
        neighbours: lists of a graph that holds every edge both ways.

    Returns:
        the matrix; D holds the row sums of A + 2 I.
    """
    n, places = neighbours.index.shape
    scale = 1 / jnp.sqrt(_SELF_LOOP + jnp.sum(neighbours.mask, axis=1, dtype=jnp.float32))
    weight = jnp.where(neighbours.mask, scale[:, None] * scale[neighbours.index], 0.0)
    groups = max(2, math.ceil((places + 1) / _GROUP))
    empty = -(places + 1) % groups
    itself = jnp.arange(n, dtype=neighbours.index.dtype)[:, None]
    index = jnp.concatenate([itself, neighbours.index] + empty * [itself], axis=1)
    loop = _SELF_LOOP * scale[:, None] ** 2
    weight = jnp.concatenate([loop, weight] + empty * [0 * loop], axis=1)
    return NormalisedAdjacency(index.T.reshape(groups, -1, n), weight.T.reshape(groups, -1, n))


def init_convolution(key: Key[Array, ""], *, inputs: int, outputs: int) -> Parameters:
    """Parameters of one layer: Glorot-uniform weight, zero bias.

    Args:
        key: random key.
        inputs: channels of the features.
        outputs: channels of the result.

    Returns:
        ``weight`` (inputs, outputs) and ``bias`` (outputs,).
    """
    weight = jax.nn.initializers.glorot_uniform()(key, (inputs, outputs), jnp.float32)
    return {"weight": weight, "bias": jnp.zeros(outputs)}


def apply_convolution(
    params: Parameters, features: Float[Array, "*batch n inputs"], adjacency: NormalisedAdjacency
) -> Float[Array, "*batch n outputs"]:
    """One layer, H' = D^-1/2 (A + 2 I) D^-1/2 H W + b.

    Give a batch as leading axes rather than by ``vmap``, which would take it out of the fastest
    axis.

    Args:
        params: from ``init_convolution``.
        features: H, one row for each node.
        adjacency: of the graph.

    Returns:
        H'.
    """
    outputs = params["bias"].shape[0]
    result = _convolve(params["weight"], params["bias"], _channels_first(features), adjacency)
    return result.transpose(2, 1, 0).reshape(*features.shape[:-1], outputs)


def init_convolution_stack(key: Key[Array, ""], *, channels: int, layers: int) -> Parameters:
    """Parameters of equal layers in a row.

    Args:
        key: random key.
        channels: channels of every layer.
        layers: how many.

    Returns:
        ``weight`` (layers, channels, channels) and ``bias`` (layers, channels).
    """
    keys = jax.random.split(key, layers)
    return jax.vmap(lambda k: init_convolution(k, inputs=channels, outputs=channels))(keys)


def apply_convolution_stack(
    params: Parameters,
    features: Float[Array, "*batch n channels"],
    adjacency: NormalisedAdjacency,
    *,
    first_residual: bool = True,
) -> Float[Array, "*batch n channels"]:
    """Layers in a row, each H ← ReLU(H') + H.

    Give a batch as leading axes rather than by ``vmap``.

    Args:
        params: from ``init_convolution_stack``.
        features: H, one row for each node.
        adjacency: of the graph.
        first_residual: whether the first layer, too, adds its input.

    Returns:
        H after the last layer.
    """
    keep = jnp.ones(len(params["bias"]), features.dtype).at[0].set(float(first_residual))

    def layer(
        hidden: Float[Array, "channels n batch"], settings: tuple[Array, Array, Array]
    ) -> tuple[Float[Array, "channels n batch"], None]:
        weight, bias, residual = settings
        update = jax.nn.relu(_convolve(weight, bias, hidden, adjacency))
        return update + residual * hidden, None

    start = _channels_first(features)
    result, _ = jax.lax.scan(layer, start, (params["weight"], params["bias"], keep))
    return result.transpose(2, 1, 0).reshape(features.shape)


def _channels_first(features: Float[Array, "*batch n c"]) -> Float[Array, "c n flat"]:
    return features.reshape(-1, *features.shape[-2:]).transpose(2, 1, 0)


def _convolve(
    weight: Float[Array, "inputs outputs"],
    bias: Float[Array, " outputs"],
    hidden: Float[Array, "inputs n batch"],
    adjacency: NormalisedAdjacency,
) -> Float[Array, "outputs n batch"]:
    mixed = (weight.T @ hidden.reshape(len(hidden), -1)).reshape(-1, *hidden.shape[1:])
    return _spread(mixed, adjacency) + bias[:, None, None]


def _spread(
    values: Float[Array, "c n batch"], adjacency: NormalisedAdjacency
) -> Float[Array, "c n batch"]:
    """The adjacency times the values, in float32 at least; its transpose is itself.

    Left alone, JAX would transpose the gathers into scatters, several times slower. A symmetric
    linear solve is the one public primitive that brings its own transpose and still works under
    ``vmap`` and in forward mode: the product is declared to be the solution of a system that is
    never evaluated.
    """
    wide = values.astype(jnp.promote_types(values.dtype, jnp.float32))
    product = jax.lax.custom_linear_solve(
        lambda x: x, wide, lambda _, x: _weighted_rows(x, adjacency), symmetric=True
    )
    return product.astype(values.dtype)


def _weighted_rows(
    values: Float[Array, "c n batch"], adjacency: NormalisedAdjacency
) -> Float[Array, "c n batch"]:
    """Group by group: a loop keeps XLA from merging the gathers with what surrounds them."""

    def add_group(
        total: Float[Array, "c n batch"], group: NormalisedAdjacency
    ) -> tuple[Float[Array, "c n batch"], None]:
        rows = [
            weight[:, None] * values.at[:, index].get(mode="promise_in_bounds")
            for index, weight in zip(group.index, group.weight, strict=True)
        ]
        return total + sum(rows), None

    return jax.lax.scan(add_group, jnp.zeros_like(values), adjacency)[0]
