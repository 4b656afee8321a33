"""Sums over the shells of half spectra on the host, fast and in float64."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.fft
from jaxtyping import Complex, Float


class ShellSums(NamedTuple):
    """What the correlation of two maps is made of, one value for each shell 0 … box // 2.

    Attributes:
        cross: sums of the real part of F G*.
        first: sums of |F|².
        second: sums of |G|².
        count: coefficients of the whole spectrum.
    """

    cross: Float[np.ndarray, " shells"]
    first: Float[np.ndarray, " shells"]
    second: Float[np.ndarray, " shells"]
    count: Float[np.ndarray, " shells"]

    def correlation(self) -> Float[np.ndarray, " shells"]:
        """Fourier shell correlation; 0 in a shell that is empty in either map."""
        power = np.sqrt(self.first) * np.sqrt(self.second)
        return np.divide(self.cross, power, out=np.zeros_like(power), where=power > 0)


def half_spectrum(
    volume: Float[np.ndarray, "box box box"],
) -> Complex[np.ndarray, "box box columns"]:
    """Transform of a real map on all cores, layout and precision of the input.

    Args:
        volume: density in any unit.

    Returns:
        what ``numpy.fft.rfftn`` returns, complex64 for a float32 map.
    """
    return np.asarray(scipy.fft.rfftn(volume, workers=_cores()))


def real_map(
    spectrum: Complex[np.ndarray, "box box columns"],
) -> Float[np.ndarray, "box box box"]:
    """Inverse of ``half_spectrum``.

    Args:
        spectrum: of a cubic map, whose edge is that of its first axis.

    Returns:
        the map.
    """
    return np.asarray(scipy.fft.irfftn(spectrum, s=(len(spectrum),) * 3, workers=_cores()))


def spectral_radius(box: int) -> Float[np.ndarray, "box box columns"]:
    """Distance of every coefficient of a half spectrum from the origin.

    Args:
        box: edge of the map in voxels.

    Returns:
        Fourier voxels; the nearest whole number is the shell.
    """
    k = np.fft.fftfreq(box, 1 / box).astype(np.float32) ** 2
    columns = np.arange(box // 2 + 1, dtype=np.float32) ** 2
    return np.sqrt(k[:, None, None] + k[:, None] + columns)


def shell_sums(
    first: Complex[np.ndarray, "box box columns"],
    second: Complex[np.ndarray, "box box columns"],
) -> ShellSums:
    """Sums over shells of products of two half spectra.

    The eight coefficients that differ only in signs of kx, ky, kz lie in one shell, so products
    are folded onto an eighth of the spectrum before they are counted.

    Args:
        first: half spectrum of a cubic map.
        second: of another of the same size.

    Returns:
        the sums; the Friedel mates that a half spectrum leaves out are counted.
    """
    box = len(first)
    blocks = list(_blocks(box // 2 + 1, 8))
    with ThreadPoolExecutor(_cores()) as pool:
        parts = pool.map(lambda planes: _sums_of_planes(first, second, planes), blocks)
        total = np.sum(list(parts), axis=0)
    return ShellSums(*total)


def first_crossing(
    curves: Float[np.ndarray, "*curves shells"], *, threshold: float
) -> Float[np.ndarray, "*curves"]:
    """Shell at which each curve first falls below a threshold, interpolated between shells.

    On the host, and for many curves, what ``resolution_angstrom`` is for one: a resolution is the
    edge of the map divided by this.

    Args:
        curves: Fourier shell correlation from shell 0, which counts as 1.
        threshold: the value.

    Returns:
        shells; the last one where a curve never falls below.
    """
    curves = np.concatenate([np.ones_like(curves[..., :1]), curves[..., 1:]], axis=-1)
    below = curves < threshold
    shell = below.argmax(axis=-1, keepdims=True)
    above, under = (np.take_along_axis(curves, s, axis=-1) for s in (shell - 1, shell))
    fraction = (above - threshold) / np.maximum(above - under, 1e-12)
    last = curves.shape[-1] - 1
    return np.where(below.any(axis=-1), (shell - 1 + fraction)[..., 0], last).astype(np.float64)


def _blocks(count: int, size: int) -> Iterator[range]:
    return (range(start, min(start + size, count)) for start in range(0, count, size))


def _sums_of_planes(first: np.ndarray, second: np.ndarray, planes: range) -> np.ndarray:
    """Cross, powers and counts of the planes ±kz, over shells."""
    box, shells = len(first), len(first) // 2 + 1
    k = np.arange(shells, dtype=np.float32) ** 2
    flat = k[:, None] + k
    twice = np.where((k == 0) | (2 * np.arange(shells) == box), 1.0, 2.0)
    work = np.empty((2, shells, 2 * shells), _parts(first[0]).dtype)
    sums = np.zeros((4, shells))
    for kz in planes:
        # Rows and columns of this plane that reach into the last shell; the rest is corners.
        reach = min(int(np.sqrt((shells - 0.5) ** 2 - kz**2)), box // 2) + 1
        shell = np.rint(np.sqrt(flat[:reach, :reach] + k[kz])).astype(np.intp).ravel()
        columns = twice[:reach]
        counted = [twice[kz] * columns[:, None] * columns]
        for pair in ((first, second), (first, first), (second, second)):
            counted.insert(-1, _folded_plane(*pair, kz, work[:, :reach, : 2 * reach]) * columns)
        for row, values in zip(sums, counted, strict=True):
            row += np.bincount(shell, values.ravel(), minlength=shells)[:shells]
    return sums


def _folded_plane(first: np.ndarray, second: np.ndarray, kz: int, work: np.ndarray) -> np.ndarray:
    """Re F G* of the planes kz and -kz, summed over the signs of kz and ky."""
    box, (total, product) = len(first), work
    reach, width = total.shape
    mirrored = min(reach, (box + 1) // 2)
    total[:] = 0.0
    for plane in {kz, -kz % box}:
        # The real part of F G* is the product of their real and imaginary parts, added up.
        f, g = (_parts(m[plane])[:, :width] for m in (first, second))
        total += np.multiply(f[:reach], g[:reach], out=product)
        other = np.multiply(f[:-mirrored:-1], g[:-mirrored:-1], out=product[1:mirrored])
        total[1:mirrored] += other
    return total[:, 0::2] + total[:, 1::2]


def _parts(plane: np.ndarray) -> np.ndarray:
    return plane.view(np.float64 if plane.dtype == np.complex128 else np.float32)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
