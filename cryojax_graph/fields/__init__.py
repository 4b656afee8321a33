"""A density map as a continuous field: value, gradient and Hessian at any point, and its peaks.

Every field has a method ``value`` of one point in Å; what else is asked of it (``expand``,
``query``, ``climb``) is written for any of them and differentiable wherever it is::

    grid = voxel_grid(density.origin, density.voxel_size)
    field = fit_positive(jnp.asarray(density.values), grid)
    value, gradient, hessian = query_expansion(field, points)

- ``fit_spline``: trilinear, cubic or quintic B-splines through every voxel; linear in the map.
- ``fit_fourier``: the band-limited function through every voxel, the box repeated.
- ``fit_positive``: non-negative Gaussians on a finer grid and the spline of what they leave.

``RECIPES`` has them under the names that files and the command line use.
"""

from cryojax_graph.fields.ascent import Summit, climb, symmetric_eigenvalues, uphill_step
from cryojax_graph.fields.grid import VoxelGrid, voxel_grid
from cryojax_graph.fields.peaks import Peaks, merge_summits, select_peaks
from cryojax_graph.fields.positive import fit_masses, fit_positive
from cryojax_graph.fields.query import Expansion, Field, expand, query, query_expansion
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

__all__ = [
    "RECIPES",
    "Constant",
    "Expansion",
    "Field",
    "Peaks",
    "Recipe",
    "SplineField",
    "Summit",
    "VoxelGrid",
    "check_recipe",
    "climb",
    "expand",
    "fit_fourier",
    "fit_masses",
    "fit_positive",
    "fit_recipe",
    "fit_spline",
    "merge_summits",
    "query",
    "query_expansion",
    "select_peaks",
    "spline_weights",
    "symmetric_eigenvalues",
    "uphill_step",
    "upsample",
    "usual_constants",
    "voxel_grid",
]
