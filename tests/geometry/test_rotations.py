import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import expm
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.rotations import (
    euler_degrees_from_matrix,
    exp_map,
    geodesic_distance,
    karcher_mean,
    log_map,
    matrix_from_6d,
    matrix_from_euler_degrees,
    matrix_from_quaternion,
    matrix_from_two_vectors,
    quaternion_from_matrix,
    random_rotations,
    six_d_from_matrix,
)

draw = jax.jit(random_rotations, static_argnums=1)
RANDOM = draw(jax.random.key(0), 200)
AXES = np.concatenate([np.eye(3), np.random.default_rng(0).normal(size=(5, 3))])
AXES /= np.linalg.norm(AXES, axis=1, keepdims=True)
all_exp, all_log = jax.jit(jax.vmap(exp_map)), jax.jit(jax.vmap(log_map))
all_distances = jax.jit(jax.vmap(geodesic_distance))
to_euler = jax.jit(jax.vmap(euler_degrees_from_matrix))
from_euler = jax.jit(jax.vmap(matrix_from_euler_degrees))
to_quaternion = jax.jit(jax.vmap(quaternion_from_matrix))
from_quaternion = jax.jit(jax.vmap(matrix_from_quaternion))
mean_of = jax.jit(karcher_mean)
from_vectors = jax.jit(matrix_from_two_vectors)
from_vectors_slopes = jax.jit(jax.jacobian(matrix_from_two_vectors, (0, 1)))


def cross_matrix(v: np.ndarray) -> np.ndarray:
    return np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])


def relion_matrix(rot: float, tilt: float, psi: float) -> np.ndarray:
    """R = Rz(psi) Ry(tilt) Rz(rot) from the three factors, in RELION's sign."""

    def about_z(degrees: float) -> np.ndarray:
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])

    c, s = np.cos(np.radians(tilt)), np.sin(np.radians(tilt))
    about_y = np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])
    return about_z(psi) @ about_y @ about_z(rot)


def assert_rotations(matrices: jax.Array, atol: float = 2e-6) -> None:
    matrices = np.asarray(matrices, float)
    np.testing.assert_allclose(
        matrices @ matrices.swapaxes(-1, -2), np.broadcast_to(np.eye(3), matrices.shape), atol=atol
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, atol=atol)


def test_quaternion_to_matrix_agrees_with_scipy():
    quaternions = jax.random.normal(jax.random.key(1), (100, 4))
    expected = Rotation.from_quat(np.asarray(quaternions), scalar_first=True).as_matrix()
    np.testing.assert_allclose(from_quaternion(quaternions), expected, atol=1e-6)


def test_zero_quaternion_is_the_identity_with_a_finite_gradient():
    np.testing.assert_array_equal(matrix_from_quaternion(jnp.zeros(4)), np.eye(3))
    assert jnp.isfinite(jax.jit(jax.jacobian(matrix_from_quaternion))(jnp.zeros(4))).all()


def test_matrix_to_quaternion_agrees_with_scipy():
    expected = Rotation.from_matrix(np.asarray(RANDOM, float)).as_quat(
        canonical=True, scalar_first=True
    )
    np.testing.assert_allclose(to_quaternion(RANDOM), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [np.pi, np.pi - 1e-4, np.pi - 1e-2])
def test_half_turns_keep_every_digit_of_the_quaternion(angle):
    matrices = np.array([expm(angle * cross_matrix(axis)) for axis in AXES])
    quaternions = np.asarray(to_quaternion(jnp.asarray(matrices, jnp.float32)))
    expected = np.concatenate([np.full((8, 1), np.cos(angle / 2)), np.sin(angle / 2) * AXES], 1)
    sign = np.sign((quaternions * expected).sum(1, keepdims=True))
    np.testing.assert_allclose(sign * quaternions, expected, atol=5e-7)


def test_euler_angles_are_the_product_of_relions_three_rotations():
    angles = np.random.default_rng(1).uniform([-180, 0, -180], [180, 180, 180], (100, 3))
    expected = np.array([relion_matrix(*row) for row in angles])
    np.testing.assert_allclose(from_euler(jnp.asarray(angles, jnp.float32)), expected, atol=1e-6)


