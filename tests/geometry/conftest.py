from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.fixture
def assert_jacobian() -> Callable:
    """Compares a Jacobian with central differences, in float64, at each row of points."""

    def check(
        function: Callable, points: np.ndarray, step: float = 1e-6, atol: float = 1e-6
    ) -> None:
        with jax.enable_x64(True):
            points = jnp.asarray(np.asarray(points, float))
            moved = step * np.eye(points.shape[1])
            values = jax.jit(jax.vmap(jax.vmap(function)))
            difference = values(points[:, None] + moved) - values(points[:, None] - moved)
            expected = np.moveaxis(np.asarray(difference) / (2 * step), 1, -1)
            jacobian = jax.jit(jax.vmap(jax.jacrev(function)))(points)
            np.testing.assert_allclose(jacobian, expected, atol=1e-6, rtol=1e-5)

    return check
