"""Local resolution of two maps, sphere by sphere."""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.jobs.map_quality.assess import resolution_of
from cryojax_graph.jobs.map_quality.settings import QualitySettings
from cryojax_graph.metrics import (
    UNTOUCHED_SHELLS,
    half_spectrum,
    local_correlation,
    randomise_phases,
    real_map,
    sphere_centres,
    sphere_window,
    spread_resolution,
)

_DEFAULT = QualitySettings()


class LocalResolution(NamedTuple):
    """Resolution from place to place.

    Attributes:
        values: map of it, Å.
        spheres: resolution of each sphere, Å.
    """

    values: Float[np.ndarray, "box box box"]
    spheres: Float[np.ndarray, " spheres"]


def local_resolution(
    key: Key[Array, ""],
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    mask: Float[np.ndarray, "box box box"],
    *,
    voxel_size: float,
    threshold: float = 0.143,
    settings: QualitySettings = _DEFAULT,
    each: Callable[[int, int], None] = lambda done, total: None,
) -> LocalResolution:
    """Resolution inside soft spheres on a grid, as ``relion_postprocess --locres`` has them.

    Spheres have the spacing of the grid as diameter and their edges as width, and are transformed
    in the smallest cube around them, which is why a large box costs no more than a small one.

    Args:
        key: of the random phases.
        first: map.
        second: the other map.
        mask: spheres have their centres where it is above 0.5.
        voxel_size: Å.
        threshold: of the corrected curve of each sphere.
        settings: of the spheres.
        each: told after every sphere how many are done, of how many.

    Returns:
        the map, ``settings.local_lowest`` where no sphere reaches, and the spheres.

    Raises:
        ValueError: no place of the grid lies in the mask.
    """
    spacing = settings.local_sampling / voxel_size
    centres = sphere_centres(mask, spacing=max(round(spacing), 1))
    if len(centres) == 0:
        raise ValueError(
            f"the mask holds no place of a grid of {settings.local_sampling:g} Å for a sphere"
        )
    window = sphere_window(radius=spacing / 2, edge=spacing)
    box, cube = len(first) * voxel_size, len(window) * voxel_size
    maps = np.stack([first, second])
    start = max(round(box / settings.local_randomise_from), 1)
    randomised = np.stack(
        [
            real_map(randomise_phases(k, half_spectrum(m), from_shell=start))
            for k, m in zip(jax.random.split(key), maps, strict=True)
        ]
    )
    # RELION's two shells are those of the whole box, which are finer than the cube's: the cube's
    # own two would leave a sphere of 25 Å without any correction up to 15 Å.
    from_shell = math.ceil((start + UNTOUCHED_SHELLS) * cube / box) - UNTOUCHED_SHELLS
    found = np.empty(len(centres))
    for number, centre in enumerate(centres):
        curve = local_correlation(maps, randomised, window, centre, from_shell=from_shell)
        found[number] = min(resolution_of(curve, threshold, cube), settings.local_lowest)
        each(number + 1, len(centres))
    values = spread_resolution(
        found, centres, window, box=len(first), elsewhere=settings.local_lowest
    )
    return LocalResolution(values, found)
