"""Networks between the memory of a field and the arrays of a file."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import Layer, NeuralField, Patches, query, voxel_grid
from cryojax_graph.fields.patches import Blend
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.parts import in_parts
from cryojax_graph.training.loop import TrainingDiverged

# Processor time per weight and point: for the value, with the gradient, with the Hessian.
VALUE_SECONDS, GRADIENT_SECONDS, HESSIAN_SECONDS = 1e-10, 4e-10, 1.5e-9
_NONE = np.iinfo(np.int32).max
# Of a voxel: what single precision leaves of the place of one.
_OFF = 0.02


def store_networks(field: NeuralField, density: Map) -> StoredNetworks:
    """Round networks to half precision, and measure how far they are from their voxels then.

    Args:
        field: trained on the map, or on a part of it.
        density: the map.

    Returns:
        what a file keeps, where the map has it.

    Raises:
        InputError: the map does not have the voxels that the networks were trained on.
        TrainingDiverged: a weight is beyond the range of half precision.
    """
    density = _learned_of(density, field)
    network = np.asarray(field.network)
    # A stack may have more of them, to fill up devices.
    used = len(field.layers[0].bias)
    networks = int(np.max(network, where=network < used, initial=0)) + 1
    kernels, biases = (
        tuple(_half(getattr(layer, name)[:networks]) for layer in field.layers)
        for name in ("kernel", "bias")
    )
    if not all(np.isfinite(weights).all() for weights in (*kernels, *biases)):
        raise TrainingDiverged("weights are beyond half precision")
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
    error = voxels_of(stored).values - density.values
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


def voxels_of(
    stored: StoredNetworks,
    *,
    advance: Callable[[int], Any] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Map:
    """The part of a map that networks know, as they know it.

    Args:
        stored: the networks.
        advance: told the number of voxels that are done.
        check_abort: called between parts of the work.

    Returns:
        its voxels.
    """
    index = np.stack(np.unravel_index(np.arange(np.prod(stored.shape)), stored.shape), 1)
    points = stored.origin + index[:, ::-1] * stored.voxel_size
    ask = partial(_ask, build_networks(stored))
    values = in_parts(ask, points, advance=advance, check_abort=check_abort)
    return Map(values.reshape(stored.shape), stored.voxel_size, stored.origin)


def _learned_of(density: Map, field: NeuralField) -> Map:
    """The voxels of a map that networks were trained on, in their place."""
    voxel_size, origin = (
        np.asarray(of_grid, np.float64) for of_grid in (field.grid.voxel_size, field.grid.origin)
    )
    # Fields have their grid in single precision, maps in double.
    first = (origin - density.origin) / density.voxel_size
    start = np.rint(first).astype(int)[::-1]
    last = first + (np.array(field.shape[::-1]) - 1) * (voxel_size / density.voxel_size)
    on_voxels = all(np.allclose(at, np.rint(at), rtol=0, atol=_OFF) for at in (first, last))
    as_many = np.rint(last - first).astype(int)[::-1] == np.array(field.shape) - 1
    inside = (start >= 0) & (start + field.shape <= density.values.shape)
    if not (on_voxels and as_many.all() and inside.all()):
        of_field, of_map = (
            " × ".join(map(str, s[::-1])) for s in (field.shape, density.values.shape)
        )
        cause = (
            f"its {of_map} voxels from x, y, z = {_place(density.origin)} Å do not have the "
            f"{of_field} from {_place(origin)} Å that the networks were trained on"
        )
        raise InputError("the map", "its grid", cause, "give the map that they were trained on")
    here = tuple(slice(s, s + n) for s, n in zip(start.tolist(), field.shape, strict=True))
    return Map(
        density.values[here],
        density.voxel_size,
        density.origin + start[::-1] * density.voxel_size,
    )


def _place(point: Float[np.ndarray, "3"]) -> str:
    return ", ".join(f"{c:.4g}" for c in point)


def _half(weights: jax.Array) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.asarray(weights).astype(np.float16)


_ask = jax.jit(query)
