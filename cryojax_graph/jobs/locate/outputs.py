"""What ``locate`` writes."""

import json
from typing import Any, cast

import numpy as np
from jaxtyping import Float

from cryojax_graph.graphs import DensityGraph
from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.chimerax import write_bild, write_cxc
from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.npz import write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.search import Located
from cryojax_graph.jobs.stored_field import FIELD

GRAPH = "graph.npz"
OUTPUTS = (
    FIELD,
    "graph.json",
    GRAPH,
    "graph.bild",
    "peaks.cif",
    "view.cxc",
    "metrics.json",
    "report.html",
)
_UNITS = {
    "position": "angstrom",
    "density": "map units",
    "height": "map units, of the field that was searched",
    "significance": "standard deviations of the noise: height where atoms were fitted, "
    "else prominence",
    "false_share": "1, expected of the peaks at least as high",
    "gradient_norm": "map units per angstrom",
    "eigenvalues": "map units per square angstrom, of the Hessian, ascending",
    "prominence": "map units above the saddle to a higher peak",
    "voxels": "number that drain into the peak",
    "seeds": "number of walks that end at the peak",
    "distance": "angstrom, of an edge",
}


def check_map_name(path: str) -> None:
    """Refuse a map that the script for ChimeraX could not open, before any work.

    Args:
        path: of the map.

    Raises:
        InputError: its name holds a quote or a control character.
    """
    # ChimeraX has no escape for a quote inside quotes.
    if not path.isprintable() or '"' in path:
        cause = "view.cxc, which opens it in ChimeraX, cannot hold a quote or control character"
        raise InputError(quote(path), "its path", cause, "rename file or folder")


def write_outputs(
    graph: DensityGraph, shown: str | None, threshold: float, solvent: float, job: Job
) -> None:
    """Write the graph in every form, the peaks as atoms, and a script that shows them.

    Args:
        graph: of the peaks.
        shown: path of the map, for the script; None where there is no file of it.
        threshold: contour level, map units.
        solvent: density where there are no atoms, map units.
        job: at work.
    """
    nodes = cast(dict[str, np.ndarray], graph.nodes)
    senders, receivers = (np.asarray(ends, np.int32) for ends in (graph.senders, graph.receivers))
    once = senders < receivers
    edges = np.stack([senders[once], receivers[once]], axis=1)
    text = json.dumps(node_link(nodes, edges, np.asarray(graph.edges)[once]), allow_nan=False)
    job.write_text("graph.json", text + "\n", "the graph; networkx.node_link_graph reads it")
    with job.output(GRAPH, "the same as arrays, edges in both directions") as path:
        arrays = {"senders": senders, "receivers": receivers, "distance": np.asarray(graph.edges)}
        # Packed, sorted numbers of nodes come out so well that readers take them for an attack.
        write_npz(path, nodes | arrays, compress=False)
    with job.output("graph.bild", "the graph for ChimeraX") as path:
        write_bild(path, nodes["position"], edges, node_radius=0.25, edge_radius=0.05)
    with job.output(
        "peaks.cif", "peaks as dummy atoms (residue DUM), significance in place of B"
    ) as path:
        write_atoms(path, peaks_as_atoms(nodes, solvent))
    with job.output("view.cxc", "script that shows map and peaks in ChimeraX") as path:
        maps = {} if shown is None else {shown: threshold}
        write_cxc(path, models=["peaks.cif", "graph.bild"], maps=maps)


def node_link(
    nodes: dict[str, np.ndarray], edges: np.ndarray, distance: np.ndarray
) -> dict[str, Any]:
    """A graph in the form that ``networkx.node_link_graph`` reads.

    Args:
        nodes: features, one row for each node.
        edges: pairs of nodes, each once.
        distance: of the nodes of each edge, Å.
    """
    rows = [
        {"id": number, **dict(zip(nodes, row, strict=True))}
        for number, row in enumerate(zip(*(v.tolist() for v in nodes.values()), strict=True))
    ]
    pairs = zip(edges.tolist(), distance.tolist(), strict=True)
    return {
        "directed": False,
        "multigraph": False,
        "graph": {"format": "cryojax-graph density graph", "version": 1, "units": _UNITS},
        "nodes": rows,
        "edges": [{"source": a, "target": b, "distance": d} for (a, b), d in pairs],
    }


def node_features(found: Located, strength: Float[np.ndarray, " n"]) -> dict[str, np.ndarray]:
    """What the graph says of every peak beside its place.

    Args:
        found: the peaks.
        strength: significance of each, standard deviations of the noise; 0 where that is unknown.
    """
    peaks = found.peaks
    features = {
        "density": found.density,
        "height": peaks.value,
        "significance": strength,
        "gradient_norm": peaks.gradient_norm,
        "eigenvalues": peaks.eigenvalues,
        "prominence": peaks.prominence,
        found.of_starts: peaks.voxels,
    }
    return features if found.false_share is None else features | {"false_share": found.false_share}


def peaks_as_atoms(nodes: dict[str, np.ndarray], solvent: float) -> AtomTable:
    """Peaks as dummy atoms, which programs open as oxygens.

    Args:
        nodes: features of the graph.
        solvent: density where there are no atoms, map units.

    Returns:
        one residue ``DUM`` for each; occupancy is the height above the solvent as a share of the
        greatest, 0 where that is below it.
    """
    n, above = len(nodes["density"]), np.maximum(nodes["density"] - solvent, 0.0)
    share = above / (above.max() or 1.0)
    return AtomTable(
        positions=nodes["position"].astype(np.float32),
        element=np.full(n, "O"),
        name=np.full(n, "DUM"),
        residue_name=np.full(n, "DUM"),
        residue_number=np.arange(1, n + 1, dtype=np.int32),
        insertion_code=np.full(n, ""),
        chain=np.full(n, "P"),
        b_factor=nodes["significance"].astype(np.float32),
        occupancy=share.astype(np.float32),
        hetero=np.ones(n, bool),
    )
