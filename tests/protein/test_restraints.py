import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from cryojax_graph.protein import (
    Restraints,
    clash_energy,
    distance_energy,
    restraints_of_template,
)

SETTINGS = {
    "bond_deviation": 0.1,
    "angle_deviation": 0.5,
    "contact_deviation": 2.0,
    "contact_cutoff": 6.5,
}


def walk(count: int, seed: int = 0) -> np.ndarray:
    step = np.random.default_rng(seed).normal(size=(count, 3))
    step *= 3.8 / np.linalg.norm(step, axis=1, keepdims=True)
    return step.cumsum(0)


def oracle(template, conformation, bonded):
    """The definition, pair by pair, in float64."""
    total = 0.0
    for i in range(len(template)):
        for j in range(i + 1, len(template)):
            known = np.linalg.norm(template[i] - template[j])
            deviation = abs(np.linalg.norm(conformation[i] - conformation[j]) - known)
            if j == i + 1 and bonded[i]:
                total += 0.5 * deviation**2 / 0.1**2
            elif j == i + 2 and bonded[i] and bonded[i + 1]:
                total += 0.5 * deviation**2 / 0.5**2
            elif known < 6.5:
                inside = min(deviation, 1.0)
                total += inside * (deviation - 0.5 * inside) / 2.0**2
    return total


def test_energy_is_the_sum_over_pairs():
    bonded = np.ones(20, int)
    bonded[[7, 19]] = 0
    template = walk(20)
    moved = template + np.random.default_rng(1).normal(size=template.shape)
    restraints = restraints_of_template(template, bonded, **SETTINGS)
    energy = distance_energy(restraints, jnp.asarray(moved, jnp.float32))
    np.testing.assert_allclose(energy, oracle(template, moved, bonded), rtol=1e-4)


@pytest.mark.parametrize("count", [1, 8, 11])
def test_many_conformations_at_once(count):
    template = walk(20)
    restraints = restraints_of_template(template, np.append(np.ones(19, int), 0), **SETTINGS)
    moved = template + np.random.default_rng(1).normal(size=(count, 20, 3))
    moved = jnp.asarray(moved, jnp.float32)
    one_by_one = [distance_energy(restraints, conformation) for conformation in moved]
    together = distance_energy(restraints, moved)
    np.testing.assert_allclose(together, one_by_one, rtol=1e-6)
    assert distance_energy(restraints, moved[:, None]).shape == (count, 1)


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0)])
def test_no_conformation_has_no_energy(shape):
    restraints = restraints_of_template(walk(20), np.append(np.ones(19, int), 0), **SETTINGS)
    empty = jnp.zeros((*shape, 20, 3))
    energy = distance_energy(restraints, empty)
    assert (energy.shape, energy.dtype) == (shape, jnp.float32)
    gradient = jax.grad(lambda x: distance_energy(restraints, x).sum())(empty)
    assert gradient.shape == empty.shape


def test_gradients_by_central_differences():
    """Of conformations, lengths, weights and reaches, whose slopes are written by hand."""
    template = walk(12)
    restraints = restraints_of_template(template, np.append(np.ones(11, int), 0), **SETTINGS)
    contacts = np.isfinite(restraints.reach)
    assert contacts.sum() > 3
    moved = template + 0.7 * np.random.default_rng(1).normal(size=template.shape)

    def energy(c_alpha, length, weight, reach):
        length, weight = jnp.asarray(length), jnp.asarray(weight)
        known = Restraints(restraints.pairs, length, weight, jnp.where(contacts, reach, jnp.inf))
        return distance_energy(known, jnp.asarray(c_alpha))

    with jax.enable_x64(True):
        known = (restraints.length, restraints.weight, np.where(contacts, restraints.reach, 1.0))
        arguments = [jnp.asarray(np.asarray(a), jnp.float64) for a in (moved, *known)]
        check_grads(energy, arguments, order=1, modes=("fwd", "rev"), eps=1e-5, rtol=1e-4)
        check_grads(
            lambda x: energy(x, *arguments[1:]), arguments[:1], order=2, eps=1e-4, rtol=1e-3
        )


def test_the_template_is_at_rest():
    template = walk(15)
    restraints = restraints_of_template(template, np.append(np.ones(14, int), 0), **SETTINGS)
    c_alpha = jnp.asarray(template, jnp.float32)
    assert distance_energy(restraints, c_alpha) < 1e-6
    assert jnp.abs(jax.grad(distance_energy, argnums=1)(restraints, c_alpha)).max() < 1e-2


def test_atoms_in_one_place_have_finite_gradients():
    restraints = restraints_of_template(walk(8), np.append(np.ones(7, int), 0), **SETTINGS)
    zero = jnp.zeros((8, 3))
    assert jnp.isfinite(jax.grad(distance_energy, argnums=1)(restraints, zero)).all()
    assert jnp.isfinite(jax.grad(clash_energy, argnums=1)(jax.random.key(0), zero)).all()


def test_clashes_are_estimated_without_bias():
    c_alpha = np.random.default_rng(2).uniform(0, 8, (12, 3)).astype(np.float32)
    exact = 0.0
    for i in range(12):
        for j in range(i + 3, 12):
            if min(j - i, 12 - (j - i)) >= 3:
                overlap = max(4.0 - np.linalg.norm(c_alpha[i] - c_alpha[j]), 0.0)
                exact += 0.5 * overlap**2 / 0.5**2
    keys = jax.random.split(jax.random.key(0), 4000)
    estimates = jax.vmap(lambda key: clash_energy(key, jnp.asarray(c_alpha)))(keys)
    error = 4.0 * np.std(np.asarray(estimates)) / np.sqrt(4000)
    assert abs(float(estimates.mean()) - exact) < error
    assert exact > 1.0


def test_short_chains_do_not_clash():
    assert clash_energy(jax.random.key(0), jnp.zeros((5, 3))) == 0.0
