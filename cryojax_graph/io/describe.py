"""Tell by its contents what kind of file a user named, and describe it."""

import zipfile
from pathlib import Path
from typing import Literal, TypeAlias

from cryojax_graph.io.describe_arrays import ArrayFacts, describe_arrays
from cryojax_graph.io.describe_images import MapFacts, StackFacts, describe_map, describe_stack
from cryojax_graph.io.describe_models import (
    ModelFacts,
    SequenceFacts,
    describe_model,
    describe_sequences,
)
from cryojax_graph.io.describe_particles import ParticleFacts, describe_particles
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.molecular_dynamics import is_simulation
from cryojax_graph.io.mrc_header import HEADER_BYTES, parse_header
from cryojax_graph.io.npy import CSDAT, MAGIC
from cryojax_graph.io.unpack import open_unpacked

FileKind: TypeAlias = Literal["map", "stack", "particles", "model", "sequences", "arrays"]
Facts: TypeAlias = MapFacts | StackFacts | ParticleFacts | ModelFacts | SequenceFacts | ArrayFacts
_LOOK = 1 << 18


def file_kind(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> FileKind:
    """Kind of a file, told by its contents; the ending decides only between map and stack.

    A volume without a cell whose sections are square but make no cube is a stack too.

    Args:
        path: any file, plain, gzip or bzip2.
        limits: cap on headers.

    Returns:
        ``map``, ``stack``, ``particles``, ``model`` (also a trajectory), ``sequences`` or
        ``arrays`` (an archive of numbers that is no trajectory).

    Raises:
        InputError: it cannot be read, or is none of these.
    """
    with open_unpacked(path) as stream:
        start = stream.read(_LOOK)
    if start[:6] in (MAGIC, CSDAT):
        return "particles"
    if start[:4] == b"PK\x03\x04":
        return _archive_kind(path)
    suffixes = {suffix.lower() for suffix in Path(path).suffixes}
    if start[208:212] == b"MAP " or suffixes & {".mrc", ".mrcs", ".map", ".ccp4", ".st"}:
        header = parse_header(start[:HEADER_BYTES], file=path, limits=limits)
        images = header.space_group == 0 and header.sampling[2] == 1 and header.shape[0] > 1
        images |= header.like_images
        return "stack" if suffixes & {".mrcs", ".st"} or images else "map"
    kind = _text_kind(start.decode("utf-8-sig", "replace"))
    if kind is None and is_simulation(path):
        cause = "coordinates of a simulation, without the names of the atoms"
        remedy = "give it to simulate, with the topology as --template"
        raise InputError(path, "its contents", cause, remedy)
    if kind is None:
        remedy = "name a map, a stack, a STAR or .cs table, a model, a trajectory or a FASTA file"
        raise InputError(path, "its contents", "it is of no kind that is read here", remedy)
    return kind


def _archive_kind(path: str | Path) -> FileKind:
    """Kind of an archive by the names of its arrays; of a damaged one, its reader will tell."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "model"
    if {"image_path.npy", "image_index.npy"} <= names:
        return "particles"
    return "model" if "coords.npy" in names else "arrays"


def _text_kind(text: str) -> FileKind | None:
    lines = [line for line in text.split("\n") if line.strip() and not line.startswith("#")]
    if not lines:
        return None
    if lines[0].startswith(">"):
        return "sequences"
    if lines[0].lstrip()[:5].lower() == "data_":
        return "model" if "_atom_site." in text or "_entry.id" in text else "particles"
    if any(line[:6] in ("ATOM  ", "HETATM") for line in lines):
        return "model"
    return None


def describe(
    path: str | Path, *, image_root: str | Path | None = None, limits: Limits = DEFAULT_LIMITS
) -> Facts:
    """What is in a file, and what is unusual about it.

    Args:
        path: any file that this package reads.
        image_root: folder under which a table's image names are looked up first.
        limits: caps on sizes.

    Returns:
        facts, with warnings in plain words.

    Raises:
        InputError: the file is damaged, or of no kind that is read here.
    """
    kind = file_kind(path, limits=limits)
    if kind == "particles":
        return describe_particles(path, image_root=image_root, limits=limits)
    describers = {
        "map": describe_map,
        "stack": describe_stack,
        "model": describe_model,
        "sequences": describe_sequences,
        "arrays": describe_arrays,
    }
    return describers[kind](path, limits=limits)
