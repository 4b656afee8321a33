"""Multi-head attention of every node over its neighbours, biased by the kind of edge."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.graphs.neighbours import NeighbourLists

Parameters = dict[str, Array]


def init_attention(key: Key[Array, ""], *, channels: int, heads: int, kinds: int) -> Parameters:
    """Parameters of one layer.

    Args:
        key: random key.
        channels: channels of features and result, a multiple of ``heads``.
        heads: number of heads.
        kinds: number of kinds of edges.

    Returns:
        ``query``, ``key``, ``value`` (channels, heads, size), ``output`` (heads, size, channels)
        and ``kind_bias`` (kinds, heads), the bias 0 at first.

    Raises:
        ValueError: the channels do not divide among the heads.
    """
    if channels % heads:
        raise ValueError(f"{channels} channels do not divide among {heads} heads")
    glorot = jax.nn.initializers.glorot_uniform()
    drawn = [glorot(k, (channels, channels), jnp.float32) for k in jax.random.split(key, 4)]
    inward = (channels, heads, channels // heads)
    return {
        "query": drawn[0].reshape(inward),
        "key": drawn[1].reshape(inward),
        "value": drawn[2].reshape(inward),
        "output": drawn[3].reshape(heads, channels // heads, channels),
        "kind_bias": jnp.zeros((kinds, heads)),
    }


def apply_attention(
    params: Parameters, features: Float[Array, "n channels"], neighbours: NeighbourLists
) -> Float[Array, "n channels"]:
    """Softmax-weighted sum of the neighbours' values (Vaswani et al. 2017, on a graph's edges).

    Scores and sums are float32 at least, whatever the features. A node without neighbours gets 0;
    the caller adds the residual.

    Args:
        params: from ``init_attention``.
        features: one row for each node.
        neighbours: of each node.

    Returns:
        update of each node.
    """
    query, key, value = (
        jnp.einsum("nc,chd->nhd", features, params[name]) for name in ("query", "key", "value")
    )
    wide = jnp.promote_types(features.dtype, jnp.float32)
    scores = jnp.einsum(
        "nhd,nkhd->nkh", query, key[neighbours.index], preferred_element_type=wide
    ) / math.sqrt(query.shape[-1])
    weights = _softmax(scores + params["kind_bias"][neighbours.kind], neighbours.mask[..., None])
    mixed = jnp.einsum("nkh,nkhd->nhd", weights, value[neighbours.index].astype(wide))
    return jnp.einsum("nhd,hdc->nc", mixed.astype(features.dtype), params["output"])


def _softmax(scores: Float[Array, "n places heads"], mask: Array) -> Float[Array, "n places heads"]:
    """Softmax over the real places; all 0, with finite gradient, where there is none."""
    highest = jnp.max(jnp.where(mask, scores, -jnp.inf), axis=1, keepdims=True)
    highest = jax.lax.stop_gradient(jnp.where(jnp.isfinite(highest), highest, 0.0))
    exponent = jnp.where(mask, jnp.exp(jnp.where(mask, scores - highest, 0.0)), 0.0)
    total = jnp.sum(exponent, axis=1, keepdims=True)
    return exponent / jnp.where(total > 0, total, 1.0)