def test_euler_angles_survive_the_round_trip():
    angles = np.random.default_rng(2).uniform([-179, 1, -179], [179, 179, 179], (100, 3))
    angles = jnp.asarray(angles, jnp.float32)
    np.testing.assert_allclose(to_euler(from_euler(angles)), angles, atol=2e-3)


@pytest.mark.parametrize("tilt", [0.0, 1e-6, 1e-4, 1e-2, 179.99, 180.0])
def test_gimbal_lock_gives_the_same_matrix_back(tilt):
    angles = jnp.array([[30.0, tilt, -50.0], [170.0, tilt, 160.0]])
    again = to_euler(from_euler(angles))
    np.testing.assert_allclose(from_euler(again), from_euler(angles), atol=1e-6)
    assert (again[:, 1] >= 0).all()
    assert (again[:, 1] <= 180).all()


def test_gradient_of_euler_angles_is_finite_at_gimbal_lock():
    matrices = from_euler(jnp.array([[0.0, 0.0, 0.0], [0.0, 180.0, 0.0]]))
    assert jnp.isfinite(jax.jit(jax.vmap(jax.jacobian(euler_degrees_from_matrix)))(matrices)).all()


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.09, 0.11, 1.0, 3.0, np.pi, 5.0])
def test_exponential_agrees_with_the_matrix_exponential(angle):
    expected = [expm(angle * cross_matrix(axis)) for axis in AXES]
    np.testing.assert_allclose(all_exp(jnp.asarray(angle * AXES, jnp.float32)), expected, atol=1e-6)


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 0.019, 0.021, 1.0, 3.0, np.pi - 1e-3])
def test_logarithm_inverts_the_exponential(angle):
    vectors = jnp.asarray(angle * AXES, jnp.float32)
    np.testing.assert_allclose(all_log(all_exp(vectors)), vectors, atol=2e-6)


def test_logarithm_of_a_half_turn_is_a_half_turn():
    half_turns = np.array([expm(np.pi * cross_matrix(axis)) for axis in AXES])
    logs = all_log(jnp.asarray(half_turns, jnp.float32))
    np.testing.assert_allclose(np.linalg.norm(logs, axis=1), np.pi, atol=1e-6)
    np.testing.assert_allclose(all_exp(logs), half_turns, atol=2e-6)


def test_derivatives_of_the_maps_agree_with_central_differences(assert_jacobian):
    vectors = np.outer([0.0, 1e-3, 0.05, 0.0999, 0.1001, 0.8, 3.0], AXES[4])

    def everything(v):
        matrix = exp_map(v)
        return jnp.concatenate([matrix.ravel(), log_map(matrix), jax.jacfwd(exp_map)(v).ravel()])

    assert_jacobian(everything, vectors)


def test_derivatives_at_identity_and_half_turn_are_finite():
    vectors = jnp.array([[0.0, 0.0, 0.0], [jnp.pi, 0.0, 0.0]])
    assert jnp.isfinite(jax.jit(jax.vmap(jax.jacobian(log_map)))(all_exp(vectors))).all()
    distance = jax.jit(jax.vmap(jax.grad(lambda v: geodesic_distance(jnp.eye(3), exp_map(v)))))
    assert jnp.isfinite(distance(vectors)).all()
    near = jnp.array([[0.3, -0.1, 0.2]])
    np.testing.assert_allclose(distance(near), near / jnp.linalg.norm(near), atol=1e-5)


def test_six_numbers_survive_the_round_trip_and_scaling():
    scale = jnp.array([2.0, 2.0, 2.0, 0.5, 0.5, 0.5])
    again = jax.jit(jax.vmap(lambda matrix: matrix_from_6d(scale * six_d_from_matrix(matrix))))
    np.testing.assert_allclose(again(RANDOM), RANDOM, atol=1e-6)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([0, 0, 0], [0, 0, 0]),
        ([1, 2, 3], [2, 4, 6]),
        ([1, 2, 3], [0, 0, 0]),
        ([0, 0, 0], [0, 0, 1]),
    ],
)
def test_degenerate_vectors_still_give_a_rotation_and_a_finite_gradient(first, second):
    first, second = jnp.asarray(first, jnp.float32), jnp.asarray(second, jnp.float32)
    assert_rotations(from_vectors(first, second))
    for jacobian in from_vectors_slopes(first, second):
        assert jnp.isfinite(jacobian).all()


