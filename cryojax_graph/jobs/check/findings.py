"""What a file holds, whether a job can use it, and what the user should know."""

import math
from functools import singledispatch
from typing import NamedTuple

from cryojax_graph.io.describe import Facts, describe
from cryojax_graph.io.describe_arrays import ArrayFacts
from cryojax_graph.io.describe_images import MapFacts, StackFacts, blank_warning
from cryojax_graph.io.describe_models import ModelFacts, SequenceFacts
from cryojax_graph.io.describe_particles import ParticleFacts
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import read_map

_CHAIN_SHOWN = 40
_FLEX_NEEDS = {"poses": "poses", "ctf": "CTF", "pixel_size": "a pixel size"}


class Finding(NamedTuple):
    """One file, looked at.

    Attributes:
        path: the file.
        kind: what it is, in words.
        rows: name and value of its properties.
        problems: why no job can use it as it is; none for a good file.
        notes: what is unusual but usable.
    """

    path: str
    kind: str
    rows: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def examine(path: str, *, image_root: str | None = None) -> Finding:
    """Look at any file that the program knows.

    Args:
        path: the file.
        image_root: folder under which the image names of a table are looked up first.

    Returns:
        what was found; a file that cannot be read is a finding too.
    """
    try:
        facts = describe(path, image_root=image_root)
    except InputError as error:
        return Finding(path, "not readable", (), (_told(error),), ())
    kind, rows = _told_by(facts)
    problems = _problems(facts)
    notes = tuple(
        text for text in facts.warnings if not any(text in problem for problem in problems)
    )
    return Finding(path, kind, rows, problems, notes)


def _told(error: InputError) -> str:
    return " ".join(f"{error.place}: {error.cause}; {error.remedy}".split())


@singledispatch
def _told_by(facts: object) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Kind of a file and its properties, in words."""
    raise TypeError(type(facts))


@_told_by.register
def _(facts: MapFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "density map", (
        ("voxels (z, y, x)", " × ".join(map(str, facts.shape))),
        ("voxel size (x, y, z)", _in_angstrom(*facts.voxel_size)),
        ("position of voxel 0 (x, y, z)", _in_angstrom(*facts.origin)),
        ("order of axes", facts.axis_order),
        ("stored as", facts.stored_as),
        ("values", f"{facts.minimum:.4g} to {facts.maximum:.4g}"),
        ("mean, deviation", f"{facts.mean:.4g}, {facts.deviation:.4g}"),
        ("exactly zero", f"{100 * facts.zero_fraction:.0f} %"),
    )


@_told_by.register
def _(facts: StackFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    rows, columns = facts.image_shape
    return "stack of images", (
        ("images", f"{facts.count:,} of {columns} × {rows} px"),
        ("pixel size", _in_angstrom(facts.pixel_size)),
        ("stored as", facts.stored_as),
        ("mean, deviation", f"{facts.mean:.4g}, {facts.deviation:.4g} ({facts.sampled} looked at)"),
    )


@_told_by.register
def _(facts: ParticleFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    program = {"star": "RELION", "cs": "cryoSPARC"}[facts.kind]
    first, second = facts.half_set_counts
    lacks = [words for piece, words in _FLEX_NEEDS.items() if piece not in facts.states]
    return f"particles ({program})", (
        ("particles", f"{facts.count:,} in {facts.stacks:,} stacks"),
        ("columns", str(len(facts.columns))),
        ("optics groups", str(facts.optics_groups)),
        ("box", _range(facts.box, "px")),
        ("pixel size", _range(facts.pixel_size, "Å")),
        ("defocus", _range(facts.defocus, "Å")),
        ("voltage", _range(facts.voltage, "kV")),
        ("half-sets", f"{first:,} and {second:,}" if first + second else "none"),
        ("images found", "yes" if facts.images_found else "no"),
        ("for flex", f"lacks {', '.join(lacks)}" if lacks else "has poses and CTF"),
    )


@_told_by.register
def _(facts: ModelFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    residues = ", ".join(f"{count:,} {kind}" for kind, count in facts.residues.items())
    rows = [
        ("models", f"{facts.models:,} of {facts.atoms:,} atoms"),
        ("residues", residues),
        ("breaks inside chains", str(facts.chain_breaks)),
    ]
    if facts.models > 1 and math.isfinite(facts.largest_rmsd):
        rows.append(("largest C-alpha RMSD to the first", f"{facts.largest_rmsd:.2f} Å"))
    for chain, sequence in facts.chains.items():
        more = "…" if len(sequence) > _CHAIN_SHOWN else ""
        rows.append((f"chain {chain}", f"{len(sequence):,}: {sequence[:_CHAIN_SHOWN]}{more}"))
    return ("trajectory" if facts.models > 1 else "atomic model"), tuple(rows)


@_told_by.register
def _(facts: SequenceFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "sequences", (
        ("records", f"{facts.count:,}, {facts.proteins:,} of them proteins"),
        ("letters", f"{facts.shortest:,} to {facts.longest:,}"),
    )


@_told_by.register
def _(facts: ArrayFacts) -> tuple[str, tuple[tuple[str, str], ...]]:
    return "arrays", tuple(
        (name, f"{' × '.join(map(str, shape)) or 'one'}, {facts.types[name]}")
        for name, shape in facts.shapes.items()
    )


def _problems(facts: Facts) -> tuple[str, ...]:
    """What the strict readers, which jobs use, refuse."""
    if isinstance(facts, ParticleFacts):
        return tuple(text for text in facts.warnings if text.startswith("images: "))
    if isinstance(facts, StackFacts):
        damage = [text for text in facts.warnings if text.startswith("image ")]
        blank = blank_warning(facts.sampled, facts.sampled)
        return (*damage, blank) if blank in facts.warnings else tuple(damage)
    try:
        if isinstance(facts, MapFacts):
            read_map(facts.path)
    except InputError as error:
        return (_told(error),)
    return ()


def _in_angstrom(*values: float) -> str:
    if not any(map(math.isfinite, values)):
        return "not stated"
    texts = (f"{value:.4g}" if math.isfinite(value) else "not stated" for value in values)
    return f"{', '.join(texts)} Å"


def _range(ends: tuple[float, float] | None, unit: str) -> str:
    if ends is None:
        return "not stated"
    low, high = ends
    return f"{low:g} {unit}" if low == high else f"{low:g} to {high:g} {unit}"
