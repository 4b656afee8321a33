"""A reference held against the point group that it is taken to have."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.pose.reference import Given
from cryojax_graph.poses.symmetry import self_likeness

# Groups that a reference may have without anyone having said so.
_COMMON = (
    *(f"{kind}{fold}" for kind in "CD" for fold in range(2, 9)),
    *("T", "O", "I1", "I2", "I3", "I4"),
)
# Correlations of maps with themselves, turned. Of maps of a D2 tetramer, a D7 one, capsids and C4
# channels of EMDB they are 0.96 to 1.00, also low-passed to 40 Å or with three times as much noise
# as density in every voxel; 0.88 of the tetramer with its axes 5° off and 0.63 with 10°; 0.76 to
# 0.83 of a spike of which one of three arms is up; of groups that these do not have, 0.92 at most
# (C3 of D7 at 40 Å), mostly below 0.6, and below 0.1 of another setting of I.
_HAS, _SEEMS, _NOTHING = 0.85, 0.93, 0.3
# Of the power of a map: of less, interpolation may tell the differences between directions; a ball
# has 2e-5, a hollow shell of 24 equal parts 4e-3.
_ROUND = 3e-4
# Å: finer detail than half of the radius within these bounds is not looked at, nor shells beyond
# the last, where the outline of the largest particle in its box is told many times over.
_COARSEST, _FINEST, _LAST_SHELL, _SHELLS = 20.0, 10.0, 24.0, 24
# Beside the radius of gyration's ball what elongated particles reach; what the sphere leaves to the
# border of the box, voxels; and how much of the amplitudes must be signal to judge by them.
_REACH, _MARGIN, _LEAST_SIGNAL = 1.8, 4.0, 0.5
_SAME = 1e-6
_REMEDY = (
    "name the group as its axes lie, turn it onto them (relion_align_symmetry), bring them to the "
    "middle of the box, or leave --symmetry out"
)


class _Held(NamedTuple):
    """Agreement of a map with copies of itself.

    Attributes:
        agreement: least correlation of a copy, by the name of the group.
        elements: of each group, but the identity, numbers that are equal for equal rotations and
            for inverse ones, which tell the same.
        detail: finest that was compared, Å.
    """

    agreement: dict[str, float]
    elements: dict[str, frozenset[int]]
    detail: float

    def largest(self) -> str | None:
        """The group that the map seems to have, if all others that it seems to have are in it."""
        seeming = [name for name, value in self.agreement.items() if value >= _SEEMS]
        if not seeming:
            return None
        # A rod seems to have axes of every order, which are in no group.
        largest = max(seeming, key=lambda name: len(self.elements[name]))
        inside = all(self.elements[name] <= self.elements[largest] for name in seeming)
        return largest if inside else None


def held_to_symmetry(given: Given, symmetry: str, path: str, *, finest: float) -> Given:
    """Compare a reference with itself, turned by the elements of its point group and of others.

    Args:
        given: the reference.
        symmetry: point group that it is taken to have.
        path: of its file, for messages.
        finest: detail of it that is used, Å.

    Returns:
        the reference, with what is doubtful of that among its doubts.

    Raises:
        InputError: it has nothing of the group: views would be left out that no others repeat.
    """
    held = _held(given, symmetry, finest)
    if held is None:
        return given
    doubts = given.doubts
    # An outline alone is that of an ellipsoid, which has half-turns about three axes.
    found = held.largest() if held.detail <= given.radius else None
    asked = held.agreement.get(symmetry, 1.0)
    if asked < _HAS:
        cause = (
            f"turned by {symmetry}, it is like itself to a correlation of {asked:.2f} only, of 1 "
            f"where it is symmetric (down to {held.detail:.0f} Å, without what is round)"
        )
        cause += f"; it seems to have {found}" if found else ""
        if asked < _NOTHING:
            raise InputError(path, "its symmetry", cause, _REMEDY)
        doubts += (f"The reference may not have the symmetry asked for: {cause}: {_REMEDY}",)
    elif found and held.elements[found] > held.elements.get(symmetry, frozenset()):
        doubts += (
            f"The reference seems to have the symmetry {found} (turned by it, it is like itself "
            f"to a correlation of {held.agreement[found]:.2f} down to {held.detail:.0f} Å), and "
            f"--symmetry is {symmetry}: views that are the same are told apart by noise alone, "
            f"and stated deviations are large. If the particle has it, give --symmetry {found}",
        )
    return given._replace(doubts=doubts)


def _held(given: Given, symmetry: str, finest: float) -> _Held | None:
    """The map beside its copies; None where it is round, or nothing that is used could tell."""
    detail = max(finest, float(np.clip(given.radius / 2, _FINEST, _COARSEST)))
    last = min(given.edge / detail, given.edge / given.finest - 1, _LAST_SHELL)
    if last < 2:
        return None
    names = [name for name in dict.fromkeys((*_COMMON, symmetry)) if name.upper() != "C1"]
    groups = {name: symmetry_rotations(name)[1:] for name in names}
    rotations = np.concatenate(list(groups.values()))
    different, number = np.unique(_first_like(rotations), return_inverse=True)
    voxel = given.edge / len(given.coarse)
    alike = _likeness(
        given.coarse,
        jnp.asarray(rotations[different], jnp.float32),
        jnp.linspace(1.0, last, _SHELLS),
        reach=min(_REACH * given.radius / voxel, len(given.coarse) / 2 - _MARGIN),
    )
    power, noise = (np.asarray(v, np.float64) for v in (alike.power, alike.noise))
    # By power the coarsest shells would decide alone, and by number the noise of the finest.
    weight = np.sqrt(power)
    signal = weight @ (1 - noise / np.maximum(power, 1e-30))
    if float(alike.share) < _ROUND or signal < _LEAST_SIGNAL * weight.sum():
        return None
    # The noise of a map is not that of its copies; without it they would be as much more alike.
    correlation = np.minimum(np.asarray(alike.correlation, np.float64) @ weight / signal, 1.0)
    ends = np.cumsum([len(rotations) for rotations in groups.values()])
    numbers = dict(zip(names, np.split(number, ends[:-1]), strict=True))
    return _Held(
        {name: float(correlation[own].min()) for name, own in numbers.items()},
        {name: frozenset(own.tolist()) for name, own in numbers.items()},
        given.edge / last,
    )


_likeness = jax.jit(self_likeness)


def _first_like(rotations: Float[np.ndarray, "n 3 3"]) -> Int[np.ndarray, " n"]:
    """Number of the first rotation that is equal to each, or inverse."""
    both = (rotations, rotations.swapaxes(1, 2))
    same = [np.abs(rotations[:, None] - other).max(axis=(2, 3)) < _SAME for other in both]
    return np.argmax(same[0] | same[1], axis=1)
