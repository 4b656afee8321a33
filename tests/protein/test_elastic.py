import numpy as np
import pytest

from cryojax_graph.protein import elastic as elastic_module
from cryojax_graph.protein import elastic_modes


def network(count: int, seed: int = 0, cutoff: float = 2.5):
    positions = np.random.default_rng(seed).uniform(0, 4, (count, 3))
    near = np.linalg.norm(positions[:, None] - positions, axis=-1) < cutoff
    senders, receivers = np.nonzero(np.triu(near, 1))
    return positions, senders, receivers, np.ones(len(senders))


def energy(displacement, positions, senders, receivers, stiffness):
    """Harmonic energy, spring by spring."""
    total = 0.0
    for i, j, k in zip(senders, receivers, stiffness, strict=True):
        unit = (positions[i] - positions[j]) / np.linalg.norm(positions[i] - positions[j])
        total += k * ((displacement[i] - displacement[j]) @ unit) ** 2
    return total


def test_stiffness_is_the_energy_of_the_mode():
    springs = network(30)
    values, modes = elastic_modes(*springs, count=12)
    assert len(values) == 12
    assert (np.diff(values) >= -1e-9).all()
    energies = [energy(mode, *springs) for mode in modes]
    np.testing.assert_allclose(values, energies, rtol=1e-6, atol=1e-9)


def test_modes_are_orthonormal_and_internal():
    positions, *springs = network(25, seed=2)
    _, modes = elastic_modes(positions, *springs, count=69)
    flat = modes.reshape(len(modes), -1)
    assert len(flat) == 69
    np.testing.assert_allclose(flat @ flat.T, np.eye(69), atol=1e-8)
    np.testing.assert_allclose(modes.sum(1), 0.0, atol=1e-8)
    turning = np.cross(positions - positions.mean(0), modes).sum(1)
    np.testing.assert_allclose(turning, 0.0, atol=1e-7)


def test_more_modes_than_there_are_gives_all_of_them():
    assert len(elastic_modes(*network(10, seed=3, cutoff=9.0), count=1000)[0]) == 24


def test_sparse_and_dense_agree(monkeypatch):
    springs = network(60, seed=4)
    dense_values, dense = elastic_modes(*springs, count=8)
    monkeypatch.setattr(elastic_module, "_LARGEST_DENSE", 10)
    sparse_values, sparse = elastic_modes(*springs, count=8)
    np.testing.assert_allclose(sparse_values, dense_values, rtol=1e-6)
    overlap = np.linalg.svd(dense.reshape(8, -1) @ sparse.reshape(8, -1).T)[1]
    assert overlap.min() == pytest.approx(1.0, abs=1e-6)


def test_a_loose_part_keeps_its_motions_of_no_stiffness():
    positions, senders, receivers, stiffness = network(12, seed=5, cutoff=9.0)
    far = positions + np.array([50.0, 0.0, 0.0])
    both = np.concatenate([positions, far])
    ends = np.concatenate([senders, senders + 12]), np.concatenate([receivers, receivers + 12])
    values, _ = elastic_modes(both, *ends, np.concatenate([stiffness, stiffness]), count=10)
    assert (values[:6] < 1e-8).all()
    assert values[6] > 1e-3
