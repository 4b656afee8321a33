"""A model in a density: score and energy by the book, rigid bodies, descents that arrive."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from jax.test_util import check_grads
from jaxtyping import Array, Float

from cryojax_graph.fields import Expansion, differentiate
from cryojax_graph.geometry import rmsd, superposed_rmsd
from cryojax_graph.models.atom_graph import (
    Target,
    density_score,
    descend,
    descend_rigid,
    first_pull,
    fit_energy,
    move_bodies,
    start_descent,
    start_rigid,
)
from cryojax_graph.models.atom_graph.objective import Crowd
from cryojax_graph.protein import Contacts, GeometryRestraints

PLACES = np.array([[8.0, 9.0, 10.0], [11.0, 9.5, 8.0], [14.0, 12.0, 11.0], [10.0, 13.0, 7.0]])
apart, moved_by = jax.jit(superposed_rmsd), jax.jit(move_bodies)


class Bumps(NamedTuple):
    """A field that is known in closed form: Gaussians of one height."""

    places: jax.Array
    height: jax.Array
    width: float = 1.2

    def values(self, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
        squared = jnp.sum((points[:, None] - self.places) ** 2, axis=-1)
        return self.height * jnp.sum(jnp.exp(-squared / (2 * self.width**2)), axis=-1)

    def expansions(self, points: Float[Array, "n 3"]) -> Expansion:
        return differentiate(self.values, points)


def bumps(height: float = 1.0) -> Bumps:
    return Bumps(jnp.asarray(PLACES), jnp.asarray(height))


def unrestrained(n: int, *, pairs: int = 0) -> GeometryRestraints:
    """Bonds of the first pairs of neighbours, 3 Å long, and nothing else."""
    bonds = np.stack([np.arange(pairs), np.arange(pairs) + 1], axis=1).astype(np.int32)
    none = np.zeros((0,), np.float32)
    return GeometryRestraints(
        bonds=bonds,
        bond_length=np.full(pairs, 3.0, np.float32),
        angles=np.zeros((0, 3), np.int32),
        angle=none,
        spans=np.zeros((0, 2), np.int32),
        span_length=none,
        planes=np.zeros((0, 4), np.int32),
        plane_deviation=none,
        chiral=np.zeros((0, 4), np.int32),
        volume=none,
    )


def target_of(field, n: int, *, pairs: int = 0) -> Target:
    masses = 1.0 + jnp.arange(n) / 4
    nobody = Contacts(np.zeros((2, 2), np.int32), np.zeros(2, np.float32))
    return Target(field, masses, jnp.float32(0.5), unrestrained(n, pairs=pairs), nobody)


def test_the_score_is_density_times_mass():
    target = target_of(bumps(), 4)
    at = jnp.asarray(PLACES + 0.3, jnp.float32)
    square = np.sum((np.asarray(at, float)[:, None] - PLACES) ** 2, axis=-1)
    values = np.exp(-square / (2 * 1.2**2)).sum(1)
    expected = np.dot(1.0 + np.arange(4) / 4, values) / 0.5
    np.testing.assert_allclose(jax.jit(density_score)(target, at), expected, rtol=1e-5)


def test_atoms_that_share_their_density_stay_apart():
    places = jnp.asarray([[8.0, 9.0, 10.0], [9.2, 9.4, 10.1], [8.8, 10.5, 9.4]])
    field = Bumps(places, jnp.asarray(0.7))
    pairs = np.array([[0, 1], [0, 2], [1, 2], [0, 0]], np.int32)
    alone = target_of(field, 3)._replace(masses=jnp.ones(3))
    shared = alone._replace(crowd=Crowd(pairs, jnp.asarray(0.7), jnp.asarray(1.2)))
    slope = jax.jit(jax.grad(density_score, argnums=1))
    assert float(jnp.abs(slope(alone, places)).max()) > 0.1
    np.testing.assert_allclose(slope(shared, places), 0.0, atol=1e-5)
    start = start_descent(places + 0.3 * jnp.asarray([[1.0, 0, 0], [0, 1, 0], [0, 0, -1]]))
    strides = np.geomspace(0.05, 1e-3, 300).astype(np.float32)
    # Peaks this close are one: along their sum atoms meet, as a model they find their places.
    end, met = (
        jax.jit(descend)(target, start, jnp.float32(1.0), strides)[0].positions
        for target in (shared, alone)
    )
    assert rmsd(end, places) < 0.1
    assert rmsd(met, places) > 0.4


def test_energy_has_the_gradient_of_differences():
    with jax.enable_x64(True):
        target, pull = target_of(bumps(), 4, pairs=3), jnp.asarray(2.0)
        at = jnp.asarray(PLACES + np.array([0.3, -0.2, 0.4]))
        energy = jax.jit(lambda at: fit_energy(target, at, pull))
        check_grads(energy, (at,), 1, ("rev",), eps=1e-5, rtol=1e-4)


def test_atoms_climb_to_the_peaks_and_bonds_hold_them_back():
    rng = np.random.default_rng(0)
    start = jnp.asarray(PLACES + 0.4 * rng.normal(size=PLACES.shape), jnp.float32)
    strides = np.geomspace(0.05, 1e-3, 200).astype(np.float32)
    free = target_of(bumps(), 4)
    end, energies = jax.jit(descend)(free, start_descent(start), jnp.float32(1.0), strides)
    assert rmsd(end.positions, jnp.asarray(PLACES, jnp.float32)) < 0.15
    assert energies[-1] < energies[0]
    held = target_of(bumps(), 4, pairs=3)
    end, _ = jax.jit(descend)(held, start_descent(start), jnp.float32(1e-3), strides)
    steps = jnp.linalg.norm(jnp.diff(end.positions, axis=0), axis=1)
    np.testing.assert_allclose(steps, 3.0, atol=0.01)


def test_the_first_weight_balances_a_stretched_bond():
    target = target_of(bumps(), 4)
    at, pulled = jnp.asarray(PLACES, jnp.float32), jax.jit(first_pull)
    pull = pulled(jax.random.key(0), target, at, deviation=0.01)
    twice = pulled(jax.random.key(0), target, at, deviation=0.02)
    np.testing.assert_allclose(twice, 2 * pull, rtol=1e-5)
    flat = target._replace(field=bumps(0.0))
    assert jnp.isfinite(pulled(jax.random.key(0), flat, at, deviation=0.01))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31 - 1))
def test_bodies_keep_their_shape(seed):
    rng = np.random.default_rng(seed)
    at = jnp.asarray(rng.normal(size=(8, 3)) * 8 + 40, jnp.float32)
    body = jnp.asarray(np.repeat([0, 1], 4))
    motion = jnp.asarray(3 * rng.normal(size=(2, 6)), jnp.float32)
    moved = moved_by(at, body, motion)
    for number in range(2):
        mine = slice(4 * number, 4 * number + 4)
        assert apart(at[mine], moved[mine]) < 1e-3
        shift = moved[mine].mean(0) - at[mine].mean(0)
        np.testing.assert_allclose(shift, motion[number, 3:], atol=1e-3)
    np.testing.assert_allclose(moved_by(at, body, 0 * motion), at, atol=1e-4)


def test_a_body_finds_its_density():
    turned = moved_by(
        jnp.asarray(PLACES, jnp.float32),
        jnp.zeros(4, int),
        jnp.array([[0.3, -0.4, 0.2, 1.0, -0.8, 0.6]]),
    )
    strides = np.geomspace(0.1, 1e-3, 200).astype(np.float32)
    body = jnp.zeros(4, int)
    end, heights = jax.jit(descend_rigid)(
        bumps(), jnp.ones(4), turned, body, start_rigid(1), strides
    )
    assert rmsd(moved_by(turned, body, end.motion), jnp.asarray(PLACES, jnp.float32)) < 0.2
    assert heights[-1] > heights[0]
