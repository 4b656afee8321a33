"""Many atoms to image: compact groups of Gaussians, each drawn in a small window.

A Gaussian of 1-2 Å is nil a few Å away, so drawing each one on every pixel wastes nearly all the
work. Neighbouring atoms of the template form a group; the group is drawn as a product of two small
matrices in a window that follows it over the image.
"""

from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.grouping import GroupPlan
from cryojax_graph.forward.profiles import amplitude, differentiate, profile, slope_scales

Centres: TypeAlias = Float[Array, "g m 2"]
Points: TypeAlias = Float[Array, "g m"]
Image: TypeAlias = Float[Array, "box box"]
Starts: TypeAlias = Int[Array, "g 2"]


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
    pixel_size = jnp.asarray(pixel_size, centres.dtype)
    centres, widths = centres / pixel_size, widths / pixel_size
    heights = amplitude(masses, widths, integrate=integrate) / pixel_size**2
    return _draw(
        _Raster(box, min(plan.window, box), integrate),
        _gather(centres, plan.members, plan.places),
        heights[plan.members] * plan.occupied,
        widths[plan.members],
    )


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
    pixel_size = jnp.asarray(pixel_size, centres.dtype)
    grouped = (centres / pixel_size)[plan.members]
    first = _window_starts(grouped, box, window)
    low = jnp.where(first == 0, -jnp.inf, first - box // 2 - 0.5)[:, None]
    high = jnp.where(first + window == box, jnp.inf, first + window - box // 2 - 0.5)[:, None]
    steepness = (jnp.sqrt(0.5) * pixel_size / widths)[plan.members][..., None]
    inside = 0.5 * (erf((high - grouped) * steepness) - erf((low - grouped) * steepness))
    mass = jnp.abs(masses[plan.members]) * plan.occupied
    total = jnp.sum(mass)
    lost = jnp.sum(mass * (1.0 - inside[..., 0] * inside[..., 1]))
    return lost / jnp.where(total > 0, total, 1.0)


# Accelerators would otherwise round the factors to 10 bits or fewer.
_multiply = partial(jnp.einsum, precision=jax.lax.Precision.HIGHEST)


class _Raster(NamedTuple):
    """Pixels of the image and of a window, and how a pixel sees a Gaussian."""

    box: int
    window: int
    integrate: bool


@jax.custom_vjp
def _gather(
    values: Float[Array, "n 2"], members: Int[Array, "g m"], places: Int[Array, " n"]
) -> Centres:
    """Points of each group. The transpose is a gather too, where autodiff would scatter."""
    del places
    return values[members]


def _gather_forward(
    values: Float[Array, "n 2"], members: Int[Array, "g m"], places: Int[Array, " n"]
) -> tuple[Centres, Int[Array, " n"]]:
    return values[members], places


def _gather_backward(
    places: Int[Array, " n"], cotangent: Centres
) -> tuple[Float[Array, "n 2"], None, None]:
    # Unoccupied places have no height, hence no derivative: leaving them out changes nothing.
    return cotangent.reshape(-1, 2)[places], None, None


_gather.defvjp(_gather_forward, _gather_backward)


def _window_starts(centres: Centres, box: int, window: int) -> Starts:
    """First pixel (x, y) of the window of each group, inside the box."""
    middle = 0.5 * (jnp.min(centres, axis=1) + jnp.max(centres, axis=1))
    first = jnp.round(middle).astype(jnp.int32) + (box // 2 - window // 2)
    return jnp.clip(first, 0, box - window)


class _Axes(NamedTuple):
    """What belongs to the y axis, pixels before points, and to x, points before pixels.

    In these layouts the two matrices of a group multiply without a transposition.
    """

    y: Float[Array, "g w m"]
    x: Float[Array, "g m w"]


def _profile_arguments(
    raster: _Raster, centres: Centres, widths: Points, starts: Starts
) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Centres, widths and pixels of both axes, to broadcast in the layouts of ``_Axes``."""
    pixels = (starts[..., None] + (jnp.arange(raster.window) - raster.box // 2)).astype(
        centres.dtype
    )
    return (
        (centres[:, None, :, 1], widths[:, None, :], pixels[:, 1, :, None]),
        (centres[:, :, None, 0], widths[:, :, None], pixels[:, 0, None, :]),
    )


_Residuals: TypeAlias = tuple[Centres, Points, Points, _Axes]


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _draw(raster: _Raster, centres: Centres, heights: Points, widths: Points) -> Image:
    """Image of groups of Gaussians, lengths in pixels."""
    return _draw_forward(raster, centres, heights, widths)[0]


def _draw_forward(
    raster: _Raster, centres: Centres, heights: Points, widths: Points
) -> tuple[Image, _Residuals]:
    starts = _window_starts(centres, raster.box, raster.window)
    along_y, along_x = _profile_arguments(raster, centres, widths, starts)
    evaluate = partial(profile, integrate=raster.integrate)
    profiles = _Axes(evaluate(*along_y), evaluate(*along_x))
    drawn = _multiply("gym,gmx->gyx", profiles.y * heights[:, None, :], profiles.x)
    return _add_windows(drawn, starts, raster.box), (centres, heights, widths, profiles)


def _draw_backward(
    raster: _Raster, residuals: _Residuals, cotangent: Image
) -> tuple[Centres, Points, Points]:
    centres, heights, widths, profiles = residuals
    starts = _window_starts(centres, raster.box, raster.window)
    along_y, along_x = _profile_arguments(raster, centres, widths, starts)
    slope_y = differentiate(profiles.y, *along_y, integrate=raster.integrate)
    slope_x = differentiate(profiles.x, *along_x, integrate=raster.integrate)
    scales = slope_scales(widths, integrate=raster.integrate)
    # Windows times profiles along x first: the other order would need a transposition.
    rows = partial(_multiply, "gyx,gmx->gym", _cut_windows(cotangent, starts, raster.window))
    sum_y = partial(jnp.sum, axis=1)
    to_x = sum_y(rows(slope_x.by_centre) * profiles.y) * heights * scales.by_centre
    to_y = sum_y(rows(profiles.x) * slope_y.by_centre) * heights * scales.by_centre
    to_heights = sum_y(rows(profiles.x) * profiles.y)
    spread = rows(profiles.x) * slope_y.by_width + rows(slope_x.by_width) * profiles.y
    to_widths = sum_y(spread) * heights * scales.by_width
    return jnp.stack([to_x, to_y], axis=-1), to_heights, to_widths


_draw.defvjp(_draw_forward, _draw_backward)


def _add_windows(drawn: Float[Array, "g w w"], starts: Starts, box: int) -> Image:
    dimensions = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2), inserted_window_dims=(), scatter_dims_to_operand_dims=(1, 0)
    )
    empty = jnp.zeros((box, box), drawn.dtype)
    return jax.lax.scatter_add(empty, starts, drawn, dimensions, mode="promise_in_bounds")


def _cut_windows(image: Image, starts: Starts, window: int) -> Float[Array, "g w w"]:
    cut = partial(jax.lax.dynamic_slice, image, slice_sizes=(window, window))
    return jax.vmap(lambda start: cut((start[1], start[0])))(starts)
