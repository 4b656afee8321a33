"""A soft mask around a particle, found from the density alone."""

import numpy as np
import scipy.fft
import scipy.ndimage
from jaxtyping import Bool, Float

# Of the density inside the particle: low-passed maps are at half of it on its surface.
_LEVEL = 0.25
_NOISE_LEVEL = 5.0
# A piece smaller than this share of the largest is noise, a larger one a loose domain.
_PIECE = 0.1


def automatic_mask(
    volume: Float[np.ndarray, "box box box"],
    *,
    voxel_size: float,
    noise: float = 0.0,
    low_pass: float = 15.0,
    extend: float = 6.0,
    edge: float = 12.0,
) -> Float[np.ndarray, "box box box"]:
    """Low-pass, threshold, keep the large pieces, extend, and let the edge fall off softly.

    The threshold is a quarter of the density inside the particle, which is the median of what is
    above half the maximum; where noise is stronger, five times that.

    Args:
        volume: density, protein positive.
        voxel_size: Å.
        noise: standard deviation of the noise of the low-passed map, see ``blur_map``.
        low_pass: resolution, Å.
        extend: how far the mask reaches beyond the surface, Å; at least 3 voxels.
        edge: width of the raised-cosine edge, Å; at least 6 voxels.

    Returns:
        factors from 0 to 1.

    Raises:
        ValueError: nothing stands out of the noise, or what does fills the box.
    """
    smooth = blur_map(volume, low_pass, voxel_size=voxel_size)
    inside = float(np.median(smooth[smooth > 0.5 * smooth.max()])) if smooth.max() > 0 else 0.0
    core = smooth > max(_LEVEL * inside, _NOISE_LEVEL * noise)
    if inside <= 0 or not core.any():
        raise ValueError("no density stands out of the noise")
    if core.mean() > 0.5:
        raise ValueError(f"{100 * core.mean():.0f} % of the box stands out")
    return soften(
        _large_pieces(core),
        extend=max(extend / voxel_size, 3.0),
        edge=max(edge / voxel_size, 6.0),
    )


def blur_map(
    volume: Float[np.ndarray, "box box box"], resolution: float, *, voxel_size: float
) -> Float[np.ndarray, "box box box"]:
    """A map blurred by a Gaussian that halves amplitudes at a resolution.

    A Gaussian has no ripples that a threshold could take for density.

    Args:
        volume: density.
        resolution: Å.
        voxel_size: Å.

    Returns:
        the blurred map.
    """
    box = len(volume)
    square = np.fft.fftfreq(box, voxel_size).astype(np.float32) ** 2
    columns = np.fft.rfftfreq(box, voxel_size).astype(np.float32) ** 2
    radius = square[:, None, None] + square[:, None] + columns
    factor = np.exp(np.float32(-np.log(2.0) * resolution**2) * radius)
    spectrum = scipy.fft.rfftn(volume, workers=-1) * factor
    return np.asarray(scipy.fft.irfftn(spectrum, s=volume.shape, workers=-1))


def _large_pieces(core: Bool[np.ndarray, "z y x"]) -> Bool[np.ndarray, "z y x"]:
    """The largest connected piece, and those of at least a tenth of its size."""
    labels = np.zeros(core.shape, np.int32)
    scipy.ndimage.label(core, output=labels)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return (sizes >= _PIECE * sizes.max())[labels] & core


def soften(
    core: Bool[np.ndarray, "box box box"], *, extend: float, edge: float
) -> Float[np.ndarray, "box box box"]:
    """1 up to a distance from a core, then down to 0 along a cosine.

    Args:
        core: where the particle is.
        extend: the distance, voxels.
        edge: width of the edge, voxels.

    Returns:
        factors from 0 to 1.
    """
    # Distances are wanted near the core only, and are dear in the rest of the box.
    margin = int(np.ceil(extend + edge)) + 1
    found = scipy.ndimage.find_objects(core.astype(np.uint8))[0]
    near = tuple(
        slice(max(s.start - margin, 0), min(s.stop + margin, n))
        for s, n in zip(found, core.shape, strict=True)
    )
    distance = np.asarray(scipy.ndimage.distance_transform_edt(~core[near]))
    outside = np.clip((distance - extend) / edge, 0.0, 1.0)
    mask = np.zeros(core.shape, np.float32)
    mask[near] = 0.5 + 0.5 * np.cos(np.pi * outside)
    return mask
