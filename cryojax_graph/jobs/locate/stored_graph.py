"""The graph of a finished ``locate`` job, for JAX code.

From JAX code::

    graph = load_graph("peaks")  # a jraph.GraphsTuple
    graph.nodes["position"], graph.edges, graph.senders, graph.receivers
"""

from pathlib import Path

import numpy as np

from cryojax_graph.graphs import DensityGraph, density_graph
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz
from cryojax_graph.jobs.claim import finished_manifest
from cryojax_graph.jobs.locate.outputs import GRAPH

_REMEDY = "name the folder of a finished locate job, or its graph.npz"
_ENDS = "senders", "receivers"


def load_graph(path: str | Path) -> DensityGraph:
    """The graph that ``locate`` wrote.

    Args:
        path: folder of a finished ``locate`` job, or its ``graph.npz``.

    Returns:
        a ``jraph.GraphsTuple``: nodes are a dictionary of ``position`` (x, y, z in Å) and the
        features of the peaks, one row each, the highest first; edges their length in Å, each in
        both directions.

    Raises:
        InputError: the folder is not of such a job, or the file holds no graph.
    """
    path = Path(path)
    if path.is_dir():
        finished_manifest(path, "locate", remedy=_REMEDY)
        path /= GRAPH
    arrays = read_npz(path)
    for name in ("position", *_ENDS):
        if name not in arrays:
            raise InputError(path, f"array '{name}'", "it has none", _REMEDY)
    senders, receivers = (arrays.pop(name) for name in _ENDS)
    # What it says follows from the places of the nodes; files of before do not have it.
    arrays.pop("distance", None)
    position = arrays["position"]
    if position.dtype.kind != "f" or position.ndim != 2 or position.shape[1] != 3:
        cause = f"type {position.dtype}, shape {position.shape}, not one x, y, z per node"
        raise InputError(path, "array 'position'", cause, _REMEDY)
    count = len(position)
    for name, values in arrays.items():
        if values.shape[:1] != (count,):
            cause = f"shape {values.shape} for {count:,} nodes"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    for name, ends in zip(_ENDS, (senders, receivers), strict=True):
        fits = ends.dtype.kind == "i" and ends.shape == senders.shape and ends.ndim == 1
        if not fits or (len(ends) and not 0 <= ends.min() <= ends.max() < count):
            cause = f"type {ends.dtype}, shape {ends.shape}: not numbers of {count:,} nodes"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    return density_graph(arrays, senders.astype(np.int64), receivers.astype(np.int64))
