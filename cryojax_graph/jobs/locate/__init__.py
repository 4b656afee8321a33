"""``locate``: a map as a continuous field, its peaks and their graph."""

from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.plan import plan_locate
from cryojax_graph.jobs.locate.run import locate

__all__ = ["LocateConfig", "locate", "plan_locate"]
