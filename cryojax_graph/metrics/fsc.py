"""Fourier shell correlation of two maps, and where it crosses a threshold."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def shell_index(box: int) -> Float[Array, "z y x"]:
    """Radius in frequency voxels of every coefficient of ``jnp.fft.rfftn`` of a cubic map.

    Args:
        box: edge of the map in voxels, even or odd.

    Returns:
        radius rounded to the nearest shell, shape (box, box, box // 2 + 1).
    """
    full = jnp.fft.fftfreq(box) * box
    half = jnp.fft.rfftfreq(box) * box
    radius = jnp.sqrt(full[:, None, None] ** 2 + full[None, :, None] ** 2 + half**2)
    return jnp.round(radius)


def fourier_shell_correlation(
    first: Float[Array, "box box box"], second: Float[Array, "box box box"]
) -> Float[Array, " shells"]:
    """Correlation of two cubic maps, shell by shell up to Nyquist.

    The ratio of shell sums, sum(F G*) / sqrt(sum |F|^2 sum |G|^2) (Harauz & van Heel 1986), not a
    mean of voxel-wise ratios, which is biased where a coefficient is weak. A shell without signal
    gives 0.

    Args:
        first: map in any unit; only its shape must agree with ``second``.
        second: the other map.

    Returns:
        one value in [-1, 1] for each shell s = 0 … box // 2, which lies at s / (box * voxel_size)
        1/Å.
    """
    box = first.shape[0]
    shells = box // 2 + 1
    shell = shell_index(box).astype(jnp.int32).ravel()
    f, g = (jnp.fft.rfftn(m).ravel() for m in (first, second))
    # The half spectrum holds each coefficient once, but kx = 0 and Nyquist have no mirror image.
    column = jnp.arange(shells)
    twice = jnp.where((column == 0) | (2 * column == box), 1.0, 2.0)
    weight = jnp.broadcast_to(twice, (box, box, shells)).ravel()

    def shell_sum(values: Float[Array, " n"]) -> Float[Array, " shells"]:
        return jnp.zeros(shells).at[shell].add(weight * values, mode="drop")

    cross = shell_sum((f * g.conj()).real)
    powers = jnp.stack([shell_sum(jnp.abs(m) ** 2) for m in (f, g)])
    signal = (powers > 0).all(0)
    # Root before product: the product of two powers may overflow float32.
    amplitudes = jnp.sqrt(jnp.where(signal, powers, 1.0))
    return jnp.where(signal, cross / amplitudes[0] / amplitudes[1], 0.0)


def resolution_angstrom(
    curve: Float[Array, " shells"], *, threshold: float, box_angstrom: float
) -> Float[Array, ""]:
    """Resolution at which a curve first falls below a threshold, interpolated between shells.

    Args:
        curve: Fourier shell correlation from shell 0, which counts as 1.
        threshold: 0.143 for half-maps, 0.5 for map against model.
        box_angstrom: edge of the map, box * voxel_size, in Å.

    Returns:
        Å; the resolution of the last shell if the curve never falls below the threshold.
    """
    curve = curve.at[0].set(1.0)
    below = curve < threshold
    last = len(curve) - 1
    shell = jnp.where(below.any(), jnp.argmax(below), last)
    above, under = curve[shell - 1], curve[shell]
    fraction = jnp.where(below.any(), (above - threshold) / jnp.maximum(above - under, 1e-12), 1.0)
    return box_angstrom / (shell - 1 + fraction)
