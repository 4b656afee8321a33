"""Gaussians to a map."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.grids import Scalar, pixel_coordinates


def density_of_gaussians(
    positions: Float[Array, "n 3"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    *,
    box: int,
    voxel_size: Scalar,
) -> Float[Array, "box box box"]:
    """Map of a sum of isotropic Gaussians, sampled at voxel centres.

    Args:
        positions: (x, y, z) in Å from voxel ``box // 2``.
        masses: integral of each Gaussian.
        widths: standard deviations, Å.
        box: edge of the map in voxels.
        voxel_size: Å.

    Returns:
        density in mass per Å³, ``[z, y, x]``.
    """
    coordinates = pixel_coordinates(box, voxel_size)
    distance = (coordinates - positions[:, :, None]) / widths[:, None, None]
    profiles = jnp.exp(-0.5 * distance**2)
    heights = masses / (jnp.sqrt(2.0 * jnp.pi) * widths) ** 3
    slabs = jnp.einsum("nz,ny->nzy", profiles[:, 2] * heights[:, None], profiles[:, 1])
    return jnp.einsum("nzy,nx->zyx", slabs, profiles[:, 0])


def density_of_atoms(
    positions: Float[Array, "n 3"],
    kind: Int[Array, " n"],
    masses: Float[Array, "kinds gaussians"],
    widths: Float[Array, "kinds gaussians"],
    *,
    box: int,
    voxel_size: Scalar,
    oversampling: int = 2,
) -> Float[Array, "box box box"]:
    """Map of atoms of few kinds, cut off at its Nyquist frequency.

    Atoms are spread over a finer grid by cubic B-splines; what the splines blur, and what each kind
    of atom scatters, are factors of the spectrum. The time hardly depends on the number of atoms.

    Args:
        positions: (x, y, z) in Å from voxel ``box // 2``; those outside the box enter it from the
            other side.
        kind: of each atom.
        masses: integrals of the Gaussians of each kind.
        widths: their standard deviations, Å.
        box: edge of the map in voxels.
        voxel_size: Å.
        oversampling: of the finer grid; with 2 the error is 1 % at Nyquist and less below.

    Returns:
        density in mass per Å³, ``[z, y, x]``.
    """
    fine = oversampling * box
    step = jnp.asarray(voxel_size) / oversampling
    place = positions / step + fine // 2
    index, weight = _spline_cells(place, fine)
    spread = jnp.zeros((len(masses), fine**3)).at[kind[:, None], index].add(weight)
    spectra = jnp.fft.rfftn(spread.reshape(-1, fine, fine, fine), axes=(1, 2, 3))
    rows = jnp.concatenate([jnp.arange((box + 1) // 2), jnp.arange(fine - box // 2, fine)])
    columns = box // 2 + 1
    kept = spectra[:, rows][:, :, rows][..., :columns]
    cycles = jnp.fft.fftfreq(fine)[rows]
    z, y, x = cycles[:, None, None], cycles[:, None], jnp.fft.rfftfreq(fine)[:columns]
    blur = (jnp.sinc(z) * jnp.sinc(y) * jnp.sinc(x)) ** 4
    square = (z**2 + y**2 + x**2) / step**2
    factor = masses[..., None, None, None] * jnp.exp(
        -2 * jnp.pi**2 * widths[..., None, None, None] ** 2 * square
    )
    spectrum = jnp.sum(kept * jnp.sum(factor, axis=1), axis=0) / blur
    # Both grids have their origin at the middle voxel.
    middle = fine // 2 / fine
    phase = jnp.exp(2j * jnp.pi * fine * middle * (z + y + x))
    values = jnp.fft.irfftn(spectrum * phase, s=(box,) * 3)
    return jnp.fft.fftshift(values) / jnp.asarray(voxel_size) ** 3


def _spline_cells(
    place: Float[Array, "n 3"], size: int
) -> tuple[Int[Array, "n 64"], Float[Array, "n 64"]]:
    """Voxels around each point, and its cubic B-spline there."""
    lowest = jnp.floor(place)
    t = place - lowest
    values = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weights = jnp.stack(values, axis=-1) / 6
    cells = (lowest[..., None].astype(jnp.int32) + jnp.arange(-1, 3)) % size
    x, y, z = (cells[:, axis] for axis in range(3))
    index = (z[:, :, None, None] * size + y[:, None, :, None]) * size + x[:, None, None, :]
    weight = jnp.einsum("nz,ny,nx->nzyx", weights[:, 2], weights[:, 1], weights[:, 0])
    return index.reshape(len(place), 64), weight.reshape(len(place), 64)
