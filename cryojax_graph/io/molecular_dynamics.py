"""Trajectories as simulation programs write them: coordinates in one file, names in another.

MDAnalysis reads them (Michaud-Agrawal et al. 2011, J. Comput. Chem. 32, 2319), which comes with the
extra ``md``.
"""

import importlib
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, Float64

from cryojax_graph.io.atom_table import AtomTable, element_from_name
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.trajectories import Trajectory

_COORDINATES = (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".h5md", ".tng")
_LONGEST_LISTED = 6
_OF_POLYMERS = ("H", "C", "N", "O", "P", "S")


def is_simulation(path: str | Path) -> bool:
    """Whether a file holds coordinates of a simulation, without the names of atoms.

    Args:
        path: judged by its ending.

    Returns:
        the answer.
    """
    return Path(path).suffix.lower() in _COORDINATES


def read_simulation(
    path: str | Path, topology: str | Path, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[Trajectory, dict[str, int]]:
    """Read the proteins and nucleic acids of a simulation.

    Args:
        path: coordinates of all frames, e.g. ``.dcd`` or ``.xtc``.
        topology: names of the atoms: PDB, GRO, PSF, PRMTOP or what else MDAnalysis knows.
        limits: caps on the number of atoms and the size of the coordinates.

    Returns:
        the trajectory, molecules whole where the simulation's box showed a part on its other side,
        and by their names how many residues are left out: solvent, ions, lipids, ligands.

    Raises:
        InputError: MDAnalysis is not there or cannot read the files, the two do not belong
            together, or there is no protein or nucleic acid.
    """
    for file in (path, topology):
        if not Path(file).is_file():
            raise InputError(file, "the file", "there is no such file", "check the path")
    analysis, refused = _analysis(path), ""
    with _quietly():
        try:
            universe = analysis.Universe(str(topology), str(path))
            chosen = universe.select_atoms("protein or nucleic")
            frames = len(universe.trajectory)
            _check_size(len(chosen), len(universe.residues), frames, path, topology, limits)
            positions = np.empty((frames, len(chosen), 3), np.float32)
            lattice = np.zeros((frames, 3, 3))
            for number, frame in enumerate(universe.trajectory):
                positions[number] = chosen.positions
                if frame.dimensions is not None:
                    lattice[number] = frame.triclinic_dimensions
            atoms = _table(chosen, positions[0], topology)
            residues = universe.residues - chosen.residues
            left_out = dict(Counter(residues.resnames.tolist()).most_common())
        except InputError:
            raise
        except Exception as error:
            refused = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if refused:
        cause = f"MDAnalysis cannot read it with {topology}: {refused}"
        remedy = "give the topology that this trajectory was made with"
        raise InputError(path, "its contents", cause, remedy)
    _check_finite(positions, path)
    if np.all(np.abs(np.linalg.det(lattice)) > 0):
        positions = _whole(atoms, positions, lattice)
        atoms = replace(atoms, positions=positions[0])
    return Trajectory(atoms, positions), left_out


def listed_residues(left_out: dict[str, int]) -> str:
    """Kinds of residues and their numbers as text.

    Args:
        left_out: numbers by name, the most frequent first.

    Returns:
        the first of them.
    """
    shown = [f"{count:,} {name}" for name, count in list(left_out.items())[:_LONGEST_LISTED]]
    more = len(left_out) - len(shown)
    return ", ".join(shown) + (f" and {more} more kinds" if more else "")


def _analysis(path: str | Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("MDAnalysis")
    except ImportError:
        cause = f"{Path(path).suffix} files are read by MDAnalysis, which is not installed"
        remedy = "pip install 'cryojax-graph[md]', or write the frames as mmCIF, PDB or .npz"
        raise InputError(path, "its format", cause, remedy) from None


@contextmanager
def _quietly() -> Iterator[None]:
    """Without warnings of masses and elements that are guessed, and what half-made readers say.

    A reader of MDAnalysis that could not open its file fails once more when it is thrown away.
    """
    hook = sys.unraisablehook
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda _: None
        try:
            yield
        finally:
            sys.unraisablehook = hook


def _check_size(
    chosen: int, residues: int, frames: int, path: str | Path, topology: str | Path, limits: Limits
) -> None:
    if not chosen:
        cause = f"none of its {residues:,} residues is an amino acid or a nucleotide"
        remedy = "give a topology with the usual names of residues"
        raise InputError(topology, "its residues", cause, remedy)
    needed = 12 * chosen * frames
    if chosen > limits.atoms or needed > limits.array_bytes:
        cause = f"{frames:,} frames of {chosen:,} atoms take {needed / 2**30:.1f} GiB"
        raise InputError(path, "its frames", cause, "write fewer of them")
    if not frames:
        raise InputError(path, "its frames", "there are none", "write the trajectory again")


def _table(chosen: Any, first: Float32[np.ndarray, "n 3"], topology: str | Path) -> AtomTable:
    def values(name: str, missing: str = "") -> np.ndarray:
        found = getattr(chosen, name, None)
        return np.full(len(chosen), missing) if found is None else np.asarray(found).astype(str)

    names, residues = values("names"), values("resnames")
    chains = values("chainIDs")
    if (chains == "").any():
        chains = np.where(chains == "", values("segids"), chains)
    pairs = list(zip(names.tolist(), residues.tolist(), strict=True))
    known = {pair: _element(*pair) for pair in set(pairs)}
    for atom, pair in zip(chosen, pairs, strict=True):
        if not known[pair]:
            cause = f"no element can be told from the atom name {pair[0]!r} of {pair[1]}"
            raise InputError(topology, f"atom {atom.index + 1}", cause, "name it as PDB files do")
    count = len(chosen)
    return AtomTable(
        positions=first,
        element=np.array([known[pair] for pair in pairs], "U2"),
        name=names,
        residue_name=residues,
        residue_number=np.asarray(chosen.resids).astype(np.int32),
        insertion_code=values("icodes"),
        chain=chains,
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )


def _element(name: str, residue: str) -> str:
    """Element of an atom of an amino acid or a nucleotide: CD is a carbon, not cadmium."""
    letter = name.lstrip("0123456789")[:1].upper()
    if letter in _OF_POLYMERS and not name.upper().startswith("SE"):
        return letter
    return element_from_name(name, residue)


def _check_finite(positions: Float32[np.ndarray, "frames n 3"], path: str | Path) -> None:
    usable = np.isfinite(positions).all(axis=(1, 2))
    if not usable.all():
        frame = int((~usable).argmax())
        cause = "it holds coordinates that are not finite"
        raise InputError(path, f"frame {frame + 1}", cause, "write the trajectory again")


def _whole(
    atoms: AtomTable,
    positions: Float32[np.ndarray, "frames n 3"],
    lattice: Float64[np.ndarray, "frames 3 3"],
) -> Float32[np.ndarray, "frames n 3"]:
    """Undo the wrapping of a periodic box: neighbours in a chain, and chains, near each other.

    Atoms follow each other within half a box along a chain. A chain stands beside the first one as
    in the first frame, where it is the copy whose centre is nearest.
    """
    inverse = np.linalg.inv(lattice)

    def nearest(steps: Float64[np.ndarray, "frames n 3"]) -> Float64[np.ndarray, "frames n 3"]:
        return steps - np.round(steps @ inverse) @ lattice

    chains = np.unique(atoms.chain, return_inverse=True)[1].ravel()
    whole = positions.astype(np.float64)
    first = np.zeros((len(whole), 1, 3))
    for number in range(chains.max() + 1):
        rows = np.flatnonzero(chains == number)
        steps = nearest(np.diff(whole[:, rows], axis=1))
        whole[:, rows[1:]] = whole[:, rows[:1]] + np.cumsum(steps, axis=1)
        centre = whole[:, rows].mean(axis=1, keepdims=True)
        if number == 0:
            first = centre
            continue
        apart = nearest(centre - first)
        beside = apart[:1] + nearest(apart - apart[:1])
        whole[:, rows] += beside - (centre - first)
    return whole.astype(np.float32)
