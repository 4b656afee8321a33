"""Peaks of a map joined to a graph."""

import numpy as np

from cryojax_graph.graphs import build_density_graph


def test_all_peaks_within_the_cutoff_are_joined_in_order():
    position = np.random.default_rng(0).uniform(0, 8, (60, 3))
    graph = build_density_graph(position, {"height": np.arange(60.0)}, cutoff=2.5)
    distance = np.linalg.norm(position[:, None] - position, axis=-1)
    receivers, senders = np.nonzero((distance < 2.5) & (distance > 0))
    # By receiver, then by sender, as padding and sums over sorted segments take it.
    np.testing.assert_array_equal(graph.receivers, receivers)
    np.testing.assert_array_equal(graph.senders, senders)
    np.testing.assert_allclose(graph.edges, distance[receivers, senders])


def test_a_single_peak_has_no_edge():
    graph = build_density_graph(np.zeros((1, 3)), {}, cutoff=2.5)
    assert len(graph.edges) == len(graph.senders) == 0
