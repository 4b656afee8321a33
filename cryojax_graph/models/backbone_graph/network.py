"""Latent to conformation: the published graph decoder, its baseline, and the elastic one."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.models.backbone_graph.config import DecoderConfig
from cryojax_graph.models.backbone_graph.template import Template

Params = dict[str, Any]


def init(key: Key[Array, ""], config: DecoderConfig, template: Template) -> Params:
    """Parameters of a decoder.

    Args:
        key: the draw.
        config: kind and sizes.
        template: what it moves.

    Returns:
        nested dict of arrays.
    """
    return _INIT[config.kind](key, config, template)


def apply(
    params: Params, latent: Float[Array, " latent"], *, config: DecoderConfig, template: Template
) -> Float[Array, "n 3"]:
    """Conformation of one image.

    Args:
        params: from ``init``.
        latent: of the image.
        config: as for ``init``.
        template: as for ``init``.

    Returns:
        C-alpha positions in Å, in the frame of the template.
    """
    return template.c_alpha + _DISPLACE[config.kind](params, latent, config, template)


def _linear(key: Key[Array, ""], inputs: int, outputs: int) -> Params:
    """Weights and biases uniform in ±1/sqrt(inputs), as PyTorch draws them."""
    bound = 1.0 / math.sqrt(inputs)
    for_weight, for_bias = jax.random.split(key)
    return {
        "weight": jax.random.uniform(for_weight, (inputs, outputs), minval=-bound, maxval=bound),
        "bias": jax.random.uniform(for_bias, (outputs,), minval=-bound, maxval=bound),
    }


def _affine(params: Params, x: Float[Array, "*batch inputs"]) -> Float[Array, "*batch outputs"]:
    return x @ params["weight"] + params["bias"]


def _init_gcn(key: Key[Array, ""], config: DecoderConfig, template: Template) -> Params:
    keys = jax.random.split(key, config.layers + 3)
    latent, features = config.latent_size, config.features
    # Graph layers: Glorot weights and no bias at the start, as published.
    bound = math.sqrt(3.0 / features)
    weights = [
        jax.random.uniform(k, (features, features), minval=-bound, maxval=bound)
        for k in keys[: config.layers]
    ]
    return {
        "embed": _linear(keys[-3], latent, latent),
        "nodes": _linear(keys[-2], latent, len(template.c_alpha) * features),
        "layers": {
            "weight": jnp.stack(weights),
            "bias": jnp.zeros((config.layers, features)),
        },
        "displace": _linear(keys[-1], features, 3),
    }


def _displace_gcn(
    params: Params, latent: Float[Array, " latent"], config: DecoderConfig, template: Template
) -> Float[Array, "n 3"]:
    """Graph convolutions with residual connections (science: Kipf & Welling 2017, improved)."""
    embedded = jax.nn.relu(_affine(params["embed"], latent))
    nodes = _affine(params["nodes"], embedded).reshape(-1, config.features)
    for number in range(config.layers):
        weight = params["layers"]["weight"][number]
        message = template.adjacency @ (nodes @ weight) + params["layers"]["bias"][number]
        # The first layer has no residual unless latent and features have one size, as published.
        residual = number > 0 or config.features == config.latent_size
        nodes = jax.nn.relu(message) + (nodes if residual else 0.0)
    return _affine(params["displace"], nodes)


def _init_mlp(key: Key[Array, ""], config: DecoderConfig, template: Template) -> Params:
    sizes = [config.latent_size] + [config.width] * (config.layers + 1)
    sizes.append(3 * len(template.c_alpha))
    keys = jax.random.split(key, len(sizes) - 1)
    return {f"layer_{i}": _linear(k, sizes[i], sizes[i + 1]) for i, k in enumerate(keys)}


def _displace_mlp(
    params: Params, latent: Float[Array, " latent"], config: DecoderConfig, template: Template
) -> Float[Array, "n 3"]:
    x = latent
    for number in range(len(params) - 1):
        x = jax.nn.relu(_affine(params[f"layer_{number}"], x))
    return _affine(params[f"layer_{len(params) - 1}"], x).reshape(-1, 3)


def _init_elastic(key: Key[Array, ""], config: DecoderConfig, template: Template) -> Params:
    keys = jax.random.split(key, config.layers + 2)
    modes, width = len(template.modes), config.width
    sizes = [config.latent_size] + [width] * config.layers
    hidden = [
        {
            "weight": jax.random.normal(k, (a, b)) / math.sqrt(a),
            "bias": jnp.zeros(b),
        }
        for k, a, b in zip(keys, sizes[:-1], sizes[1:], strict=False)
    ]
    return {
        "hidden": {f"layer_{i}": layer for i, layer in enumerate(hidden)},
        # Small at the start: the first conformation is the template.
        "curved": 1e-2 * jax.random.normal(keys[-2], (width, modes)),
        "straight": 1e-2 * jax.random.normal(keys[-1], (config.latent_size, modes)),
        "mean": jnp.zeros(modes),
    }


def _displace_elastic(
    params: Params, latent: Float[Array, " latent"], config: DecoderConfig, template: Template
) -> Float[Array, "n 3"]:
    """Amplitudes of the modes: linear in the latent, plus a smooth curve."""
    x = latent
    for number in range(config.layers):
        step = jnp.tanh(_affine(params["hidden"][f"layer_{number}"], x))
        x = step if number == 0 else x + step
    amplitudes = x @ params["curved"] + latent @ params["straight"] + params["mean"]
    return jnp.tensordot(amplitudes, template.modes, axes=1)


_INIT = {"gcn": _init_gcn, "mlp": _init_mlp, "elastic": _init_elastic}
_DISPLACE = {"gcn": _displace_gcn, "mlp": _displace_mlp, "elastic": _displace_elastic}
