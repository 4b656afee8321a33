import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.geometry.rotations import random_rotations
from cryojax_graph.geometry.torsions import bond_angle, build_chain, dihedral, place_atom

QUADS = jnp.asarray(np.random.default_rng(0).normal(0, 3, (100, 4, 3)), jnp.float32)
all_dihedrals = jax.jit(jax.vmap(lambda p: dihedral(*p)))
all_angles = jax.jit(jax.vmap(lambda p: bond_angle(*p)))
angle_slopes = jax.jit(jax.grad(bond_angle, (0, 1, 2)))
dihedral_slopes = jax.jit(jax.grad(dihedral, (0, 1, 2, 3)))
place = jax.jit(place_atom)
chain_of = jax.jit(build_chain)


def dihedral_by_projection(a, b, c, d):
    """Angle between the two arms seen along the axis, in float64."""
    axis = (c - b) / np.linalg.norm(c - b)
    u, v = (p - (p @ axis) * axis for p in (a - b, d - c))
    return np.arctan2(np.cross(u, v) @ axis, u @ v)


def test_dihedral_agrees_with_its_definition():
    expected = [dihedral_by_projection(*np.asarray(quad, float)) for quad in QUADS]
    np.testing.assert_allclose(all_dihedrals(QUADS), expected, atol=2e-5)


def test_dihedral_has_the_iupac_sign():
    """Looking from the second atom to the third, a clockwise turn is positive."""
    second, third = jnp.zeros(3), jnp.array([0.0, 0.0, 1.5])
    first, fourth = jnp.array([1.0, 0.0, 0.0]), jnp.array([0.0, 1.0, 1.5])
    np.testing.assert_allclose(dihedral(first, second, third, fourth), np.pi / 2, atol=1e-6)


def test_dihedral_changes_sign_in_the_mirror_and_nothing_under_rotation():
    mirrored = QUADS * jnp.array([1.0, 1.0, -1.0])
    np.testing.assert_allclose(all_dihedrals(mirrored), -all_dihedrals(QUADS), atol=1e-5)
    turned = QUADS @ random_rotations(jax.random.key(1), 1)[0].T
    np.testing.assert_allclose(all_dihedrals(turned), all_dihedrals(QUADS), atol=2e-5)


def test_angle_agrees_with_the_arc_cosine():
    p = np.asarray(QUADS[:, :3], float)
    u, v = p[:, 0] - p[:, 1], p[:, 2] - p[:, 1]
    cosine = (u * v).sum(1) / np.linalg.norm(u, axis=1) / np.linalg.norm(v, axis=1)
    np.testing.assert_allclose(all_angles(QUADS[:, :3]), np.arccos(cosine), atol=2e-5)


@pytest.mark.parametrize("x", [-1.0, 0.0, 2.0])
def test_straight_folded_and_coincident_atoms_have_finite_gradients(x):
    a, b, c, d = jnp.array([1.0, 0, 0]), jnp.zeros(3), jnp.array([x, 0, 0]), jnp.array([0, 1.0, 0])
    slopes = (*angle_slopes(a, b, c), *dihedral_slopes(a, b, c, d))
    assert all(jnp.isfinite(slope).all() for slope in slopes)


def test_gradients_agree_with_central_differences(assert_jacobian):
    def everything(flat):
        points, internal = flat[:12].reshape(4, 3), flat[12:]
        chain = build_chain(internal[:3], internal[3:5], internal[5:])
        return jnp.stack([bond_angle(*points[:3]), dihedral(*points), *chain.ravel()])

    internal = [1.4, 1.5, 1.3, 1.9, 1.8, 2.0]
    given = np.array([[*quad.ravel(), *internal] for quad in np.asarray(QUADS[:3])])
    assert_jacobian(everything, given)


def test_placed_atom_has_the_coordinates_it_was_placed_by():
    for torsion in (-3.0, -0.5, 0.0, 1.0, 3.1):
        a, b, c = QUADS[3, :3]
        settings = {"bond": jnp.array(1.5), "angle": jnp.array(1.9), "torsion": jnp.array(torsion)}
        d = place(a, b, c, **settings)
        np.testing.assert_allclose(jnp.linalg.norm(d - c), 1.5, atol=1e-5)
        np.testing.assert_allclose(all_angles(jnp.stack([b, c, d])[None]), 1.9, atol=1e-5)
        np.testing.assert_allclose(all_dihedrals(jnp.stack([a, b, c, d])[None]), torsion, atol=1e-5)


def test_chain_has_the_internal_coordinates_it_was_built_from():
    rng = np.random.default_rng(0)
    bonds, angles = rng.uniform(1.2, 1.6, 59), rng.uniform(1.5, 2.5, 58)
    torsions = rng.uniform(-3.1, 3.1, 57)
    chain = chain_of(*(jnp.asarray(x, jnp.float32) for x in (bonds, angles, torsions)))
    np.testing.assert_allclose(jnp.linalg.norm(jnp.diff(chain, axis=0), axis=1), bonds, atol=1e-5)
    triples = jnp.stack([chain[i : i + 58] for i in range(3)], 1)
    np.testing.assert_allclose(all_angles(triples), angles, atol=1e-4)
    quads = jnp.stack([chain[i : i + 57] for i in range(4)], 1)
    np.testing.assert_allclose(all_dihedrals(quads), torsions, atol=2e-4)


def test_the_shortest_chain_has_three_atoms():
    chain = chain_of(jnp.array([1.5, 1.4]), jnp.array([jnp.pi / 2]), jnp.zeros(0))
    np.testing.assert_allclose(chain, [[0, 0, 0], [1.5, 0, 0], [1.5, 1.4, 0]], atol=1e-6)


def test_fewer_than_three_atoms_are_no_chain():
    with pytest.raises(ValueError, match="1 bonds make no chain of three atoms"):
        build_chain(jnp.ones(1), jnp.zeros(0), jnp.zeros(0))
