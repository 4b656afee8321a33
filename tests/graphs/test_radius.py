import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.graphs.neighbours import neighbour_lists
from cryojax_graph.graphs.radius import RadiusPlan, build_radius_graph, plan_radius_graph

POINTS = np.random.default_rng(0).normal(0, 5, (40, 3))
build = jax.jit(build_radius_graph, static_argnums=1)


def pairs_by_loops(points: np.ndarray, cutoff: float) -> list[tuple[int, int]]:
    n = len(points)
    near = [[np.linalg.norm(points[i] - points[j]) < cutoff for j in range(n)] for i in range(n)]
    return [(i, j) for i in range(n) for j in range(n) if i != j and near[i][j]]


def real_pairs(padded) -> list[tuple[int, int]]:
    receivers, senders = (
        np.asarray(x)[padded.edge_mask] for x in (padded.graph.receivers, padded.graph.senders)
    )
    return list(zip(receivers.tolist(), senders.tolist(), strict=True))


def test_agrees_with_loops_in_sorted_order():
    plan = plan_radius_graph(POINTS, cutoff=4.0)
    padded = build(jnp.asarray(POINTS, jnp.float32), plan)
    assert real_pairs(padded) == pairs_by_loops(POINTS, 4.0)
    assert not padded.overflow
    assert padded.graph.n_edge.sum() == plan.edges


def test_plan_holds_these_points_with_room():
    plan = plan_radius_graph(POINTS, cutoff=4.0, headroom=1.5)
    pairs = pairs_by_loops(POINTS, 4.0)
    assert plan.edges == int(np.ceil(1.5 * len(pairs)))
    assert plan.neighbours == int(np.ceil(1.5 * np.bincount([i for i, _ in pairs]).max()))


def test_masked_points_have_no_edges():
    plan = plan_radius_graph(POINTS, cutoff=4.0)
    padded = build(jnp.asarray(POINTS, jnp.float32), plan, mask=jnp.arange(40) < 25)
    assert real_pairs(padded) == pairs_by_loops(POINTS[:25], 4.0)


@pytest.mark.parametrize("lacking", [0, 1])
def test_overflow_is_flagged_exactly_when_edges_are_lost(lacking):
    needed = len(pairs_by_loops(POINTS, 4.0))
    padded = build(jnp.asarray(POINTS, jnp.float32), RadiusPlan(4.0, needed - lacking, 40))
    assert bool(padded.overflow) == bool(lacking)
    assert len(real_pairs(padded)) == needed - lacking


def test_points_without_neighbours_make_an_empty_graph():
    far = 100.0 * np.arange(12.0).reshape(4, 3)
    plan = plan_radius_graph(far, cutoff=4.0)
    padded = build(jnp.asarray(far, jnp.float32), plan)
    assert not padded.edge_mask.any()
    lists = neighbour_lists(padded.graph, places=plan.neighbours, edge_mask=padded.edge_mask)
    assert not lists.mask.any()


def test_lists_of_a_radius_graph_hold_its_edges():
    plan = plan_radius_graph(POINTS, cutoff=4.0)
    padded = build(jnp.asarray(POINTS, jnp.float32), plan)
    lists = neighbour_lists(padded.graph, places=plan.neighbours, edge_mask=padded.edge_mask)
    receivers, places = np.nonzero(np.asarray(lists.mask))
    senders = np.asarray(lists.index)[receivers, places]
    assert list(zip(receivers.tolist(), senders.tolist(), strict=True)) == real_pairs(padded)
    assert (np.asarray(lists.kind)[np.asarray(lists.mask)] == 2).all()
    assert not lists.overflow


def test_lists_too_short_are_flagged():
    plan = plan_radius_graph(POINTS, cutoff=4.0)
    padded = build(jnp.asarray(POINTS, jnp.float32), plan)
    most = np.bincount([i for i, _ in pairs_by_loops(POINTS, 4.0)]).max()
    for places, lost in ((most, False), (most - 1, True)):
        lists = neighbour_lists(padded.graph, places=int(places), edge_mask=padded.edge_mask)
        assert bool(lists.overflow) == lost
