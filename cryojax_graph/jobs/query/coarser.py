"""A map without the details that a coarser grid cannot hold."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, Float32

from cryojax_graph.io.mrc import Map

# The pass band ends in half a cosine wave from this share of the coarser grid's Nyquist frequency.
_SOFT = 0.8
# Mirrored voxels beyond the ends of the box, in coarser ones, so that its sides do not meet.
_BEYOND = 4
# Headers round.
_SAME = 1.0 + 1e-3


def for_voxels_of(density: Map, voxel_size: Float[np.ndarray, "3"]) -> Map:
    """Filter a map along the axes on which other voxels are larger than its own.

    Without it, details finer than two of the larger voxels would come back as coarse ones.

    Args:
        density: the map.
        voxel_size: edges along x, y, z of the voxels that it is meant for, Å.

    Returns:
        the map on its own grid; the same one where no voxel is larger.
    """
    values = density.values
    for axis, ratio in enumerate((voxel_size / density.voxel_size)[::-1].tolist()):
        if ratio > _SAME:
            values = _filtered(values, axis, ratio)
    return replace(density, values=values)


def is_coarser(voxel_size: Float[np.ndarray, "3"], than: Float[np.ndarray, "3"]) -> bool:
    """Whether voxels are larger than others along an axis.

    Args:
        voxel_size: edges along x, y, z, Å.
        than: edges of the others, Å.
    """
    return bool((voxel_size > _SAME * than).any())


def _filtered(
    values: Float32[np.ndarray, "z y x"], axis: int, ratio: float
) -> Float32[np.ndarray, "z y x"]:
    count = values.shape[axis]
    beyond = int(np.ceil(_BEYOND * ratio))
    around = [(beyond, beyond) if k == axis else (0, 0) for k in range(3)]
    padded = np.pad(values, around, mode="symmetric")
    nyquist = 0.5 / ratio
    share = np.fft.rfftfreq(padded.shape[axis]) / nyquist
    falling = np.clip((share - _SOFT) / (1.0 - _SOFT), 0.0, 1.0)
    kept = 0.5 * (1.0 + np.cos(np.pi * falling))
    spectrum = np.fft.rfft(padded, axis=axis)
    spectrum *= np.expand_dims(kept, tuple(k for k in range(3) if k != axis))
    filtered = np.fft.irfft(spectrum, padded.shape[axis], axis=axis)
    return np.take(filtered, np.arange(beyond, beyond + count), axis=axis).astype(np.float32)
