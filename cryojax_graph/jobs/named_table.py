"""A table of particles in a command that a page gives to be copied."""

import shlex

from cryojax_graph.jobs.particles import ParticleSet


def named_table(name: str, particles: ParticleSet) -> str:
    """A table of the job's folder in a command, with the folder that finds its images.

    Args:
        name: of the table, which names its images as the user's table does.
        particles: as they were read.

    Returns:
        part of a command line.
    """
    return f"{name} --image-root {shlex.quote(str(particles.image_root))}"
