"""The noise of a map, as the map itself tells it, and recipes of fields that need it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import RECIPES, usual_constants
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map

# Share of voxels below the threshold and not 0 without which nothing is known of the noise: that
# which a masked map keeps outside its mask.
_FEWEST = 0.02
_DEVIATIONS = 3.0
# Voxels that are higher above the solvent by more deviations are left out, so often; and as many as
# tell the solvent well enough.
_CLIP, _ROUNDS, _SAMPLE = 2.5, 5, 1_000_000


class Solvent(NamedTuple):
    """A map where there is no density.

    Attributes:
        level: median, map units.
        noise: standard deviation, from the median deviation, so that the rim of the density hardly
            matters; 0 where it is not known.
    """

    level: float
    noise: float


def noise_of(density: Map, threshold: float | None = None) -> float:
    """Standard deviation of a map where there is no density.

    Args:
        density: the map.
        threshold: above which there is, map units; where the map itself tells it when not given.

    Returns:
        that of voxels below that are not exactly 0; 0, for not known, where hardly any voxel is
        left, and of a masked map, in which they are the rim of the density.
    """
    return _around_density(density, threshold).noise


def _around_density(density: Map, threshold: float | None = None) -> Solvent:
    values = density.values
    if masked(density):
        return Solvent(0.0, 0.0)
    start = values.mean() + _DEVIATIONS * values.std() if threshold is None else threshold
    outside = values[(values <= start) & (values != 0)]
    if len(outside) < _FEWEST * values.size:
        return Solvent(0.0, 0.0)
    around = _solvent_of(outside)
    if threshold is None:
        # In a tight box the rim of the density is a good part of what is left.
        some = outside[:: len(outside) // _SAMPLE | 1]
        for _ in range(_ROUNDS):
            around = _solvent_of(some[some <= around.level + _CLIP * around.noise])
    return around


def _solvent_of(values: Float[np.ndarray, " n"]) -> Solvent:
    level = float(np.median(values))
    return Solvent(level, float(1.4826 * np.median(np.abs(values - level))))


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
    if "noise" not in RECIPES[recipe].constants:
        return constants
    around = _around_density(density)
    if around.noise == 0:
        cause = f"around its density it shows no noise, which --field {recipe} has to know"
        remedy = "give a map that is not masked, or choose --field positive"
        raise InputError(file, "its values", cause, remedy)
    return constants | around._asdict()


def masked(density: Map) -> bool:
    """Whether most of a map is 0; what is left below a threshold is then no noise.

    Args:
        density: the map.

    Returns:
        true if so.
    """
    return bool((density.values == 0).mean() > 0.5)
