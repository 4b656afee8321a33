"""``simulate``: particle images of a model or a trajectory, with the truth of every image."""

from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.run import plan_simulate, simulate

__all__ = ["SimulateConfig", "plan_simulate", "simulate"]
