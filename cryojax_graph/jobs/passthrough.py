"""Particle tables with what cryoSPARC keeps of the same particles in a file beside them."""

from pathlib import Path

from cryojax_graph.io.particle_table import ParticleTable, Piece
from cryojax_graph.io.particles import read_particles
from cryojax_graph.io.passthrough import read_completed
from cryojax_graph.jobs.kinds import refuse_other_kind


def read_with_passthrough(path: str | Path, *pieces: Piece) -> ParticleTable:
    """Read a particle table that states what a job needs, alone or with its passthrough files.

    Args:
        path: STAR or .cs table.
        pieces: what the job needs, for instance ``poses``.

    Returns:
        the table; the files beside a .cs table are read only where it lacks a piece, or the names
        of its images.

    Raises:
        InputError: the table cannot be used, or a piece is absent.
    """
    refuse_other_kind(path, "particles", remedy="name a STAR or .cs table of particles")
    table, joined, others = read_completed(path, *pieces)
    if others and not joined and not all(table.has(piece) for piece in pieces):
        # Says which particles of the table they lack.
        read_particles(path, passthrough=others)
    table.require(*pieces)
    return table
