"""The noise of a map, as the map itself tells it, and recipes of fields that need it."""

import numpy as np

from cryojax_graph.fields import RECIPES, usual_constants
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map

# Share of voxels below the threshold and not 0 without which nothing is known of the noise: that
# which a masked map keeps outside its mask.
_FEWEST = 0.02
_DEVIATIONS = 3.0


def noise_of(density: Map, threshold: float | None = None) -> float:
    """Standard deviation of a map where there is no density.

    Args:
        density: the map.
        threshold: above which there is, map units; three standard deviations above the mean when
            not given.

    Returns:
        from the median deviation of voxels below that are not exactly 0, so that the rim of the
        density hardly matters; 0, for not known, where hardly any voxel is left, and of a masked
        map, in which they are that rim.
    """
    values = density.values
    if masked(density):
        return 0.0
    if threshold is None:
        threshold = float(values.mean() + _DEVIATIONS * values.std())
    outside = values[(values <= threshold) & (values != 0)]
    if len(outside) < _FEWEST * values.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(outside - np.median(outside))))


def constants_of(density: Map, recipe: str, *, file: str) -> dict[str, int | float]:
    """Constants of the recipe of a field of a map.

    Args:
        density: the map.
        recipe: one of ``RECIPES``.
        file: that the map is from, for the message.

    Returns:
        the usual ones, and the noise of the map where the recipe needs it.

    Raises:
        InputError: the map does not tell its noise.
    """
    constants = usual_constants(recipe)
    if "noise" not in RECIPES[recipe].constants:
        return constants
    noise = noise_of(density)
    if noise == 0:
        cause = f"around its density it shows no noise, which --field {recipe} has to know"
        remedy = "give a map that is not masked, or choose --field positive"
        raise InputError(file, "its values", cause, remedy)
    return constants | {"noise": noise}


def masked(density: Map) -> bool:
    """Whether most of a map is 0; what is left below a threshold is then no noise.

    Args:
        density: the map.

    Returns:
        true if so.
    """
    return bool((density.values == 0).mean() > 0.5)
