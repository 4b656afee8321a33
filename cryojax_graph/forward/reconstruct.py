"""Map from slices of its Fourier transform: the adjoint of ``slices``, and the weighted mean.

Every coefficient of an image is shared out among the eight voxels of the spectrum around it, with
the weights with which a slice would be interpolated from them. What is inserted is a datum, the
image's coefficient times its transfer, and a weight, the square of the transfer; both may carry the
probability of a pose or the inverse variance of the noise. Their ratio, regularised, is the map's
spectrum (Scheres 2012, J. Struct. Biol. 180:519, eq. 4).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Complex, Float, Int

from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.grids import Scalar, spectrum_multiplicity
from cryojax_graph.forward.sampling_density import sampling_density
from cryojax_graph.forward.slices import cells_of, interpolate_spectrum

# The weight of a voxel counts as at least this share of the mean of its shell, as in RELION: what
# hardly any image shows is not divided by nearly nothing.
_LEAST_SHARE = 1e-3
# An operator that takes voxels onto voxels, to within this, smooths nothing.
_EXACT = 1e-4


class SliceSums(NamedTuple):
    """Sums over inserted slices, in the layout of ``slices.VolumeSpectrum``.

    Attributes:
        values: real and imaginary part of the data, and the weights; one address serves all three,
            and those of the other maps to which the same slices belong in other shares.
    """

    values: Float[Array, "z y x 3*maps"]


class SpectrumSums(NamedTuple):
    """Complete sums: every voxel holds all that was inserted at it and at its mirror image.

    Attributes:
        data: in the layout of ``slices.VolumeSpectrum``, margins included.
        weight: the same.
        smoothed: share of what was inserted that has been interpolated a second time.
    """

    data: Complex[Array, "z y x"]
    weight: Float[Array, "z y x"]
    smoothed: Float[Array, ""]


def no_slices(box: int, *, padding: int = 2, maps: int = 1) -> SliceSums:
    """Sums before any slice was inserted.

    Args:
        box: edge of the images in pixels.
        padding: how many times finer than the images' own the spectrum is sampled.
        maps: that the slices belong to.

    Returns:
        zeros.
    """
    size = padding * box
    return SliceSums(jnp.zeros((size + 1, size + 1, size // 2 + 2, 3 * maps)))


def sums_of_map(sums: SliceSums, number: int) -> SliceSums:
    """Sums of one of the maps that slices were inserted into together.

    Args:
        sums: of all of them.
        number: of the map, from 0.

    Returns:
        its own.
    """
    return SliceSums(sums.values[..., 3 * number : 3 * number + 3])


def insert_slices(
    sums: SliceSums,
    data: Complex[Array, "images box half"],
    weights: Float[Array, "images box half"],
    rotations: Float[Array, "images 3 3"],
    shares: Float[Array, "images maps"] | None = None,
) -> SliceSums:
    """Add slices of the spectrum of a map, one image after the other.

    Args:
        sums: so far.
        data: half spectra, phase origin at pixel ``box // 2``, times their transfer.
        weights: squares of the transfer.
        rotations: of the images, object to image coordinates.
        shares: of each image in each of several maps, by which its data and weights are multiplied;
            one map, and 1, when not given.

    Returns:
        the sums with these slices; nothing beyond the Nyquist frequency enters.
    """
    *shape, width = sums.values.shape
    box = data.shape[1]
    if shares is None:
        shares = jnp.ones((len(data), 1), data.real.dtype)
    row, column = _within_nyquist(box)
    padding = (shape[0] - 1) // box
    kx, ky = (
        jnp.asarray(padding * k, jnp.float32) for k in (column, (row + box // 2) % box - box // 2)
    )
    # The first column holds each of its coefficients twice, the second time mirrored.
    share = jnp.where(column == 0, 0.5, 1.0)

    def insert(flat: Array, image: tuple[Array, ...]) -> tuple[Array, None]:
        datum, weight, rotation, of_maps = image
        x, y, z = (kx * rotation[0, i] + ky * rotation[1, i] for i in range(3))
        sign = jnp.where(x < 0, -1.0, 1.0)
        datum = datum[row, column]
        terms = jnp.stack([datum.real, sign * datum.imag, weight[row, column]], axis=1)
        corner, fractions = cells_of(sign * x, sign * y, sign * z, shape=tuple(shape))
        terms = (share[:, None, None] * terms[:, None] * of_maps[:, None]).reshape(-1, width)
        return _share_out(flat, corner, fractions, terms, shape), None

    images = data, weights, rotations, shares
    flat, _ = jax.lax.scan(insert, sums.values.reshape(-1, width), images)
    return SliceSums(flat.reshape(sums.values.shape))


def complete_sums(sums: SliceSums) -> SpectrumSums:
    """Join what was inserted at either place of a coefficient that has two in the half spectrum.

    Args:
        sums: over all slices.

    Returns:
        the whole.
    """
    values = sums.values[:-1, :-1, :-1]
    values = values.at[0].add(sums.values[-1, :-1, :-1])
    values = values.at[:, 0].add(sums.values[:-1, -1, :-1])
    values = values.at[0, 0].add(sums.values[-1, -1, :-1])
    size = values.shape[0]
    mirror = (2 * (size // 2) - jnp.arange(size)) % size
    for column in {0, size // 2} if size % 2 == 0 else {0}:
        opposite = values[mirror][:, mirror, column] * jnp.array([1.0, -1.0, 1.0])
        values = values.at[:, :, column].add(opposite)
    data, weight = jax.lax.complex(values[..., 0], values[..., 1]), values[..., 2]
    return SpectrumSums(_with_margins(data), _with_margins(weight), jnp.zeros(()))


def symmetrize_sums(
    sums: SpectrumSums, operators: Float[np.ndarray, "operators 3 3"]
) -> SpectrumSums:
    """Sums as if every slice had been inserted once for each symmetric copy of its view.

    Operators that take voxels onto voxels are exact; the others interpolate, which blurs data and
    weights alike, and is undone where the map is solved for.

    Args:
        sums: complete.
        operators: rotations of the point group, the identity among them.

    Returns:
        sums that are symmetric.
    """
    exact = np.abs(operators - np.round(operators)).max(axis=(1, 2)) < _EXACT
    rounded = np.where(exact[:, None, None], np.round(operators), operators)

    def add(total: SpectrumSums, operator: Array) -> tuple[SpectrumSums, None]:
        return jax.tree.map(jnp.add, total, _turned(sums, operator)), None

    nothing = jax.tree.map(jnp.zeros_like, sums)
    total, _ = jax.lax.scan(add, nothing, jnp.asarray(rounded, jnp.float32))
    size = total.weight.shape[0] - 1
    data, weight = (_with_margins(a[:size, :size, :-1]) for a in total[:2])
    return SpectrumSums(data, weight, jnp.asarray(1.0 - exact.mean(), jnp.float32))


def shell_weights(sums: SpectrumSums, *, box: int) -> Float[Array, " shells"]:
    """Mean weight of the voxels of each shell.

    Args:
        sums: complete.
        box: edge of the images in pixels.

    Returns:
        means for the shells 0 … box // 2 of the images.
    """
    inside, shell = _inside(sums, box)
    return _shell_means(_without_margins(sums.weight), inside, shell, box // 2 + 1)


def spectrum_shells(sums: SpectrumSums, *, box: int) -> Int[Array, "z y x"]:
    """Shell of the images in which each voxel of the sums lies.

    Args:
        sums: complete.
        box: edge of the images in pixels.

    Returns:
        shells 0 … box // 2, those beyond counted to the last; margins included.
    """
    _, shell = _inside(sums, box)
    periodic = jnp.pad(shell, ((0, 1), (0, 1), (0, 0)), mode="wrap")
    return jnp.pad(periodic, ((0, 0), (0, 0), (0, 1)), constant_values=box // 2)


def solve_map(
    sums: SpectrumSums,
    precision: Float[Array, " shells"] | None = None,
    *,
    box: int,
    voxel_size: Scalar = 1.0,
) -> Float[Array, "box box box"]:
    """The map whose slices the sums are of.

    A voxel divided by its own weight alone takes the value between its few samples for that at its
    place. Data are divided by the density of samples as a map of this size can know it instead: two
    steps of the iteration of Pipe & Menon (1999, Magn. Reson. Med. 41:179).

    Args:
        sums: complete.
        precision: what is added to the weights in each shell of the images, the inverse variance of
            the map's coefficients in units of the weights (Wiener filter); nothing when not given.
        box: edge of the images, and of the map, in pixels.
        voxel_size: Å; with it images that are densities per Å² give a density per Å³.

    Returns:
        the map, origin at voxel ``box // 2``; what has no weight is 0.
    """
    size = sums.weight.shape[0] - 1
    inside, shell = _inside(sums, box)
    weight = _without_margins(sums.weight)
    means = _shell_means(weight, inside, shell, box // 2 + 1)
    floor = _LEAST_SHARE * means
    added = jnp.zeros_like(means) if precision is None else precision
    density = sampling_density(weight, padding=size / box)
    total = jnp.maximum(density, floor[shell]) + added[shell]
    known = inside & (total > 0)
    spectrum = jnp.where(known, _without_margins(sums.data) / jnp.where(known, total, 1.0), 0.0)
    volume = _to_map(spectrum, size, box)
    offset = (jnp.arange(box) - box // 2) / size
    cubes = jnp.stack(jnp.meshgrid(offset, offset, offset, indexing="ij"))
    once = jnp.prod(jnp.sinc(cubes), axis=0) ** 2
    return volume / (once * (1.0 - sums.smoothed + sums.smoothed * once)) / voxel_size


def back_project(
    images: Float[Array, "images box box"],
    rotations: Float[Array, "images 3 3"],
    *,
    voxel_size: Scalar = 1.0,
    padding: int = 2,
) -> Float[Array, "box box box"]:
    """Adjoint of the projection of a map by a slice through its spectrum.

    The projection is ``to_image(slice_spectrum(volume_spectrum(map), rotation))``; the inner
    products of images and of maps are sums over pixels and voxels.

    Args:
        images: square.
        rotations: object to image coordinates.
        voxel_size: Å.
        padding: as in ``volume_spectrum``.

    Returns:
        the sum over images of what each spreads over the map.
    """
    box = images.shape[1]
    spectra = jax.vmap(to_spectrum)(images) * (spectrum_multiplicity(box) / (2 * box**2))
    # A half spectrum holds its first column in full, which ``insert_slices`` allows for by half.
    spectra = spectra.at[:, :, 0].multiply(2.0)
    weights = jnp.zeros(spectra.shape, jnp.float32)
    sums = insert_slices(no_slices(box, padding=padding), spectra, weights, rotations)
    size = padding * box
    volume = _to_map(_without_margins(complete_sums(sums).data), size, box) * float(size) ** 3
    correction = jnp.sinc((jnp.arange(box) - box // 2) / size) ** -2.0
    return volume * (
        correction[:, None, None] * correction[:, None] * correction * jnp.asarray(voxel_size)
    )


def _within_nyquist(box: int) -> tuple[Int[np.ndarray, " points"], Int[np.ndarray, " points"]]:
    """Rows and columns of a half spectrum that a rotated slice keeps."""
    ky = (np.arange(box) + box // 2) % box - box // 2
    kx = np.arange(box // 2 + 1)
    row, column = np.nonzero(ky[:, None] ** 2 + kx**2 <= (box // 2) ** 2)
    return row, column


def _share_out(
    flat: Float[Array, "voxels terms"],
    corner: Int[Array, " points"],
    fractions: tuple[Float[Array, " points"], ...],
    terms: Float[Array, "points terms"],
    shape: list[int],
) -> Float[Array, "voxels terms"]:
    """Add every term to the eight voxels around it."""
    _, size_y, size_x = shape
    for number in range(8):
        steps = [number >> axis & 1 for axis in range(3)]
        near = [f if step else 1.0 - f for f, step in zip(fractions, steps, strict=True)]
        place = corner + (steps[2] * size_y + steps[1]) * size_x + steps[0]
        part = (near[0] * near[1] * near[2])[:, None] * terms
        flat = flat.at[place].add(part, mode="promise_in_bounds")
    return flat


def _turned(sums: SpectrumSums, operator: Float[Array, "3 3"]) -> SpectrumSums:
    """The sums at the places to which an operator takes every voxel."""
    size_z, _, size_x = sums.weight.shape
    middle = (size_z - 1) // 2
    along = jnp.arange(size_z, dtype=jnp.float32) - middle
    y, x = along[:, None], jnp.arange(size_x, dtype=jnp.float32)

    def section(z: Float[Array, ""]) -> tuple[Array, Array]:
        to_x, to_y, to_z = (row[0] * x + row[1] * y + row[2] * z for row in operator)
        sign = jnp.where(to_x < 0, -1.0, 1.0)
        data, weight = (
            interpolate_spectrum(values, sign * to_x, sign * to_y, sign * to_z)
            for values in (sums.data, sums.weight)
        )
        inside = x**2 + y**2 + z**2 <= middle**2
        data = jnp.where(to_x < 0, data.conj(), data)
        return jnp.where(inside, data, 0.0), jnp.where(inside, weight, 0.0)

    data, weight = jax.lax.map(section, along)
    return SpectrumSums(data, weight, jnp.zeros(()))


def _with_margins(values: Array) -> Array:
    """Whole periods along z and y, and one empty section along x, for interpolation."""
    return jnp.pad(jnp.pad(values, ((0, 1), (0, 1), (0, 0)), mode="wrap"), ((0, 0), (0, 0), (0, 1)))


def _without_margins(values: Array) -> Array:
    return values[:-1, :-1, :-1]


def _inside(sums: SpectrumSums, box: int) -> tuple[Bool[Array, "z y x"], Int[Array, "z y x"]]:
    """Which voxels lie within the images' Nyquist frequency, and the shell of each."""
    size = sums.weight.shape[0] - 1
    along = jnp.arange(size) - size // 2
    square = along[:, None, None] ** 2 + along[:, None] ** 2 + jnp.arange(size // 2 + 1) ** 2
    padding = size // box
    shell = jnp.round(jnp.sqrt(square.astype(jnp.float32)) / padding).astype(jnp.int32)
    return square <= (padding * (box // 2)) ** 2, jnp.minimum(shell, box // 2)


def _shell_means(
    weight: Float[Array, "z y x"],
    inside: Bool[Array, "z y x"],
    shell: Int[Array, "z y x"],
    shells: int,
) -> Float[Array, " shells"]:
    """Mean of each shell over the voxels inside: the many beyond count to the last, and are 0."""

    def sums(values: Array) -> Array:
        return jnp.zeros(shells).at[shell.ravel()].add(jnp.where(inside, values, 0.0).ravel())

    return sums(weight) / jnp.maximum(sums(jnp.ones_like(weight)), 1.0)


def _to_map(spectrum: Complex[Array, "z y x"], size: int, box: int) -> Float[Array, "n n n"]:
    """The middle of the map that a padded spectrum is of."""
    unshifted = jnp.fft.ifftshift(spectrum, axes=(0, 1))
    padded = jnp.fft.fftshift(jnp.fft.irfftn(unshifted, s=(size, size, size)))
    first = size // 2 - box // 2
    return padded[(slice(first, first + box),) * 3]
