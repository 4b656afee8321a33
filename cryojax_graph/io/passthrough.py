"""Tables of cryoSPARC with the files beside them that hold more columns of the same particles."""

from pathlib import Path
from typing import NamedTuple

from cryojax_graph.io.cryosparc import INDEX, PATH
from cryojax_graph.io.cs import column_names, lists_all_of
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.particle_table import ParticleTable, Piece
from cryojax_graph.io.particles import is_cs, read_particles


class Completed(NamedTuple):
    """A table of particles, and what stands beside it.

    Attributes:
        table: particles.
        joined: passthrough files whose columns it was given.
        others: passthrough files beside it that do not list all of its particles; none where no
            file was looked for.
    """

    table: ParticleTable
    joined: tuple[Path, ...]
    others: tuple[Path, ...]


def read_completed(
    path: str | Path, *pieces: Piece, every: bool = False, limits: Limits = DEFAULT_LIMITS
) -> Completed:
    """Read a table of particles, with its passthrough files where it needs them.

    A job of cryoSPARC that touches no images leaves even their names to the passthrough file.

    Args:
        path: STAR, ``.cs`` or ``.npz`` table.
        pieces: what is asked of it, for instance ``poses``.
        every: join the files beside a ``.cs`` table also where it lacks nothing.
        limits: caps on columns and size.

    Returns:
        the table, which may still lack a piece.

    Raises:
        InputError: a file is damaged, or nowhere are images named.
    """
    if not is_cs(path):
        return Completed(read_particles(path, limits=limits), (), ())
    named = {PATH, INDEX} <= set(column_names(path, limits=limits))
    table = read_particles(path, limits=limits) if named else None
    if table is not None and not every and all(table.has(piece) for piece in pieces):
        return Completed(table, (), ())
    joined, others = passthrough_beside(path, limits=limits)
    if table is None or joined:
        # Without names of images there is no table: what the others lack is the reason then.
        table = read_particles(path, passthrough=joined or others, limits=limits)
    return Completed(table, joined, others)


def passthrough_beside(
    path: str | Path, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """cryoSPARC's passthrough files of particles beside a table, found by their names.

    A job may leave one for each class, or for the particles that were left out, and a folder may
    hold the files of several jobs.

    Args:
        path: ``.cs`` table.
        limits: caps on columns and size.

    Returns:
        the files that list all of its particles, and the others; never the table itself.

    Raises:
        InputError: a file is damaged.
    """
    own = Path(path)
    named = [p for p in sorted(own.parent.glob("*passthrough*particles*.cs")) if p != own]
    complete = [lists_all_of(p, own, limits=limits) for p in named]
    files = list(zip(named, complete, strict=True))
    return tuple(p for p, all_ in files if all_), tuple(p for p, all_ in files if not all_)
