"""``query``: density and its derivatives at any points, or a map on another grid, of a field."""

from cryojax_graph.jobs.query.config import QueryConfig
from cryojax_graph.jobs.query.run import plan_query, query

__all__ = ["QueryConfig", "plan_query", "query"]
