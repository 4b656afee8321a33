"""``locate``: a map as a continuous field, its peaks and their graph."""

from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.plan import plan_locate
from cryojax_graph.jobs.locate.run import locate
from cryojax_graph.jobs.locate.stored_graph import load_graph

__all__ = ["LocateConfig", "load_graph", "locate", "plan_locate"]
