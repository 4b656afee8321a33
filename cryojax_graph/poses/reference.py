"""What images are compared with: the spectrum of a map, in the images' own frequencies."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.slices import VolumeSpectrum, slice_at, volume_spectrum


class Reference(NamedTuple):
    """A map of any box and voxel size beside images.

    Attributes:
        volume: its spectrum.
        samples: of the spectrum for one period per box of the images.
    """

    volume: VolumeSpectrum
    samples: Scalar


def reference_of(
    density: Float[Array, "size size size"],
    *,
    voxel_size: float,
    field: float,
    pixel_size: float,
    padding: int = 2,
) -> Reference:
    """Prepare a map.

    Args:
        density: ``[z, y, x]``, its origin at voxel ``size // 2``.
        voxel_size: Å.
        field: edge of the images, Å.
        pixel_size: of the images, Å.
        padding: of the transform.

    Returns:
        the reference; its projections are densities times Å, as images show them.
    """
    size = density.shape[0]
    volume = volume_spectrum(density, voxel_size=voxel_size, padding=padding)
    # A sum over the pixels of an image, not over those of the map.
    volume = VolumeSpectrum(volume.coefficients * (voxel_size / pixel_size) ** 2)
    return Reference(volume, padding * size * voxel_size / field)


def project(
    reference: Reference,
    rotation: Float[Array, "3 3"],
    kx: Float[Array, "*#points"],
    ky: Float[Array, "*#points"],
) -> Complex[Array, "*points"]:
    """Spectrum of the centred projection.

    Args:
        reference: the map.
        rotation: takes object to image coordinates.
        kx: periods per box of the images, below the Nyquist frequency of the map.
        ky: the same along y.

    Returns:
        coefficients, phase origin at the centre of the box.
    """
    size = reference.volume.coefficients.shape[0] - 1
    samples = jnp.asarray(reference.samples)
    return slice_at(reference.volume, rotation, samples * kx, samples * ky, box=size)


def amplify(reference: Reference, gain: Float[Array, " shells"]) -> Reference:
    """A reference with other amplitudes in each shell.

    Args:
        reference: the map.
        gain: factor in shells 0, 1 … periods per box of the images, linear in between, constant
            beyond the last.

    Returns:
        the changed reference.
    """
    factor = jnp.interp(_radius(reference), jnp.arange(len(gain), dtype=float), gain)
    return _times(reference, factor)


def coarser_than(reference: Reference, shells: Scalar) -> Reference:
    """A reference whose projections hold nothing beyond their first shells.

    Args:
        reference: the map.
        shells: 0, 1 … below this are kept: up to its last whole period per box, as what lies
            between there and the end of the shell is interpolated.

    Returns:
        the changed reference.
    """
    return _times(reference, _radius(reference) <= jnp.asarray(shells) - 1)


def _radius(reference: Reference) -> Float[Array, "z y x"]:
    """Of each coefficient, periods per box of the images."""
    size_z, _, size_x = reference.volume.coefficients.shape
    samples = jnp.asarray(reference.samples)
    z = (jnp.arange(size_z) - (size_z - 1) // 2) / samples
    x = jnp.arange(size_x) / samples
    return jnp.sqrt(z[:, None, None] ** 2 + z[:, None] ** 2 + x**2)


def _times(reference: Reference, factor: Float[Array, "z y x"] | Bool[Array, "z y x"]) -> Reference:
    return Reference(VolumeSpectrum(reference.volume.coefficients * factor), reference.samples)
