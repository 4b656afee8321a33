"""Particle tables from one form into another."""

from pathlib import Path

import numpy as np

from cryojax_graph.io.crossing import lost_in_cryosparc, to_relion
from cryojax_graph.io.describe_particles import ctf_treatment, sign_warnings, unmodelled
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import open_images
from cryojax_graph.io.particle_table import ParticleTable, subset
from cryojax_graph.io.particles import read_particles, with_columns, write_particles
from cryojax_graph.io.passthrough import Completed, read_completed
from cryojax_graph.io.relion import IMAGE_NAME, plain_names
from cryojax_graph.jobs.convert.config import ConvertConfig
from cryojax_graph.jobs.convert.selection import select_rows

_PROGRAM = {"star": "RELION", "cs": "cryoSPARC"}


def convert_table(config: ConvertConfig, output: Path) -> tuple[list[str], list[str]]:
    """Write the particles in the form that the ending of the output names.

    Args:
        config: settings.
        output: file to write.

    Returns:
        what was done, and what the user should know.

    Raises:
        InputError: table, selection or passthrough cannot be used, or a value that the other form
            needs is absent.
    """
    table, joined, others = _read(config)
    done = [f"{len(table):,} particles of {_PROGRAM[table.kind]}, {len(table.columns)} columns"]
    if joined:
        done.append(f"with the columns of {', '.join(file.name for file in joined)}")
    if config.select:
        rows, by = select_rows(table, config.select)
        done.append(f"{len(rows):,} of them kept, told by {by}")
        table = subset(table, rows)
    table = _completed(table, config, needed=output.suffix == ".cs" and table.kind == "star")
    notes = _notes(table, output.suffix)
    if others:
        names = ", ".join(file.name for file in others)
        notes.append(f"not joined, for they do not list all of its particles: {names}")
    if output.suffix == ".star" and table.kind == "cs":
        table = to_relion(table)
    if config.plain_stack_names:
        table = _with_plain_names(table)
    elif output.suffix == ".star":
        notes += _stack_notes(table)
    write_particles(table, output)
    return done, notes


def _read(config: ConvertConfig) -> Completed:
    """The table with all that stands beside it, or with the files that were named."""
    if not config.passthrough:
        return read_completed(config.input, every=True)
    table = read_particles(config.input, passthrough=config.passthrough)
    return Completed(table, tuple(map(Path, config.passthrough)), ())


def _completed(table: ParticleTable, config: ConvertConfig, *, needed: bool) -> ParticleTable:
    """The table with box and pixel size, of the command line or of the headers of the stacks."""
    changes = {}
    for name, value in (("pixel_size", config.pixel_size), ("box", config.box)):
        if value is None:
            continue
        stated = getattr(table, name)
        if stated is not None:
            cause = f"the table states it, {np.unique(stated)[0]:g} in the first group"
            option = f"--{name.replace('_', '-')}"
            raise InputError("command line", option, cause, "leave it out")
        changes[name] = np.full(len(table), value)
    if needed and table.box is None and config.box is None:
        changes["box"] = np.full(len(table), _box_of_images(table, config))
    return with_columns(table, changes) if changes else table


def _box_of_images(table: ParticleTable, config: ConvertConfig) -> int:
    try:
        return open_images(table, image_root=config.image_root).box
    except InputError as error:
        cause = f"it does not state the box, and the images do not tell: {error.cause}"
        remedy = "give --box, or --image-root with the folder of the images"
        raise InputError(table.source, error.place, cause, remedy) from None


def _with_plain_names(table: ParticleTable) -> ParticleTable:
    columns = {**table.columns, IMAGE_NAME: plain_names(table.columns[IMAGE_NAME])}
    return with_columns(table, {IMAGE_NAME: columns[IMAGE_NAME]})


def _stack_notes(table: ParticleTable) -> list[str]:
    names = table.columns[IMAGE_NAME].tolist()
    marked = sum(name.endswith(".mrc:mrcs") for name in names)
    bare = sum(name.endswith(".mrc") for name in names)
    notes = []
    if marked:
        notes.append(
            f"{marked:,} image names end in .mrc:mrcs, by which RELION reads a stack named .mrc; "
            "--plain-stack-names leaves the mark out"
        )
    if bare:
        notes.append(f"RELION refuses the {bare:,} image names that end in .mrc: they need :mrcs")
    return notes


def _notes(table: ParticleTable, suffix: str) -> list[str]:
    notes = []
    crossing = suffix != ".npz" and suffix != f".{table.kind}"
    if crossing and suffix == ".cs":
        if lost := lost_in_cryosparc(table):
            notes.append(f"not carried, for a .cs file holds one table: {', '.join(lost)}")
        if treatment := ctf_treatment(table):
            notes.append(f"{treatment}; no column of cryoSPARC says so")
        if "cs/blob/sign" not in table.columns:
            notes.append("blob/sign is 1, light on dark, as RELION keeps its images")
    if crossing and (effects := unmodelled(table)):
        notes.append(f"carried along but not translated: {', '.join(effects)}")
    notes += sign_warnings(table)
    sign = table.columns.get("blob/sign")
    if suffix == ".star" and sign is not None and sign.dtype.kind == "f" and (sign < 0).any():
        notes.append(
            "the images are dark on light (blob/sign -1); RELION wants them inverted: "
            "relion_preprocess --invert_contrast"
        )
    if crossing and table.kind == "cs" and not table.has("poses"):
        notes.append("it states no 3D poses; alignments of a 2D classification are carried along")
    return notes
