"""Stacks of particle images: read lazily, any image at any time, and written image by image."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int

from cryojax_graph.io.atomic import atomic_file
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mrc_header import (
    HEADER_BYTES,
    MrcHeader,
    check_file_size,
    make_header,
    parse_header,
)
from cryojax_graph.io.unpack import open_plain, packing


@dataclass(frozen=True)
class ImageStack:
    """Images in an MRC file that stays on disk.

    Nothing is held open or mapped between two calls, so that thousands of stacks can be in use,
    memory does not grow with what was read, and a file that vanishes gives an error and no crash.

    Args:
        path: the file.
        header: its header.
        trailing_bytes: bytes that follow the last image.
    """

    path: Path
    header: MrcHeader
    trailing_bytes: int

    def __len__(self) -> int:
        """Number of images."""
        return self.header.shape[0]

    @property
    def image_shape(self) -> tuple[int, int]:
        """Pixels along y and x."""
        return self.header.shape[1:]

    @property
    def pixel_size(self) -> float:
        """Pixel size in Å that the header states along x; NaN where it does not."""
        return self.header.voxel_size[0]

    def read(self, indices: Int[np.ndarray, " n"]) -> Float32[np.ndarray, "n y x"]:
        """Read some images, in the order asked for.

        Args:
            indices: image numbers from 0, in any order, repeated or not.

        Returns:
            the images.

        Raises:
            InputError: an index lies outside the stack, a pixel is not finite, or the file
                changed since it was opened.
        """
        outside = (indices < 0) | (indices >= len(self))
        if outside.any():
            raise InputError(
                self.path,
                f"image {int(indices[outside.argmax()]) + 1}",
                f"the stack holds {len(self)} images",
                "check that table and stack belong together",
            )
        raw = np.empty((len(indices), *self.image_shape), self.header.dtype)
        order = np.argsort(indices, kind="stable")
        sequential = bool((order == np.arange(len(order))).all())
        target = raw if sequential else np.empty_like(raw)
        with open_plain(self.path) as handle:
            for first, count, image in _runs(indices[order]):
                self._read_run(handle, target[first : first + count], image)
        if not sequential:
            raw[order] = target
        with np.errstate(invalid="ignore"):
            images = raw.astype(np.float32, copy=False)
        self._check_finite(images, indices)
        return images

    def _read_run(self, handle: BufferedIOBase, target: np.ndarray, image: int) -> None:
        handle.seek(self.header.data_offset + image * self.header.section_bytes)
        view = target.reshape(-1).view(np.uint8)
        done = 0
        while done < len(view):
            count = handle.readinto(view[done:])  # pyright: ignore[reportArgumentType]
            if not count:
                raise InputError(
                    self.path,
                    f"image {image + 1}",
                    "the file became shorter since it was opened",
                    "do not write to a stack that is in use",
                )
            done += count

    def _check_finite(
        self, images: Float32[np.ndarray, "n y x"], indices: Int[np.ndarray, " n"]
    ) -> None:
        # The sum is finite whenever every pixel is, and costs far less than a mask of the batch.
        with np.errstate(invalid="ignore"):
            total = images.sum(dtype=np.float64)
        if np.isfinite(total):
            return
        bad = ~np.isfinite(images)
        images_hit = bad.any(axis=(1, 2))
        first = int(images_hit.argmax())
        y, x = np.unravel_index(int(bad[first].argmax()), self.image_shape)
        raise InputError(
            self.path,
            f"image {int(indices[first]) + 1}, pixel y={y}, x={x}",
            f"{int(bad.sum())} pixels in {int(images_hit.sum())} of {len(images)} images are NaN "
            "or infinite",
            "remove these images from the table, or extract them again",
        )


def _runs(indices: Int[np.ndarray, " n"]) -> Iterator[tuple[int, int, int]]:
    """Split sorted image numbers into stretches: position, length, first image."""
    if len(indices) == 0:
        return
    breaks = np.flatnonzero(np.diff(indices) != 1) + 1
    starts = [0, *breaks.tolist()]
    for start, stop in zip(starts, [*starts[1:], len(indices)], strict=True):
        yield start, stop - start, int(indices[start])


def open_stack(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> ImageStack:
    """Open a stack of images, reading its header only.

    Args:
        path: MRC file, not packed.
        limits: cap on the size of one image and of the extended header.

    Returns:
        the stack.

    Raises:
        InputError: the file is packed, damaged, of a refused mode, or not in the order x, y.
    """
    path = Path(path)
    if kind := packing(path):
        cause = f"a stack packed with {kind} cannot be read image by image"
        raise InputError(path, "its packing", cause, "unpack it first")
    with open_plain(path) as handle:
        header = parse_header(handle.read(HEADER_BYTES), file=path, limits=limits)
        actual = os.fstat(handle.fileno()).st_size
    if header.axes != (1, 2, 3):
        cause = f"axis order {header.axes} is that of a map"
        raise InputError(path, "header, words 17-19", cause, "name a stack of images")
    if header.section_bytes > limits.map_bytes:
        cause = f"one image has {header.section_bytes:,} bytes"
        raise InputError(path, "header", cause, "raise Limits.map_bytes if that is meant")
    return ImageStack(path, header, check_file_size(header, actual, file=path))


class StackWriter:
    """Appends images to a stack that is being written; see :func:`write_stack_in_parts`."""

    def __init__(self, handle: BufferedIOBase, path: Path, pixel_size: float, half: bool) -> None:
        self._handle = handle
        self._path = path
        self._pixel_size = pixel_size
        self._dtype = np.dtype("<f2" if half else "<f4")
        self._shape: tuple[int, int] | None = None
        self._count = 0
        self._low, self._high = np.inf, -np.inf
        self._mean, self._squares = 0.0, 0.0
        handle.write(bytes(HEADER_BYTES))

    def append(self, images: Float[np.ndarray, "n y x"]) -> None:
        """Add images at the end.

        Args:
            images: any number of images, all of one shape.

        Raises:
            InputError: a pixel is not finite.
            ValueError: the shape differs from that of the images before.
        """
        if self._shape is None:
            self._shape = images.shape[1:]
        if images.shape[1:] != self._shape:
            raise ValueError(f"images of {images.shape[1:]} after images of {self._shape}")
        if images.size == 0:
            return
        with np.errstate(over="ignore"):
            stored = np.ascontiguousarray(images, self._dtype)
        if not np.isfinite(stored).all():
            raise InputError(
                self._path,
                f"images {self._count + 1}-{self._count + len(images)}",
                "a pixel to be written is NaN or infinite",
                "report this as a fault of the program that made the images",
            )
        self._update_statistics(stored)
        self._handle.write(stored.data)
        self._count += len(images)

    def _update_statistics(self, images: np.ndarray) -> None:
        # Chan, Golub, LeVeque 1983: two sets' means and squared deviations combined, without the
        # cancellation of a sum of squares.
        before, now = self._count * images[0].size, images.size
        mean = float(images.mean(dtype=np.float64))
        squares = float(images.var(dtype=np.float64)) * now
        step = mean - self._mean
        self._squares += squares + step**2 * before * now / (before + now)
        self._mean += step * now / (before + now)
        self._low = min(self._low, float(images.min()))
        self._high = max(self._high, float(images.max()))

    def finish(self) -> None:
        """Write the header, now that count and statistics are known.

        Raises:
            ValueError: no image was appended.
        """
        if self._shape is None or self._count == 0:
            raise ValueError("a stack needs at least one image")
        pixels = self._count * self._shape[0] * self._shape[1]
        header = make_header(
            (self._count, *self._shape),
            dtype=self._dtype,
            voxel_size=(self._pixel_size, self._pixel_size, self._pixel_size),
            statistics=(self._low, self._high, self._mean, float(np.sqrt(self._squares / pixels))),
            stack=True,
        )
        self._handle.seek(0)
        self._handle.write(header)


@contextmanager
def write_stack_in_parts(
    path: str | Path, *, pixel_size: float, half: bool = False
) -> Iterator[StackWriter]:
    """Write a stack batch by batch; it takes its name when the block ends without an exception.

    Args:
        path: MRC file to write.
        pixel_size: pixel size in Å.
        half: store 16-bit floats (mode 12) in place of 32-bit ones.

    Yields:
        a writer with a method ``append(images)``.

    Raises:
        InputError: a pixel is not finite, or the disk refuses.
    """
    with atomic_file(path) as handle:
        writer = StackWriter(handle, Path(path), pixel_size, half)
        yield writer
        writer.finish()


def write_stack(
    path: str | Path, images: Float[np.ndarray, "n y x"], *, pixel_size: float, half: bool = False
) -> None:
    """Write a stack of images, whole or not at all.

    Args:
        path: MRC file to write.
        images: the images.
        pixel_size: pixel size in Å.
        half: store 16-bit floats (mode 12) in place of 32-bit ones.

    Raises:
        InputError: a pixel is not finite, or the disk refuses.
    """
    with write_stack_in_parts(path, pixel_size=pixel_size, half=half) as writer:
        writer.append(images)
