"""Soft motions of a template as an elastic network (Atilgan et al. 2001)."""

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.linalg import eigsh

_RIGID_MOTIONS = 6
_LARGEST_DENSE = 3600


def elastic_modes(
    positions: Float[np.ndarray, "n 3"],
    senders: Int[np.ndarray, " edges"],
    receivers: Int[np.ndarray, " edges"],
    stiffness: Float[np.ndarray, " edges"],
    *,
    count: int,
) -> tuple[Float[np.ndarray, " modes"], Float[np.ndarray, "modes n 3"]]:
    """Softest internal motions of a network of springs at rest.

    Args:
        positions: of the nodes, Å.
        senders: one end of each spring; a spring listed both ways counts once per listing.
        receivers: the other end.
        stiffness: of each spring.
        count: number of modes wanted; fewer are returned when the network has fewer.

    Returns:
        stiffness of each mode in ascending order, and the modes, orthonormal over all coordinates;
        the six motions of a rigid body are left out. Parts that no spring joins have further modes
        of stiffness 0, which are kept.
    """
    size = 3 * len(positions)
    count = max(0, min(count, size - _RIGID_MOTIONS))
    hessian = _hessian(positions, senders, receivers, stiffness)
    if size <= _LARGEST_DENSE:
        values, vectors = np.linalg.eigh(hessian.toarray())
    else:
        # A small negative shift keeps the factorised matrix positive definite.
        shift = -1e-6 * float(hessian.diagonal().mean())
        start = np.ones(size)
        values, vectors = eigsh(hessian, k=count + _RIGID_MOTIONS, sigma=shift, v0=start)
        order = np.argsort(values)
        values, vectors = values[order], vectors[:, order]
    internal = vectors.T - (vectors.T @ (rigid := _rigid_motions(positions))) @ rigid.T
    # Among the modes of stiffness 0, rigid motions may be mixed with loose parts: tell them apart
    # by what is left of each once its rigid share is taken out.
    remaining = np.linalg.norm(internal, axis=1)
    keep = np.sort(np.argsort(-remaining, kind="stable")[: len(values) - _RIGID_MOTIONS])[:count]
    modes = vectors.T[keep].reshape(-1, *positions.shape)
    return np.maximum(values[keep], 0.0), modes


def _hessian(
    positions: Float[np.ndarray, "n 3"],
    senders: Int[np.ndarray, " edges"],
    receivers: Int[np.ndarray, " edges"],
    stiffness: Float[np.ndarray, " edges"],
) -> sparse.csc_array:
    difference = positions[senders] - positions[receivers]
    length = np.linalg.norm(difference, axis=1, keepdims=True)
    unit = difference / np.where(length > 0, length, 1.0)
    block = stiffness[:, None, None] * unit[:, :, None] * unit[:, None, :]
    ends = [(senders, senders, 1), (receivers, receivers, 1)]
    ends += [(senders, receivers, -1), (receivers, senders, -1)]
    axis = np.arange(3)
    rows, columns, values = [], [], []
    for first, second, sign in ends:
        shape = (len(senders), 3, 3)
        rows.append(np.broadcast_to(3 * first[:, None, None] + axis[:, None], shape).ravel())
        columns.append(np.broadcast_to(3 * second[:, None, None] + axis, shape).ravel())
        values.append((sign * block).ravel())
    size = 3 * len(positions)
    entries = np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))
    return sparse.coo_array(entries, shape=(size, size)).tocsc()


def _rigid_motions(positions: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "coordinates 6"]:
    """Orthonormal translations and rotations."""
    centred = positions - positions.mean(0)
    translations = np.tile(np.eye(3), (len(positions), 1))
    rotations = np.stack([np.cross(axis, centred).ravel() for axis in np.eye(3)], axis=1)
    return np.linalg.qr(np.concatenate([translations, rotations], axis=1))[0]
