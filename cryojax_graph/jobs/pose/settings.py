"""Grids and priors of a search."""

from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import asymmetric_unit, symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.poses.grids import (
    grid_rotations,
    lattice_weights,
    rotations_within,
    shift_grid,
    unknown_deviation,
    view_rotations,
)
from cryojax_graph.poses.refine import Prior
from cryojax_graph.poses.search import (
    SearchConfig,
)


class How(NamedTuple):
    """How poses are estimated once reference and noise are known.

    Attributes:
        method: refinement of the best of the grid, or one rotation from all its scores.
        defocus_deviation: of the prior of an offset of defocus, Å; None to take it as it is.
    """

    method: Literal["grid", "esl", "mmse"] = "grid"
    defocus_deviation: float | None = None


REFINED = How()


class Settings(NamedTuple):
    """What the search needs beside reference and images.

    Attributes:
        config: of the search.
        views: one rotation for each viewing direction.
        shifts: to try, Å.
        around: rotations to try on a given pose; None to search everywhere.
        prior: of the shift; the contrast's is set by calibration.
        how: the poses of all images are estimated; those of the sample are always refined.
        operators: of the point group.
        unknown: deviation of a rotation of which nothing is known beside all this, radians.
    """

    config: SearchConfig
    views: Float[np.ndarray, "views 3 3"]
    shifts: Float[np.ndarray, "shifts 2"]
    around: Float[np.ndarray, "cells 3 3"] | None
    prior: Prior
    how: How
    operators: Float[np.ndarray, "operators 3 3"]
    unknown: float

    @property
    def cells(self) -> int:
        """Number of rotations that each image is held against."""
        return len(self.views) * self.config.grid.turns if self.around is None else len(self.around)


def settings_for(
    config: SearchConfig,
    *,
    field: float,
    shift_range: float,
    within_degrees: float | None,
    symmetry: str,
    how: How = REFINED,
) -> Settings:
    """Grids of a search.

    Args:
        config: of the search.
        field: edge of the images, Å.
        shift_range: largest shift, Å.
        within_degrees: largest rotation from a given pose; None to search everywhere.
        symmetry: point group; views outside one of its asymmetric units are left out.
        how: poses are estimated.

    Returns:
        the settings.

    Raises:
        InputError: shifts reach beyond half the field, where images show the particle again.
    """
    if shift_range > field / 2:
        cause = f"{shift_range:g} Å is more than half of the image, {field / 2:.4g} Å"
        raise InputError("command line", "--shift-range", cause, "choose a smaller range")
    views = view_rotations(config.order)
    inside = asymmetric_unit(views[:, 2].astype(np.float64), symmetry)
    views = views[inside] if inside.any() else views
    shifts = shift_grid(shift_range, field / config.coarse / 4).astype(np.float32)
    operators = symmetry_rotations(symmetry).astype(np.float32)
    if within_degrees is None:
        around = None
        every = np.asarray(grid_rotations(jnp.asarray(views), config.grid.turns))
        unknown = unknown_deviation(every, operators)
    else:
        spacing = min(0.5 * config.spacing, np.radians(within_degrees) / 2)
        around = rotations_within(np.radians(within_degrees), spacing)
        weights = np.asarray(lattice_weights(jnp.asarray(around)))
        unknown = unknown_deviation(around, operators, weights)
    return Settings(
        config=config,
        views=views,
        shifts=shifts,
        around=around,
        prior=shift_prior(shift_range),
        how=how,
        operators=operators,
        unknown=unknown,
    )


def shift_prior(reach: float) -> Prior:
    """Prior that is almost flat within a range of shifts.

    Args:
        reach: largest shift, Å.

    Returns:
        the prior; the contrast's is set by calibration.
    """
    return Prior(shift=4.0 / max(reach, 1e-3) ** 2)
