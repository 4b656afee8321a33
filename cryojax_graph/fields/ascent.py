"""From points of a field uphill to its maxima."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cryojax_graph.fields.query import Expansion, Field
from cryojax_graph.forward.batched import map_batches

_POINTS = 1024
# Least curvature of a step, as a share of the largest one there.
_SOFTEST = 0.05


class Summit(NamedTuple):
    """Where an ascent ended.

    Attributes:
        position: (x, y, z) in Å.
        field: its expansion there.
        arrived: a whole Newton step from there would be shorter than the tolerance, and the field
            curves down all round.
    """

    position: Float[Array, "*n 3"]
    field: Expansion
    arrived: Bool[Array, "*n"]


def climb(
    field: Field,
    starts: Float[Array, "n 3"],
    *,
    longest: float | Array,
    steps: int | Array = 40,
    tolerance: float = 1e-3,
) -> Summit:
    """Climb from many points to maxima, by Newton steps that never go down.

    Where the field curves up, or hardly down, curvature is added until the step leads uphill; a
    step that would lose height is halved instead of taken (trust region; Nocedal and Wright,
    Numerical Optimization, chapter 4). Where halves become shorter than the tolerance because
    height is lost at every step, as at a face beyond which the field is 0, there is no summit.

    Args:
        field: any that is twice differentiable.
        starts: (x, y, z) in Å.
        longest: length of a step at most, Å.
        steps: at most.
        tolerance: length of a step that ends the ascent, Å.

    Returns:
        one end for each start.
    """

    some = partial(_climb, field, longest=longest, steps=steps, tolerance=tolerance)
    return map_batches(some, starts, chunk=_POINTS)


class _Climbers(NamedTuple):
    position: Array
    here: Expansion
    radius: Array
    length: Array


def _climb(
    field: Field,
    starts: Float[Array, "n 3"],
    *,
    longest: float | Array,
    steps: int | Array,
    tolerance: float,
) -> Summit:
    def under_way(state: tuple[_Climbers, Array]) -> Array:
        climbers, taken = state
        return jnp.any(climbers.length > tolerance) & (taken < steps)

    def go_on(state: tuple[_Climbers, Array]) -> tuple[_Climbers, Array]:
        climbers, taken = state
        step = jax.vmap(uphill_step)(
            climbers.here.gradient, climbers.here.hessian, longest=climbers.radius
        )
        length = jnp.sqrt(jnp.sum(step**2, axis=1))
        there = field.expansions(climbers.position + step)
        moves = climbers.length > tolerance
        # Near the top rounding may lower a value that does not change any more.
        slack = 1e-6 * jnp.abs(climbers.here.value)
        rises = moves & (there.value >= climbers.here.value - slack)

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(rises.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        onward = _Climbers(
            chosen(climbers.position + step, climbers.position),
            jax.tree.map(chosen, there, climbers.here),
            jnp.where(rises, jnp.minimum(2.0 * climbers.radius, longest), 0.5 * length),
            jnp.where(moves, length, climbers.length),
        )
        return onward, taken + 1

    far = jnp.full(len(starts), jnp.inf, starts.dtype)
    radius = jnp.full(len(starts), longest, starts.dtype)
    first = _Climbers(starts, field.expansions(starts), radius, far)
    end, _ = jax.lax.while_loop(under_way, go_on, (first, jnp.int32(0)))
    top = jax.vmap(symmetric_eigenvalues)(end.here.hessian)[:, 2] < 0
    whole = jax.vmap(partial(uphill_step, longest=longest))(end.here.gradient, end.here.hessian)
    rests = jnp.sum(whole**2, axis=1) <= tolerance**2
    return Summit(end.position, end.here, rests & top)


def uphill_step(
    gradient: Float[Array, "3"], hessian: Float[Array, "3 3"], *, longest: float | Array
) -> Float[Array, "3"]:
    """Newton step towards a maximum, its curvature made negative and its length limited.

    Args:
        gradient: of the field, per Å.
        hessian: of the field, per Å².
        longest: length at most, Å.

    Returns:
        the step, Å; 0 where the gradient is 0.
    """
    lowest, _, highest = symmetric_eigenvalues(hessian)
    strongest = jnp.maximum(jnp.abs(lowest), jnp.abs(highest))
    unit = jnp.where(strongest > 0, strongest, 1.0)
    added = jnp.maximum(highest / unit + _SOFTEST, 0.0) + 1e-6
    step = solve_symmetric(added * jnp.eye(3) - hessian / unit, gradient / unit)
    square = jnp.sum(step**2)
    return step * jnp.minimum(1.0, longest / jnp.sqrt(jnp.where(square > 0, square, 1.0)))


def symmetric_eigenvalues(matrix: Float[Array, "3 3"]) -> Float[Array, "3"]:
    """Eigenvalues of a symmetric matrix in ascending order, without iteration.

    Trigonometric solution of the characteristic cubic (Smith 1961, Communications of the ACM
    4:168); compiled for many matrices at once it is far faster than a general solver.

    Args:
        matrix: symmetric.

    Returns:
        three eigenvalues, in the unit of the matrix.
    """
    largest = jnp.max(jnp.abs(matrix))
    matrix = matrix / jnp.where(largest > 0, largest, 1.0)
    mean = jnp.trace(matrix) / 3.0
    centred = matrix - mean * jnp.eye(3)
    spread = jnp.sqrt(jnp.maximum(jnp.sum(centred**2) / 6.0, 1e-30))
    unit = centred / spread
    cosine = jnp.clip(_determinant(unit) / 2.0, -1.0, 1.0)
    angle = jnp.arccos(cosine) / 3.0
    turns = jnp.array([2.0, -2.0, 0.0]) * jnp.pi / 3.0
    return largest * (mean + 2.0 * spread * jnp.cos(angle + turns))


def solve_symmetric(matrix: Float[Array, "3 3"], vector: Float[Array, "3"]) -> Float[Array, "3"]:
    """Solution of a linear system of three equations by cofactors.

    Args:
        matrix: symmetric, not singular.
        vector: right-hand side.

    Returns:
        the solution.
    """
    a, b, c = matrix
    cofactors = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)])
    return jnp.matmul(cofactors, vector, precision="highest") / _determinant(matrix)


def _determinant(matrix: Float[Array, "3 3"]) -> Float[Array, ""]:
    a, b, c = matrix
    return jnp.dot(a, jnp.cross(b, c), precision="highest")
