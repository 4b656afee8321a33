"""The devices of a run as one axis, ``data``; a single device is a mesh of one."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax import Array
from jax.experimental.multihost_utils import process_allgather
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")


def data_mesh(devices: Sequence[Any] | None = None) -> Mesh:
    """Mesh whose axis ``data`` shares the images of a batch among devices.

    Args:
        devices: all devices of all processes when not given.

    Returns:
        a mesh of one axis. The axis is automatic: with JAX's default, explicit axes, a segment sum
        does not trace.
    """
    devices = devices or jax.devices()
    return jax.make_mesh((len(devices),), ("data",), (AxisType.Auto,), devices=devices)


def over_images(mesh: Mesh) -> NamedSharding:
    """Sharding of stacked batches, (steps, images, …): each device holds its part of every batch.

    Args:
        mesh: from ``data_mesh``.

    Returns:
        the sharding, for arrays of any rank from 2.
    """
    return NamedSharding(mesh, PartitionSpec(None, "data"))


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Put a whole copy of every array on every device.

    Args:
        tree: pytree of arrays, a train state for instance; the same on every process.
        mesh: from ``data_mesh``.

    Returns:
        the same tree on the mesh.
    """
    whole = NamedSharding(mesh, PartitionSpec())
    if whole.is_fully_addressable:
        return jax.device_put(tree, whole)
    # ``device_put`` takes no random keys to devices of other processes; a compiled identity does.
    return jax.jit(lambda same: same, out_shardings=whole)(tree)


def one_each(trees: Sequence[Tree], mesh: Mesh) -> Tree:
    """Put one tree on each device of a mesh.

    Args:
        trees: pytrees of arrays of the same structure and shapes, as many as there are devices.
        mesh: from ``data_mesh``, its devices all of this process.

    Returns:
        a tree of arrays with an axis in front, which is shared among the devices.
    """
    sharding = NamedSharding(mesh, PartitionSpec("data"))

    def together(*parts: Array) -> Array:
        placed = [
            jax.device_put(part[None], device)
            for part, device in zip(parts, mesh.devices, strict=True)
        ]
        shape = (len(parts), *parts[0].shape)
        return jax.make_array_from_single_device_arrays(shape, sharding, placed)

    return jax.tree.map(together, *trees)


def on_any_process(condition: bool) -> bool:
    """Agree on a decision that every process must take alike, such as to save now.

    Args:
        condition: the opinion of this process.

    Returns:
        True when it holds on at least one process; on one process, the condition itself.
    """
    if jax.process_count() == 1:
        return condition
    return bool(process_allgather(np.array(condition)).any())
