"""How close two things are: coordinates, ensembles, maps, latents, poses."""

from cryojax_graph.metrics.coordinates import clash_count, lddt_ca, step_deviation
from cryojax_graph.metrics.ensembles import (
    best_constant_structure,
    constant_distortion,
    explained_fraction,
    principal_floor,
    rmsd_per_image,
    superposed_rmsd_per_image,
)
from cryojax_graph.metrics.fsc import fourier_shell_correlation, resolution_angstrom
from cryojax_graph.metrics.latents import (
    bootstrap_interval,
    distance_correlation,
    leading_direction,
    neighbourhood_hit,
    spearman,
)
from cryojax_graph.metrics.orientations import PoseErrors, pose_errors, shift_errors

__all__ = [
    "PoseErrors",
    "best_constant_structure",
    "bootstrap_interval",
    "clash_count",
    "constant_distortion",
    "distance_correlation",
    "explained_fraction",
    "fourier_shell_correlation",
    "lddt_ca",
    "leading_direction",
    "neighbourhood_hit",
    "pose_errors",
    "principal_floor",
    "resolution_angstrom",
    "rmsd_per_image",
    "shift_errors",
    "spearman",
    "step_deviation",
    "superposed_rmsd_per_image",
]
