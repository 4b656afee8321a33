"""Atomic models: PDB and mmCIF files to plain arrays and back."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32

from cryojax_graph.io.altlocs import resolve_altlocs
from cryojax_graph.io.atom_table import AtomRecords, AtomTable, select_atoms
from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mmcif import format_mmcif, parse_mmcif
from cryojax_graph.io.pdb import format_pdb, parse_pdb
from cryojax_graph.io.unpack import read_text


def read_atoms(
    path: str | Path, *, model: int | None = None, limits: Limits = DEFAULT_LIMITS
) -> AtomTable:
    """Read one model; hydrogens, ligands and water are kept, alternate locations resolved.

    In each residue the conformer of highest occupancy is kept, the first one where they tie.

    Args:
        path: PDB or mmCIF file, plain, gzip or bzip2, told apart by their contents.
        model: number of the model from 1; needed when the file holds several.
        limits: caps on atoms and unpacked size.

    Returns:
        its atoms.

    Raises:
        InputError: the file is damaged, holds no atoms, a coordinate is not finite, or it holds
            several models and none is chosen.
    """
    records = read_records(path, limits=limits)
    count = int(records.model.max()) + 1
    if model is None and count > 1:
        cause = f"it holds {count} models"
        raise InputError(path, "its contents", cause, "choose one, or read it as a trajectory")
    if model is not None and not 1 <= model <= count:
        cause = f"model {model} was asked for, it holds {count}"
        raise InputError(path, "its contents", cause, f"choose one of 1 to {count}")
    chosen = records.model == (model or 1) - 1
    if not chosen.any():
        raise InputError(path, f"model {model}", "it holds no atoms", "choose another model")
    return select_atoms(records.atoms, chosen)


def read_records(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> AtomRecords:
    """Read all models of a file, with alternate locations resolved.

    Args:
        path: PDB or mmCIF file.
        limits: caps on atoms and unpacked size.

    Returns:
        atoms of all models.

    Raises:
        InputError: the file is damaged or holds no atoms.
    """
    return resolve_altlocs(parse_records(path, limits=limits), file=path)


def parse_records(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> AtomRecords:
    """Read all models and all alternate locations of a file.

    Args:
        path: PDB or mmCIF file.
        limits: caps on atoms and unpacked size.

    Returns:
        atoms as the file lists them.

    Raises:
        InputError: the file is damaged or holds no atoms.
    """
    text = read_text(path, limits=limits)
    parse = parse_mmcif if _is_cif(text) else parse_pdb
    return parse(text, file=path, limits=limits)


def _is_cif(text: str) -> bool:
    for line in text.split("\n"):
        if line.strip() and not line.startswith("#"):
            return line.lstrip()[:5].lower() == "data_"
    return False


def write_atoms(path: str | Path, atoms: AtomTable) -> None:
    """Write one model, whole or not at all.

    Args:
        path: file to write, ``.cif`` or ``.pdb``.
        atoms: the atoms.

    Raises:
        InputError: another ending, a position that is not finite, something that does not fit into
            the PDB format, or the disk refuses.
    """
    write_models(path, atoms, atoms.positions[None])


def write_records(path: str | Path, records: AtomRecords) -> None:
    """Write one model with its alternate locations, whole or not at all.

    Args:
        path: mmCIF file to write.
        records: atoms of one model.

    Raises:
        InputError: a position is not finite, or the disk refuses.
    """
    positions = records.atoms.positions[None]
    _refuse_unwritable(path, records.atoms, positions)
    name = Path(path).stem
    text = format_mmcif(records.atoms, positions, name=name, altloc=records.altloc)
    write_atomically(path, text.encode("ascii"))


def write_models(
    path: str | Path, atoms: AtomTable, positions: Float32[np.ndarray, "frames n 3"]
) -> None:
    """Write several conformations of one model, whole or not at all.

    Args:
        path: file to write, ``.cif`` or ``.pdb``.
        atoms: the atoms.
        positions: their positions in every frame in Å.

    Raises:
        InputError: as :func:`write_atoms`.
    """
    _refuse_unwritable(path, atoms, positions)
    suffix = Path(path).suffix
    if suffix in (".cif", ".mmcif"):
        text = format_mmcif(atoms, positions, name=Path(path).stem)
    elif suffix in (".pdb", ".ent"):
        text = format_pdb(atoms, positions, file=path)
    else:
        cause = f"the ending {suffix!r} names no format of models"
        raise InputError(path, "its name", cause, "end it in .cif or .pdb")
    write_atomically(path, text.encode("ascii"))


def _refuse_unwritable(
    path: str | Path, atoms: AtomTable, positions: Float32[np.ndarray, "frames n 3"]
) -> None:
    place = "writing it"
    if len(atoms) == 0 or len(positions) == 0:
        raise InputError(path, place, "there are no atoms to write", "choose some atoms")
    if not np.isfinite(positions).all():
        cause = f"{int((~np.isfinite(positions)).sum())} coordinates are NaN or infinite"
        raise InputError(path, place, cause, "report this as a fault of the program")
