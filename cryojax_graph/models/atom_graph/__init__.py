"""Atoms of a model in the density of a map; a node is an atom.

The density is any object with a method ``value`` of one point in Å, such as a field of
``cryojax_graph.fields``; everything here is differentiable with respect to it and to the atoms.
"""

from cryojax_graph.models.atom_graph.descent import Descent, descend, start_descent
from cryojax_graph.models.atom_graph.objective import (
    Target,
    density_score,
    first_pull,
    fit_energy,
)
from cryojax_graph.models.atom_graph.rigid import (
    RigidDescent,
    descend_rigid,
    move_bodies,
    start_rigid,
)

__all__ = [
    "Descent",
    "RigidDescent",
    "Target",
    "density_score",
    "descend",
    "descend_rigid",
    "first_pull",
    "fit_energy",
    "move_bodies",
    "start_descent",
    "start_rigid",
]
