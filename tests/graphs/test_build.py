import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.graphs.build import EdgeKind, build_backbone_graph, peptide_bonds


def chain_along_x(n: int, step: float = 3.8) -> np.ndarray:
    return np.arange(n)[:, None] * [step, 0.0, 0.0]


def edges_of(graph) -> set[tuple[int, int, int]]:
    return set(
        zip(graph.senders.tolist(), graph.receivers.tolist(), graph.edges.tolist(), strict=True)
    )


ONE_CHAIN = np.zeros(6, int)
NUMBERS = np.arange(6)


def test_a_chain_is_joined_in_both_directions():
    graph = build_backbone_graph(chain_along_x(6), ONE_CHAIN, NUMBERS)
    expected = {(i, i + 1, 0) for i in range(5)} | {(i + 1, i, 0) for i in range(5)}
    assert edges_of(graph) == expected
    assert graph.n_node.tolist() == [6]
    assert graph.n_edge.tolist() == [10]
    assert graph.nodes.dtype == np.float32


def test_bonds_stop_at_chain_ends():
    bonds = peptide_bonds(chain_along_x(6), np.array([0, 0, 0, 1, 1, 1]), NUMBERS)
    assert bonds.tolist() == [[0, 1], [1, 2], [3, 4], [4, 5]]


def test_bonds_stop_at_gaps_of_numbering_or_distance():
    numbers = np.array([1, 2, 3, 10, 11, 12])
    assert [2, 3] not in peptide_bonds(chain_along_x(6), ONE_CHAIN, numbers).tolist()
    stretched = chain_along_x(6) + (np.arange(6) > 2)[:, None] * [0.6, 0, 0]
    assert [2, 3] not in peptide_bonds(stretched, ONE_CHAIN, NUMBERS).tolist()


def test_insertion_codes_repeat_a_number_and_are_bonded():
    numbers = np.array([51, 52, 52, 52, 53, 54])
    assert len(peptide_bonds(chain_along_x(6), ONE_CHAIN, numbers)) == 5


def test_known_atoms_of_the_bond_decide_over_numbering_and_c_alpha():
    c_alpha = chain_along_x(6)
    nitrogen, carbon = c_alpha - np.array([1.2, 0, 0]), c_alpha + np.array([1.3, 0, 0])
    settings = {"nitrogen": nitrogen, "carbon": carbon}
    assert len(peptide_bonds(c_alpha, ONE_CHAIN, 10 * NUMBERS, **settings)) == 5
    carbon[2] -= [1.0, 0, 0]
    assert [2, 3] not in peptide_bonds(c_alpha, ONE_CHAIN, NUMBERS, **settings).tolist()
    carbon[2] = np.nan
    assert [2, 3] in peptide_bonds(c_alpha, ONE_CHAIN, NUMBERS, **settings).tolist()


def test_hydrogens_given_follow_baker_hubbard_else_kabsch_sander():
    c_alpha = chain_along_x(6)
    nitrogen, carbon, oxygen, hydrogen = (np.full((6, 3), np.nan) for _ in range(4))
    nitrogen[5], hydrogen[5], oxygen[1] = [0, 50, 0], [1, 50, 0], [2.9, 50, 0]
    atoms = {"nitrogen": nitrogen, "carbon": carbon, "oxygen": oxygen}
    graph = build_backbone_graph(c_alpha, ONE_CHAIN, NUMBERS, **atoms, hydrogen=hydrogen)
    assert {(5, 1, 1), (1, 5, 1)} <= edges_of(graph)
    assert 1 not in build_backbone_graph(c_alpha, ONE_CHAIN, NUMBERS, **atoms).edges
    carbon[1], carbon[4], oxygen[4] = [4.1, 50, 0], [-1.3, 50, 0], [-2.5, 50, 0]
    by_energy = build_backbone_graph(c_alpha, ONE_CHAIN, NUMBERS, **atoms)
    assert {(5, 1, 1), (1, 5, 1)} <= edges_of(by_energy)


