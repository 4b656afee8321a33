"""Voxels of a map made small: whole steps of a stated accuracy, differences, deflate.

Differences of neighbours along up to three axes (Ibarria, Lindstrom, Rossignac & Szymczak 2003,
Computer Graphics Forum 22:343, who call three axes the Lorenzo predictor) are taken of whole
numbers of 32 bits that wrap around, and so undone without any error.
"""

import zlib
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, UInt, UInt8

# Runs alone suit noise, and longer repetitions maps that had few different values before.
_LEVEL, _STRATEGIES = 6, (zlib.Z_RLE, zlib.Z_DEFAULT_STRATEGY)
DIFFERENCES = ((), (2,), (1, 2), (0, 1, 2))
# More than float32 numbers are rounded by: a share of their size, and where they are smallest.
_ROUNDING, _SMALLEST = 2.0**-22, 2.0**-148
_HUGE = 1e38
_SAMPLE, _SAMPLES = 48, 5


class PackedVoxels(NamedTuple):
    """A map in few bytes.

    Attributes:
        shape: of the map (z, y, x).
        step: of the whole numbers, map units; 0 where they are the bits of float32 numbers.
        background: whole number of all voxels outside of a box.
        corner: first voxel of the box.
        extent: of the box in voxels.
        differences: axes along which they were taken.
        width: bytes of each difference.
        residuals: the differences, deflated.
    """

    shape: tuple[int, ...]
    step: float
    background: int
    corner: tuple[int, ...]
    extent: tuple[int, ...]
    differences: tuple[int, ...]
    width: int
    residuals: UInt8[np.ndarray, " bytes"]


def pack_voxels(
    values: Float32[np.ndarray, "z y x"],
    accuracy: float,
    *,
    differences: tuple[int, ...] | None = None,
) -> PackedVoxels:
    """Make a map small.

    Args:
        values: finite density.
        accuracy: largest error of a voxel, map units; 0 for none. Where float32 numbers of the
            size of the largest are themselves no better, there is none.
        differences: axes along which they are taken; those that leave the fewest bits when not
            given.

    Returns:
        the packed map.
    """
    largest = float(np.abs(values).max())
    rounding = largest * _ROUNDING + _SMALLEST
    step = 2.0 * accuracy - rounding
    step = step if step > 2 * rounding and largest < _HUGE else 0.0
    numbers = _to_steps(values, step) if step else _to_bits(values)
    # Masked maps: one number all around a box.
    background = int(numbers[0, 0, 0])
    corner, extent = _box(numbers != background)
    numbers = np.ascontiguousarray(numbers[_slices(corner, extent)]) - np.int32(background)
    if differences is None:
        differences = _fewest_bits(numbers)
    for axis in differences:
        _subtract_neighbour(numbers, axis)
    # 0, −1, 1, −2, … become 0, 1, 2, 3, …
    folded = ((numbers << 1) ^ (numbers >> 31)).view(np.uint32)
    most = int(folded.max(initial=0))
    width = 1 if most < 1 << 8 else 2 if most < 1 << 16 else 4
    residuals = _deflate(folded.astype(f"<u{width}"))
    return PackedVoxels(
        values.shape, step, background, corner, extent, differences, width, residuals
    )


def unpack_voxels(packed: PackedVoxels) -> Float32[np.ndarray, "z y x"]:
    """The map again.

    Args:
        packed: with a box inside of the map.

    Returns:
        density, in error by the accuracy at most.

    Raises:
        ValueError: the residuals are damaged, or the values are not finite.
    """
    folded = _inflate(packed.residuals, packed.extent, packed.width).astype(np.uint32)
    numbers = (folded >> np.uint32(1)).view(np.int32) ^ -(folded & np.uint32(1)).view(np.int32)
    for axis in packed.differences:
        np.cumsum(numbers, axis=axis, dtype=np.int32, out=numbers)
    numbers += np.int32(packed.background)
    from_numbers = _from_bits if packed.step == 0 else _from_steps
    outside = from_numbers(np.full((1, 1, 1), packed.background, np.int32), packed.step)
    values = np.full(packed.shape, outside.item(), np.float32)
    values[_slices(packed.corner, packed.extent)] = from_numbers(numbers, packed.step)
    if not np.isfinite(values).all():
        raise ValueError("values that are not finite came out")
    return values


