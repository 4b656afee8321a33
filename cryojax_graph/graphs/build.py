"""The graph of a protein backbone: one node per residue, edges by bond, hydrogen bond and contact.

Built once from a template on the host. Edges are undirected, stored both ways and sorted by
receiver, then sender, so sums over them always run in the same order.
"""

from enum import IntEnum

import jraph
import numpy as np
from jaxtyping import Bool, Float, Int

from cryojax_graph.graphs.hydrogen_bonds import baker_hubbard_bonds, kabsch_sander_bonds

# Longest C-N bond and longest C-alpha step of bonded residues in Å.
_PEPTIDE_BOND = 2.0
_C_ALPHA_STEP = 4.3

BackboneGraph = jraph.GraphsTuple
"""A graph from ``build_backbone_graph``, for annotations where jraph itself must not be named."""

_Atoms = Float[np.ndarray, "n 3"]
_Pairs = Int[np.ndarray, "pairs 2"]


class EdgeKind(IntEnum):
    """What joins two residues; where several do, the first."""

    PEPTIDE = 0
    HYDROGEN_BOND = 1
    CONTACT = 2


def build_backbone_graph(
    c_alpha: _Atoms,
    chain: Int[np.ndarray, " n"],
    residue: Int[np.ndarray, " n"],
    *,
    nitrogen: _Atoms | None = None,
    carbon: _Atoms | None = None,
    oxygen: _Atoms | None = None,
    hydrogen: _Atoms | None = None,
    donates: Bool[np.ndarray, " n"] | None = None,
    contact_cutoff: float | None = None,
    contact_neighbours: int = 16,
) -> jraph.GraphsTuple:
    """Backbone graph of a template.

    Args:
        c_alpha: C-alpha positions in Å, in the order of the sequence.
        chain: chain index of each residue.
        residue: residue number of each residue.
        nitrogen: backbone N in Å, NaN where absent.
        carbon: backbone C, NaN where absent.
        oxygen: backbone O, NaN where absent.
        hydrogen: hydrogen on N, NaN where absent. If given, hydrogen bonds follow Baker & Hubbard,
            else Kabsch & Sander.
        donates: False for residues without a hydrogen on N (proline); for Kabsch & Sander only.
        contact_cutoff: C-alpha distance in Å below which residues are in contact; none if absent.
        contact_neighbours: each residue proposes at most so many of its nearest as contacts.

    Returns:
        graph with nodes c_alpha (n, 3) float32, edges the ``EdgeKind`` of each, all numpy. Without
        N, C and O there are no hydrogen bonds.

    Raises:
        ValueError: a C-alpha position is not finite.
    """
    if not np.isfinite(c_alpha).all():
        missing = np.flatnonzero(~np.isfinite(c_alpha).all(axis=1))
        raise ValueError(f"{len(missing)} C-alpha not finite, first at row {missing[0]}")
    peptide = peptide_bonds(c_alpha, chain, residue, nitrogen=nitrogen, carbon=carbon)
    none = np.zeros((0, 2), int)
    bonds = none
    if nitrogen is not None and oxygen is not None and hydrogen is not None:
        bonds = baker_hubbard_bonds(nitrogen, hydrogen, oxygen)
    elif nitrogen is not None and carbon is not None and oxygen is not None:
        follows = np.isin(np.arange(len(c_alpha)), peptide[:, 1])
        bonds = kabsch_sander_bonds(nitrogen, carbon, oxygen, follows=follows, donates=donates)
    contacts = none
    if contact_cutoff is not None:
        contacts = _contacts(c_alpha, contact_cutoff, contact_neighbours)
    pairs, kinds = _merge([peptide, bonds, contacts])
    return _undirected_graph(c_alpha, pairs, kinds)


def edges_of_kind(
    graph: BackboneGraph, kind: EdgeKind
) -> tuple[Int[np.ndarray, " edges"], Int[np.ndarray, " edges"]]:
    """Ends of the edges of one kind.

    Args:
        graph: from ``build_backbone_graph``.
        kind: of the edges wanted.

    Returns:
        senders and receivers; each edge both ways.
    """
    wanted = np.asarray(graph.edges) == kind
    return np.asarray(graph.senders)[wanted], np.asarray(graph.receivers)[wanted]


def peptide_bonds(
    c_alpha: _Atoms,
    chain: Int[np.ndarray, " n"],
    residue: Int[np.ndarray, " n"],
    *,
    nitrogen: _Atoms | None = None,
    carbon: _Atoms | None = None,
) -> _Pairs:
    """Consecutive residues that are truly bonded: bonds stop at chain ends and gaps.

    Where both atoms of the bond are known, C and N within 2 Å decide, whatever the numbering.
    Elsewhere the numbers must be the same (insertion codes) or consecutive, and the C-alpha within
    4.3 Å.

    Args:
        c_alpha: C-alpha positions in Å, in the order of the sequence.
        chain: chain index of each residue.
        residue: residue number of each residue.
        nitrogen: backbone N in Å, NaN where absent.
        carbon: backbone C, NaN where absent.

    Returns:
        pairs (i, i + 1).
    """
    consecutive = np.isin(np.diff(residue), (0, 1))
    joined = consecutive & (np.linalg.norm(np.diff(c_alpha, axis=0), axis=1) <= _C_ALPHA_STEP)
    if nitrogen is not None and carbon is not None:
        length = np.linalg.norm(nitrogen[1:] - carbon[:-1], axis=1)
        joined = np.where(np.isfinite(length), length <= _PEPTIDE_BOND, joined)
    first = np.flatnonzero(joined & (np.diff(chain) == 0))
    return np.stack([first, first + 1], axis=1)


def _contacts(c_alpha: _Atoms, cutoff: float, neighbours: int) -> _Pairs:
    """Pairs within the cutoff in which either is among the nearest of the other."""
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    count = min(neighbours + 1, len(c_alpha))
    found = KDTree(c_alpha).query(c_alpha, k=count)
    distance, nearest = (np.reshape(values, (len(c_alpha), count)) for values in found)
    receivers, slots = np.nonzero(distance < cutoff)
    pairs = np.stack([receivers, nearest[receivers, slots]], axis=1)
    return pairs[pairs[:, 0] != pairs[:, 1]]


def _merge(pairs_by_kind: list[Int[np.ndarray, "_ 2"]]) -> tuple[_Pairs, Int[np.ndarray, " pairs"]]:
    """Unordered pairs without repetition, each with its first kind."""
    kinds = np.repeat(np.arange(len(pairs_by_kind)), [len(pairs) for pairs in pairs_by_kind])
    pairs = np.sort(np.concatenate(pairs_by_kind), axis=1)
    unique, first = np.unique(pairs, axis=0, return_index=True)
    return unique, kinds[first]


def _undirected_graph(
    c_alpha: _Atoms, pairs: _Pairs, kinds: Int[np.ndarray, " pairs"]
) -> jraph.GraphsTuple:
    senders, receivers = np.concatenate([pairs, pairs[:, ::-1]]).T
    order = np.lexsort((senders, receivers))
    return jraph.GraphsTuple(
        nodes=c_alpha.astype(np.float32),
        edges=np.tile(kinds, 2)[order].astype(np.int32),
        senders=senders[order].astype(np.int32),
        receivers=receivers[order].astype(np.int32),
        globals=None,
        n_node=np.array([len(c_alpha)]),  # pyright: ignore[reportArgumentType]
        n_edge=np.array([len(order)]),  # pyright: ignore[reportArgumentType]
    )
