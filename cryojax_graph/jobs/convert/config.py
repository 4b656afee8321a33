"""Settings of ``convert``, and which of them go with which kind of file."""

import math
from dataclasses import dataclass, fields

import tyro

from cryojax_graph.io.describe import FileKind
from cryojax_graph.io.errors import InputError

_OPTIONS: dict[FileKind, tuple[str, ...]] = {
    "particles": (
        *("select", "passthrough", "box", "pixel_size", "image_root", "plain_stack_names"),
    ),
    "model": ("model",),
    "map": ("voxel_size", "origin", "flip_hand", "half_precision"),
}
_ENDINGS: dict[FileKind, tuple[str, ...]] = {
    "particles": (".star", ".cs", ".npz"),
    "model": (".cif", ".mmcif", ".pdb", ".ent"),
    "map": (".mrc", ".map", ".ccp4"),
}


@dataclass(frozen=True)
class ConvertConfig:
    """Settings of the verb.

    Args:
        input: Particle table (.star, .cs, .npz), model (.cif, .pdb) or map; the ending of the
            output says what is made of it.
        select: Particles: keep only the rows that this file names: a particle table of the same
            images, a .csv with one column index (from 0), row (from 1), uid or image, or an .npz
            with an array index, uid or mask.
        passthrough: Particles: cryoSPARC's files with further columns; those beside a .cs table
            are found by their names.
        box: Particles: edge of the images in pixels, for a table that does not state it.
        pixel_size: Particles: Å, for a table that does not state it.
        image_root: Particles: folder that image names are relative to, to look up the box.
        plain_stack_names: Particles: leave names of stacks that end in .mrc as they are in a STAR
            file; RELION refuses those without :mrcs behind them.
        model: Model: number of the one to take from a file of several, from 1.
        voxel_size: Map: edge of a voxel in Å, in place of what the header says.
        origin: Map: position x y z of the first voxel in Å, in place of what the header says.
        flip_hand: Map: mirror it along z, which turns one hand into the other.
        half_precision: Map: 16-bit floats (mode 12), half the size; else 32-bit ones.
    """

    input: tyro.conf.Positional[str]
    select: str | None = None
    passthrough: tuple[str, ...] = ()
    box: int | None = None
    pixel_size: float | None = None
    image_root: str | None = None
    plain_stack_names: bool = False
    model: int | None = None
    voxel_size: float | None = None
    origin: tuple[float, float, float] | None = None
    flip_hand: bool = False
    half_precision: bool = False


def check_options(config: ConvertConfig, kind: FileKind, ending: str) -> None:
    """Refuse options and endings that say nothing for this kind of file.

    Args:
        config: settings.
        kind: of the input.
        ending: of the output.

    Raises:
        InputError: the kind is not converted, an option belongs to another kind, its value is
            impossible, or the ending names another kind.
    """
    if kind not in _OPTIONS:
        cause = f"it holds {kind}, and only particle tables, models and maps are converted"
        raise InputError(config.input, "convert", cause, "name one of these")
    if ending not in _ENDINGS[kind]:
        cause = f"the ending {ending!r} names no form of {kind}"
        cause += "" if kind == "particles" else "s"
        raise InputError("command line", "--output", cause, f"use {', '.join(_ENDINGS[kind])}")
    for field in fields(config):
        given = field.name != "input" and getattr(config, field.name) != field.default
        if given and field.name not in _OPTIONS[kind]:
            owner = next(k for k, names in _OPTIONS.items() if field.name in names)
            cause = f"it is for {owner} files, and {config.input} holds {kind}"
            raise InputError("command line", _option(field.name), cause, "leave it out")
    for name in ("box", "pixel_size", "model", "voxel_size"):
        value = getattr(config, name)
        if value is not None and not 0 < value < 1e6:
            raise InputError(
                "command line", _option(name), f"{value} is not possible", "give a positive number"
            )
    if config.origin is not None and not all(map(math.isfinite, config.origin)):
        cause = f"{' '.join(f'{value:g}' for value in config.origin)} is no place"
        raise InputError("command line", _option("origin"), cause, "give three numbers, in Å")
    if config.plain_stack_names and ending != ".star":
        cause = f"only STAR files mark stacks, and {ending} was asked for"
        raise InputError("command line", _option("plain_stack_names"), cause, "leave it out")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
