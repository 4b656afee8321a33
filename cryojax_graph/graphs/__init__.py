"""Graphs of residues and of density peaks, their padding, and message passing on them."""

from cryojax_graph.graphs.attention import apply_attention, init_attention
from cryojax_graph.graphs.build import (
    BackboneGraph,
    EdgeKind,
    build_backbone_graph,
    edges_of_kind,
    peptide_bonds,
)
from cryojax_graph.graphs.convolution import (
    NormalisedAdjacency,
    apply_convolution,
    apply_convolution_stack,
    init_convolution,
    init_convolution_stack,
    normalised_adjacency,
)
from cryojax_graph.graphs.density import DensityGraph, build_density_graph, density_graph
from cryojax_graph.graphs.equivariant import (
    EquivariantConfig,
    apply_equivariant,
    init_equivariant,
)
from cryojax_graph.graphs.hydrogen_bonds import baker_hubbard_bonds, kabsch_sander_bonds
from cryojax_graph.graphs.neighbours import NeighbourLists, most_neighbours, neighbour_lists
from cryojax_graph.graphs.padding import PaddedGraph, pad_graph, zero_padding
from cryojax_graph.graphs.radius import RadiusPlan, build_radius_graph, plan_radius_graph

__all__ = [
    "BackboneGraph",
    "DensityGraph",
    "EdgeKind",
    "EquivariantConfig",
    "NeighbourLists",
    "NormalisedAdjacency",
    "PaddedGraph",
    "RadiusPlan",
    "apply_attention",
    "apply_convolution",
    "apply_convolution_stack",
    "apply_equivariant",
    "baker_hubbard_bonds",
    "build_backbone_graph",
    "build_density_graph",
    "build_radius_graph",
    "density_graph",
    "edges_of_kind",
    "init_attention",
    "init_convolution",
    "init_convolution_stack",
    "init_equivariant",
    "kabsch_sander_bonds",
    "most_neighbours",
    "neighbour_lists",
    "normalised_adjacency",
    "pad_graph",
    "peptide_bonds",
    "plan_radius_graph",
    "zero_padding",
]
