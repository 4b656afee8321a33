"""A map as a continuous field of networks; a node is a peak of its density.

The published system (Ranno and Si 2022) and one that goes beyond it.
"""

from cryojax_graph.models.atom_graph.config import NeuralMapConfig, default, paper
from cryojax_graph.models.atom_graph.objective import slope_error, voxel_error

__all__ = ["NeuralMapConfig", "default", "paper", "slope_error", "voxel_error"]
