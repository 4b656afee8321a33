import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.protein import (
    beads_at_c_alpha,
    beads_of_atoms,
    frame_triples,
    place_beads,
    residue_frames,
)


def helix(count: int) -> np.ndarray:
    angle = np.deg2rad(100.0) * np.arange(count)
    return np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(count)], axis=1)


def random_rotation(seed: int) -> np.ndarray:
    q, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return q * np.sign(np.linalg.det(q))


def test_triples_stop_at_chain_ends_and_gaps():
    chain = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    bonded = np.array([1, 1, 1, 1, 1, 1, 0, 1, 0])
    expected = [[0, 1, 2], [0, 1, 2], [1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6], [4, 5, 6]]
    expected += [[7, 7, 7], [8, 8, 8]]
    np.testing.assert_array_equal(frame_triples(chain, bonded), expected)


def test_frames_are_rotations_and_turn_with_the_structure():
    c_alpha = helix(12)
    triples = jnp.asarray(frame_triples(np.zeros(12, int), np.append(np.ones(11, int), 0)))
    turn = random_rotation(0)
    frames = np.asarray(residue_frames(jnp.asarray(c_alpha), triples))
    np.testing.assert_allclose(
        frames @ frames.transpose(0, 2, 1), np.eye(3)[None] + 0 * frames, atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.det(frames), 1.0, atol=1e-5)
    turned = residue_frames(jnp.asarray(c_alpha @ turn.T), triples)
    np.testing.assert_allclose(turned, turn @ frames, atol=1e-5)


@pytest.mark.parametrize("degenerate", ["straight", "collapsed"])
def test_degenerate_chains_have_finite_gradients(degenerate):
    c_alpha = jnp.zeros((6, 3))
    if degenerate == "straight":
        c_alpha = c_alpha.at[:, 2].set(3.8 * jnp.arange(6))
    triples = jnp.asarray(frame_triples(np.zeros(6, int), np.array([1, 1, 1, 1, 1, 0])))
    gradient = jax.grad(lambda x: jnp.sum(residue_frames(x, triples) ** 3))(c_alpha)
    assert jnp.isfinite(gradient).all()


def atoms_around(c_alpha: np.ndarray, per_residue: int, seed: int = 1):
    rng = np.random.default_rng(seed)
    residue = np.repeat(np.arange(len(c_alpha)), per_residue)
    positions = c_alpha[residue] + rng.normal(size=(len(residue), 3))
    backbone = np.tile(np.arange(per_residue) < 4, len(c_alpha))
    return positions, rng.choice([6.0, 7.0, 8.0], len(residue)), residue, backbone


def test_beads_keep_mass_centre_and_spread_of_the_atoms():
    c_alpha = helix(10)
    triples = frame_triples(np.zeros(10, int), np.append(np.ones(9, int), 0))
    positions, electrons, residue, backbone = atoms_around(c_alpha, 9)
    beads = beads_of_atoms(c_alpha, triples, positions, electrons, residue, backbone)
    placed = np.asarray(place_beads(beads, jnp.asarray(c_alpha)))
    mass = np.asarray(beads.mass)
    assert len(mass) == 30  # one bead of backbone and two of side chain in each residue
    np.testing.assert_allclose(mass.sum(), electrons.sum(), rtol=1e-6)
    np.testing.assert_allclose(mass @ placed, electrons @ positions, rtol=1e-5)
    second = mass @ ((placed**2).sum(1) + 3 * np.asarray(beads.variance))
    np.testing.assert_allclose(second, electrons @ (positions**2).sum(1), rtol=1e-5)


def test_beads_are_carried_by_a_turn_of_the_structure():
    c_alpha, turn = helix(10), random_rotation(3)
    triples = frame_triples(np.zeros(10, int), np.append(np.ones(9, int), 0))
    beads = beads_of_atoms(c_alpha, triples, *atoms_around(c_alpha, 6))
    before = np.asarray(place_beads(beads, jnp.asarray(c_alpha)))
    after = np.asarray(place_beads(beads, jnp.asarray(c_alpha @ turn.T + [3.0, -2.0, 1.0])))
    np.testing.assert_allclose(after, before @ turn.T + [3.0, -2.0, 1.0], atol=1e-4)


def test_a_residue_without_atoms_is_refused():
    c_alpha = helix(4)
    triples = frame_triples(np.zeros(4, int), np.array([1, 1, 1, 0]))
    positions, electrons, residue, backbone = atoms_around(c_alpha[:3], 4)
    with pytest.raises(ValueError, match="residue 3"):
        beads_of_atoms(c_alpha, triples, positions, electrons, residue, backbone)


def test_residue_beads_stand_at_the_c_alpha_atoms():
    c_alpha = jnp.asarray(helix(5), jnp.float32)
    triples = frame_triples(np.zeros(5, int), np.array([1, 1, 1, 1, 0]))
    beads = beads_at_c_alpha(triples, np.arange(5) + 30.0, np.full(5, 1.5))
    np.testing.assert_allclose(place_beads(beads, c_alpha), c_alpha)
    np.testing.assert_allclose(beads.variance, 2.25)
