"""Message passing whose output turns with the structure: tensor products with spherical harmonics.

The layer of Thomas et al. 2018 and Batzner et al. 2022, on neighbour lists, by way of e3nn. That
library takes a second to import, so it is imported on first use.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.geometry.stable import length
from cryojax_graph.graphs.neighbours import NeighbourLists

Parameters = dict[str, Any]


@dataclass(frozen=True)
class EquivariantConfig:
    """Shape of one equivariant layer.

    Attributes:
        irreps_in: representations of the features, as "8x0e+4x1o".
        irreps_out: representations of the result, scalars first.
        kinds: number of kinds of edges.
        cutoff: distance in Å at which messages fade to 0.
        degree: highest degree of the spherical harmonics.
        radial: number of radial functions.
        hidden: width of the network that turns distance and kind into weights.
    """

    irreps_in: str
    irreps_out: str
    kinds: int
    cutoff: float
    degree: int = 2
    radial: int = 8
    hidden: int = 32


def init_equivariant(key: Key[Array, ""], config: EquivariantConfig) -> Parameters:
    """Parameters of one layer.

    Args:
        key: random key.
        config: shape of the layer.

    Returns:
        nested dict of arrays.

    Raises:
        ValueError: ``irreps_out`` does not list its scalars first.
    """
    e3nn = _library()
    gated = _gated_irreps(config)
    if e3nn.gate(e3nn.zeros(gated, ())).irreps != e3nn.Irreps(config.irreps_out).simplify():
        raise ValueError(f"irreps_out {config.irreps_out!r} must list its scalars first")
    first, second, linear, skip = jax.random.split(key, 4)
    message = _message_irreps(config)
    inputs = config.radial + config.kinds
    normal = jax.nn.initializers.lecun_normal()
    return {
        "radial_in": normal(first, (inputs, config.hidden), jnp.float32),
        "radial_out": normal(second, (config.hidden, message.num_irreps), jnp.float32),
        "linear": _linear(gated).init(linear, _ones(message)),
        "skip": _linear(gated).init(skip, _ones(e3nn.Irreps(config.irreps_in))),
    }


def apply_equivariant(
    params: Parameters,
    features: Float[Array, "n inputs"],
    positions: Float[Array, "n 3"],
    neighbours: NeighbourLists,
    *,
    config: EquivariantConfig,
) -> Float[Array, "n outputs"]:
    """Gated sum of the neighbours' features times the harmonics of their directions.

    Args:
        params: from ``init_equivariant``.
        features: one row for each node, laid out as ``config.irreps_in``.
        positions: of the nodes in Å.
        neighbours: of each node.
        config: shape of the layer.

    Returns:
        one row for each node, laid out as ``config.irreps_out``; rotating the positions and the
        input features rotates it alike, shifting the positions leaves it.
    """
    e3nn = _library()
    gated = _gated_irreps(config)
    inputs = e3nn.IrrepsArray(e3nn.Irreps(config.irreps_in), features)
    directions = positions[neighbours.index] - positions[:, None]
    harmonics = e3nn.spherical_harmonics(
        e3nn.Irreps.spherical_harmonics(config.degree), directions, normalize=True
    )
    messages = e3nn.tensor_product(inputs[neighbours.index], harmonics, filter_ir_out=_kept(config))
    weights = _radial_weights(params, length(directions), neighbours.kind, config)
    messages = messages * jnp.where(neighbours.mask[..., None], weights, 0.0)
    count = jnp.maximum(jnp.sum(neighbours.mask, axis=1, keepdims=True), 1)
    received = e3nn.sum(messages, axis=1) / jnp.sqrt(count.astype(features.dtype))
    total = _linear(gated).apply(params["linear"], received)
    total += _linear(gated).apply(params["skip"], inputs)
    return e3nn.gate(total).array


def _library() -> Any:
    import e3nn_jax

    return e3nn_jax


def _radial_weights(
    params: Parameters,
    distance: Float[Array, "n places"],
    kind: Int[Array, "n places"],
    config: EquivariantConfig,
) -> Float[Array, "n places irreps"]:
    """A weight for every representation of a message; 0, smoothly, from the cutoff on."""
    e3nn = _library()
    fade = e3nn.poly_envelope(5, 2, config.cutoff)(distance)[..., None]
    radial = e3nn.bessel(distance, config.radial, config.cutoff)
    inputs = jnp.concatenate([radial, jax.nn.one_hot(kind, config.kinds)], axis=-1)
    return jax.nn.silu(inputs @ params["radial_in"]) @ params["radial_out"] * fade


def _kept(config: EquivariantConfig) -> list[Any]:
    """Kinds of representation that a message may have: those of the result, and gates."""
    e3nn = _library()
    return [ir for _, ir in (e3nn.Irreps(config.irreps_out) + e3nn.Irreps("0e")).regroup()]


def _message_irreps(config: EquivariantConfig) -> Any:
    e3nn = _library()
    harmonics = e3nn.Irreps.spherical_harmonics(config.degree)
    return e3nn.tensor_product(
        e3nn.Irreps(config.irreps_in), harmonics, filter_ir_out=_kept(config)
    )


def _gated_irreps(config: EquivariantConfig) -> Any:
    """The result's scalars, one more scalar as gate for every other representation, and these."""
    e3nn = _library()
    result = e3nn.Irreps(config.irreps_out)
    scalars, others = result.filter(["0e", "0o"]), result.filter(drop=["0e", "0o"])
    return scalars + e3nn.Irreps(f"{others.num_irreps}x0e") + others


def _ones(irreps: Any) -> Any:
    """An example of features; zeros would be left out of the parameters as known to be zero."""
    return _library().IrrepsArray(irreps, jnp.ones((1, irreps.dim)))


def _linear(irreps: Any) -> Any:
    e3nn = _library()
    return e3nn.flax.Linear(irreps, force_irreps_out=True)
