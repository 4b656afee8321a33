"""Networks between the memory of a field and the arrays of a file."""

from dataclasses import replace
from functools import partial
from typing import cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import Layer, NeuralField, Patches, query, voxel_grid
from cryojax_graph.fields.patches import Blend
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.parts import in_parts
from cryojax_graph.training.loop import TrainingDiverged

# Processor time per weight and point: for the value, with the gradient, with the Hessian.
VALUE_SECONDS, GRADIENT_SECONDS, HESSIAN_SECONDS = 1e-10, 4e-10, 1.5e-9
_NONE = np.iinfo(np.int32).max


def store_networks(field: NeuralField, density: Map) -> StoredNetworks:
    """Round networks to half precision, and measure how far they are from a map then.

    Args:
        field: trained on the map.
        density: the map.

    Returns:
        what a file keeps.

    Raises:
        TrainingDiverged: a weight is beyond the range of half precision.
    """
    network = np.asarray(field.network)
    # A stack may have more of them, to fill up devices.
    used = len(field.layers[0].bias)
    networks = int(np.max(network, where=network < used, initial=0)) + 1
    kernels, biases = (
        tuple(_half(getattr(layer, name)[:networks]) for layer in field.layers)
        for name in ("kernel", "bias")
    )
    if not all(np.isfinite(weights).all() for weights in (*kernels, *biases)):
        raise TrainingDiverged("weights are beyond half precision; lower --networks.rate")
    stored = StoredNetworks(
        kernels=kernels,
        biases=biases,
        network=np.where(network < networks, network, -1).astype(np.int32),
        constant=np.asarray(field.constant, np.float32),
        offset=float(field.offset),
        scale=float(field.scale),
        shape=field.shape,
        origin=np.asarray(density.origin, np.float64),
        voxel_size=np.asarray(density.voxel_size, np.float64),
        starts=field.patches.starts,
        size=field.patches.size,
        omega=field.omega,
        blend=field.blend,
        largest_error=0.0,
        rms_error=0.0,
    )
    error = _at_voxels(build_networks(stored), density) - density.values.reshape(-1)
    return replace(
        stored,
        largest_error=float(np.abs(error).max()),
        rms_error=float(np.sqrt(np.mean(error**2, dtype=np.float64))),
    )


def build_networks(stored: StoredNetworks) -> NeuralField:
    """The field of stored networks.

    Args:
        stored: the networks.

    Returns:
        the field, in single precision.
    """
    return NeuralField(
        layers=tuple(
            Layer(jnp.asarray(kernel, jnp.float32), jnp.asarray(bias, jnp.float32))
            for kernel, bias in zip(stored.kernels, stored.biases, strict=True)
        ),
        network=jnp.asarray(np.where(stored.network < 0, _NONE, stored.network)),
        constant=jnp.asarray(stored.constant),
        offset=jnp.float32(stored.offset),
        scale=jnp.float32(stored.scale),
        grid=voxel_grid(stored.origin, stored.voxel_size),
        patches=Patches(stored.starts, stored.size),
        shape=stored.shape,
        omega=stored.omega,
        blend=cast(Blend, stored.blend),
    )


def weights_of(stored: StoredNetworks) -> int:
    """Weights of one network, which is what a question costs.

    Args:
        stored: the networks.

    Returns:
        kernels and biases.
    """
    return sum(array[0].size for array in (*stored.kernels, *stored.biases))


def describe_networks(stored: StoredNetworks) -> str:
    """What one says of networks: how many, how large, how true to their voxels.

    Args:
        stored: the networks.

    Returns:
        without a full stop.
    """
    count, width = len(stored.kernels[0]), stored.kernels[0].shape[2]
    many = f"{count:,} network{'s' * (count > 1)}"
    return (
        f"{many} of {len(stored.kernels) - 1} sine layers of {width}, off by "
        f"{stored.rms_error:.3g} (root mean square) and at most {stored.largest_error:.3g} at "
        "the voxels"
    )


def _half(weights: jax.Array) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(weights).astype(np.float16)


def _at_voxels(field: NeuralField, density: Map) -> Float[np.ndarray, " n"]:
    index = np.stack(np.unravel_index(np.arange(density.values.size), density.values.shape), 1)
    points = density.origin + index[:, ::-1] * density.voxel_size
    return in_parts(partial(_ask, field), points)


_ask = jax.jit(query)
