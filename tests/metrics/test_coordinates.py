import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.metrics.coordinates import clash_count, lddt_ca, step_deviation

RNG = np.random.default_rng(0)
TRUTH = RNG.normal(0, 8, (40, 3))
CHAIN = np.stack([np.arange(39), np.arange(1, 40)], 1)
score, deviation, clashes = jax.jit(lddt_ca), jax.jit(step_deviation), jax.jit(clash_count)


def single(array: np.ndarray) -> jax.Array:
    return jnp.asarray(array, jnp.float32)


def lddt_by_loops(predicted: np.ndarray, truth: np.ndarray) -> float:
    kept, pairs = 0, 0
    for i in range(len(truth)):
        for j in range(len(truth)):
            expected = np.linalg.norm(truth[i] - truth[j])
            if i != j and expected < 15:
                error = abs(np.linalg.norm(predicted[i] - predicted[j]) - expected)
                kept += sum(error < limit for limit in (0.5, 1, 2, 4))
                pairs += 4
    return kept / pairs


@pytest.mark.parametrize("noise", [0.0, 0.3, 1.0, 5.0])
def test_lddt_agrees_with_its_definition(noise):
    predicted = TRUTH + noise * RNG.normal(size=TRUTH.shape)
    expected = lddt_by_loops(predicted, TRUTH)
    np.testing.assert_allclose(score(single(predicted), single(TRUTH)), expected, atol=1e-3)


def test_lddt_ignores_rigid_motion_and_reflection():
    moved = TRUTH[:, [1, 0, 2]] + 30
    assert score(single(moved), single(TRUTH)) == 1


def test_lddt_without_any_neighbour_is_zero():
    assert score(single(TRUTH * 1000), single(TRUTH * 1000)) == 0


def test_step_deviation_sees_only_bonded_distances():
    bonded = jnp.asarray(CHAIN[CHAIN[:, 0] != 19])
    template = np.cumsum(np.full((40, 3), 2.0), 0)
    apart = template + (np.arange(40) > 19)[:, None] * [50.0, 0, 0]
    assert deviation(single(apart), single(template), bonded) < 1e-4
    stretched = deviation(single(1.1 * template), single(template), bonded)
    np.testing.assert_allclose(stretched, 0.1 * np.sqrt(12), rtol=1e-4)


def test_step_deviation_of_coincident_atoms_has_a_finite_gradient():
    slope = jax.jit(jax.grad(step_deviation))(jnp.zeros((40, 3)), single(TRUTH), jnp.asarray(CHAIN))
    assert jnp.isfinite(slope).all()


def test_clashes_are_counted_once_and_bonds_are_not_clashes():
    line = single(np.arange(40)[:, None] * [3.0, 0, 0])
    assert clashes(line, jnp.asarray(CHAIN)) == 0
    assert clashes(line, jnp.asarray(CHAIN[:, ::-1])) == 0
    assert clashes(line, jnp.asarray(CHAIN[1:])) == 1
    folded = line.at[30].set(line[3])
    assert clashes(folded, jnp.asarray(CHAIN)) == 3


def test_clashes_agree_with_loops():
    close = sum(
        np.linalg.norm(TRUTH[i] - TRUTH[j]) < 3.5 for i in range(40) for j in range(i + 2, 40)
    )
    assert clashes(single(TRUTH), jnp.asarray(CHAIN)) == close
