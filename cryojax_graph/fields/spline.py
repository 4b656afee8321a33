"""Fields that are sums of B-splines: trilinear, cubic, quintic, and Fourier on a finer grid."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.fields.grid import VoxelGrid
from cryojax_graph.fields.query import Expansion


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["coefficients", "grid"],
    meta_fields=["degree"],
)
@dataclass(frozen=True)
class SplineField:
    """Density as a sum of B-splines, one at each voxel of a grid.

    Args:
        coefficients: in ``[z, y, x]``, with ``degree // 2 + 1`` more at each end of each axis.
        grid: of the voxels without that margin.
        degree: of the splines, odd; the field has ``degree - 1`` continuous derivatives.
    """

    coefficients: Float[Array, "z y x"]
    grid: VoxelGrid
    degree: int

    def value(self, point: Float[Array, "3"]) -> Float[Array, ""]:
        """Density at a point (x, y, z) in Å; 0 outside the box."""
        return self._derivatives(point, 0)[0, 0, 0]

    def values(self, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
        """Density at many points."""
        return jax.vmap(self.value)(points)

    def expansions(self, points: Float[Array, "n 3"]) -> Expansion:
        """Density at many points, with gradient and Hessian."""
        return jax.vmap(self._expansion)(points)

    def _expansion(self, point: Float[Array, "3"]) -> Expansion:
        d = self._derivatives(point, 2)
        voxel = self.grid.voxel_size
        gradient = jnp.stack([d[0, 0, 1], d[0, 1, 0], d[1, 0, 0]]) / voxel
        xy, xz, yz = d[0, 1, 1], d[1, 0, 1], d[1, 1, 0]
        hessian = jnp.stack([d[0, 0, 2], xy, xz, xy, d[0, 2, 0], yz, xz, yz, d[2, 0, 0]])
        return Expansion(d[0, 0, 0], gradient, hessian.reshape(3, 3) / jnp.outer(voxel, voxel))

    def _derivatives(self, point: Float[Array, "3"], order: int) -> Float[Array, "z y x"]:
        """Mixed derivatives by the index, up to some order along each of z, y, x."""
        margin = _margin(self.degree)
        index = self.grid.index(point)
        shape = jnp.array(self.coefficients.shape)
        inside = jnp.all((index >= -0.5) & (index <= shape - 2 * margin - 0.5))
        place = jnp.clip(index, -0.5, shape - 2 * margin - 0.5) + margin
        first = jnp.floor(jax.lax.stop_gradient(place)).astype(int)
        z, y, x = jax.vmap(partial(_weights_and_derivatives, degree=self.degree, order=order))(
            place - first
        )
        corner = first - self.degree // 2
        taps = jax.lax.dynamic_slice(self.coefficients, corner, (self.degree + 1,) * 3)
        # Sums instead of matrix products: for four taps a product costs more than its arithmetic.
        along_x = (taps[:, :, None, :] * x).sum(-1)
        along_y = (along_x[:, None] * y[:, :, None]).sum(2)
        found = (along_y[None] * z[:, :, None, None]).sum(1)
        return jnp.where(inside, found, 0.0)


def fit_spline(volume: Float[Array, "z y x"], grid: VoxelGrid, *, degree: int = 3) -> SplineField:
    """The spline that goes through every voxel of a map.

    Linear in the map, so that derivatives with respect to it are exact. The map is mirrored at the
    faces of the box, half a voxel outside the outermost voxels (Unser 1999, IEEE Signal Processing
    Magazine 16:22).

    Args:
        volume: density at the voxels.
        grid: where they lie.
        degree: of the spline, odd; 1 is trilinear interpolation.

    Returns:
        the field.
    """
    # Where the mirror lies between voxels, the cosine transform diagonalises the convolution.
    spectrum = volume
    for axis, n in enumerate(volume.shape):
        spectrum = jax.scipy.fft.dct(spectrum, axis=axis, norm="ortho")
        spectrum = spectrum / _along(_transfer(jnp.arange(n) / (2 * n), degree), axis)
    coefficients = spectrum
    for axis in range(3):
        coefficients = jax.scipy.fft.idct(coefficients, axis=axis, norm="ortho")
    return SplineField(jnp.pad(coefficients, _margin(degree), mode="symmetric"), grid, degree)


def fit_fourier(volume: Float[Array, "z y x"], grid: VoxelGrid, *, degree: int = 5) -> SplineField:
    """The band-limited function that goes through every voxel of a map, the box repeated.

    Its Fourier coefficients are divided by the transform of a B-spline on a grid twice as fine:
    what splines of degree 5 add beyond the band is 0.2 % of the amplitude at its edge.

    Args:
        volume: density at the voxels.
        grid: where they lie.
        degree: of the splines that evaluate it, odd.

    Returns:
        the field.
    """
    spectrum = jnp.fft.fftshift(jnp.fft.fftn(volume))
    for axis, n in enumerate(volume.shape):
        # The Nyquist coefficient of an even axis belongs to both ends of the band.
        if n % 2 == 0:
            edge = jax.lax.slice_in_dim(spectrum, 0, 1, axis=axis) / 2
            rest = jax.lax.slice_in_dim(spectrum, 1, n, axis=axis)
            spectrum = jnp.concatenate([edge, rest, edge], axis=axis)
        reach = n // 2
        period = jnp.arange(-reach, reach + 1) / (2 * n)
        spectrum = spectrum / _along(jnp.sinc(period) ** (degree + 1), axis)
        more = [(0, 0)] * 3
        more[axis] = (n - reach, 2 * n - (n - reach) - (2 * reach + 1))
        spectrum = jnp.pad(spectrum, more)
    fine = 8 * jnp.fft.ifftn(jnp.fft.ifftshift(spectrum)).real
    finer = grid.finer(2)
    return SplineField(jnp.pad(fine, _margin(degree), mode="wrap"), finer, degree)


def upsample(field: SplineField, factor: int) -> Float[Array, "z y x"]:
    """Values of a spline on a grid that is finer by a whole factor.

    Args:
        field: the spline.
        factor: points per voxel along each axis; the first stands on the first voxel.

    Returns:
        density, ``factor`` times as many along each axis.
    """
    values, margin = field.coefficients, _margin(field.degree)
    for axis in range(3):
        n = values.shape[axis] - 2 * margin
        phases = []
        for phase in range(factor):
            weights = spline_weights(jnp.float32(phase / factor), field.degree)
            phases.append(
                sum(
                    weight * jax.lax.slice_in_dim(values, first, first + n, axis=axis)
                    for first, weight in enumerate(weights, margin - field.degree // 2)
                )
            )
        stacked = jnp.stack(phases, axis=axis + 1)
        shape = list(values.shape)
        shape[axis] = factor * n
        values = stacked.reshape(shape)
    return values


def spline_weights(fraction: Float[Array, ""], degree: int) -> Float[Array, " taps"]:
    """Values of the ``degree + 1`` B-splines that reach a point between two voxels.

    Args:
        fraction: distance to the voxel before the point, in voxels, 0 … 1.
        degree: of the splines, odd.

    Returns:
        one weight for each voxel, in order; their sum is 1 (recursion of Cox and de Boor).
    """
    weights = jnp.ones(1, fraction.dtype)
    for n in range(1, degree + 1):
        steps = jnp.arange(n)
        rising = (fraction + (n - 1 - steps)) / n
        left = jnp.append((1 - rising) * weights, 0)
        weights = left + jnp.insert(rising * weights, 0, 0)
    return weights


def _weights_and_derivatives(
    fraction: Float[Array, ""], *, degree: int, order: int
) -> Float[Array, "derivatives taps"]:
    """B-splines at a point and their derivatives, which are differences of lower splines."""
    rows = [spline_weights(fraction, degree)]
    for n in range(1, order + 1):
        lower = spline_weights(fraction, degree - n) if n <= degree else jnp.zeros(0)
        for _ in range(n):
            lower = -jnp.diff(lower, prepend=0.0, append=0.0)
        rows.append(lower if len(lower) == degree + 1 else jnp.zeros(degree + 1))
    return jnp.stack(rows)


def _transfer(frequency: Float[Array, " n"], degree: int) -> Float[Array, " n"]:
    """What sampling a spline of unit coefficients at the voxels does to each frequency."""
    weights = spline_weights(jnp.zeros(()), degree)[:-1]
    reach = degree // 2
    phases = jnp.cos(2 * jnp.pi * frequency[:, None] * jnp.arange(-reach, reach + 1))
    return jnp.matmul(phases, weights, precision="highest")


def _margin(degree: int) -> int:
    return degree // 2 + 1


def _along(values: Float[Array, " n"], axis: int) -> Float[Array, "..."]:
    return values.reshape([-1 if a == axis else 1 for a in range(3)])
