"""The differentiable forward model: structure, pose and CTF to image."""

from cryojax_graph.forward.batched import map_images, sum_images
from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.grouping import GroupPlan, plan_groups
from cryojax_graph.forward.image import (
    gaussian_image,
    gaussian_spectrum,
    log_likelihood,
    map_spectrum,
    optimal_scale,
    view,
)
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.forward.scattering import atom_gaussians, residue_gaussians
from cryojax_graph.forward.slices import slice_spectrum, volume_spectrum
from cryojax_graph.forward.windows import lost_mass, project_groups

__all__ = [
    "CTF",
    "GroupPlan",
    "atom_gaussians",
    "contrast_transfer",
    "gaussian_image",
    "gaussian_spectrum",
    "log_likelihood",
    "lost_mass",
    "map_images",
    "map_spectrum",
    "optimal_scale",
    "plan_groups",
    "project_gaussians",
    "project_groups",
    "residue_gaussians",
    "slice_spectrum",
    "sum_images",
    "view",
    "volume_spectrum",
]
