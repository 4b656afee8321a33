"""A map or a stored field, and the field that is built of it.

From JAX code::

    field = load_field("peaks/field.npz")  # a pytree with a method ``value``
    value, gradient, hessian = query_expansion(field, points)
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import (
    RECIPES,
    Field,
    NeuralField,
    SplineField,
    check_recipe,
    fit_recipe,
    usual_constants,
)
from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.field_file import StoredField, StoredVoxels, read_field, write_field
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.io.unpack import open_plain
from cryojax_graph.jobs.claim import finished_manifest
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.map_noise import constants_of
from cryojax_graph.jobs.map_parts import part_around
from cryojax_graph.jobs.stored_networks import build_networks, describe_networks, store_networks

FIELD = "field.npz"
_REMEDY = "name a field.npz, the folder of a finished locate job, or a map"
_SHARE_OF_NOISE, _SHARE_OF_RANGE = 0.25, 1e-3


class Grid(NamedTuple):
    """Voxels of a map without their values.

    Attributes:
        shape: (z, y, x).
        voxel_size: edges along x, y, z, Å.
        origin: of voxel [0, 0, 0], (x, y, z) in Å.
    """

    shape: tuple[int, ...]
    voxel_size: Float[np.ndarray, "3"]
    origin: Float[np.ndarray, "3"]

    def same_as(self, other: "Grid") -> bool:
        """Whether both have the same voxels.

        Args:
            other: grid.

        Returns:
            true if so, to the last bit.
        """
        return all(np.array_equal(a, b) for a, b in zip(self, other, strict=True))

    def sides(self) -> list[Float[np.ndarray, " n"]]:
        """Coordinates of the voxels along z, y and x, Å."""
        steps = self.origin[::-1], self.voxel_size[::-1]
        return [o + s * np.arange(n) for o, s, n in zip(*steps, self.shape, strict=True)]


def grid_of(stored: StoredField) -> Grid:
    """The grid of the map that a field is of.

    Args:
        stored: the field.

    Returns:
        its grid; of networks, that of the part of the map that they were trained on.
    """
    if isinstance(stored, StoredNetworks):
        return Grid(stored.shape, stored.voxel_size, stored.origin)
    density = stored.density
    return Grid(density.values.shape, density.voxel_size, density.origin)


def accuracy_of(density: Map, noise: float) -> float:
    """Error of a voxel that does not matter: a quarter of the noise, or a thousandth of the range.

    Args:
        density: the map.
        noise: standard deviation where there is no density, map units; 0 if unknown.

    Returns:
        map units.
    """
    if noise > 0:
        return _SHARE_OF_NOISE * noise
    return _SHARE_OF_RANGE * float(np.ptp(density.values))


def describe_field(stored: StoredField) -> str:
    """What a field is, and how true to its map.

    Args:
        stored: the field.

    Returns:
        without a full stop.
    """
    if isinstance(stored, StoredNetworks):
        return describe_networks(stored)
    exact = f"within {stored.accuracy:.3g}" if stored.accuracy else "exact"
    noise = stored.constants.get("noise")
    told = "" if noise is None else f" to a noise of {noise:.3g}"
    return f"{stored.recipe}{told}, of voxels that are {exact}"


def save_field(
    path: str | Path, density: Map, recipe: str | NeuralField, *, accuracy: float = 0.0
) -> None:
    """Write the field of a map.

    Args:
        path: ``.npz`` file to write.
        density: the map.
        recipe: how the field is fitted to it, one of ``RECIPES``; or networks that were trained on
            the map or a part of it, which are stored in place of its voxels, in half precision.
        accuracy: largest error of a voxel, map units; 0 keeps every bit. That of networks is
            measured.

    Raises:
        InputError: no fit has that name, the accuracy is no number from 0 on, the map is not that
            of the networks, or the disk refuses.
        TrainingDiverged: a weight of the networks is beyond the range of half precision.
    """
    if not 0.0 <= accuracy < math.inf:
        cause = f"{accuracy} is not a number from 0 on"
        raise InputError(path, "accuracy", cause, "give the largest error of a voxel, or 0")
    if isinstance(recipe, NeuralField):
        write_field(path, store_networks(recipe, density))
        return
    if recipe not in RECIPES:
        cause = f"no fit is called {quote(recipe)}"
        raise InputError(path, "recipe", cause, f"choose one of {', '.join(RECIPES)}")
    constants = constants_of(density, recipe, file="the map")
    write_field(path, StoredVoxels(density, recipe, constants, accuracy))


def load_field(path: str | Path, *, recipe: str | None = None) -> Field:
    """The field of a file, as a pytree.

    Args:
        path: ``field.npz``, the folder of a finished ``locate`` job, or a map.
        recipe: one of ``RECIPES``; the stored one when not given, ``positive`` for a map.

    Returns:
        the field of the whole map; networks know the part that they were trained on.

    Raises:
        InputError: the file cannot be used.
    """
    return build_field(read_source(path, recipe=recipe))


def read_source(path: str | Path, *, recipe: str | None = None) -> StoredField:
    """What a field can be built of.

    Args:
        path: ``field.npz``, the folder of a finished ``locate`` job, or a map.
        recipe: in place of the stored one.

    Returns:
        voxels and a recipe that can be followed, or networks.

    Raises:
        InputError: the file cannot be used, or holds networks where a recipe is asked for.
    """
    path = source_path(path)
    archive = holds_field(path)
    if not archive:
        refuse_other_kind(path, "map", "stack", remedy="name a map, or a stored field")
    stored = read_field(path) if archive else StoredVoxels(read_map(path), recipe or "positive")
    if isinstance(stored, StoredNetworks):
        if recipe is None:
            return stored
        cause = f"it holds networks, not the voxels that --field {recipe} needs"
        raise InputError(path, "header, kind", cause, "leave out --field, or name the map")
    if recipe is not None or not archive:
        chosen = recipe or stored.recipe
        constants = constants_of(stored.density, chosen, file=str(path))
        return StoredVoxels(stored.density, chosen, constants, stored.accuracy)
    try:
        check_recipe(stored.recipe, stored.constants)
    except ValueError as error:
        remedy = "use the program that wrote it, or choose another --field"
        raise InputError(path, "header, recipe", str(error), remedy) from None
    return stored


def holds_field(path: Path) -> bool:
    """Whether a file is an archive, as stored fields are, and no map.

    Args:
        path: of the file.

    Returns:
        true if so.

    Raises:
        InputError: it cannot be read.
    """
    with open_plain(path) as handle:
        return handle.read(2) == b"PK"


def source_path(path: str | Path) -> Path:
    """The file that holds a field.

    Args:
        path: of it, or of the folder of a finished ``locate`` job.

    Returns:
        its path.

    Raises:
        InputError: the folder is not of such a job.
    """
    path = Path(path)
    if not path.is_dir():
        return path
    finished_manifest(path, "locate", remedy=_REMEDY)
    return path / FIELD


def build_field(stored: StoredField, *, near: Float[np.ndarray, "n 3"] | None = None) -> Field:
    """The field of stored voxels or networks.

    Args:
        stored: networks, or voxels with a recipe that can be followed.
        near: points (x, y, z) in Å, at least one in the box, where alone the field has to be right:
            it is then built of the voxels around them.

    Returns:
        the field.
    """
    if isinstance(stored, StoredNetworks):
        return build_networks(stored)
    density = stored.density
    reach = RECIPES[stored.recipe].reach
    if near is not None and reach is not None:
        density = part_around(density, near, reach)
    return fit_recipe(
        density.values, density.origin, density.voxel_size, stored.recipe, stored.constants
    )


def known_from(density: Map, part: Map, recipe: str) -> Map:
    """The voxels that a field has to be fitted to so that it is right in a part of a map.

    Args:
        density: the map.
        part: of it, with a border.
        recipe: one of ``RECIPES``.

    Returns:
        the part, or the map where the recipe needs all voxels.
    """
    return density if RECIPES[recipe].reach is None else part


def field_of(
    density: Map, recipe: str, constants: Mapping[str, int | float] | None = None
) -> SplineField:
    """The field of a map by a recipe.

    Args:
        density: the map.
        recipe: one of ``RECIPES``.
        constants: by name; the usual ones when not given.

    Returns:
        the field.
    """
    constants = usual_constants(recipe) if constants is None else constants
    return fit_recipe(density.values, density.origin, density.voxel_size, recipe, constants)