def test_contacts_are_within_the_cutoff_and_leave_bonds_their_kind():
    graph = build_backbone_graph(chain_along_x(6), ONE_CHAIN, NUMBERS, contact_cutoff=8.0)
    kinds = {(s, r): k for s, r, k in edges_of(graph)}
    assert all(
        k == (EdgeKind.PEPTIDE if abs(s - r) == 1 else EdgeKind.CONTACT)
        for (s, r), k in kinds.items()
    )
    assert set(kinds) == {(i, j) for i in range(6) for j in range(6) if 1 <= abs(i - j) <= 2}


def test_contact_neighbours_cap_what_each_residue_proposes():
    star = np.concatenate([np.zeros((1, 3)), 5.0 * np.eye(3), -5.0 * np.eye(3)])
    settings = {"contact_cutoff": 6.0, "contact_neighbours": 1}
    graph = build_backbone_graph(star, np.arange(7), np.zeros(7, int), **settings)
    # Each point proposes the centre, the centre one of them: it keeps all six.
    assert edges_of(graph) == {(0, i, 2) for i in range(1, 7)} | {(i, 0, 2) for i in range(1, 7)}


@given(st.integers(1, 30), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_any_graph_is_undirected_sorted_and_without_loops(n, seed):
    rng = np.random.default_rng(seed)
    points, chain = rng.normal(0, 4, (n, 3)), np.sort(rng.integers(0, 3, n))
    atoms = dict(zip(("nitrogen", "carbon", "oxygen"), rng.normal(0, 4, (3, n, 3)), strict=True))
    graph = build_backbone_graph(points, chain, np.arange(n), **atoms, contact_cutoff=5.0)
    edges = edges_of(graph)
    assert len(edges) == len(graph.edges) == graph.n_edge[0]
    assert edges == {(r, s, k) for s, r, k in edges}
    assert all(s != r for s, r, _ in edges)
    order = np.lexsort((graph.senders, graph.receivers))
    np.testing.assert_array_equal(order, np.arange(len(order)))


def test_a_single_residue_has_no_edges():
    graph = build_backbone_graph(
        np.zeros((1, 3)), np.zeros(1, int), np.zeros(1, int), contact_cutoff=9.0
    )
    assert len(graph.senders) == 0


def test_positions_that_are_not_finite_are_refused():
    points = chain_along_x(6)
    points[3, 1] = np.nan
    with pytest.raises(ValueError, match="row 3"):
        build_backbone_graph(points, ONE_CHAIN, NUMBERS)


@pytest.mark.parametrize(
    ("name", "residues", "bonds"),
    [
        ("adk_dims", 214, 213),
        ("fab_elbow", 418, 415),
        ("gs_b2ar", 1043, 1038),
        ("spike_trimer", 3396, 3393),
    ],
)
def test_real_proteins(shared_data, name, residues, bonds):
    """Chains and gaps as the data's description says; about half of the residues are in a fold."""
    with np.load(shared_data / "trajectories" / f"{name}.npz") as file:
        names, frame = file["atom_names"], file["coords"][0].astype(float)
        is_ca = names == "CA"
        chain = np.unique(file["chain_ids"][is_ca], return_inverse=True)[1]
        numbers, donates = file["res_ids"][is_ca], file["res_names"][is_ca] != "PRO"
    atoms = {k: frame[names == v] for k, v in (("nitrogen", "N"), ("carbon", "C"), ("oxygen", "O"))}
    graph = build_backbone_graph(frame[is_ca], chain, numbers, **atoms, donates=donates)
    counts = np.bincount(graph.edges, minlength=3) // 2
    assert len(graph.nodes) == residues
    assert counts[EdgeKind.PEPTIDE] == bonds
    assert 0.4 < counts[EdgeKind.HYDROGEN_BOND] / residues < 0.8
    # Four bonds of gs_b2ar close over a loop that its makers cut out: the numbering jumps there.
    only_c_alpha = peptide_bonds(frame[is_ca], chain, numbers)
    assert abs(len(only_c_alpha) - bonds) <= 4
