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
from string import ascii_uppercase
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from jaxtyping import Float32

from cryojax_graph.io.atom_table import AtomTable, element_from_name
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.periodic_box import make_whole
from cryojax_graph.io.trajectories import Trajectory

_COORDINATES = (".dcd", ".xtc", ".trr", ".nc", ".ncdf", ".h5md", ".tng")
_LONGEST_LISTED = 6
_OF_POLYMERS = ("H", "C", "N", "O", "P", "S")
_BACKBONES = ({"N", "CA", "C"}, {"C1'", "C3'", "O3'"})
# Longest step between neighbouring residues, Å, and share of them that may be far off in a frame.
_NEIGHBOURS, _MOST_ODD = 9.0, 0.1


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
    with _quietly(), TemporaryDirectory() as aside:
        try:
            # What MDAnalysis notes of a trajectory it writes beside it.
            link = Path(aside) / Path(path).name
            link.symlink_to(Path(path).resolve())
            universe = analysis.Universe(str(topology), str(link))
            chosen = _polymers(universe)
            frames = len(universe.trajectory)
            _check_size(len(chosen), len(universe.residues), frames, path, topology, limits)
            positions = np.zeros((frames, len(chosen), 3), np.float32)
            lattice, delivered = np.zeros((frames, 3, 3)), 0
            for number, frame in enumerate(universe.trajectory):
                positions[number] = chosen.positions
                if frame.dimensions is not None:
                    lattice[number] = frame.triclinic_dimensions
                delivered = number + 1
            atoms = _table(chosen, positions[0], topology)
            residues = universe.residues - chosen.residues
            left_out = dict(Counter(residues.resnames.tolist()).most_common())
        except InputError:
            raise
        except Exception as error:
            refused = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if refused:
        cause = f"MDAnalysis cannot read it with {topology}: {refused}"
        remedy = "check that both files are whole and belong together"
        raise InputError(path, "its contents", cause, remedy)
    _check_delivered(delivered, frames, path)
    _check_finite(positions, path)
    positions = make_whole(atoms.chain, positions, lattice)
    _check_steps(atoms, positions, path)
    return Trajectory(replace(atoms, positions=positions[0]), positions), left_out


def stated_frames(path: str | Path) -> int | None:
    """Number of frames that the header of a DCD file was written for.

    Args:
        path: the file.

    Returns:
        the number: a run that ended early, or a file that was cut, has fewer; None for other files.
    """
    if Path(path).suffix.lower() != ".dcd":
        return None
    with Path(path).open("rb") as file:
        start = file.read(12)
    return int.from_bytes(start[8:12], "little" if start[:1] == b"\x54" else "big")


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


def _polymers(universe: Any) -> Any:
    """Atoms of amino acids and nucleotides; modified ones are known by their atoms."""
    known = universe.select_atoms("protein or nucleic").residues
    alike = [
        name
        for name in np.unique((universe.residues - known).resnames)
        if any(
            part <= set(universe.residues[universe.residues.resnames == name][0].atoms.names)
            for part in _BACKBONES
        )
    ]
    others = universe.residues[np.isin(universe.residues.resnames, alike)]
    return (known | others).atoms


def _check_delivered(delivered: int, frames: int, path: str | Path) -> None:
    if delivered < frames:
        cause = f"it cannot be read, nor any after it; there should be {frames:,}"
        raise InputError(path, f"frame {delivered + 1}", cause, "copy the trajectory again")


def _check_steps(
    atoms: AtomTable, positions: Float32[np.ndarray, "frames n 3"], path: str | Path
) -> None:
    """Refuse frames that are noise: in a molecule neighbours along a chain stay neighbours."""
    rows = np.flatnonzero(np.isin(atoms.name, ("CA", "C1'", "C1*")))
    if not len(rows):
        cause = "no residue has a C-alpha atom or a C1' atom: beads of a coarse-grained model"
        raise InputError(path, "its atoms", cause, "give a trajectory of all atoms")
    joined = atoms.chain[rows][1:] == atoms.chain[rows][:-1]
    step = np.linalg.norm(np.diff(positions[:, rows], axis=1), axis=-1)[:, joined]
    usual = np.median(step, axis=0)
    near = usual < _NEIGHBOURS
    odd = np.abs(step - usual)[:, near] > 0.5 * usual[near]
    broken = odd.mean(axis=1) > _MOST_ODD if near.any() else np.zeros(len(step), bool)
    if broken.any():
        frame = int(broken.argmax())
        cause = f"{100 * odd[frame].mean():.0f} % of its residues stand where no molecule has them"
        raise InputError(path, f"frame {frame + 1}", cause, "write the trajectory again")


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
        chains = _lettered(values("segids"), np.asarray(chosen.resids))
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


def _lettered(segment: np.ndarray, number: np.ndarray) -> np.ndarray:
    """Names of chains where there are none: a new one where residues are counted anew."""
    new = (segment[1:] != segment[:-1]) | (number[1:] < number[:-1])
    index = np.concatenate([[0], np.cumsum(new)])
    names = [*ascii_uppercase, *(a + b for a in ascii_uppercase for b in ascii_uppercase)]
    return np.array([names[i % len(names)] for i in index])