def _to_steps(values: Float32[np.ndarray, "z y x"], step: float) -> Int32[np.ndarray, "z y x"]:
    numbers = np.empty(values.shape, np.int32)
    for section, place in zip(values, numbers, strict=True):
        place[:] = np.rint(section.astype(float) / step)
    return numbers


def _from_steps(numbers: Int32[np.ndarray, "z y x"], step: float) -> Float32[np.ndarray, "z y x"]:
    values = np.empty(numbers.shape, np.float32)
    with np.errstate(over="ignore"):
        for section, place in zip(numbers, values, strict=True):
            place[:] = section * step
    return values


def _to_bits(values: Float32[np.ndarray, "z y x"]) -> Int32[np.ndarray, "z y x"]:
    """Bits of floating-point numbers as whole numbers in the same order."""
    bits = np.ascontiguousarray(values, np.float32).view(np.int32)
    return np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)


def _from_bits(numbers: Int32[np.ndarray, "z y x"], step: float) -> Float32[np.ndarray, "z y x"]:
    return np.where(numbers < 0, numbers ^ np.int32(0x7FFFFFFF), numbers).view(np.float32)


def _box(inside: np.ndarray) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """First voxel and extent of the smallest box that holds some voxels."""
    corner, extent = [], []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        here = np.flatnonzero(inside.any(axis=others))
        corner.append(int(here[0]) if len(here) else 0)
        extent.append(int(here[-1] - here[0]) + 1 if len(here) else 0)
    return tuple(corner), tuple(extent)


def _slices(corner: tuple[int, ...], extent: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(c, c + e) for c, e in zip(corner, extent, strict=True))


def _subtract_neighbour(numbers: Int32[np.ndarray, "z y x"], axis: int) -> None:
    moved = np.moveaxis(numbers, axis, 0)
    moved[1:] -= moved[:-1].copy()


def _fewest_bits(numbers: Int32[np.ndarray, "z y x"]) -> tuple[int, ...]:
    """Axes along which differences are smallest: none for white noise, all for a smooth map."""
    if not numbers.size:
        return ()
    # Some blocks along the diagonal tell.
    parts = []
    for share in np.linspace(0, 1, _SAMPLES):
        first = [int(share * max(n - _SAMPLE, 0)) for n in numbers.shape]
        parts.append(numbers[tuple(slice(f, f + _SAMPLE) for f in first)])
    return min(DIFFERENCES, key=lambda axes: sum(_entropy(part.copy(), axes) for part in parts))


def _entropy(numbers: Int32[np.ndarray, "z y x"], axes: tuple[int, ...]) -> float:
    for axis in axes:
        _subtract_neighbour(numbers, axis)
    counts = np.unique(numbers, return_counts=True)[1]
    return float(np.sum(counts * np.log2(numbers.size / counts)))


def _deflate(folded: UInt[np.ndarray, "z y x"]) -> UInt8[np.ndarray, " bytes"]:
    """All lowest bytes, then all second bytes and so on: the higher ones are mostly 0."""
    rows = folded.reshape(-1).view(np.uint8).reshape(-1, folded.dtype.itemsize)
    planes = rows.T.tobytes()
    tried = []
    for strategy in _STRATEGIES:
        packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, zlib.MAX_WBITS, 9, strategy)
        tried.append(packer.compress(planes) + packer.flush())
    return np.frombuffer(min(tried, key=len), np.uint8)


def _inflate(
    residuals: UInt8[np.ndarray, " bytes"], extent: tuple[int, ...], width: int
) -> UInt[np.ndarray, "z y x"]:
    count = extent[0] * extent[1] * extent[2]
    unpacker = zlib.decompressobj()
    try:
        # Grows with what comes out, which ends one byte beyond what is wanted.
        raw = unpacker.decompress(residuals.tobytes(), count * width + 1)
    except zlib.error as error:
        raise ValueError(f"it is damaged ({error})") from None
    if len(raw) != count * width or not unpacker.eof or unpacker.unused_data:
        raise ValueError(f"it does not unpack to the {count * width:,} bytes of {count:,} voxels")
    planes = np.frombuffer(raw, np.uint8).reshape(width, count)
    return np.ascontiguousarray(planes.T).view(f"<u{width}").reshape(extent)
