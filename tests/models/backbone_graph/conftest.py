import numpy as np
import pytest

from cryojax_graph.graphs import BackboneGraph, EdgeKind, build_backbone_graph
from cryojax_graph.models.backbone_graph.template import TemplateAtoms


def with_hydrogen_bonds(graph: BackboneGraph, pairs: list[tuple[int, int]]) -> BackboneGraph:
    """The graph with further edges, sorted as ``build_backbone_graph`` sorts them."""
    first, second = np.array(pairs).T
    senders = np.concatenate([graph.senders, first, second]).astype(np.int32)
    receivers = np.concatenate([graph.receivers, second, first]).astype(np.int32)
    kinds = np.concatenate([graph.edges, np.full(2 * len(pairs), EdgeKind.HYDROGEN_BOND)])
    order = np.lexsort((senders, receivers))
    return graph._replace(
        senders=senders[order], receivers=receivers[order], edges=kinds[order].astype(np.int32)
    )


def chain_of(count: int, seed: int = 0) -> TemplateAtoms:
    """A loose helix with four backbone and two side-chain atoms in each residue."""
    rng = np.random.default_rng(seed)
    angle = np.deg2rad(100.0) * np.arange(count)
    c_alpha = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(count)], axis=1)
    c_alpha -= c_alpha.mean(0)
    sequence = c_alpha, np.zeros(count, int), np.arange(count)
    residue = np.repeat(np.arange(count), 6)
    return TemplateAtoms(
        c_alpha=c_alpha,
        chain=np.zeros(count, int),
        graph=with_hydrogen_bonds(build_backbone_graph(*sequence), [(0, 4), (2, 6)]),
        electrons=np.full(count, 54.0),
        width=np.full(count, 1.8),
        atoms=c_alpha[residue] + rng.normal(size=(6 * count, 3)),
        atom_electrons=np.full(6 * count, 7.0),
        atom_residue=residue,
        atom_is_backbone=np.tile([True] * 4 + [False] * 2, count),
    )


@pytest.fixture(scope="session")
def make_chain():
    return chain_of
