"""The devices of a run as one axis, ``data``; a single device is a mesh of one."""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
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
        tree: pytree of arrays, a train state for instance.
        mesh: from ``data_mesh``.

    Returns:
        the same tree on the mesh.
    """
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))
