"""What is in a map or an image stack, and what is unusual about it, in plain words."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mrc import check_is_map, read_density
from cryojax_graph.io.mrc_header import MrcHeader
from cryojax_graph.io.stacks import ImageStack, open_stack

_MOST_IMAGES = 200
PLAUSIBLE_PIXEL = (0.2, 20.0)


@dataclass(frozen=True)
class MapFacts:
    """A density map.

    Args:
        path: the file.
        shape: voxels along z, y, x.
        stored_as: type of the stored values.
        axis_order: spatial axis of columns, rows, sections, e.g. ``xyz``.
        voxel_size: Å along x, y, z; NaN where not stated.
        origin: position of voxel 0 in Å (x, y, z).
        minimum: smallest value.
        maximum: largest value.
        mean: mean value.
        deviation: standard deviation.
        zero_fraction: share of voxels that are exactly 0.
        warnings: what is unusual.
    """

    path: str
    shape: tuple[int, int, int]
    stored_as: str
    axis_order: str
    voxel_size: tuple[float, float, float]
    origin: tuple[float, float, float]
    minimum: float
    maximum: float
    mean: float
    deviation: float
    zero_fraction: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class StackFacts:
    """A stack of images.

    Args:
        path: the file.
        count: number of images.
        image_shape: pixels along y, x.
        stored_as: type of the stored values.
        pixel_size: Å; NaN where not stated.
        sampled: number of images that were read for the statistics.
        mean: mean value of these.
        deviation: standard deviation of these.
        warnings: what is unusual.
    """

    path: str
    count: int
    image_shape: tuple[int, int]
    stored_as: str
    pixel_size: float
    sampled: int
    mean: float
    deviation: float
    warnings: tuple[str, ...]


def describe_map(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> MapFacts:
    """Look at a density map without refusing what can still be described.

    Args:
        path: MRC or CCP4 file.
        limits: cap on the size of the map.

    Returns:
        facts and warnings.

    Raises:
        InputError: the file is damaged or too large.
    """
    values, header, trailing = read_density(path, limits=limits)
    finite = values[np.isfinite(values)]
    low, high, mean, deviation, zeros = 0.0, 0.0, 0.0, 0.0, 0.0
    if finite.size:
        low, high = float(finite.min()), float(finite.max())
        mean = float(finite.mean(dtype=np.float64))
        deviation = float(finite.std(dtype=np.float64))
        zeros = float((finite == 0).mean())
    warnings = [*header.notes, *_header_warnings(header, path, trailing)]
    if finite.size < values.size:
        warnings.append(f"{values.size - finite.size} values are NaN or infinite")
    if low == high:
        warnings.append(f"every value is {low:g}")
    return MapFacts(
        path=str(path),
        shape=values.shape,
        stored_as=header.dtype.name,
        axis_order="".join("xyz"[axis - 1] for axis in header.axes),
        voxel_size=header.voxel_size,
        origin=header.first_voxel,
        minimum=low,
        maximum=high,
        mean=mean,
        deviation=deviation,
        zero_fraction=zeros,
        warnings=tuple(warnings),
    )


def _header_warnings(header: MrcHeader, path: str | Path, trailing: int) -> list[str]:
    warnings = []
    try:
        check_is_map(header, path)
    except InputError as error:
        warnings.append(f"{error.cause}; {error.remedy}")
    if header.axes != (1, 2, 3):
        warnings.append("its axes are not in the order x, y, z; they are put right on reading")
    size = header.voxel_size
    if not np.isfinite(size).all():
        warnings.append("the header states no voxel size")
    else:
        warnings += pixel_warnings(size[0])
        if max(size) > 1.001 * min(size):
            warnings.append("the voxels are not cubic")
    if any(header.origin) and any(header.start):
        warnings.append("both origin and start are set; the origin is used")
    if header.space_group != 0 and header.like_images:
        warnings.append("square sections and no cell: it may be a stack of images")
    if trailing:
        warnings.append("bytes follow the values; they are not read")
    return warnings


def pixel_warnings(size: float) -> list[str]:
    """Warn of a pixel size that no microscope gives.

    Args:
        size: Å.

    Returns:
        no or one warning.
    """
    low, high = PLAUSIBLE_PIXEL
    if low <= size <= high:
        return ["a pixel size of exactly 1 Å may stand for one never set"] if size == 1 else []
    return [f"a pixel size of {size:g} Å is implausible"]


def describe_stack(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> StackFacts:
    """Look at a stack of images, reading at most 200 of them, evenly spread.

    Args:
        path: MRC file, not packed.
        limits: cap on the size of one image.

    Returns:
        facts and warnings.

    Raises:
        InputError: the file is damaged or packed.
    """
    stack = open_stack(path, limits=limits)
    count = min(len(stack), _MOST_IMAGES)
    numbers = np.unique(np.linspace(0, len(stack) - 1, count).astype(np.int64))
    warnings = list(stack.header.notes)
    mean, deviation = np.nan, np.nan
    try:
        # One by one: a stack of large frames need not fit into memory.
        sums = [_image_statistics(stack.read(numbers[i : i + 1])) for i in range(len(numbers))]
        means, squares = np.array(sums).T
        mean = float(means.mean())
        deviation = float(np.sqrt(max(squares.mean() - mean**2, 0.0)))
        constant = int((squares - means**2 <= 1e-12 * squares).sum())
        if constant:
            warnings.append(blank_warning(constant, len(numbers)))
    except InputError as error:
        warnings.append(f"{error.place}: {error.cause}")
    warnings += _stack_warnings(stack)
    return StackFacts(
        path=str(path),
        count=len(stack),
        image_shape=stack.image_shape,
        stored_as=stack.header.dtype.name,
        pixel_size=stack.pixel_size,
        sampled=len(numbers),
        mean=mean,
        deviation=deviation,
        warnings=tuple(warnings),
    )


def blank_warning(blank: int, sampled: int) -> str:
    """Warn of images without any signal.

    Args:
        blank: number of images whose pixels are all equal.
        sampled: number of images that were looked at.

    Returns:
        one warning.
    """
    return f"{blank} of {sampled} images looked at are blank: all pixels are equal"


def _image_statistics(image: Float32[np.ndarray, "1 y x"]) -> tuple[float, float]:
    wide = image.astype(np.float64)
    return float(wide.mean()), float((wide**2).mean())


def _stack_warnings(stack: ImageStack) -> list[str]:
    warnings = []
    rows, columns = stack.image_shape
    if rows != columns:
        warnings.append(f"the images are not square: {columns} × {rows} pixels")
    if stack.header.space_group != 0 and len(stack) > 1:
        warnings.append("the header calls it a volume; its sections are taken as images")
    if np.isnan(stack.pixel_size):
        warnings.append("the header states no pixel size")
    else:
        warnings += pixel_warnings(stack.pixel_size)
    if stack.trailing_bytes:
        warnings.append(f"{stack.trailing_bytes} bytes follow the last image; they are not read")
    return warnings
