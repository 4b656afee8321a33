"""Several conformations of one molecule: multi-model files and ``.npz`` trajectories."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Shaped

from cryojax_graph.io.atom_table import AtomRecords, AtomTable, element_from_name, select_atoms
from cryojax_graph.io.atoms import read_records, write_models
from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.unpack import open_plain

_IDENTITY = ("chain", "residue_number", "insertion_code", "residue_name", "name")
_CORRECT = "write the trajectory again"


@dataclass(frozen=True)
class Trajectory:
    """Conformations of one molecule.

    Args:
        atoms: the atoms, at their positions in the first frame.
        positions: positions in every frame in Å.
    """

    atoms: AtomTable
    positions: Float32[np.ndarray, "frames n 3"]

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.positions)


def read_trajectory(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> Trajectory:
    """Read all models of a PDB or mmCIF file, or an ``.npz`` trajectory.

    An ``.npz`` trajectory holds ``coords`` (frames, atoms, 3) in Å, ``atom_names``, ``res_names``,
    ``res_ids`` and ``chain_ids`` (atoms).

    Args:
        path: the file; PDB and mmCIF plain, gzip or bzip2.
        limits: caps on atoms and unpacked size.

    Returns:
        the trajectory; a file with one model has one frame.

    Raises:
        InputError: the file is damaged, or its models do not hold the same atoms.
    """
    with open_plain(path) as handle:
        archive = handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")
    if archive:
        return _from_arrays(read_npz(path, limits=limits), path, limits)
    return _from_records(read_records(path, limits=limits), path)


def _from_records(records: AtomRecords, path: str | Path) -> Trajectory:
    starts = np.searchsorted(records.model, np.arange(int(records.model.max()) + 2))
    models = [
        select_atoms(records.atoms, np.arange(start, stop))
        for start, stop in zip(starts[:-1].tolist(), starts[1:].tolist(), strict=True)
        if stop > start
    ]
    first = models[0]
    for number, model in enumerate(models[1:], 2):
        if len(model) != len(first):
            cause = f"{len(model)} atoms, the first model has {len(first)}"
            raise InputError(path, f"model {number}", cause, "give all models the same atoms")
        for field in _IDENTITY:
            differs = getattr(model, field) != getattr(first, field)
            if differs.any():
                atom = int(differs.argmax())
                one, other = getattr(model, field)[atom], getattr(first, field)[atom]
                cause = f"{field.replace('_', ' ')} {one} where the first model has {other}"
                place = f"model {number}, atom {atom + 1}"
                raise InputError(path, place, cause, "give all models the same atoms")
    return Trajectory(first, np.stack([model.positions for model in models]))


def _from_arrays(arrays: dict[str, np.ndarray], path: str | Path, limits: Limits) -> Trajectory:
    missing = {"coords", "atom_names", "res_names", "res_ids", "chain_ids"} - arrays.keys()
    if missing:
        cause = f"it has no array {', '.join(sorted(missing))}"
        remedy = "name a trajectory with coords, atom_names, res_names, res_ids and chain_ids"
        raise InputError(path, "its arrays", cause, remedy)
    coords = arrays["coords"]
    if coords.ndim != 3 or coords.shape[2] != 3 or coords.dtype.kind != "f" or not coords.size:
        cause = f"type {coords.dtype}, shape {coords.shape}: not (frames, atoms, 3) of floats"
        raise InputError(path, "array 'coords'", cause, _CORRECT)
    if coords.shape[1] > limits.atoms:
        cause = f"{coords.shape[1]} atoms, more than {limits.atoms}"
        raise InputError(path, "array 'coords'", cause, "raise Limits.atoms if that is meant")
    usable = np.isfinite(coords) & (np.abs(np.nan_to_num(coords)) <= 1e6)
    if not usable.all():
        frame, atom, _ = np.unravel_index(int((~usable).argmax()), usable.shape)
        cause = f"{int((~usable).sum())} coordinates are not finite or beyond 0.1 mm"
        raise InputError(path, f"frame {frame + 1}, atom {atom + 1}", cause, _CORRECT)
    count = coords.shape[1]
    names, residues, chains = (
        _names(arrays, key, count, path) for key in ("atom_names", "res_names", "chain_ids")
    )
    numbers = arrays["res_ids"]
    if numbers.shape != (count,) or numbers.dtype.kind not in "iu":
        cause = f"type {numbers.dtype}, shape {numbers.shape}: not one whole number per atom"
        raise InputError(path, "array 'res_ids'", cause, _CORRECT)
    positions = coords.astype(np.float32)
    atoms = AtomTable(
        positions=positions[0],
        element=_elements(names, residues, path),
        name=names,
        residue_name=residues,
        residue_number=_int32(numbers, path),
        insertion_code=np.full(count, "", "U1"),
        chain=chains,
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )
    return Trajectory(atoms, positions)


def _names(
    arrays: dict[str, np.ndarray], key: str, count: int, path: str | Path
) -> Shaped[np.ndarray, " n"]:
    values = arrays[key]
    if values.shape != (count,) or values.dtype.kind != "U" or values.dtype.itemsize > 128:
        cause = f"type {values.dtype}, shape {values.shape}: not one short text per atom"
        raise InputError(path, f"array {quote(key)}", cause, _CORRECT)
    # A word of the array may hold a number that is no character at all.
    if not all(text.isprintable() and text.isascii() for text in np.unique(values).tolist()):
        cause = "it holds characters that are not printable ASCII"
        raise InputError(path, f"array {quote(key)}", cause, _CORRECT)
    return values


def _int32(numbers: Shaped[np.ndarray, " n"], path: str | Path) -> Shaped[np.ndarray, " n"]:
    wide = (numbers > 2**31 - 1) | (numbers < -(2**31))
    if wide.any():
        cause = f"{numbers[wide.argmax()]} is not a residue number"
        raise InputError(path, "array 'res_ids'", cause, _CORRECT)
    return numbers.astype(np.int32)


def _elements(
    names: Shaped[np.ndarray, " n"], residues: Shaped[np.ndarray, " n"], path: str | Path
) -> Shaped[np.ndarray, " n"]:
    pairs = list(zip(names.tolist(), residues.tolist(), strict=True))
    known = {pair: element_from_name(*pair) for pair in set(pairs)}
    for atom, pair in enumerate(pairs):
        if not known[pair]:
            cause = f"no element can be told from the atom name {quote(pair[0])}"
            raise InputError(path, f"atom {atom + 1}", cause, _CORRECT)
    return np.array([known[pair] for pair in pairs], "U2")


def write_trajectory(path: str | Path, trajectory: Trajectory) -> None:
    """Write a trajectory, whole or not at all.

    Args:
        path: file to write: ``.cif`` or ``.pdb`` with one model per frame, or ``.npz``.
        trajectory: the frames.

    Raises:
        InputError: another ending, a position that is not finite, something that does not fit into
            the format, or the disk refuses.
    """
    if Path(path).suffix != ".npz":
        write_models(path, trajectory.atoms, trajectory.positions)
        return
    atoms = trajectory.atoms
    write_npz(
        path,
        {
            "coords": trajectory.positions,
            "atom_names": atoms.name,
            "res_names": atoms.residue_name,
            "res_ids": atoms.residue_number,
            "chain_ids": atoms.chain,
            "ca_rmsd_to_first": rmsd_to_first(trajectory).astype(np.float32),
        },
    )


def rmsd_to_first(trajectory: Trajectory) -> Float64[np.ndarray, " frames"]:
    """C-alpha RMSD of every frame to the first after superposition (Kabsch 1976).

    Args:
        trajectory: frames of a molecule with C-alpha atoms.

    Returns:
        Å; NaN for a molecule without C-alpha atoms.
    """
    alpha = (trajectory.atoms.name == "CA") & (trajectory.atoms.element == "C")
    frames = trajectory.positions[:, alpha].astype(np.float64)
    if frames.shape[1] == 0:
        return np.full(len(frames), np.nan)
    frames -= frames.mean(axis=1, keepdims=True)
    covariance = np.einsum("fai,aj->fij", frames, frames[0])
    singular = np.linalg.svd(covariance, compute_uv=False)
    singular[:, 2] *= np.sign(np.linalg.det(covariance))
    squares = (frames**2).sum(axis=(1, 2)) + (frames[0] ** 2).sum() - 2 * singular.sum(axis=1)
    return np.sqrt(np.maximum(squares, 0) / frames.shape[1])


def frame_atoms(trajectory: Trajectory, frame: int) -> AtomTable:
    """Atoms at their positions in one frame.

    Args:
        trajectory: the frames.
        frame: number from 0.

    Returns:
        the atoms.
    """
    return replace(trajectory.atoms, positions=trajectory.positions[frame])
