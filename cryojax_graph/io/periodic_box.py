"""Molecules that the periodic box of a simulation has cut, whole again."""

import itertools

import numpy as np
from jaxtyping import Float32, Float64, Int, Shaped

# Atoms of a chain among which the nearest to another chain is sought.
_SOUGHT = 64


def make_whole(
    chain: Shaped[np.ndarray, " n"],
    positions: Float32[np.ndarray, "frames n 3"],
    lattice: Float64[np.ndarray, "frames 3 3"],
) -> Float32[np.ndarray, "frames n 3"]:
    """Put neighbours along a chain, and chains that touch, next to each other.

    Atoms follow each other within half a box along a chain. Of the copies of a chain the one is
    taken that is nearest to the chain it touches in the first frame.

    Args:
        chain: name of the chain of each atom.
        positions: as the simulation wrote them, Å.
        lattice: rows are the edges of the box in each frame, Å; zeros where there is none.

    Returns:
        positions, Å.
    """
    boxed = np.abs(np.linalg.det(lattice)) > 0
    lattice = np.where(boxed[:, None, None], lattice, 1e6 * np.eye(3))
    inverse = np.linalg.inv(lattice)
    whole = positions.astype(np.float64)
    index = np.unique(chain, return_inverse=True)[1].ravel()
    chains = [np.flatnonzero(index == number) for number in range(index.max() + 1)]
    for rows in chains:
        steps = np.diff(whole[:, rows], axis=1)
        steps -= np.round(steps @ inverse) @ lattice
        whole[:, rows[1:]] = whole[:, rows[:1]] + np.cumsum(steps, axis=1)
    some = [_some_of(rows) for rows in chains]
    placed, waiting = [0], list(range(1, len(chains)))
    while waiting:
        gaps = {
            (one, other): _nearest_copy(whole[:1, some[one]], whole[:1, some[other]], lattice[:1])
            for one in placed
            for other in waiting
        }
        one, other = min(gaps, key=lambda pair: float(gaps[pair][0][0]))
        _, move = _nearest_copy(whole[:, some[one]], whole[:, some[other]], lattice)
        whole[:, chains[other]] += move[:, None]
        placed.append(other)
        waiting.remove(other)
    return whole.astype(np.float32)


def _some_of(rows: Int[np.ndarray, " n"]) -> Int[np.ndarray, " few"]:
    return rows[np.linspace(0, len(rows) - 1, min(_SOUGHT, len(rows))).astype(int)]


def _nearest_copy(
    fixed: Float64[np.ndarray, "frames a 3"],
    moving: Float64[np.ndarray, "frames b 3"],
    lattice: Float64[np.ndarray, "frames 3 3"],
) -> tuple[Float64[np.ndarray, " frames"], Float64[np.ndarray, "frames 3"]]:
    """Smallest distance to a copy in a neighbouring cell, and how that one is reached."""
    apart = (moving.mean(axis=1) - fixed.mean(axis=1))[:, None]
    home = -(np.round(apart @ np.linalg.inv(lattice)) @ lattice)[:, 0]
    gap, move = np.full(len(fixed), np.inf), np.zeros((len(fixed), 3))
    for cell in itertools.product((0, -1, 1), repeat=3):
        by = home + np.einsum("i,fij->fj", np.array(cell, float), lattice)
        for frame in range(len(fixed)):
            there = moving[frame] + by[frame]
            found = np.sqrt(((fixed[frame][:, None] - there) ** 2).sum(-1).min())
            if found < gap[frame] - 1e-9:
                gap[frame], move[frame] = found, by[frame]
    return gap, move
