"""Vector arithmetic that keeps full float32 and a finite gradient where the plain formula has none.

Matrix products ask for the highest precision, because accelerators otherwise round float32
operands to a shorter mantissa, which costs 1e-3 of a coordinate.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float


def product(
    first: Float[Array, "*batch a b"], second: Float[Array, "*batch b c"]
) -> Float[Array, "*batch a c"]:
    """Matrix product in full precision on every device.

    Args:
        first: left factor.
        second: right factor.

    Returns:
        ``first @ second``.
    """
    return jnp.matmul(first, second, precision="highest")


def length(vector: Float[Array, "*batch n"]) -> Float[Array, "*batch"]:
    """Euclidean length over the last axis, with gradient 0 (not NaN) at the zero vector.

    Args:
        vector: any number of vectors.

    Returns:
        their lengths.
    """
    squared = jnp.sum(vector**2, axis=-1)
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0)


def angle_of(
    sine: Float[Array, "*batch"], cosine: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Angle of a multiple of its sine and cosine; 0 with gradient 0 where both vanish.

    Args:
        sine: any common multiple of the sine.
        cosine: the same multiple of the cosine.

    Returns:
        radians in [-pi, pi].
    """
    defined = (sine != 0) | (cosine != 0)
    return jnp.where(defined, jnp.arctan2(sine, jnp.where(defined, cosine, 1.0)), 0.0)


def axial_vector(matrix: Float[Array, "3 3"]) -> Float[Array, " 3"]:
    """The vector a of a matrix's antisymmetric part, for which (M - M^T) x = a × x.

    Args:
        matrix: any matrix.

    Returns:
        (M21 - M12, M02 - M20, M10 - M01).
    """
    difference = matrix - matrix.T
    return jnp.stack([difference[2, 1], difference[0, 2], difference[1, 0]])


def axis_apart_from(direction: Float[Array, " 3"]) -> Float[Array, " 3"]:
    """The coordinate axis most nearly at right angles to a direction.

    Args:
        direction: any vector.

    Returns:
        one of the three unit vectors of the axes.
    """
    return jnp.eye(3, dtype=direction.dtype)[jnp.argmin(jnp.abs(direction))]
