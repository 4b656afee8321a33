"""``flex``: the motion of a protein, image by image, from particles and a template model."""

from cryojax_graph.jobs.flex.config import FlexConfig, FlexOutputs, PoseSearchConfig
from cryojax_graph.jobs.flex.run import flex, plan_flex

__all__ = ["FlexConfig", "FlexOutputs", "PoseSearchConfig", "flex", "plan_flex"]
