"""Averages of the images of a view, beside what the reference looks like from there."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.forward.fourier import shift_phase, to_image, to_spectrum
from cryojax_graph.forward.grids import frequency_indices
from cryojax_graph.geometry.orientations import cell_directions
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.thumbnails import image_grid
from cryojax_graph.poses.reference import Reference, project
from cryojax_graph.poses.refine import Pose

# Views 29 degrees apart, so that some hundred images of each are enough to see something.
_ORDER = 1
_VIEWS, _IMAGES = 6, 96


class ViewAverages(NamedTuple):
    """Of some views, those that most images show.

    Attributes:
        images: mean of the images of each, times their transfer functions.
        projections: mean of what the reference looks like in their poses, treated alike.
        counts: images of each.
    """

    images: Float[np.ndarray, "views box box"]
    projections: Float[np.ndarray, "views box box"]
    counts: Int[np.ndarray, " views"]


def view_averages(
    particles: ParticleSet, poses: Pose, reference: Reference, *, radius: float | int
) -> ViewAverages:
    """Centre images, turn those of one view alike, and average.

    Args:
        particles: images.
        poses: of all of them.
        reference: of which they are images.
        radius: frequencies up to this are shown, periods per box.

    Returns:
        the averages, the view that most images show first.
    """
    rotation, shift, scale = (np.asarray(values, np.float64) for values in poses)
    centres = cell_directions(_ORDER)
    cell = np.argmax(rotation[:, 2] @ centres.T, axis=1)
    number, count = np.unique(cell, return_counts=True)
    shown = number[np.argsort(-count, kind="stable")[:_VIEWS]]
    members = [_spread(np.flatnonzero(cell == view)) for view in shown]
    every = np.concatenate(members)
    turn = in_plane_angle(rotation[every], np.repeat(centres[shown], [*map(len, members)], axis=0))
    images, projections = _treated(
        reference,
        jnp.asarray(particles.images.read(every), jnp.float32),
        CTF(*(jnp.asarray(field, jnp.float32)[every] for field in particles.ctf)),
        Pose(*(jnp.asarray(v[every], jnp.float32) for v in (rotation, shift, scale))),
        jnp.asarray(turn, jnp.float32),
        jnp.float32(radius),
        pixel_size=particles.pixel_size,
    )
    ends = np.cumsum([*map(len, members)])[:-1]
    return ViewAverages(
        *(
            np.stack([part.mean(axis=0) for part in np.split(np.asarray(of), ends)])
            for of in (images, projections)
        ),
        counts=np.array([len(own) for own in members]),
    )


def view_averages_figure(averages: ViewAverages) -> str:
    """Pictures of averages and projections, one above the other.

    Args:
        averages: of some views.

    Returns:
        HTML.
    """
    above = image_grid(averages.images, captions=[f"{count} images" for count in averages.counts])
    below = image_grid(
        averages.projections,
        captions=["the reference"] * len(averages.counts),
        caption="Above, averages of images that see the particle from one side, the sides that "
        "most images show, centred, turned alike and multiplied by their transfer functions; "
        "below, the projections of the reference that were found in these images. Averages with "
        "detail of their own speak for the poses. That they resemble the reference does not: "
        "so does the average of noise that was aligned to it.",
    )
    return above + below


def in_plane_angle(
    rotation: Float[np.ndarray, "n 3 3"], direction: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, " n"]:
    """By how much images are turned beside a picture of the same view.

    Args:
        rotation: of the images, object to image coordinates.
        direction: view axis of the picture in the frame of the object, whose in-plane angle is 0.

    Returns:
        the in-plane angle that leaves least of the rotation from the picture to the image, radians.
    """
    x, y, z = direction.T
    euler = np.stack([np.arctan2(y, x), np.arccos(np.clip(z, -1, 1)), np.zeros_like(x)], axis=1)
    upright = rotation_from_euler(np.degrees(euler))
    between = rotation @ np.swapaxes(upright, 1, 2)
    return np.arctan2(between[:, 1, 0] - between[:, 0, 1], between[:, 0, 0] + between[:, 1, 1])


def _spread(members: Int[np.ndarray, " n"]) -> Int[np.ndarray, " some"]:
    chosen = np.linspace(0, len(members) - 1, min(_IMAGES, len(members)))
    return members[np.unique(chosen.astype(int))]


@partial(jax.jit, static_argnames="pixel_size")
def _treated(
    reference: Reference,
    images: Float[Array, "n box box"],
    ctf: CTF,
    poses: Pose,
    turn: Float[Array, " n"],
    radius: Float[Array, ""],
    *,
    pixel_size: float,
) -> tuple[Float[Array, "n box box"], Float[Array, "n box box"]]:
    box = images.shape[1]
    ky, kx = jnp.meshgrid(*frequency_indices(box), indexing="ij")
    # Not the mean, which the search did not look at, and not an even box's Nyquist frequency.
    frequency = jnp.hypot(kx, ky)
    wanted = (frequency > 0) & (frequency <= jnp.minimum(radius, (box - 1) // 2))

    def one(
        image: Float[Array, "box box"], ctf: CTF, pose: Pose, turn: Float[Array, ""]
    ) -> tuple[Float[Array, "box box"], Float[Array, "box box"]]:
        transfer = transfer_at(ctf, kx, ky, box=box, pixel_size=pixel_size) * wanted
        centred = to_spectrum(image) * shift_phase(pose.shift, box=box, pixel_size=pixel_size)
        expected = pose.scale * transfer * project(reference, pose.rotation, kx, ky)
        first, second = (_turned(to_image(transfer * s), turn) for s in (centred, expected))
        return first, second

    return map_images(one, images, ctf, poses, turn)


def _turned(image: Float[Array, "box box"], turn: Float[Array, ""]) -> Float[Array, "box box"]:
    """The image turned back by an angle about its centre, linear in between."""
    axis = jnp.arange(len(image), dtype=jnp.float32) - len(image) // 2
    y, x = jnp.meshgrid(axis, axis, indexing="ij")
    cosine, sine = jnp.cos(turn), jnp.sin(turn)
    along = jnp.stack([sine * x + cosine * y, cosine * x - sine * y])
    return jax.scipy.ndimage.map_coordinates(image, list(along + len(image) // 2), order=1)
