"""Point groups with their axes where RELION has them, and what they do to poses and views.

A map of symmetry g looks the same at x and at g x. A pose R takes object to image coordinates, so
R and R g show the same image: the elements of the group stand to the right of the pose, next to
the object. g R would be another view. Host code in float64.
"""

import re
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float

_Axis = tuple[float, float, float]
_Rotations = Float[np.ndarray, "n 3 3"]

_X, _Z = (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)
_GOLDEN = (1 + 5**0.5) / 2
# Fold and direction of two axes from which all other elements follow; I is I2, as in RELION.
_POLYHEDRAL: dict[str, tuple[tuple[int, _Axis], ...]] = {
    "T": ((3, _Z), (2, (0.0, 2**0.5, 1.0))),
    "O": ((4, _Z), (3, (1.0, 1.0, 1.0))),
    "I": ((2, _Z), (5, (1.0, 0.0, _GOLDEN))),
    "I1": ((2, _Z), (5, (_GOLDEN, 0.0, 1.0))),
    "I2": ((2, _Z), (5, (1.0, 0.0, _GOLDEN))),
    "I3": ((5, _Z), (2, (-1.0, 0.0, _GOLDEN))),
    "I4": ((5, _Z), (2, (1.0, 0.0, _GOLDEN))),
}
# On no axis of any group, and its borders meet no direction that a regular grid is likely to have.
_REFERENCE = np.array([0.7071, 0.2719, 0.6527])
# Float32 moves a direction that lies on an axis by less than this; it must not get lost.
_BORDER = 1e-6


def symmetry_rotations(group: str) -> Float[np.ndarray, "n 3 3"]:
    """All rotations g of a point group; poses R and R g of a map that has it are the same view.

    C has its axis along z, D a twofold axis along x beside it, T a threefold and O a fourfold axis
    along z. I and I2 have twofold axes along x, y and z and a fivefold one in the xz plane, nearer
    to z; in I1 it is nearer to x. I3 and I4 have a fivefold axis along z and are half a turn about
    it apart.

    Args:
        group: C1 … C99, D1 … D99, T, O, I, I1, I2, I3 or I4, upper or lower case.

    Returns:
        rotation matrices, the identity first; n, 2 n, 12, 24 or 60 of them.

    Raises:
        ValueError: the name is not among these.
    """
    return _elements(group.upper()).copy()


def symmetry_generators(group: str) -> Float[np.ndarray, "n 3 3"]:
    """Rotations whose products are all rotations of a point group: what has them has it.

    Args:
        group: as for ``symmetry_rotations``.

    Returns:
        one or two rotation matrices; for C1 the identity.

    Raises:
        ValueError: the name is not among those of ``symmetry_rotations``.
    """
    return np.stack([_rotation(fold, axis) for fold, axis in _generators(group.upper())])


def asymmetric_unit(directions: Float[np.ndarray, "n 3"], group: str) -> Bool[np.ndarray, " n"]:
    """Which viewing directions lie in one fundamental domain of a point group.

    The domain holds what is nearer to a reference direction than to all its equivalents (a
    Dirichlet domain): it is convex, and every direction has one equivalent in it. One on its border
    has two or more there, and all are kept. Of a grid of views 1 / n is left, and very coarse grids
    may have none there; at the border a view can then be up to twice as far from the nearest one
    as in the whole grid, on average it is hardly further.

    Args:
        directions: view axes in the frame of the object, third rows of rotations; unit vectors.
        group: name of the point group.

    Returns:
        true inside, shape (n,); all true for C1.
    """
    outwards = symmetry_rotations(group)[1:] @ _REFERENCE - _REFERENCE
    outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
    return (directions.astype(np.float64) @ outwards.T <= _BORDER).all(axis=1)


def nearest_equivalent(rotations: _Rotations, truth: _Rotations, group: str) -> _Rotations:
    """Of the equivalents R g of each rotation, the one at the smallest angle to the true one.

    Args:
        rotations: that take object to image coordinates.
        truth: one for each of them.
        group: name of the point group, whose axes lie in the frame of the object of ``rotations``.

    Returns:
        rotations that show the same views.
    """
    elements = symmetry_rotations(group)
    if len(elements) == 1:
        return rotations
    # The trace of (R g)ᵀ T, which grows as the angle shrinks, is the sum of g times Rᵀ T.
    relative = np.swapaxes(rotations, 1, 2) @ truth
    agreement = relative.reshape(-1, 9) @ elements.reshape(-1, 9).T
    return rotations @ elements[agreement.argmax(axis=1)]


@lru_cache(maxsize=32)
def _elements(group: str) -> Float[np.ndarray, "n 3 3"]:
    """Closure of the generators under multiplication."""
    generators = symmetry_generators(group)
    elements = [np.eye(3)]
    for element in elements:
        for generator in generators:
            product = element @ generator
            if np.abs(np.stack(elements) - product).max(axis=(1, 2)).min() > 1e-6:
                elements.append(product)
    return np.stack(elements)


def _generators(group: str) -> tuple[tuple[int, _Axis], ...]:
    if group in _POLYHEDRAL:
        return _POLYHEDRAL[group]
    parts = re.fullmatch("([CD])([1-9][0-9]?)", group)
    if not parts:
        others = ", ".join(_POLYHEDRAL)
        raise ValueError(f"unknown point group {group!r}: known are C1 to C99, D1 to D99, {others}")
    cyclic = (int(parts[2]), _Z)
    return (cyclic, (2, _X)) if parts[1] == "D" else (cyclic,)


def _rotation(fold: int, axis: _Axis) -> Float[np.ndarray, "3 3"]:
    """Of 1 / fold of a turn (Rodrigues' formula)."""
    unit = np.array(axis) / np.linalg.norm(axis)
    cosine, sine = np.cos(2 * np.pi / fold), np.sin(2 * np.pi / fold)
    return (
        cosine * np.eye(3)
        + (1 - cosine) * np.outer(unit, unit)
        + sine * np.cross(unit, np.eye(3)).T
    )
