"""What a residue looks like to electrons: a few Gaussians carried by its frame."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.protein.frames import residue_frames


class Beads(NamedTuple):
    """Gaussians that move rigidly with their residues.

    A Gaussian at the C-alpha atom cannot show a residue whose mass stands in its side chain; fitted
    to images it bends the backbone instead. A few beads at the centres of mass do not.

    Attributes:
        residue: residue of each bead.
        local: position in the frame of the residue, relative to its C-alpha atom, Å.
        mass: electrons.
        variance: spread of the atoms around the bead, per axis, Å².
        triples: residues that define each frame, from ``frame_triples``.
    """

    residue: Int[Array, " beads"]
    local: Float[Array, "beads 3"]
    mass: Float[Array, " beads"]
    variance: Float[Array, " beads"]
    triples: Int[Array, "n 3"]


def beads_of_atoms(
    c_alpha: Float[np.ndarray, "n 3"],
    triples: Int[np.ndarray, "n 3"],
    positions: Float[np.ndarray, "atoms 3"],
    electrons: Float[np.ndarray, " atoms"],
    residue: Int[np.ndarray, " atoms"],
    is_backbone: np.ndarray,
    *,
    atoms_per_bead: int = 4,
) -> Beads:
    """Group the atoms of a template into beads: backbone first, then the side chain outwards.

    Args:
        c_alpha: of the template, Å.
        triples: from ``frame_triples``.
        positions: of all its atoms, Å.
        electrons: of each atom.
        residue: of each atom.
        is_backbone: true for N, CA, C and O, shape (atoms,).
        atoms_per_bead: largest number of side-chain atoms in one bead.

    Returns:
        beads in the order of the residues.

    Raises:
        ValueError: a residue has no atom.
    """
    groups: list[tuple[int, np.ndarray]] = []
    for number in range(len(c_alpha)):
        mine = np.flatnonzero(residue == number)
        if not len(mine):
            raise ValueError(f"residue {number} of the template has no atom")
        backbone, side = mine[is_backbone[mine]], mine[~is_backbone[mine]]
        if len(backbone):
            groups.append((number, backbone))
        if len(side):
            distance = np.linalg.norm(positions[side] - c_alpha[number], axis=1)
            outwards = side[np.argsort(distance, kind="stable")]
            parts = np.array_split(outwards, -(-len(side) // atoms_per_bead))
            groups.extend((number, part) for part in parts)
    owner = np.array([number for number, _ in groups])
    mass = np.array([electrons[part].sum() for _, part in groups])
    centre = np.array(
        [np.average(positions[part], axis=0, weights=electrons[part]) for _, part in groups]
    )
    variance = np.array(
        [
            np.average(((positions[part] - middle) ** 2).sum(1), weights=electrons[part]) / 3.0
            for (_, part), middle in zip(groups, centre, strict=True)
        ]
    )
    return Beads(
        residue=jnp.asarray(owner, jnp.int32),
        local=jnp.asarray(local_positions(c_alpha, triples, centre, owner)),
        mass=jnp.asarray(mass, jnp.float32),
        variance=jnp.asarray(variance, jnp.float32),
        triples=jnp.asarray(triples, jnp.int32),
    )


def local_positions(
    c_alpha: Float[np.ndarray, "n 3"],
    triples: Int[np.ndarray, "n 3"],
    positions: Float[np.ndarray, "points 3"],
    residue: Int[np.ndarray, " points"],
) -> Float[np.ndarray, "points 3"]:
    """Positions in the frames of their residues.

    Args:
        c_alpha: of the template, Å.
        triples: from ``frame_triples``.
        positions: Å.
        residue: of each position.

    Returns:
        coordinates relative to the C-alpha atom of the residue, Å.
    """
    frames = np.asarray(residue_frames(jnp.asarray(c_alpha), jnp.asarray(triples)))
    offset = positions - c_alpha[residue]
    return np.einsum("pij,pi->pj", frames[residue], offset).astype(np.float32)


def beads_at_c_alpha(
    triples: Int[np.ndarray, "n 3"], mass: Float[np.ndarray, " n"], width: Float[np.ndarray, " n"]
) -> Beads:
    """One Gaussian at each C-alpha atom, the model of the published system.

    Args:
        triples: from ``frame_triples``.
        mass: electrons of each residue.
        width: standard deviation of each residue, Å.

    Returns:
        as many beads as residues.
    """
    count = len(mass)
    return Beads(
        residue=jnp.arange(count, dtype=jnp.int32),
        local=jnp.zeros((count, 3)),
        mass=jnp.asarray(mass, jnp.float32),
        variance=jnp.asarray(width, jnp.float32) ** 2,
        triples=jnp.asarray(triples, jnp.int32),
    )


def carry(
    local: Float[Array, "points 3"],
    residue: Int[Array, " points"],
    c_alpha: Float[Array, "n 3"],
    triples: Int[Array, "n 3"],
) -> Float[Array, "points 3"]:
    """Where points that move rigidly with their residues stand in a conformation.

    Args:
        local: from ``local_positions``, Å.
        residue: of each point.
        c_alpha: of the conformation, Å.
        triples: from ``frame_triples``.

    Returns:
        positions in Å.
    """
    rotation = residue_frames(c_alpha, triples)[residue]
    return c_alpha[residue] + jnp.einsum("pij,pj->pi", rotation, local)


def place_beads(beads: Beads, c_alpha: Float[Array, "n 3"]) -> Float[Array, "beads 3"]:
    """Where the beads stand in a conformation.

    Args:
        beads: of the template.
        c_alpha: of the conformation, Å.

    Returns:
        positions in Å.
    """
    return carry(beads.local, beads.residue, c_alpha, beads.triples)
