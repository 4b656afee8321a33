"""Latent to conformation: the published graph decoder, its baseline, and the elastic one."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.graphs import apply_convolution_stack, init_convolution_stack
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
    params: Params,
    latents: Float[Array, "*batch latent"],
    *,
    config: DecoderConfig,
    template: Template,
) -> Float[Array, "*batch n 3"]:
    """Conformations of latents.

    Args:
        params: from ``init``.
        latents: one or many; give many as leading axes rather than by ``vmap``, which costs the
            graph decoder half its speed.
        config: as for ``init``.
        template: as for ``init``.

    Returns:
        C-alpha positions in Å, in the frame of the template.
    """
    return template.c_alpha + _DISPLACE[config.kind](params, latents, config, template)


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
    embed, nodes, layers, displace = jax.random.split(key, 4)
    latent, features = config.latent_size, config.features
    return {
        "embed": _linear(embed, latent, latent),
        "nodes": _linear(nodes, latent, len(template.c_alpha) * features),
        "layers": init_convolution_stack(layers, channels=features, layers=config.layers),
        "displace": _linear(displace, features, 3),
    }


def _displace_gcn(
    params: Params,
    latents: Float[Array, "*batch latent"],
    config: DecoderConfig,
    template: Template,
) -> Float[Array, "*batch n 3"]:
    """Graph convolutions with residual connections over the bonds of the backbone."""
    assert template.adjacency is not None
    embedded = jax.nn.relu(_affine(params["embed"], latents))
    nodes = _affine(params["nodes"], embedded)
    nodes = apply_convolution_stack(
        params["layers"],
        nodes.reshape(*latents.shape[:-1], -1, config.features),
        template.adjacency,
        # As published: the first layer adds its input only where latent and features have one size.
        first_residual=config.features == config.latent_size,
    )
    return _affine(params["displace"], nodes)


def _init_mlp(key: Key[Array, ""], config: DecoderConfig, template: Template) -> Params:
    sizes = [config.latent_size] + [config.width] * (config.layers + 1)
    sizes.append(3 * len(template.c_alpha))
    keys = jax.random.split(key, len(sizes) - 1)
    return {f"layer_{i}": _linear(k, sizes[i], sizes[i + 1]) for i, k in enumerate(keys)}


def _displace_mlp(
    params: Params,
    latents: Float[Array, "*batch latent"],
    config: DecoderConfig,
    template: Template,
) -> Float[Array, "*batch n 3"]:
    x = latents
    for number in range(len(params) - 1):
        x = jax.nn.relu(_affine(params[f"layer_{number}"], x))
    return _affine(params[f"layer_{len(params) - 1}"], x).reshape(*latents.shape[:-1], -1, 3)


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
    params: Params,
    latents: Float[Array, "*batch latent"],
    config: DecoderConfig,
    template: Template,
) -> Float[Array, "*batch n 3"]:
    """Amplitudes of the modes: linear in the latent, plus a smooth curve."""
    x = latents
    for number in range(config.layers):
        step = jnp.tanh(_affine(params["hidden"][f"layer_{number}"], x))
        x = step if number == 0 else x + step
    amplitudes = x @ params["curved"] + latents @ params["straight"] + params["mean"]
    return jnp.tensordot(amplitudes, template.modes, axes=1, precision="highest")


_INIT = {"gcn": _init_gcn, "mlp": _init_mlp, "elastic": _init_elastic}
_DISPLACE = {"gcn": _displace_gcn, "mlp": _displace_mlp, "elastic": _displace_elastic}
