"""``check``: what is in a file, and what is wrong with it, in plain words."""

from cryojax_graph.jobs.check.run import CheckConfig, check, plan_check

__all__ = ["CheckConfig", "check", "plan_check"]
