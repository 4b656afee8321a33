"""``validate``: results against the truth, or one result against another."""

from cryojax_graph.jobs.validate.fsc import ValidateFscConfig, plan_validate_fsc, validate_fsc
from cryojax_graph.jobs.validate.graph import (
    ValidateGraphConfig,
    plan_validate_graph,
    validate_graph,
)
from cryojax_graph.jobs.validate.model import (
    ValidateModelConfig,
    plan_validate_model,
    validate_model,
)
from cryojax_graph.jobs.validate.motion import (
    ValidateMotionConfig,
    plan_validate_motion,
    validate_motion,
)
from cryojax_graph.jobs.validate.poses import (
    ValidatePosesConfig,
    plan_validate_poses,
    validate_poses,
)

__all__ = [
    "ValidateFscConfig",
    "ValidateGraphConfig",
    "ValidateModelConfig",
    "ValidateMotionConfig",
    "ValidatePosesConfig",
    "plan_validate_fsc",
    "plan_validate_graph",
    "plan_validate_model",
    "plan_validate_motion",
    "plan_validate_poses",
    "validate_fsc",
    "validate_graph",
    "validate_model",
    "validate_motion",
    "validate_poses",
]
