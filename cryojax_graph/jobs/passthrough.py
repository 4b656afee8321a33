"""Particle tables with what cryoSPARC keeps of the same particles in a file beside them."""

from pathlib import Path

from cryojax_graph.io.cs import lists_all_of
from cryojax_graph.io.particle_table import ParticleTable, Piece
from cryojax_graph.io.particles import read_particles


def read_with_passthrough(path: str | Path, *pieces: Piece) -> ParticleTable:
    """Read a particle table that states what a job needs, alone or with its passthrough files.

    Args:
        path: STAR or .cs table.
        pieces: what the job needs, for instance ``poses``.

    Returns:
        the table; the files beside a .cs table are read only where it lacks a piece.

    Raises:
        InputError: the table cannot be used, or a piece is absent.
    """
    table = read_particles(path)
    if table.kind == "cs" and not all(table.has(piece) for piece in pieces):
        beside = passthrough_beside(path)
        table = read_particles(path, passthrough=beside) if beside else table
    table.require(*pieces)
    return table


def passthrough_beside(path: str | Path) -> list[Path]:
    """cryoSPARC's passthrough files of particles beside a table, found by their names.

    A job may leave one for each class, or for the particles that were left out.

    Args:
        path: .cs table.

    Returns:
        the files that list all of its particles; all of them where none does, without the table
        itself.

    Raises:
        InputError: a file is damaged.
    """
    own = Path(path)
    named = [p for p in sorted(own.parent.glob("*passthrough*particles*.cs")) if p != own]
    return [p for p in named if lists_all_of(p, own)] or named
