import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.frames import Frames, apply
from cryojax_graph.geometry.rotations import random_rotations
from cryojax_graph.geometry.superpose import rmsd, superpose, superposed_rmsd

_POINTS, _NOISE = (
    np.random.default_rng(0).normal(size=(2, 30, 3)) * np.array([10, 1])[:, None, None]
)
POINTS, NOISE = jnp.asarray(_POINTS, jnp.float32), jnp.asarray(_NOISE, jnp.float32)
MOTION = Frames(
    jnp.asarray(Rotation.random(random_state=2).as_matrix(), jnp.float32),
    jnp.array([40.0, -7.0, 12.0]),
)
best, distance = jax.jit(superpose), jax.jit(superposed_rmsd)
slopes = jax.jit(jax.grad(superposed_rmsd, (0, 1)))
frame_slopes = jax.jit(jax.jacobian(superpose, (0, 1)))

_LINE = np.linspace(-5, 5, 30)[:, None] * np.array([1.0, 2.0, -1.0])
DEGENERATE = {
    "mirrored": (_POINTS, _POINTS * [1.0, 1.0, -1.0]),
    "planar": (_POINTS * [1.0, 1.0, 0.0], _NOISE * [5.0, 3.0, 0.0]),
    "planar and mirrored": (_POINTS * [1.0, 1.0, 0.0], _POINTS * [-1.0, 1.0, 0.0]),
    "collinear": (_LINE, _LINE[:, [1, 2, 0]]),
    "collinear and reversed": (_LINE, -_LINE),
    "inverted sphere": (np.eye(3)[np.arange(30) % 3], -np.eye(3)[np.arange(30) % 3]),
    "one point": (np.ones((30, 3)), 2 * np.ones((30, 3))),
    "equal": (_POINTS, _POINTS),
}


def kabsch(mobile, target, weights):
    """Kabsch's solution with the determinant fix, in float64."""
    mobile, target, w = (np.asarray(x, float) for x in (mobile, target, weights))
    w = w / w.sum()
    x, y = mobile - w @ mobile, target - w @ target
    u, s, vt = np.linalg.svd((w[:, None] * x).T @ y)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    fix = np.diag([1, 1, np.sign(np.linalg.det(u @ vt))])
    rotation = (u @ fix @ vt).T
    squared = w @ ((x**2).sum(1) + (y**2).sum(1)) - 2 * s.sum()
    return rotation, np.sqrt(max(squared, 0))


def test_undoes_a_rigid_motion():
    frame = best(POINTS, apply(MOTION, POINTS))
    np.testing.assert_allclose(frame.rotation, MOTION.rotation, atol=2e-6)
    np.testing.assert_allclose(frame.translation, MOTION.translation, atol=2e-5)


@pytest.mark.parametrize("noise", [0.0, 0.5, 20.0])
def test_agrees_with_kabsch_in_float64(noise):
    target = apply(MOTION, POINTS) + noise * NOISE
    weights = jnp.arange(30.0)
    rotation, expected = kabsch(POINTS, target, weights)
    np.testing.assert_allclose(best(POINTS, target, weights).rotation, rotation, atol=5e-6)
    np.testing.assert_allclose(distance(POINTS, target, weights), expected, atol=2e-5)


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_input_gives_the_best_proper_rotation_and_finite_gradients(name):
    mobile, target = (jnp.asarray(points, jnp.float32) for points in DEGENERATE[name])
    frame = best(mobile, target)
    rotation = np.asarray(frame.rotation)
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=2e-6)
    assert np.linalg.det(rotation) > 0.999
    _, expected = kabsch(mobile, target, np.ones(30))
    np.testing.assert_allclose(distance(mobile, target), expected, atol=1e-4)
    for slope in jax.tree.leaves((frame_slopes(mobile, target), slopes(mobile, target))):
        assert np.isfinite(slope).all()


@given(st.integers(0, 10_000))
@settings(max_examples=20, deadline=None)
def test_no_random_motion_brings_the_points_closer(seed):
    trial = Frames(random_rotations(jax.random.key(seed), 1)[0], jnp.zeros(3))
    target = POINTS + 5 * NOISE
    moved = apply(trial, POINTS - POINTS.mean(0)) + target.mean(0)
    assert rmsd(moved, target) >= distance(POINTS, target) - 1e-4


def test_gradients_agree_with_central_differences(assert_jacobian):
    rng = np.random.default_rng(3)
    mobile, weights = rng.normal(0, 10, (6, 3)), np.linspace(1, 2, 6)
    given = np.concatenate([mobile.ravel(), (mobile + rng.normal(size=(6, 3))).ravel(), weights])

    def unpack(v):
        return v[:18].reshape(6, 3), v[18:36].reshape(6, 3), v[36:]

    def everything(v):
        frame, left = superpose(*unpack(v)), superposed_rmsd(*unpack(v))
        return jnp.concatenate([frame.rotation.ravel(), frame.translation, left[None]])

    assert_jacobian(everything, given[None])


def test_points_of_no_weight_have_no_say():
    target = apply(MOTION, POINTS).at[20:].add(100 * NOISE[20:])
    weights = jnp.where(jnp.arange(30) < 20, 2.0, 0.0)
    np.testing.assert_allclose(best(POINTS, target, weights).rotation, MOTION.rotation, atol=5e-6)
    assert distance(POINTS, target, weights) < 1e-4


def test_many_at_once():
    targets = jnp.stack([POINTS, apply(MOTION, POINTS), POINTS + NOISE])
    together = jax.jit(jax.vmap(superposed_rmsd, (None, 0)))(POINTS, targets)
    np.testing.assert_allclose(together, [distance(POINTS, t) for t in targets], atol=2e-5)


def test_rmsd_of_a_shift_is_its_length_and_of_itself_zero():
    assert abs(float(rmsd(POINTS, POINTS + jnp.array([2.0, 3.0, 6.0]))) - 7) < 1e-5
    assert rmsd(POINTS, POINTS) == 0
    assert not jax.grad(rmsd)(POINTS, POINTS).any()


def test_all_weights_zero_is_finite():
    assert jnp.isfinite(distance(POINTS, POINTS + NOISE, jnp.zeros(30)))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_superposed_in_single_precision(dtype):
    one, other = POINTS.astype(dtype), apply(MOTION, POINTS).astype(dtype)
    frame = superpose(one, other)
    assert frame.rotation.dtype == frame.translation.dtype == dtype
    expected = superpose(one.astype(jnp.float32), other.astype(jnp.float32))
    for half, single in zip(frame, expected, strict=True):
        np.testing.assert_array_equal(half, single.astype(dtype))
    weighted = superpose(one, other, jnp.ones(len(one), dtype))
    np.testing.assert_allclose(weighted.rotation.astype(float), MOTION.rotation, atol=0.02)


@pytest.mark.parametrize("function", [superpose, rmsd, superposed_rmsd])
def test_no_points_are_refused(function):
    with pytest.raises(ValueError, match="there are no points"):
        function(jnp.zeros((0, 3)), jnp.zeros((0, 3)))
