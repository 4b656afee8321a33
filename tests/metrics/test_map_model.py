import numpy as np
import pytest

from cryojax_graph.metrics import atom_density, map_model, masked_correlation

SHAPE, VOXEL, ORIGIN = (9, 12, 10), np.array([0.8, 1.1, 0.9]), np.array([3.0, -5.0, 11.0])


@pytest.mark.parametrize("together", [1, 1 << 21])
def test_density_is_the_sum_of_gaussians(together, monkeypatch):
    monkeypatch.setattr(map_model, "_VOXELS", together)
    rng = np.random.default_rng(0)
    positions = ORIGIN + rng.uniform(-1, 10, (30, 3))
    heights = rng.uniform(1, 9, 30)
    got = atom_density(SHAPE, VOXEL, ORIGIN, positions, heights, width=0.7)
    for z, y, x in np.ndindex(SHAPE):
        distance = np.linalg.norm(ORIGIN + np.array([x, y, z]) * VOXEL - positions, axis=1)
        value = np.sum(heights * np.exp(-(distance**2) / 0.98) * (distance <= 2.8))
        assert got[z, y, x] == pytest.approx(value, abs=1e-9)


def test_correlation_is_that_of_the_voxels_of_the_mask():
    first, second = np.random.default_rng(1).normal(size=(2, *SHAPE))
    mask = np.random.default_rng(2).random(SHAPE) < 0.4
    expected = np.corrcoef(first[mask], second[mask])[0, 1]
    assert masked_correlation(first, second, mask) == pytest.approx(expected)
    assert masked_correlation(first, -3 * first + 7, mask) == pytest.approx(-1)


def test_nothing_correlates_with_nothing():
    zero, one = np.zeros(SHAPE), np.random.default_rng(1).normal(size=SHAPE)
    assert masked_correlation(zero, one, zero == 0) == 0.0
    assert masked_correlation(one, one, one > 99) == 0.0
    got = atom_density(SHAPE, VOXEL, ORIGIN, np.zeros((0, 3)), np.zeros(0), width=0.7)
    assert not got.any()
