"""The molecule whose images are made: atoms, frames, and what each atom scatters."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from cryojax_graph.forward.scattering import atom_gaussians, residue_gaussians
from cryojax_graph.geometry import apply, superpose
from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.molecular_dynamics import (
    is_simulation,
    listed_residues,
    read_simulation,
    stated_frames,
)
from cryojax_graph.io.residues import find_residues
from cryojax_graph.io.trajectories import Trajectory, read_trajectory
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.side_chains import carry_side_chains

# Beyond this distance from its centre an atom or a residue scatters nothing, Å.
_EDGE = 4.0
_BACKBONE = ("N", "CA", "C", "O", "CB", "OXT")


class Molecule(NamedTuple):
    """Heavy atoms in every frame, relative to the centre of the images.

    Attributes:
        atoms: at their positions in the first frame.
        positions: in every frame, Å.
        alpha: rows of the C-alpha atoms of amino acids.
        masses: Gaussians of each atom.
        widths: their standard deviations, Å.
        moved_by: what was added to the coordinates of the file, Å.
        notes: what the user should know about it.
    """

    atoms: AtomTable
    positions: Float32[np.ndarray, "frames n 3"]
    alpha: Int[np.ndarray, " residues"]
    masses: Float32[np.ndarray, "n gaussians"]
    widths: Float32[np.ndarray, "n gaussians"]
    moved_by: Float32[np.ndarray, "3"]
    notes: tuple[str, ...]


def read_molecule(config: SimulateConfig) -> Molecule:
    """Read a model or a trajectory, without hydrogens and water, centred.

    The centroid of the C-alpha atoms of the first frame (of all atoms where there are none) becomes
    the centre of the images. A file with nothing but C-alpha atoms is drawn as one Gaussian per
    residue, any other as five Gaussians per atom.

    Args:
        config: of the verb.

    Returns:
        the molecule.

    Raises:
        InputError: a file cannot be used, or holds an atom or residue of unknown scattering.
    """
    trajectory, left_out = _read(config)
    trajectory, dropped = _heavy(trajectory, config.input)
    atoms = trajectory.atoms
    alpha = _alpha_rows(atoms)
    centred = trajectory.positions[0, alpha] if len(alpha) else trajectory.positions[0]
    moved_by = -centred.mean(axis=0, dtype=np.float64).astype(np.float32)
    positions = trajectory.positions + moved_by
    masses, widths = _gaussians(atoms, config)
    return Molecule(
        atoms=replace(atoms, positions=positions[0]),
        positions=positions,
        alpha=alpha,
        masses=masses,
        widths=widths,
        moved_by=moved_by,
        notes=(*left_out, *_notes(atoms, len(alpha), dropped)),
    )


def _read(config: SimulateConfig) -> tuple[Trajectory, tuple[str, ...]]:
    """The trajectory with all atoms that are to be drawn, and what is not in it any more."""
    if not is_simulation(config.input):
        trajectory = read_trajectory(config.input)
        if config.template is None:
            return trajectory, ()
        template = read_atoms(config.template)
        files = {"file": config.input, "template_file": config.template}
        return carry_side_chains(trajectory, template, **files), ()
    if config.template is None:
        cause = "a file of coordinates, without the names of the atoms"
        remedy = "give the topology of the simulation with --template: PDB, GRO, PSF, PRMTOP, ..."
        raise InputError(config.input, "its contents", cause, remedy)
    trajectory, others = read_simulation(config.input, config.template)
    notes = [f"left out: {listed_residues(others)}"] if others else []
    stated = stated_frames(config.input)
    if stated is not None and stated > len(trajectory):
        notes.append(f"its header tells of {stated:,} frames, {len(trajectory):,} are there")
    return _superposed(trajectory), tuple(notes)


def _superposed(trajectory: Trajectory) -> Trajectory:
    """Frames on the first one: that a molecule tumbles and drifts is no change of its shape."""
    alpha = _alpha_rows(trajectory.atoms)
    rows = alpha if len(alpha) > 2 else np.arange(len(trajectory.atoms))
    first = jnp.asarray(trajectory.positions[0, rows])

    def onto_first(positions: Float[Array, "n 3"]) -> Float[Array, "n 3"]:
        return apply(superpose(positions[rows], first), positions)

    moved = jax.jit(lambda frames: jax.lax.map(onto_first, frames))(trajectory.positions)
    return Trajectory(trajectory.atoms, np.asarray(moved))


def reach(molecule: Molecule) -> float:
    """Radius of the sphere around the centre in which the molecule stays.

    Args:
        molecule: in all its frames.

    Returns:
        Å.
    """
    furthest = np.sqrt(np.max(np.sum(molecule.positions**2, axis=-1)))
    return float(furthest) + _EDGE


def check_fits(molecule: Molecule, config: SimulateConfig) -> None:
    """Refuse a box that some particle would leave.

    Args:
        molecule: in all its frames.
        config: of the verb.

    Raises:
        InputError: with the smallest box that is large enough.
    """
    radius = reach(molecule) + 3.0 * config.shift_sigma
    # An even box has one pixel less on its upper side.
    room = ((config.box - 1) // 2) * config.pixel_size
    if radius > room:
        needed = 2 * (int(np.ceil(radius / config.pixel_size)) + 1)
        cause = (
            f"the molecule and its shifts reach {radius:.0f} Å from the centre, a box of "
            f"{config.box} px only {room:.0f} Å"
        )
        remedy = f"use --box {needed} or more, or a larger --pixel-size"
        raise InputError(config.input, "its coordinates", cause, remedy)


def _heavy(trajectory: Trajectory, file: str) -> tuple[Trajectory, dict[str, int]]:
    atoms = trajectory.atoms
    residues = find_residues(atoms)
    hydrogen = np.isin(np.strings.upper(atoms.element), ("H", "D"))
    water = np.repeat(residues.kind == "water", residues.atom_count) & ~hydrogen
    keep = ~(hydrogen | water)
    if not keep.any():
        cause = "it holds nothing but hydrogens and water"
        raise InputError(file, "its atoms", cause, "name a model of a molecule")
    dropped = {"hydrogens": int(hydrogen.sum()), "atoms of water": int(water.sum())}
    return Trajectory(select_atoms(atoms, keep), trajectory.positions[:, keep]), dropped


def _alpha_rows(atoms: AtomTable) -> Int[np.ndarray, " residues"]:
    residues = find_residues(atoms)
    protein = np.repeat(residues.kind == "protein", residues.atom_count)
    return np.flatnonzero((atoms.name == "CA") & (atoms.element == "C") & protein)


def _gaussians(
    atoms: AtomTable, config: SimulateConfig
) -> tuple[Float32[np.ndarray, "n gaussians"], Float32[np.ndarray, "n gaussians"]]:
    try:
        if (atoms.name == "CA").all():
            masses, widths = residue_gaussians(atoms.residue_name.tolist())
            return masses[:, None], widths[:, None]
        blur = config.microscope.model_b_factors
        b_factors = atoms.b_factor if blur else np.zeros_like(atoms.b_factor)
        return atom_gaussians(atoms.element.tolist(), b_factors)
    except ValueError as error:
        remedy = "remove these atoms, or write them as what they replace"
        raise InputError(config.input, "its atoms", str(error), remedy) from None


def _notes(atoms: AtomTable, residues: int, dropped: dict[str, int]) -> tuple[str, ...]:
    notes = [f"{count:,} {what} are left out" for what, count in dropped.items() if count]
    if residues == 0:
        notes.append("it has no C-alpha atoms: the truth will hold no conformations")
    elif residues < len(atoms) and np.isin(atoms.name, _BACKBONE).all():
        notes.append(
            "side chains are missing, so images show the backbone only; --template adds them"
        )
    return tuple(notes)
