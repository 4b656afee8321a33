"""The images of a particle table, read from their stacks when asked for."""

import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

import numpy as np
from jaxtyping import Bool, Float32, Int64, Integer

from cryojax_graph.io.carried import FROM_CRYOSPARC
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.paths import allowed_roots, resolve_all
from cryojax_graph.io.relion import IMAGE_NAME
from cryojax_graph.io.stacks import ImageStack, open_stack

# Headers of stacks hold rounded pixel sizes; a wrong binning is off by far more.
PIXEL_TOLERANCE = 0.02
_ENDS = 1 << 16
CARRIED_SIGN = f"{FROM_CRYOSPARC}blob/sign"
"""Column of a STAR file with what cryoSPARC says of the contrast."""
_CARRIED_PATH = f"{FROM_CRYOSPARC}blob/path"


@dataclass(frozen=True)
class ParticleImages:
    """Images of all particles of a table, in its order, left on disk.

    Args:
        stacks: the different stacks.
        stack_number: stack of each particle.
        image_index: number of the image in its stack, from 0.
        box: edge of every image in pixels.
        sign: 1, or -1 for images that are dark on light; ``read`` returns them light on dark.
    """

    stacks: tuple[ImageStack, ...]
    stack_number: Int64[np.ndarray, " n"]
    image_index: Int64[np.ndarray, " n"]
    box: int
    sign: Float32[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of images."""
        return len(self.image_index)

    def read(self, indices: Integer[np.ndarray, " m"]) -> Float32[np.ndarray, "m y x"]:
        """Read the images of some particles.

        Args:
            indices: rows of the table from 0, in any order.

        Returns:
            the images, in the order asked for.

        Raises:
            InputError: a pixel is not finite, or a stack changed since it was opened.
        """
        numbers = self.stack_number[indices]
        images = np.empty((len(indices), self.box, self.box), np.float32)
        for number in np.unique(numbers).tolist():
            rows = np.flatnonzero(numbers == number)
            images[rows] = self.stacks[number].read(self.image_index[indices][rows])
        images *= self.sign[indices][:, None, None]
        return images

    def inverted(self) -> "ParticleImages":
        """The same images, light where they were dark.

        Returns:
            images of the other sign.
        """
        return replace(self, sign=-self.sign)

    def fingerprint(self) -> str:
        """Equal for stacks of the same sizes, headers, beginnings and ends, whatever their names.

        Returns:
            SHA-256 in hexadecimal digits.
        """
        digest = hashlib.sha256()
        for stack in self.stacks:
            with Path(stack.path).open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                digest.update(size.to_bytes(8, "little"))
                for start in (0, max(0, size - _ENDS)):
                    file.seek(start)
                    digest.update(file.read(_ENDS))
        return digest.hexdigest()


def open_images(
    table: ParticleTable,
    *,
    image_root: str | Path | None = None,
    trust_table_pixel_size: bool = False,
    limits: Limits = DEFAULT_LIMITS,
) -> ParticleImages:
    """Find and open the stacks of a table, checking all that can be checked without reading them.

    Args:
        table: particles.
        image_root: folder under which the names of the table are looked up first.
        trust_table_pixel_size: keep the table's pixel size where the header of a stack differs.
        limits: cap on the size of one image.

    Returns:
        the images.

    Raises:
        InputError: a stack is missing, damaged or outside the allowed folders, an index lies
            outside its stack or is missing where there are several images, images are not square
            or differ in size, or pixel sizes of table and stack differ by more than 2 %.
    """
    names, first, number = np.unique(table.image_path, return_index=True, return_inverse=True)
    number = number.reshape(-1).astype(np.int64)
    # In the order of the table, so that the row named in a message is the first of its kind.
    rows = sorted(zip(first.tolist(), names.tolist(), strict=True))
    named = [(name, row_place(row, table=table.table_name)) for row, name in rows]
    files = resolve_all(named, allowed_roots(table.source, image_root))
    stacks = tuple(open_stack(files[name], limits=limits) for name in names.tolist())
    _check_numbers(table, stacks, number)
    _check_indices(table, stacks, number)
    box = _check_boxes(table, stacks)
    if not trust_table_pixel_size:
        _check_pixel_sizes(table, stacks, number)
    return ParticleImages(stacks, number, table.image_index, box, _signs(table))


def _signs(table: ParticleTable) -> Float32[np.ndarray, " n"]:
    """What cryoSPARC says of the contrast, in its own table or carried along in a STAR file."""
    stated, holds = table.columns.get("blob/sign"), np.ones(len(table), bool)
    if stated is None:
        stated, holds = table.columns.get(CARRIED_SIGN), carried_sign_holds(table)
    if stated is None:
        return np.ones(len(table), np.float32)
    return np.where((stated.astype(np.float32) < 0) & holds, -1, 1).astype(np.float32)


def carried_sign_holds(table: ParticleTable) -> Bool[np.ndarray, " n"]:
    """Rows of a STAR file of which a carried sign can be said.

    A program that inverts images writes new files, but may keep columns that it does not know.
    Folders and endings of names are changed by hand, and the image stays the same.

    Args:
        table: particles.

    Returns:
        True where the file of the image has the name that it had when the sign was carried along,
        and everywhere if that is not known.
    """
    carried = table.columns.get(_CARRIED_PATH)
    if carried is None:
        return np.ones(len(table), bool)
    # Many images have one file: names are compared, not rows.
    before, after = np.asarray(carried), np.asarray(table.image_path)
    (old, of_old), (new, of_new) = (np.unique(v, return_inverse=True) for v in (before, after))
    pair, row = np.unique(of_old.ravel() * len(new) + of_new.ravel(), return_inverse=True)
    was = [PurePosixPath(unquote(str(text)).removeprefix(">")).stem for text in old]
    now = [PurePosixPath(str(text)).stem for text in new]
    same = [was[i] == now[j] for i, j in (divmod(int(each), len(new)) for each in pair)]
    return np.array(same, bool)[row.ravel()]


def _check_numbers(
    table: ParticleTable, stacks: tuple[ImageStack, ...], number: Int64[np.ndarray, " n"]
) -> None:
    """Refuse a name without a number where it could mean any of several images."""
    names = table.columns.get(IMAGE_NAME)
    if names is None:
        return
    counts = np.array([len(stack) for stack in stacks])[number]
    unclear = (counts > 1) & (np.strings.find(names, "@") < 0)
    if unclear.any():
        row = int(unclear.argmax())
        raise InputError(
            table.source,
            row_place(row, table=table.table_name),
            f"{quote(table.image_path[row])} has no number before it, and the file holds "
            f"{counts[row]} images",
            "write number@stack, numbers from 1; volumes of subtomograms are not read",
        )


def _check_indices(
    table: ParticleTable, stacks: tuple[ImageStack, ...], number: Int64[np.ndarray, " n"]
) -> None:
    counts = np.array([len(stack) for stack in stacks])[number]
    outside = table.image_index >= counts
    if outside.any():
        row = int(outside.argmax())
        raise InputError(
            table.source,
            row_place(row, table=table.table_name),
            f"image {table.image_index[row] + 1} of {stacks[number[row]].path}, which holds "
            f"{counts[row]}",
            "check that table and stacks belong together",
        )


def _check_boxes(table: ParticleTable, stacks: tuple[ImageStack, ...]) -> int:
    box = stacks[0].image_shape[1]
    for stack in stacks:
        rows, columns = stack.image_shape
        if rows != columns:
            cause = f"images of {columns} × {rows} pixels are not square"
            raise InputError(stack.path, "header", cause, "extract square images")
        if rows != box:
            raise InputError(
                stack.path,
                "header",
                f"images of {rows} pixels, those of {stacks[0].path} have {box}",
                "extract all particles in one box size, or split the table",
            )
    if table.box is not None and (table.box != box).any():
        row = int((table.box != box).argmax())
        raise InputError(
            table.source,
            row_place(row, table=table.table_name),
            f"box size {table.box[row]}, but the images have {box} pixels",
            "check that table and stacks belong together",
        )
    return box


def _check_pixel_sizes(
    table: ParticleTable, stacks: tuple[ImageStack, ...], number: Int64[np.ndarray, " n"]
) -> None:
    if table.pixel_size is None:
        return
    stated = np.array([stack.pixel_size for stack in stacks])
    # Programs that do not care leave 0 (read as NaN) or 1.
    stated[stated == 1.0] = np.nan
    difference = np.abs(stated[number] / table.pixel_size - 1)
    wrong = difference > PIXEL_TOLERANCE
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            table.source,
            row_place(row, table=table.table_name),
            f"pixel size {table.pixel_size[row]:g} Å, but {stacks[number[row]].path} states "
            f"{stated[number[row]]:g} Å",
            "correct the wrong one; relion_image_handler --force_header_angpix mends a header",
        )
