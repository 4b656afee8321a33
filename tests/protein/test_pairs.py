import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from cryojax_graph.protein import pairs_within


@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), cutoff=st.floats(0.5, 20.0))
def test_pairs_are_those_that_a_look_at_every_pair_finds(seed, count, cutoff):
    positions = np.random.default_rng(seed).uniform(-10, 10, (count, 3))
    distance = np.linalg.norm(positions[:, None] - positions, axis=-1)
    expected = np.argwhere(np.triu(distance <= cutoff, 1))
    np.testing.assert_array_equal(pairs_within(positions, cutoff), expected)
