"""The user's map or model as what images are compared with."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.density import density_of_atoms
from cryojax_graph.forward.scattering import atom_gaussians
from cryojax_graph.forward.slices import can_be_numbered
from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.describe import file_kind
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import PIXEL_TOLERANCE
from cryojax_graph.io.mrc import read_map
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.poses.reference import Reference, reference_of
from cryojax_graph.poses.symmetry import coarse_map

_HYDROGEN = ("H", "D")
_WATER = ("HOH", "WAT", "DOD")
# Of the largest density: what is below is noise or solvent when the size of a map is told.
_CORE = 0.2
_UNEVEN = 1e-3
# Along an edge, enough for two dozen shells.
_FEW_VOXELS = 60
# What programs write that know no voxel size.
_PLACEHOLDER = 1.0


class Given(NamedTuple):
    """A reference as it was given.

    Attributes:
        reference: ready to be projected.
        radius: of the sphere with its radius of gyration, Å.
        finest: its Nyquist limit, Å.
        description: for the log.
        coarse: its outline on few voxels.
        edge: of these together, Å.
        doubts: of its scale and symmetry, to be warned of.
    """

    reference: Reference
    radius: float
    finest: float
    description: str
    coarse: Float[Array, "n n n"]
    edge: float
    doubts: tuple[str, ...] = ()


def read_reference(
    path: str, particles: ParticleSet, *, origin: str, voxel_size: float | None = None
) -> Given:
    """Read a map or a model.

    Args:
        path: MRC map, PDB or mmCIF model.
        particles: whose images it will be compared with.
        origin: of a model's coordinates: centre, corner or auto.
        voxel_size: of a map, Å, in place of what its header says.

    Returns:
        the reference.

    Raises:
        InputError: the file cannot be used, or is a model, which has no voxels.
    """
    refuse_other_kind(path, "map", "model", remedy="--reference is what images show")
    if file_kind(path) == "map":
        return _of_map(path, particles, voxel_size)
    if voxel_size is not None:
        cause = "it is the edge of a voxel of a map, and the reference is a model"
        raise InputError("command line", "--map.voxel-size", cause, "leave it out")
    return _of_model(path, particles, origin)


def _of_map(path: str, particles: ParticleSet, voxel_size: float | None) -> Given:
    density = read_map(path, voxel_size=voxel_size)
    voxel = float(density.voxel_size.mean())
    if np.ptp(density.voxel_size) > _UNEVEN * voxel:
        raise InputError(
            path,
            "header, cell",
            f"voxels are not cubes: {density.voxel_size} Å",
            "resample the map to one voxel size",
        )
    values = _cube(density.values)
    if not can_be_numbered(len(values)):
        cause = f"a cube of {len(values)} voxels is too large to be transformed"
        remedy = "crop or bin it: what is finer than the images' pixels is not used"
        raise InputError(path, "its size", cause, remedy)
    if not np.ptp(values) > 0:
        raise InputError(path, "its values", "all are equal", "give a map of the particle")
    if not values.max() > 0:
        cause = "none is above 0: the particle is dark, or the map empty"
        raise InputError(path, "its values", cause, "invert the map: protein must be positive")
    field = particles.box * particles.pixel_size
    reference = jax.jit(
        lambda v: (
            reference_of(v, voxel_size=voxel, field=field, pixel_size=particles.pixel_size).volume
        )
    )(values)
    return Given(
        Reference(reference, 2 * len(values) * voxel / field),
        _radius_of_map(values, voxel),
        2 * voxel,
        f"map of {' × '.join(str(n) for n in density.values.shape[::-1])} voxels of {voxel:.3g} Å",
        _coarse(jnp.asarray(values), box=_FEW_VOXELS),
        len(values) * voxel,
        () if voxel_size is not None else _doubts_of_scale(voxel, len(values), particles),
    )


def _doubts_of_scale(voxel: float, size: int, particles: ParticleSet) -> tuple[str, ...]:
    """Whether a header seems not to know the size of its voxels."""
    pixel = particles.pixel_size
    known = voxel != _PLACEHOLDER or abs(pixel / voxel - 1) < PIXEL_TOLERANCE
    if known or size != particles.box:
        return ()
    return (
        f"The header of the reference says voxels of {voxel:g} Å, as programs write that know no "
        f"size, and its box is that of the images, whose pixels are of {pixel:g} Å: if it has "
        f"their scale, give --map.voxel-size {pixel:g}",
    )


def _of_model(path: str, particles: ParticleSet, origin: str) -> Given:
    box, pixel = particles.box, particles.pixel_size
    atoms = _heavy_atoms(path)
    positions = _placed(atoms.positions.astype(np.float64), origin, box // 2 * pixel, path)
    density = density_of_model(
        replace(atoms, positions=positions.astype(np.float32)), path, box=box, voxel_size=pixel
    )
    centred = positions - positions.mean(axis=0)
    gyration = float(np.sqrt(np.mean(np.sum(centred**2, axis=1))))
    return Given(
        reference_of(density, voxel_size=pixel, field=box * pixel, pixel_size=pixel),
        max(np.sqrt(5 / 3) * gyration, pixel),
        2 * pixel,
        f"model of {len(atoms):,} heavy atoms",
        _coarse(density, box=_FEW_VOXELS),
        box * pixel,
    )


_coarse = jax.jit(coarse_map, static_argnames="box")


def density_of_model(
    atoms: AtomTable, path: str | Path, *, box: int, voxel_size: float
) -> Float[Array, "box box box"]:
    """Map of a model as electrons see it, cut off at its Nyquist frequency.

    Args:
        atoms: positions in Å from voxel ``box // 2``; their B-factors are not used.
        path: of the model, for messages.
        box: edge in voxels.
        voxel_size: Å.

    Returns:
        density, ``[z, y, x]``.

    Raises:
        InputError: the scattering of an element is not known.
    """
    names, kind = np.unique(np.char.upper(atoms.element.astype(str)), return_inverse=True)
    try:
        masses, widths = atom_gaussians(names.tolist(), np.zeros(len(names)))
    except ValueError as error:
        raise InputError(path, "its atoms", str(error), "remove these atoms") from None
    return jax.jit(density_of_atoms, static_argnames=("box", "voxel_size"))(
        jnp.asarray(atoms.positions, jnp.float32),
        jnp.asarray(kind.reshape(-1)),
        jnp.asarray(masses),
        jnp.asarray(widths),
        box=box,
        voxel_size=voxel_size,
    )


def _heavy_atoms(path: str) -> AtomTable:
    atoms = read_atoms(path)
    element = np.char.upper(atoms.element.astype(str))
    left_out = np.isin(element, _HYDROGEN) | np.isin(atoms.residue_name, _WATER)
    atoms = select_atoms(atoms, ~left_out)
    if len(atoms) == 0:
        cause = "there is no heavy atom"
        raise InputError(path, "its atoms", cause, "give a model of the particle")
    return atoms


def _placed(
    positions: Float[np.ndarray, "n 3"], origin: str, half: float, path: str | Path
) -> Float[np.ndarray, "n 3"]:
    """Coordinates from the centre of the box."""
    choices = {"centre": positions, "corner": positions - half}
    if origin == "auto":
        origin = min(choices, key=lambda name: np.linalg.norm(choices[name].mean(axis=0)))
    placed = choices[origin]
    reach = float(np.linalg.norm(placed, axis=1).max())
    if reach > half:
        raise InputError(
            path,
            "its coordinates",
            f"atoms reach {reach:.0f} Å from the {origin} of the box, the box only {half:.0f} Å",
            "move the model to the centre, set --origin, or extract the particles in a larger box",
        )
    return placed


def _cube(values: Float[np.ndarray, "z y x"]) -> Float[np.ndarray, "n n n"]:
    """The map in the middle of the smallest cube that holds it."""
    size = max(values.shape)
    before = [size // 2 - n // 2 for n in values.shape]
    around = [(b, size - n - b) for b, n in zip(before, values.shape, strict=True)]
    return np.pad(values, around).astype(np.float32)


def _radius_of_map(values: Float[np.ndarray, "n n n"], voxel: float) -> float:
    weight = np.where(values > _CORE * values.max(), values, 0.0).astype(np.float64)
    axis = (np.arange(len(values)) - len(values) // 2) * voxel
    total, square = weight.sum(), 0.0
    for along in range(3):
        profile = weight.sum(axis=tuple(i for i in range(3) if i != along)) / total
        centre = profile @ axis
        square += profile @ (axis - centre) ** 2
    return float(max(np.sqrt(5 / 3 * square), voxel))
