"""A rigid frame at every residue, from the trace of C-alpha atoms alone."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

_SHORTEST = 1e-3


def frame_triples(chain: Int[np.ndarray, " n"], bonded: Int[np.ndarray, " n"]) -> np.ndarray:
    """Which three consecutive residues define the frame of each residue.

    Args:
        chain: chain of each residue.
        bonded: 1 where a residue is joined to the next one by a peptide bond, else 0.

    Returns:
        (before, at, after) for each residue, int32 of shape (n, 3). The ends of a stretch take the
        triple of their neighbour; a stretch of one or two residues has (i, i, i): no frame.
    """
    count = len(chain)
    joined = (np.asarray(bonded[:-1]) > 0) & (chain[:-1] == chain[1:])
    stretch = np.concatenate([[0], np.cumsum(~joined)])
    triples = np.repeat(np.arange(count)[:, None], 3, axis=1)
    for number in range(int(stretch[-1]) + 1 if count else 0):
        members = np.flatnonzero(stretch == number)
        if len(members) >= 3:
            middle = np.clip(members, members[1], members[-2])
            triples[members] = middle[:, None] + np.array([-1, 0, 1])
    return triples.astype(np.int32)


def residue_frames(
    c_alpha: Float[Array, "n 3"], triples: Int[Array, "n 3"]
) -> Float[Array, "n 3 3"]:
    """Orientation of every residue, from its C-alpha atom and the two beside it.

    The first axis runs along the chain, the second to the outside of the bend, where the side chain
    stands; a straight stretch, which has no outside, keeps finite gradients.

    Args:
        c_alpha: positions, Å.
        triples: from ``frame_triples``.

    Returns:
        rotations whose columns are the axes; the identity where a residue has no frame.
    """
    before, at, after = (c_alpha[triples[:, k]] for k in range(3))
    first = _unit(after - before)
    bend = at - 0.5 * (before + after)
    second = _unit(bend - jnp.sum(bend * first, axis=-1, keepdims=True) * first)
    rotation = jnp.stack([first, second, jnp.cross(first, second)], axis=-1)
    has_frame = triples[:, 0] != triples[:, 2]
    return jnp.where(has_frame[:, None, None], rotation, jnp.eye(3, dtype=c_alpha.dtype))


def _unit(vector: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
    square = jnp.sum(vector**2, axis=-1, keepdims=True)
    return vector / jnp.sqrt(jnp.maximum(square, _SHORTEST**2))
