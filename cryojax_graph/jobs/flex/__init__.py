"""``flex``: the motion of a protein, image by image, from particles and a template model."""

from cryojax_graph.jobs.flex.config import FlexConfig, FlexOutputs
from cryojax_graph.jobs.flex.run import flex, plan_flex

__all__ = ["FlexConfig", "FlexOutputs", "flex", "plan_flex"]
