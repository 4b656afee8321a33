"""Angles, torsions, and atoms placed from internal coordinates."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.geometry.rotations import matrix_from_two_vectors
from cryojax_graph.geometry.stable import angle_of, length


def bond_angle(
    first: Float[Array, " 3"], middle: Float[Array, " 3"], last: Float[Array, " 3"]
) -> Float[Array, ""]:
    """Angle at the middle of three atoms, with a finite gradient for straight and folded ones.

    Args:
        first: position in Å.
        middle: the vertex.
        last: position in Å.

    Returns:
        radians in [0, pi].
    """
    u, v = first - middle, last - middle
    return angle_of(length(jnp.cross(u, v)), jnp.dot(u, v))


def dihedral(
    first: Float[Array, " 3"],
    second: Float[Array, " 3"],
    third: Float[Array, " 3"],
    fourth: Float[Array, " 3"],
) -> Float[Array, ""]:
    """Torsion about the bond from the second to the third atom; IUPAC sign, cis 0, trans ±pi.

    Args:
        first: position in Å.
        second: start of the axis.
        third: end of the axis.
        fourth: position in Å.

    Returns:
        radians in [-pi, pi]; 0 with gradient 0 where three atoms in a row leave it undefined.
    """
    before, axis, after = second - first, third - second, fourth - third
    normal = jnp.cross(axis, after)
    sine = length(axis) * jnp.dot(before, normal)
    return angle_of(sine, jnp.dot(jnp.cross(before, axis), normal))


def place_atom(
    first: Float[Array, " 3"],
    second: Float[Array, " 3"],
    third: Float[Array, " 3"],
    *,
    bond: Float[Array, ""],
    angle: Float[Array, ""],
    torsion: Float[Array, ""],
) -> Float[Array, " 3"]:
    """The fourth atom of a chain from its internal coordinates (Parsons et al. 2005).

    Args:
        first: position in Å.
        second: position in Å.
        third: the atom that the new one is bonded to.
        bond: distance from ``third`` in Å.
        angle: at ``third``, between ``second`` and the new atom, radians.
        torsion: of the four atoms, radians.

    Returns:
        position in Å.
    """
    axes = matrix_from_two_vectors(third - second, first - second)
    sideways = jnp.sin(angle)
    local = jnp.stack([-jnp.cos(angle), sideways * jnp.cos(torsion), sideways * jnp.sin(torsion)])
    return third + bond * jnp.matmul(axes, local, precision="highest")


def build_chain(
    bonds: Float[Array, " n_minus_1"],
    angles: Float[Array, " n_minus_2"],
    torsions: Float[Array, " n_minus_3"],
) -> Float[Array, "n 3"]:
    """Atoms of an unbranched chain from its bonds, angles and torsions.

    The first atom stands at the origin, the second on the x axis, the third in the xy plane with y
    ≥ 0.

    Args:
        bonds: n - 1 distances of consecutive atoms in Å, n ≥ 3.
        angles: n - 2 angles in radians.
        torsions: n - 3 torsions in radians.

    Returns:
        positions in Å, shape (n, 3).

    Raises:
        ValueError: there are fewer than three atoms.
    """
    if len(bonds) < 2:
        raise ValueError(f"{len(bonds)} bonds make no chain of three atoms")
    origin = jnp.zeros(3, bonds.dtype)
    second = origin.at[0].set(bonds[0])
    above = origin.at[1].set(1.0)
    flat = jnp.zeros((), bonds.dtype)
    third = place_atom(above, origin, second, bond=bonds[1], angle=angles[0], torsion=flat)

    def step(
        last: Float[Array, "3 3"], internal: tuple[Array, Array, Array]
    ) -> tuple[Float[Array, "3 3"], Float[Array, " 3"]]:
        bond, angle, torsion = internal
        new = place_atom(*last, bond=bond, angle=angle, torsion=torsion)
        return jnp.stack([last[1], last[2], new]), new

    start = jnp.stack([origin, second, third])
    _, rest = jax.lax.scan(step, start, (bonds[2:], angles[1:], torsions))
    return jnp.concatenate([start, rest])
