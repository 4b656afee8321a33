"""Many atoms to image: compact groups of Gaussians, each drawn in a small window.

A Gaussian of 1-2 Å is nil a few Å away, so drawing each one on every pixel wastes nearly all the work.
Neighbouring atoms of the template form a group; the group is drawn as a product of two small
matrices in a window that follows it over the image.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.grouping import GroupPlan
from cryojax_graph.forward.profiles import amplitude, derivative_scales, differentiate, profile


class _Raster(NamedTuple):
    """What is fixed while an image is drawn; hashable."""

    box: int
    window: int
    integrate: bool


def project_groups(
    centres: Float[Array, "n 2"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    plan: GroupPlan,
    *,
    box: int,
    pixel_size: Scalar,
    integrate: bool = False,
) -> Float[Array, "box box"]:
    """Image of a sum of isotropic Gaussians, each drawn near its group only.

    Equal to ``project_gaussians`` but for what falls outside the windows; ``lost_mass`` says how
    much that is. Derivatives are reverse mode only.

    Args:
        centres: (x, y) in Å from the box centre.
        masses: integral of each Gaussian, electrons for instance.
        widths: standard deviations, Å.
        plan: groups of the same points, from ``plan_groups``.
        box: edge of the image in pixels.
        pixel_size: Å.
        integrate: mean over each pixel instead of the value at its centre.

    Returns:
        density in mass per Å², shape (box, box), ``[y, x]``.
    """
    raster = _Raster(box, min(plan.window, box), integrate)
    pixel_size = jnp.asarray(pixel_size, jnp.float32)
    heights = amplitude(masses, widths, pixel_size, integrate)[plan.members] * plan.occupied
    grouped = _gather(centres, plan.members, plan.places)
    return _draw(raster, grouped, heights, widths[plan.members], pixel_size)


def lost_mass(
    centres: Float[Array, "n 2"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    plan: GroupPlan,
    *,
    box: int,
    pixel_size: Scalar,
) -> Float[Array, ""]:
    """Share of the mass that ``project_groups`` leaves out because a group outgrew its window.

    Args:
        centres: (x, y) in Å from the box centre.
        masses: integral of each Gaussian.
        widths: standard deviations, Å.
        plan: groups of the same points.
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        in [0, 1]; mass outside the box itself, which no projection shows, does not count.
    """
    window = min(plan.window, box)
    pixel_size = jnp.asarray(pixel_size, jnp.float32)
    grouped = centres[plan.members]
    first = _window_starts(grouped, pixel_size, box, window)
    low = jnp.where(first == 0, -jnp.inf, (first - box // 2 - 0.5) * pixel_size)[:, None]
    last = first + window
    high = jnp.where(last == box, jnp.inf, (last - box // 2 - 0.5) * pixel_size)[:, None]
    steepness = jnp.sqrt(0.5) / widths[plan.members][..., None]
    inside = 0.5 * (erf((high - grouped) * steepness) - erf((low - grouped) * steepness))
    mass = jnp.abs(masses[plan.members]) * plan.occupied
    total = jnp.sum(mass)
    return jnp.sum(mass * (1.0 - inside[..., 0] * inside[..., 1])) / jnp.where(total > 0, total, 1.0)


@jax.custom_vjp
def _gather(
    values: Float[Array, "n 2"], members: Int[Array, "g m"], places: Int[Array, " n"]
) -> Float[Array, "g m 2"]:
    """Points of each group; its transpose is a gather too, where autodiff would scatter."""
    del places
    return values[members]


def _gather_forward(values, members, places):  # noqa: ANN001, ANN202
    return values[members], places


def _gather_backward(places, cotangent):  # noqa: ANN001, ANN202
    return cotangent.reshape(-1, cotangent.shape[-1])[places], None, None


_gather.defvjp(_gather_forward, _gather_backward)


def _window_starts(
    centres: Float[Array, "g m 2"], pixel_size: Float[Array, ""], box: int, window: int
) -> Int[Array, "g 2"]:
    """First pixel (x, y) of the window of each group, inside the box."""
    middle = 0.5 * (jnp.min(centres, axis=1) + jnp.max(centres, axis=1)) / pixel_size
    first = jnp.round(middle).astype(jnp.int32) + (box // 2 - window // 2)
    return jnp.clip(first, 0, box - window)


class _Axes(NamedTuple):
    """Arrays of pixels against points, in the layouts that multiply without a transposition."""

    y: Float[Array, "g w m"]
    x: Float[Array, "g m w"]


def _profile_arguments(raster, centres, widths, pixel_size, starts):  # noqa: ANN001, ANN202
    pixels = (starts[..., None] + (jnp.arange(raster.window) - raster.box // 2)) * pixel_size
    along_y = centres[:, None, :, 1], widths[:, None, :], pixels[:, 1, :, None]
    along_x = centres[:, :, None, 0], widths[:, :, None], pixels[:, 0, None, :]
    return tuple((*axis, pixel_size, raster.integrate) for axis in (along_y, along_x))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _draw(raster, centres, heights, widths, pixel_size):  # noqa: ANN001, ANN202
    return _draw_forward(raster, centres, heights, widths, pixel_size)[0]


def _draw_forward(raster, centres, heights, widths, pixel_size):  # noqa: ANN001, ANN202
    starts = _window_starts(centres, pixel_size, raster.box, raster.window)
    along_y, along_x = _profile_arguments(raster, centres, widths, pixel_size, starts)
    profiles = _Axes(profile(*along_y), profile(*along_x))
    drawn = jnp.einsum("gym,gmx->gyx", profiles.y * heights[:, None, :], profiles.x)
    image = _add_windows(drawn, starts, raster.box)
    return image, (centres, heights, widths, pixel_size, profiles)


def _draw_backward(raster, residuals, cotangent):  # noqa: ANN001, ANN202
    centres, heights, widths, pixel_size, profiles = residuals
    starts = _window_starts(centres, pixel_size, raster.box, raster.window)
    along_y, along_x = _profile_arguments(raster, centres, widths, pixel_size, starts)
    slopes = _Axes(differentiate(profiles.y, *along_y), differentiate(profiles.x, *along_x))
    scales = derivative_scales(widths, raster.integrate)
    # Windows times profiles along x, to be contracted with profiles along y: the other order would
    # need a transposition.
    rows = partial(jnp.einsum, "gyx,gmx->gym", _cut_windows(cotangent, starts, raster.window))
    sum_y = partial(jnp.sum, axis=1)
    to_x = sum_y(rows(slopes.x.by_centre) * profiles.y) * heights * scales.by_centre
    to_y = sum_y(rows(profiles.x) * slopes.y.by_centre) * heights * scales.by_centre
    to_heights = sum_y(rows(profiles.x) * profiles.y)
    spread = rows(profiles.x) * slopes.y.by_width + rows(slopes.x.by_width) * profiles.y
    to_widths = sum_y(spread) * heights * scales.by_width
    return jnp.stack([to_x, to_y], axis=-1), to_heights, to_widths, jnp.zeros_like(pixel_size)


_draw.defvjp(_draw_forward, _draw_backward)


def _add_windows(
    drawn: Float[Array, "g w w"], starts: Int[Array, "g 2"], box: int
) -> Float[Array, "box box"]:
    dimensions = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(1, 0)
    )
    empty = jnp.zeros((box, box), drawn.dtype)
    return jax.lax.scatter_add(empty, starts, drawn, dimensions, mode="promise_in_bounds")


def _cut_windows(
    image: Float[Array, "box box"], starts: Int[Array, "g 2"], window: int
) -> Float[Array, "g w w"]:
    cut = partial(jax.lax.dynamic_slice, image, slice_sizes=(window, window))
    return jax.vmap(lambda start: cut((start[1], start[0])))(starts)
