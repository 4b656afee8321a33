import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.frames import Frames, apply, compose, frames_from_three_points, invert

RNG = np.random.default_rng(0)
ROTATIONS = Rotation.random(2, random_state=0).as_matrix()
SHIFTS = 10 * RNG.normal(size=(2, 3))
A, B = (
    Frames(jnp.asarray(rotation, jnp.float32), jnp.asarray(shift, jnp.float32))
    for rotation, shift in zip(ROTATIONS, SHIFTS, strict=True)
)
POINTS = jnp.asarray(20 * RNG.normal(size=(4, 5, 3)), jnp.float32)


def test_apply_is_rotation_then_translation():
    expected = np.einsum("ij,abj->abi", np.asarray(A.rotation, float), np.asarray(POINTS, float))
    np.testing.assert_allclose(apply(A, POINTS), expected + np.asarray(A.translation), atol=1e-5)


def test_composition_applies_the_inner_frame_first():
    np.testing.assert_allclose(apply(compose(A, B), POINTS), apply(A, apply(B, POINTS)), atol=2e-5)


def test_inverse_undoes_the_frame_on_either_side():
    for frame in (compose(A, invert(A)), compose(invert(A), A)):
        np.testing.assert_allclose(frame.rotation, np.eye(3), atol=1e-6)
        np.testing.assert_allclose(frame.translation, 0, atol=1e-5)


def test_backbone_frame_puts_carbon_on_x_and_nitrogen_in_the_upper_plane():
    nitrogen, alpha, carbon = POINTS[0, :3]
    local = apply(invert(frames_from_three_points(nitrogen, alpha, carbon)), POINTS[0, :3])
    np.testing.assert_allclose(local[1], 0, atol=1e-5)
    np.testing.assert_allclose(local[2], [jnp.linalg.norm(carbon - alpha), 0, 0], atol=2e-5)
    assert local[0, 1] > 0
    assert abs(local[0, 2]) < 1e-5


def test_collinear_atoms_give_a_proper_frame_with_finite_gradient():
    line = [jnp.array([x, 0.0, 0.0]) for x in (-1.0, 0.0, 1.5)]
    frame = frames_from_three_points(*line)
    np.testing.assert_allclose(frame.rotation @ frame.rotation.T, np.eye(3), atol=1e-6)
    assert jnp.linalg.det(frame.rotation) > 0
    gradients = jax.jit(jax.jacobian(frames_from_three_points, (0, 1, 2)))(*line).rotation
    assert all(jnp.isfinite(g).all() for g in gradients)
