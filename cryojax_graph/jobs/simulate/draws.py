"""What is drawn for each image: frame, pose, defocus, contrast."""

from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Float64, Int, Int64, Key

from cryojax_graph.geometry import random_rotations
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.simulate.config import SimulateConfig

_CUT = 3.0


class ImageParameters(NamedTuple):
    """The truth of every image, as exactly as a table states it.

    Attributes:
        frame_index: frame of the trajectory, from 0.
        euler_degrees: rot, tilt, psi.
        shift_angstrom: (x, y); the particle stands at minus this.
        defocus_u: larger defocus, Å.
        defocus_v: smaller defocus, Å.
        defocus_angle_degrees: from x to the direction of ``defocus_u``.
        contrast: factor of the signal.
    """

    frame_index: Int64[np.ndarray, " images"]
    euler_degrees: Float64[np.ndarray, "images 3"]
    shift_angstrom: Float64[np.ndarray, "images 2"]
    defocus_u: Float64[np.ndarray, " images"]
    defocus_v: Float64[np.ndarray, " images"]
    defocus_angle_degrees: Float64[np.ndarray, " images"]
    contrast: Float64[np.ndarray, " images"]


def draw_images(
    key: Key[Array, ""], config: SimulateConfig, weights: Float64[np.ndarray, " frames"]
) -> ImageParameters:
    """Draw everything about every image but its noise.

    Image i depends on the key and on i alone: a longer set begins with the images of a shorter one.

    Args:
        key: random key.
        config: of the verb.
        weights: probability of each frame.

    Returns:
        numbers rounded to what a particle table keeps.
    """
    drawn = _draw(key, np.arange(config.images))
    choice, rotation, shift, defocus, difference, angle, contrast = (
        np.asarray(values, np.float64) for values in drawn
    )
    low, high = (1e4 * micrometres for micrometres in config.defocus_range)
    mean = low + (high - low) * defocus
    half = 0.5 * config.microscope.astigmatism * difference
    # The last step of a cumulative sum may fall short of 1.
    frame = np.searchsorted(np.cumsum(weights), choice * weights.sum(), side="right")
    return ImageParameters(
        frame_index=np.minimum(frame, np.flatnonzero(weights)[-1]).astype(np.int64),
        euler_degrees=euler_from_rotation(rotation).round(6),
        shift_angstrom=(config.shift_sigma * shift).round(4),
        defocus_u=(mean + half).round(1),
        defocus_v=(mean - half).round(1),
        defocus_angle_degrees=(180.0 * angle).round(3),
        contrast=(1.0 + config.contrast_sigma * contrast).round(6),
    )


@jax.jit
@partial(jax.vmap, in_axes=(None, 0))
def _draw(key: Key[Array, ""], number: Int[Array, ""]) -> tuple[Float[Array, "..."], ...]:
    key = jax.random.fold_in(key, number)
    for_pose, for_shift, for_contrast, for_rest = jax.random.split(key, 4)
    choice, defocus, difference, angle = jax.random.uniform(for_rest, (4,))
    shift = jax.random.truncated_normal(for_shift, -_CUT, _CUT, (2,))
    contrast = jax.random.truncated_normal(for_contrast, -_CUT, _CUT)
    rotation = random_rotations(for_pose, 1)[0]
    return choice, rotation, shift, defocus, difference, angle, contrast


def uniform_weights(frames: int) -> Float64[np.ndarray, " frames"]:
    """Weights of a trajectory whose frames are all as likely.

    Args:
        frames: their number.

    Returns:
        weights with sum 1.
    """
    return np.full(frames, 1.0 / frames)


def parameters_at(
    parameters: ImageParameters, images: Int[np.ndarray, " m"] | slice
) -> ImageParameters:
    """The parameters of some images.

    Args:
        parameters: of all.
        images: which.

    Returns:
        the rows asked for.
    """
    return ImageParameters(*(values[images] for values in parameters))
