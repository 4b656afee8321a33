"""A density map as a continuous field: value, gradient and Hessian at any point, and its peaks.

A field tells values and expansions of many points in Å (``Field``); what else is asked of it
(``query``, ``climb``) is written for any of them and differentiable wherever it is::

    grid = voxel_grid(density.origin, density.voxel_size)
    field = fit_positive(jnp.asarray(density.values), grid)
    value, gradient, hessian = query_expansion(field, points)

- ``fit_spline``: trilinear, cubic or quintic B-splines through every voxel; linear in the map.
- ``fit_fourier``: the band-limited function through every voxel, the box repeated.
- ``fit_positive``: non-negative Gaussians on a finer grid and the spline of what they leave.
- ``fit_atoms``: the same Gaussians as wide as atoms and drawn narrower: for peaks, not for density.
- ``NeuralField``: networks, one for each box of a map; ``training.recipes.atom_graph`` trains them.

``RECIPES`` has them under the names that files and the command line use.
"""

from cryojax_graph.fields.ascent import Summit, climb, symmetric_eigenvalues, uphill_step
from cryojax_graph.fields.clusters import cluster_points
from cryojax_graph.fields.grid import VoxelGrid, voxel_grid
from cryojax_graph.fields.neural import NeuralField
from cryojax_graph.fields.patches import Patches, cut_patches, lay_patches, owners_of
from cryojax_graph.fields.peaks import Peaks, merge_summits, select_peaks
from cryojax_graph.fields.positive import MisfitEnd, fit_atoms, fit_masses, fit_positive
from cryojax_graph.fields.query import (
    Expansion,
    Field,
    differentiate,
    query,
    query_expansion,
    value_and_gradient,
)
from cryojax_graph.fields.siren import Layer, Siren, init_siren, siren
from cryojax_graph.fields.spline import (
    SplineField,
    fit_fourier,
    fit_spline,
    spline_weights,
    upsample,
)
from cryojax_graph.fields.stored import (
    RECIPES,
    Constant,
    Recipe,
    check_recipe,
    fit_recipe,
    usual_constants,
)
from cryojax_graph.fields.walk import Walk, walk_uphill

__all__ = [
    "RECIPES",
    "Constant",
    "Expansion",
    "Field",
    "Layer",
    "MisfitEnd",
    "NeuralField",
    "Patches",
    "Peaks",
    "Recipe",
    "Siren",
    "SplineField",
    "Summit",
    "VoxelGrid",
    "Walk",
    "check_recipe",
    "climb",
    "cluster_points",
    "cut_patches",
    "differentiate",
    "fit_atoms",
    "fit_fourier",
    "fit_masses",
    "fit_positive",
    "fit_recipe",
    "fit_spline",
    "init_siren",
    "lay_patches",
    "merge_summits",
    "owners_of",
    "query",
    "query_expansion",
    "select_peaks",
    "siren",
    "spline_weights",
    "symmetric_eigenvalues",
    "uphill_step",
    "upsample",
    "usual_constants",
    "value_and_gradient",
    "voxel_grid",
    "walk_uphill",
]
