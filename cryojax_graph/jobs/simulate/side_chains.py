"""All atoms of a trajectory that holds some of them, the others carried by their residues."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int

from cryojax_graph.geometry import apply, frames_from_three_points, invert
from cryojax_graph.io.atom_table import AtomTable, residue_starts
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.trajectories import Trajectory

_FRAME = ("N", "CA", "C")


def carry_side_chains(
    trajectory: Trajectory, template: AtomTable, *, file: str | Path, template_file: str | Path
) -> Trajectory:
    """All atoms of a template in every frame of a trajectory.

    Atoms that the trajectory holds are taken from it. The others keep their place in the rigid
    frame that N, CA and C of their residue form.

    Args:
        trajectory: at least N, CA and C of every residue.
        template: all atoms of the same residues, in any conformation and anywhere in space.
        file: of the trajectory, for messages.
        template_file: of the template, for messages.

    Returns:
        atoms in the order of the template.

    Raises:
        InputError: the two do not hold the same residues, or N, CA or C is missing.
    """
    starts = residue_starts(template)
    owner = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, len(template))))
    residues = _residues_of(template, starts)
    _check_residues(trajectory, residues, file, template_file)
    place = {(*key, name): row for row, (key, name) in enumerate(_atoms_of(trajectory.atoms))}
    anchors = _anchor_rows(residues, place, file)
    in_template = {(*key, name): row for row, (key, name) in enumerate(_atoms_of(template))}
    local_anchors = _anchor_rows(residues, in_template, template_file)
    positions = _carried(trajectory.positions[:, anchors], template.positions, owner, local_anchors)
    for row, (key, name) in enumerate(_atoms_of(template)):
        if (known := place.get((*key, name))) is not None:
            positions[:, row] = trajectory.positions[:, known]
    return Trajectory(template, positions)


_Residue = tuple[str, int, str]


def _residues_of(atoms: AtomTable, starts: np.ndarray) -> dict[_Residue, str]:
    """Name of every residue by chain, number and insertion code."""
    keys = (atoms.chain, atoms.residue_number, atoms.insertion_code)
    listed = zip(*(key[starts].tolist() for key in keys), strict=True)
    return dict(zip(listed, atoms.residue_name[starts].tolist(), strict=True))


def _atoms_of(atoms: AtomTable) -> list[tuple[_Residue, str]]:
    keys = (atoms.chain, atoms.residue_number, atoms.insertion_code)
    listed = zip(*(key.tolist() for key in keys), strict=True)
    return list(zip(listed, atoms.name.tolist(), strict=True))


def _check_residues(
    trajectory: Trajectory,
    residues: dict[_Residue, str],
    file: str | Path,
    template_file: str | Path,
) -> None:
    moving = _residues_of(trajectory.atoms, residue_starts(trajectory.atoms))
    for key in [*residues, *moving]:
        one, other = residues.get(key), moving.get(key)
        if one != other:
            chain, number, code = key
            cause = f"{one or 'nothing'} where the trajectory {file} has {other or 'nothing'}"
            remedy = "give the model from which the trajectory was made"
            raise InputError(template_file, f"residue {chain} {number}{code}", cause, remedy)


def _anchor_rows(
    residues: dict[_Residue, str], place: dict[tuple[str, int, str, str], int], file: str | Path
) -> Int[np.ndarray, "residues 3"]:
    rows = np.empty((len(residues), 3), np.int64)
    for number, key in enumerate(residues):
        for column, name in enumerate(_FRAME):
            row = place.get((*key, name))
            if row is None:
                chain, residue, code = key
                raise InputError(
                    file,
                    f"residue {chain} {residue}{code}",
                    f"it has no atom {name}, which carries its side chain",
                    "give N, CA and C of every residue, or leave out --template",
                )
            rows[number, column] = row
    return rows


def _carried(
    anchors: Float32[np.ndarray, "frames residues 3 3"],
    template: Float32[np.ndarray, "atoms 3"],
    owner: Int[np.ndarray, " atoms"],
    template_anchors: Int[np.ndarray, "residues 3"],
) -> Float32[np.ndarray, "frames atoms 3"]:
    def to_local(point: Float[Array, " 3"], three: Float[Array, "3 3"]) -> Float[Array, " 3"]:
        return apply(invert(frames_from_three_points(*three)), point)

    points, threes = jnp.asarray(template), jnp.asarray(template[template_anchors])
    local = jax.vmap(to_local)(points, threes[owner])

    @jax.jit
    def place(frame: Float[Array, "residues 3 3"]) -> Float[Array, "atoms 3"]:
        rigid = jax.vmap(lambda three: frames_from_three_points(*three))(frame)
        return jax.vmap(apply)(jax.tree.map(lambda part: part[owner], rigid), local)

    return np.array(jax.lax.map(place, jnp.asarray(anchors)), np.float32)
