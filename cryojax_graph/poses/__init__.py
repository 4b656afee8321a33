"""Orientation and shift of particle images beside a reference, and how sure they are."""

from cryojax_graph.poses.band import Band, Observed, fourier_band, observe
from cryojax_graph.poses.calibration import Calibration, ShellSums, calibrate, shell_sums
from cryojax_graph.poses.defocus import DefocusEstimate, refine_defocus
from cryojax_graph.poses.grids import (
    lattice_weights,
    rotations_within,
    shift_grid,
    view_rotations,
)
from cryojax_graph.poses.lifting import (
    Support,
    esl_loss,
    esl_rotation,
    esl_support,
    posterior_rotation,
    restrict_to_mode,
)
from cryojax_graph.poses.matching import Candidates, GridScores, best_of_grid
from cryojax_graph.poses.posterior import PoseEstimate, estimate_of_modes
from cryojax_graph.poses.reducers import reduce_grid
from cryojax_graph.poses.reference import Reference, amplify, project, reference_of
from cryojax_graph.poses.refine import (
    Pose,
    Prior,
    RefinedOptics,
    RefinedPose,
    refine_pose,
    refine_pose_and_defocus,
)
from cryojax_graph.poses.search import (
    Search,
    SearchConfig,
    plan_search,
    prepare_search,
    refine_candidates,
    score_orientations,
    search_pose,
    search_pose_near,
)
from cryojax_graph.poses.symmetry import SelfLikeness, coarse_map, self_likeness

__all__ = [
    "Band",
    "Calibration",
    "Candidates",
    "DefocusEstimate",
    "GridScores",
    "Observed",
    "Pose",
    "PoseEstimate",
    "Prior",
    "Reference",
    "RefinedOptics",
    "RefinedPose",
    "Search",
    "SearchConfig",
    "SelfLikeness",
    "ShellSums",
    "Support",
    "amplify",
    "best_of_grid",
    "calibrate",
    "coarse_map",
    "esl_loss",
    "esl_rotation",
    "esl_support",
    "estimate_of_modes",
    "fourier_band",
    "lattice_weights",
    "observe",
    "plan_search",
    "posterior_rotation",
    "prepare_search",
    "project",
    "reduce_grid",
    "reference_of",
    "refine_candidates",
    "refine_defocus",
    "refine_pose",
    "refine_pose_and_defocus",
    "restrict_to_mode",
    "rotations_within",
    "score_orientations",
    "search_pose",
    "search_pose_near",
    "self_likeness",
    "shell_sums",
    "shift_grid",
    "view_rotations",
]
