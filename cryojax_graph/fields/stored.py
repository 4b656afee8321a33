"""Recipes: the fits of fields under the names that files and users give them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields.grid import voxel_grid
from cryojax_graph.fields.positive import FINER, WIDTH, fit_positive
from cryojax_graph.fields.spline import SplineField, fit_fourier, fit_spline


class Constant(NamedTuple):
    """A number that a fit needs.

    Attributes:
        usual: its value; whole where the fit needs a whole number.
        least: that is accepted.
        most: that is accepted.
        added: files of before it was there lack it, and mean the usual value.
    """

    usual: int | float
    least: int | float
    most: int | float
    added: bool = False


class Recipe(NamedTuple):
    """How a field is fitted to the voxels of a map.

    Attributes:
        fit: of a volume, its grid, and the constants by name.
        constants: by name.
        reach: voxels farther than this from a point hardly matter there; None where all do.
        exact: the field goes through every voxel.
    """

    fit: Callable[..., SplineField]
    constants: Mapping[str, Constant] = {}
    reach: int | None = 8
    exact: bool = True


# That of the solvent of a map, or 0.
_LEVEL = Constant(0.0, -1e30, 1e30)
_OF_MAP = {"noise", "level"}
_OF_POSITIVE: Mapping[str, Constant] = {
    "width": Constant(WIDTH, 0.2, 3.0),
    "finer": Constant(FINER, 1, 4),
    "steps": Constant(30, 1, 1000),
}

RECIPES: Mapping[str, Recipe] = {
    "positive": Recipe(fit_positive, {**_OF_POSITIVE, "level": _LEVEL._replace(added=True)}),
    # The noise is that of the map: what is usual stands for none. Where the fit ends is told by the
    # misfit of all voxels in which there is density.
    "denoised": Recipe(
        fit_positive,
        {**_OF_POSITIVE, "noise": Constant(0.0, 0.0, 1e30), "level": _LEVEL},
        reach=None,
        exact=False,
    ),
    "spline": Recipe(partial(fit_spline, degree=3)),
    "quintic": Recipe(partial(fit_spline, degree=5)),
    "fourier": Recipe(fit_fourier, reach=None),
    "trilinear": Recipe(partial(fit_spline, degree=1)),
}


def usual_constants(recipe: str) -> dict[str, int | float]:
    """Constants of a recipe, to be stored with its name.

    Args:
        recipe: one of ``RECIPES``.

    Returns:
        by name.
    """
    return {name: constant.usual for name, constant in RECIPES[recipe].constants.items()}


def check_recipe(recipe: str, constants: Mapping[str, int | float]) -> None:
    """Refuse a recipe that this program cannot follow.

    Args:
        recipe: its name.
        constants: by name.

    Raises:
        ValueError: it is not known, or a constant is missing, unknown or out of range.
    """
    if recipe not in RECIPES:
        raise ValueError(f"no fit is called {recipe!r}; known: {', '.join(RECIPES)}")
    known = RECIPES[recipe].constants
    needed = {name for name, constant in known.items() if not constant.added}
    if odd := (constants.keys() - known.keys()) | (needed - constants.keys()):
        raise ValueError(f"{recipe} has the constants {list(known)}: not so {min(odd)!r}")
    for name, value in constants.items():
        constant = known[name]
        whole = isinstance(constant.usual, int)
        if (whole and not isinstance(value, int)) or not constant.least <= value <= constant.most:
            number = "whole number" if whole else "number"
            wanted = f"a {number} from {constant.least} to {constant.most}"
            raise ValueError(f"{name} is {value}, not {wanted}")


def fit_recipe(
    values: Float[np.ndarray, "z y x"],
    origin: Float[np.ndarray, "3"],
    voxel_size: Float[np.ndarray, "3"],
    recipe: str,
    constants: Mapping[str, int | float],
) -> SplineField:
    """The field of a map by a recipe. Host code.

    Args:
        values: density.
        origin: position (x, y, z) of voxel [0, 0, 0], Å.
        voxel_size: edges of a voxel along x, y, z, Å.
        recipe: one of ``RECIPES``.
        constants: by name.

    Returns:
        the field.

    Raises:
        ValueError: the recipe cannot be followed.
    """
    check_recipe(recipe, constants)
    # What each map has of its own would else be compiled for each map.
    static = tuple(constants.keys() - _OF_MAP)
    fit = jax.jit(RECIPES[recipe].fit, static_argnames=static)
    return fit(jnp.asarray(values, jnp.float32), voxel_grid(origin, voxel_size), **constants)
