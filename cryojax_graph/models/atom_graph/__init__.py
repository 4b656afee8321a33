"""A map as a continuous field of networks, and atoms of a model in its density.

Networks: the published system (Ranno and Si 2022), whose nodes are peaks of the density, and one
that goes beyond it. Atoms: the density is any ``fields.Field``; everything here is differentiable
with respect to it and to the atoms.
"""

from cryojax_graph.models.atom_graph.config import NeuralMapConfig, default, paper
from cryojax_graph.models.atom_graph.descent import Descent, descend, start_descent
from cryojax_graph.models.atom_graph.network_error import slope_error, voxel_error
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
    "NeuralMapConfig",
    "RigidDescent",
    "Target",
    "default",
    "density_score",
    "descend",
    "descend_rigid",
    "first_pull",
    "fit_energy",
    "move_bodies",
    "paper",
    "slope_error",
    "start_descent",
    "start_rigid",
    "voxel_error",
]
