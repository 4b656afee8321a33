"""``convert``: particle tables, models and maps in the form that another program reads."""

from cryojax_graph.jobs.convert.run import ConvertConfig, convert, plan_convert

__all__ = ["ConvertConfig", "convert", "plan_convert"]
