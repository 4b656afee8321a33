"""``reconstruct``: maps of two halves of the particles, and of all, from poses that are known."""

from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.run import plan_reconstruct, reconstruct

__all__ = ["ReconstructConfig", "plan_reconstruct", "reconstruct"]
