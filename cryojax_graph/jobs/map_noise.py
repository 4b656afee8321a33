"""The solvent of a map, as the map itself tells it, and recipes of fields that need it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import usual_constants
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map

# Voxels that tell the solvent well enough.
_SAMPLE = 1_000_000
# A value that so large a share of the voxels has, and so much more often than any other, was put
# there by a mask: numbers with fractions hardly occur twice, and noise in whole numbers has
# neighbours about as frequent.
_FLAT, _MORE_OFTEN = 0.05, 4.0
# Share of the voxels whose values are closest to each other: among them the solvent is looked for.
_CLOSEST = 0.1
# Voxels that are higher above the solvent by more deviations are left out, so often.
_CLIP, _ROUNDS = 2.5, 5
# Less noise than this share of the range is that of a simulated map: none.
_NO_NOISE = 1e-4
# Deviations by which density stands out, and the least share of the voxels that do.
_STANDS_OUT, _FEWEST = 5.0, 1e-4


class Solvent(NamedTuple):
    """A map where there is no density.

    Attributes:
        level: median, map units; what a mask has put there, where it has.
        noise: standard deviation, from the median deviation, so that the rim of the density hardly
            matters; 0 where it is not known.
        found: whether anything stands out of it; where nothing does, what was taken for solvent may
            be the density of a box that holds nothing else.
    """

    level: float
    noise: float
    found: bool


def noise_of(density: Map) -> float:
    """Standard deviation of a map where there is no density.

    Args:
        density: the map.

    Returns:
        map units; 0, for not known, of a masked map, in which it would be that of the rim of the
        density, and of a map without any.
    """
    return solvent_of(density).noise


def solvent_of(density: Map) -> Solvent:
    """Level and noise of a map where there is no density.

    Solvent has less spread than density, so that values are closest to each other there, even in a
    box of which it fills but a third.

    Args:
        density: the map.

    Returns:
        of a masked map, what the mask has put around it.
    """
    values, flat = _within_padding(density.values)
    if flat is not None:
        return Solvent(flat, 0.0, True)
    some = np.sort(_sample(values)).astype(float)
    level, noise = first = _closest(some)
    for _ in range(_ROUNDS):
        # In a tight box the rim of the density is a good part of what is left.
        inner = some[: np.searchsorted(some, level + _CLIP * noise, side="right")]
        level = float(np.median(inner))
        noise = float(1.4826 * np.median(np.abs(inner - level)))
    if abs(level - first[0]) > first[1]:
        # There is more of the density than of the solvent.
        level, noise = first
    stands_out = len(some) - np.searchsorted(some, level + _STANDS_OUT * noise, side="right")
    if noise < _NO_NOISE * (some[-1] - some[0]):
        noise = 0.0
    return Solvent(level, noise, bool(stands_out >= _FEWEST * len(some)))


def _closest(some: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """Middle of the ascending values that are closest, and deviation of those below it."""
    count = max(int(_CLOSEST * len(some)), 1)
    width = some[count:] - some[:-count]
    # Of whole numbers several are as frequent.
    closest = np.nonzero(width == width.min())[0]
    at = int(closest[len(closest) // 2]) + count // 2
    below = some[at] - some[: at + 1]
    return float(some[at]), float(1.4826 * np.median(below))


def _sample(values: Float[np.ndarray, "z y x"]) -> Float[np.ndarray, " n"]:
    return values.reshape(-1)[:: values.size // _SAMPLE | 1]


def _within_padding(
    values: Float[np.ndarray, "z y x"],
) -> tuple[Float[np.ndarray, "inner_z inner_y inner_x"], float | None]:
    """The box without padding around it, and the value that a mask has put into it, if any."""
    flat = _flat_of(values)
    if flat is not None:
        other = np.nonzero(values != flat)
        if len(other[0]):
            values = values[tuple(slice(int(k.min()), int(k.max()) + 1) for k in other)]
            flat = _flat_of(values)
    return values, flat


def _flat_of(values: Float[np.ndarray, "z y x"]) -> float | None:
    found, count = np.unique(_sample(values), return_counts=True)
    most = int(np.argmax(count))
    next_most = np.delete(count, most).max(initial=0)
    put_there = count[most] > max(_FLAT * count.sum(), _MORE_OFTEN * next_most)
    return float(found[most]) if put_there else None


def constants_of(density: Map, recipe: str, *, file: str) -> dict[str, int | float]:
    """Constants of the recipe of a field of a map.

    Args:
        density: the map.
        recipe: one of ``RECIPES``.
        file: that the map is from, for the message.

    Returns:
        the usual ones, and noise and level of the solvent of the map where the recipe needs them.

    Raises:
        InputError: the map does not tell its noise.
    """
    constants = usual_constants(recipe)
    if "level" not in constants:
        return constants
    around = solvent_of(density)
    if "noise" not in constants:
        # A level inside of the density would be none to stand on.
        return constants | {"level": around.level if around.found else 0.0}
    if around.noise == 0:
        cause = f"around its density it shows no noise, which --field {recipe} has to know"
        remedy = "give a map that is not masked, or choose --field positive"
        raise InputError(file, "its values", cause, remedy)
    return constants | {"noise": around.noise, "level": around.level}


def masked(density: Map) -> bool:
    """Whether a mask has put one value around the density; what else is low is then no noise.

    Args:
        density: the map.

    Returns:
        true if so; padding of the whole box is no mask.
    """
    return _within_padding(density.values)[1] is not None