@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-4, 0.5, 3.0, np.pi - 1e-4, np.pi])
def test_geodesic_distance_is_the_angle(angle):
    turns = np.array([expm(angle * cross_matrix(axis)) for axis in AXES])
    starts = np.asarray(RANDOM[: len(AXES)], float)
    distances = all_distances(
        jnp.asarray(starts, jnp.float32), jnp.asarray(starts @ turns, jnp.float32)
    )
    np.testing.assert_allclose(distances, angle, atol=2e-6)


def test_random_rotations_are_uniform():
    rotations = np.asarray(draw(jax.random.key(3), 20_000))
    assert_rotations(rotations[:100])
    angles = np.arccos((np.trace(rotations, axis1=1, axis2=2) - 1).clip(-2, 2) / 2)
    # Under the uniform measure the angle has density (1 - cos) / pi, whose mean is pi / 2 + 2 / pi.
    assert abs(float(angles.mean()) - (np.pi / 2 + 2 / np.pi)) < 0.02
    assert abs(rotations.mean(0)).max() < 0.02


def test_karcher_mean_of_two_is_the_point_that_divides_the_geodesic():
    first, turn = np.asarray(RANDOM[0], float), cross_matrix(np.array([0.9, -0.4, 1.1]))
    pair = jnp.asarray(np.stack([first, first @ expm(turn)]), jnp.float32)
    mean = mean_of(pair, jnp.array([3.0, 1.0]))
    np.testing.assert_allclose(mean, first @ expm(turn / 4), atol=2e-6)


def test_karcher_mean_zeroes_the_weighted_logarithms_and_moves_with_the_frame():
    spread = Rotation.from_rotvec(0.4 * np.random.default_rng(4).normal(size=(12, 3))).as_matrix()
    first, second = np.asarray(RANDOM[1:3], float)
    weights = np.arange(12.0)
    mean = mean_of(jnp.asarray(first @ spread, jnp.float32), jnp.asarray(weights, jnp.float32))
    logs = Rotation.from_matrix(np.asarray(mean, float).T @ first @ spread).as_rotvec()
    np.testing.assert_allclose(weights @ logs / weights.sum(), 0, atol=1e-6)
    turned = jnp.asarray(second @ first @ spread, jnp.float32)
    moved = mean_of(turned, jnp.asarray(weights, jnp.float32))
    np.testing.assert_allclose(moved, second @ np.asarray(mean, float), atol=3e-6)


def test_karcher_mean_of_equal_rotations_has_a_finite_gradient():
    same = jnp.asarray(np.broadcast_to(RANDOM[5], (12, 3, 3)))
    np.testing.assert_allclose(mean_of(same, jnp.ones(12)), RANDOM[5], atol=2e-6)
    corner = jax.jit(jax.grad(lambda *given: karcher_mean(*given, steps=2)[0, 1], (0, 1)))
    gradients = corner(same, jnp.ones(12))
    assert all(jnp.isfinite(g).all() for g in gradients)


def test_float32_stays_float32():
    assert to_euler(RANDOM).dtype == from_euler(jnp.ones((1, 3))).dtype == jnp.float32
    assert all_exp(all_log(RANDOM)).dtype == mean_of(RANDOM[:12], jnp.ones(12)).dtype == jnp.float32


def test_karcher_mean_of_nothing():
    assert jnp.isnan(karcher_mean(jnp.eye(3)[None], jnp.zeros(1))).all()
    with pytest.raises(ValueError, match="there are no rotations"):
        karcher_mean(jnp.zeros((0, 3, 3)), jnp.zeros(0))
