"""Cryo-EM data to atomic structure and motion, on one differentiable JAX core.

Sub-packages load on first use, so ``import cryojax_graph`` costs nothing.
"""

import importlib
from types import ModuleType

from cryojax_graph._version import __version__

_SUBPACKAGES = (
    "fields",
    "forward",
    "geometry",
    "graphs",
    "io",
    "jobs",
    "metrics",
    "models",
    "poses",
    "protein",
    "training",
)

__all__ = ["__version__", *_SUBPACKAGES]


def __getattr__(name: str) -> ModuleType:
    """Import a sub-package the first time it is named (PEP 562)."""
    if name in _SUBPACKAGES:
        return importlib.import_module(f"cryojax_graph.{name}")
    raise AttributeError(f"module 'cryojax_graph' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Names that completion offers."""
    return sorted(__all__)
