"""``reconstruct``: maps of two halves of the particles, and of all, from poses that are known."""

from cryojax_graph.jobs.reconstruct.config import PairingConfig, ReconstructConfig
from cryojax_graph.jobs.reconstruct.rct import rct_reconstruct
from cryojax_graph.jobs.reconstruct.run import plan_reconstruct, reconstruct

__all__ = [
    "PairingConfig",
    "ReconstructConfig",
    "plan_reconstruct",
    "rct_reconstruct",
    "reconstruct",
]
