"""``fit``: the atoms of a model moved into a map by gradient, their geometry restrained."""

from cryojax_graph.jobs.fit.config import FitConfig
from cryojax_graph.jobs.fit.run import fit, plan_fit

__all__ = ["FitConfig", "fit", "plan_fit"]
