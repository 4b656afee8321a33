"""``refine``: poses and maps from particle images and a coarse reference."""

from cryojax_graph.jobs.refine.config import RefineConfig
from cryojax_graph.jobs.refine.run import plan_refine, refine

__all__ = ["RefineConfig", "plan_refine", "refine"]
