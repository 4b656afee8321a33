"""How close two things are: coordinates, ensembles, maps, latents, poses."""

from cryojax_graph.metrics.conical_fsc import (
    ConicalFsc,
    area_ratio,
    conical_correlation,
    conical_share,
    even_axes,
    sphericity,
)
from cryojax_graph.metrics.coordinates import clash_count, lddt_ca, step_deviation
from cryojax_graph.metrics.corrected_fsc import (
    UNTOUCHED_SHELLS,
    FscCurves,
    correct_correlation,
    fsc_curves,
    randomisation_shell,
    randomise_phases,
)
from cryojax_graph.metrics.decoys import false_share
from cryojax_graph.metrics.ensembles import (
    best_constant_structure,
    constant_distortion,
    explained_fraction,
    principal_floor,
    rmsd_per_image,
    superposed_rmsd_per_image,
)
from cryojax_graph.metrics.fsc import fourier_shell_correlation, resolution_angstrom
from cryojax_graph.metrics.guinier import (
    GuinierFit,
    fit_b_factor,
    mean_amplitudes,
    shell_weights,
)
from cryojax_graph.metrics.handedness import Handedness, handedness
from cryojax_graph.metrics.latents import (
    bootstrap_interval,
    distance_correlation,
    leading_direction,
    neighbourhood_hit,
    spearman,
)
from cryojax_graph.metrics.local_resolution import (
    cut_out,
    local_correlation,
    sphere_centres,
    sphere_window,
    spread_resolution,
)
from cryojax_graph.metrics.map_model import atom_density, masked_correlation
from cryojax_graph.metrics.missing_cone import measured_correlation, outside_cone
from cryojax_graph.metrics.nodes import (
    CutScores,
    NearestScores,
    NodeScores,
    match_points,
    score_by_strength,
    score_nearest,
    score_nodes,
)
from cryojax_graph.metrics.orientations import PoseErrors, pose_errors, shift_errors
from cryojax_graph.metrics.shells import (
    ShellSums,
    first_crossing,
    half_spectrum,
    real_map,
    shell_sums,
    spectral_radius,
)

__all__ = [
    "UNTOUCHED_SHELLS",
    "ConicalFsc",
    "CutScores",
    "FscCurves",
    "GuinierFit",
    "Handedness",
    "NearestScores",
    "NodeScores",
    "PoseErrors",
    "ShellSums",
    "area_ratio",
    "atom_density",
    "best_constant_structure",
    "bootstrap_interval",
    "clash_count",
    "conical_correlation",
    "conical_share",
    "constant_distortion",
    "correct_correlation",
    "cut_out",
    "distance_correlation",
    "even_axes",
    "explained_fraction",
    "false_share",
    "first_crossing",
    "fit_b_factor",
    "fourier_shell_correlation",
    "fsc_curves",
    "half_spectrum",
    "handedness",
    "lddt_ca",
    "leading_direction",
    "local_correlation",
    "masked_correlation",
    "match_points",
    "mean_amplitudes",
    "measured_correlation",
    "neighbourhood_hit",
    "outside_cone",
    "pose_errors",
    "principal_floor",
    "randomisation_shell",
    "randomise_phases",
    "real_map",
    "resolution_angstrom",
    "rmsd_per_image",
    "score_by_strength",
    "score_nearest",
    "score_nodes",
    "shell_sums",
    "shell_weights",
    "shift_errors",
    "spearman",
    "spectral_radius",
    "sphere_centres",
    "sphere_window",
    "sphericity",
    "spread_resolution",
    "step_deviation",
    "superposed_rmsd_per_image",
]
