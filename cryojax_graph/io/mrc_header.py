"""The 1024-byte header of an MRC2014 file: parsed, checked against the file, and made."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from mrcfile.dtypes import HEADER_DTYPE

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import Limits

HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_REFUSED_MODES = {
    3: "complex 16-bit integers, the Fourier transform of an image",
    4: "complex 32-bit floats, the Fourier transform of a map or image",
    101: "4-bit integers, packed movie frames",
}
_Order = Literal["<", ">"]
_STAMPS: dict[bytes, _Order] = {b"DD": "<", b"DA": "<", b"\x11\x11": ">", b"\x11A": ">"}
_IMOD_STAMP = 1146047817
_REPAIR = "get an undamaged copy of the file"


@dataclass(frozen=True)
class MrcHeader:
    """What an MRC header says, checked.

    Args:
        shape: stored sections, rows, columns.
        dtype: type of the stored values, with its byte order.
        axes: spatial axis (1 = x, 2 = y, 3 = z) of columns, rows, sections.
        start: first column, row, section in voxels.
        sampling: intervals along the cell edges x, y, z.
        cell_lengths: cell edges x, y, z in Å.
        cell_angles: cell angles in degrees; 0 where never set.
        origin: position of voxel 0 in Å (x, y, z), 0 where never set.
        space_group: 0 for a stack of images, 1 for a map, 401 for a stack of maps.
        extended_bytes: size of the extended header.
        notes: irregularities that old programs leave and that do not change the meaning.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype
    axes: tuple[int, int, int]
    start: tuple[int, int, int]
    sampling: tuple[int, int, int]
    cell_lengths: tuple[float, float, float]
    cell_angles: tuple[float, float, float]
    origin: tuple[float, float, float]
    space_group: int
    extended_bytes: int
    notes: tuple[str, ...]

    @property
    def data_offset(self) -> int:
        """First byte of the values."""
        return HEADER_BYTES + self.extended_bytes

    @property
    def section_bytes(self) -> int:
        """Bytes of one section."""
        return self.shape[1] * self.shape[2] * self.dtype.itemsize

    @property
    def data_bytes(self) -> int:
        """Bytes of all values."""
        return self.shape[0] * self.section_bytes

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Edge of a voxel in Å along x, y, z; NaN where the header does not say."""
        pairs = zip(self.cell_lengths, self.sampling, strict=True)
        x, y, z = (c / m if m > 0 and 0 < c < np.inf else np.nan for c, m in pairs)
        return x, y, z

    @property
    def orthogonal(self) -> bool:
        """Whether the cell has right angles; angles that were never set count as such."""
        return all(angle == 0 or abs(angle - 90) < 1e-3 for angle in self.cell_angles)

    @property
    def like_images(self) -> bool:
        """Whether its sections are images by all signs but the space group.

        Programs that know no stacks write images as the sections of a volume: square ones, of
        another number than their edge, in a cell that is not stated.
        """
        sections, rows, columns = self.shape
        unstated = not any(self.cell_lengths)
        return rows == columns != sections and unstated and self.axes == (1, 2, 3)

    @property
    def storage_order(self) -> tuple[int, int, int]:
        """Stored dimension that holds z, y, x: the argument of a transpose."""
        stored = self.axes[::-1]
        return stored.index(3), stored.index(2), stored.index(1)

    @property
    def first_voxel(self) -> tuple[float, float, float]:
        """Position of voxel 0 in Å (x, y, z): the origin, or start × voxel size where that is 0."""
        return self.first_voxel_of(self.voxel_size)

    def first_voxel_of(self, voxel_size: tuple[float, float, float]) -> tuple[float, float, float]:
        """Position of voxel 0 when voxels are of another size than the header says.

        Args:
            voxel_size: along x, y, z, Å.

        Returns:
            the origin, which is in Å, or start × voxel size where that is 0.
        """
        if any(self.origin):
            return self.origin
        start = (self.start[self.axes.index(axis)] for axis in (1, 2, 3))
        x, y, z = (s * v if s else 0.0 for s, v in zip(start, voxel_size, strict=True))
        return x, y, z


def parse_header(raw: bytes, *, file: str | Path, limits: Limits) -> MrcHeader:
    """Read the header of a map or stack, refusing what no program could mean.

    Args:
        raw: first 1024 bytes of the file.
        file: its name, for messages.
        limits: caps on the size of the extended header.

    Returns:
        the header; its sizes are not yet compared with those of the file.

    Raises:
        InputError: it is cut, not MRC, of a refused mode, or a field makes no sense.
    """
    if len(raw) < HEADER_BYTES:
        cause = f"it ends after {len(raw)} of {HEADER_BYTES} bytes"
        raise InputError(file, "header", cause, _REPAIR)
    notes: list[str] = []
    stamp = raw[212:214]
    if stamp in _STAMPS:
        order = _STAMPS[stamp]
    else:
        order = _guess_order(raw, file)
        notes.append("the byte order mark is missing; the order was told from the other fields")
    fields = np.frombuffer(raw, HEADER_DTYPE.newbyteorder(order), count=1)[0]
    if fields["map"] not in (b"MAP ", b"MAP"):
        if any(raw[208:212]):
            raise InputError(file, "header, bytes 208-211", "it is not an MRC file", _REPAIR)
        notes.append("the word MAP is missing from the header, as old programs leave it")
    axes = _axes(fields, file, notes)
    return MrcHeader(
        shape=_shape(fields, file),
        dtype=_dtype(int(fields["mode"]), raw, order, file),
        axes=axes,
        start=(int(fields["nxstart"]), int(fields["nystart"]), int(fields["nzstart"])),
        sampling=(int(fields["mx"]), int(fields["my"]), int(fields["mz"])),
        cell_lengths=_triple(fields["cella"]),
        cell_angles=_finite(_triple(fields["cellb"]), "cell angles", file),
        origin=_finite(_triple(fields["origin"]), "origin", file),
        space_group=int(fields["ispg"]),
        extended_bytes=_extended_bytes(int(fields["nsymbt"]), file, limits),
        notes=tuple(notes),
    )


def check_file_size(header: MrcHeader, actual: int, *, file: str | Path) -> int:
    """Compare the size that the header demands with that of the file.

    Args:
        header: parsed header.
        actual: bytes of the unpacked file.
        file: its name, for messages.

    Returns:
        bytes that follow the values.

    Raises:
        InputError: values are missing, or the file is irregular and does not fit exactly.
    """
    expected = header.data_offset + header.data_bytes
    sections, rows, columns = header.shape
    if actual < expected:
        raise InputError(
            file,
            "values",
            f"{columns} × {rows} × {sections} values of {header.dtype.itemsize} bytes need "
            f"{expected:,} bytes, the file has {actual:,}",
            _REPAIR,
        )
    if header.notes and actual != expected:
        raise InputError(
            file,
            "header",
            f"{header.notes[0]}, and the sizes do not fit: {expected:,} bytes by the header, "
            f"{actual:,} in the file",
            "check that it is an MRC file",
        )
    return actual - expected


def make_header(
    shape: tuple[int, int, int],
    *,
    dtype: np.dtype,
    voxel_size: tuple[float, float, float],
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0),
    statistics: tuple[float, float, float, float],
    stack: bool,
) -> bytes:
    """Header of a map or image stack in the order x, y, z, little-endian, MRC2014.

    Args:
        shape: sections, rows, columns.
        dtype: float32 or float16.
        voxel_size: voxel edges x, y, z in Å.
        origin: position of voxel 0 in Å (x, y, z).
        statistics: minimum, maximum, mean, standard deviation.
        stack: the sections are images and not parts of a volume.

    Returns:
        1024 bytes.
    """
    fields = np.zeros((), HEADER_DTYPE.newbyteorder("<"))
    sampling = (shape[2], shape[1], 1 if stack else shape[0])
    lengths = tuple(n * v for n, v in zip(sampling, voxel_size, strict=True))
    values = {
        **dict(zip(("nz", "ny", "nx"), shape, strict=True)),
        **dict(zip(("mx", "my", "mz"), sampling, strict=True)),
        **dict(zip(("mapc", "mapr", "maps"), (1, 2, 3), strict=True)),
        **dict(zip(("dmin", "dmax", "dmean", "rms"), statistics, strict=True)),
        "mode": 12 if dtype == np.float16 else 2,
        "cella": lengths,
        "cellb": (90.0, 90.0, 90.0),
        "origin": origin,
        "ispg": 0 if stack else 1,
        "nversion": 20141,
        "map": b"MAP ",
        "machst": (0x44, 0x44, 0, 0),
        "nlabl": 1,
    }
    for name, value in values.items():
        fields[name] = value
    fields["label"][0] = b"Written by cryojax-graph"
    return fields.tobytes()


def _guess_order(raw: bytes, file: str | Path) -> _Order:
    def plausible(order: _Order) -> bool:
        words = np.frombuffer(raw, order + "i4", count=19)
        known = int(words[3]) in _MODES or int(words[3]) in _REFUSED_MODES
        axes = sorted(words[16:19].tolist())
        return bool((words[:3] > 0).all()) and known and axes in ([1, 2, 3], [0, 0, 0])

    both: tuple[_Order, ...] = ("<", ">")
    orders: list[_Order] = [order for order in both if plausible(order)]
    if len(orders) != 1:
        raise InputError(
            file, "header, bytes 212-213", "no byte order mark: it is not an MRC file", _REPAIR
        )
    return orders[0]


def _shape(fields: np.void, file: str | Path) -> tuple[int, int, int]:
    columns, rows, sections = (int(fields[name]) for name in ("nx", "ny", "nz"))
    if min(columns, rows, sections) <= 0:
        cause = f"{columns} columns, {rows} rows, {sections} sections: all must be positive"
        raise InputError(file, "header, words 1-3", cause, _REPAIR)
    return sections, rows, columns


def _dtype(mode: int, raw: bytes, order: str, file: str | Path) -> np.dtype:
    if mode not in _MODES:
        kind = _REFUSED_MODES.get(mode, "no mode of the MRC standard")
        raise InputError(
            file,
            "header, word 4",
            f"mode {mode} ({kind}) is not a real map or image",
            "write it in mode 2 (32-bit float)",
        )
    stamp, flags = np.frombuffer(raw[152:160], order + "i4")
    # IMOD marks its files, and in those mode 0 is unsigned unless the first flag says otherwise.
    if mode == 0 and stamp == _IMOD_STAMP and not flags & 1:
        return np.dtype(np.uint8)
    return np.dtype(order + _MODES[mode])


def _axes(fields: np.void, file: str | Path, notes: list[str]) -> tuple[int, int, int]:
    axes = (int(fields["mapc"]), int(fields["mapr"]), int(fields["maps"]))
    if axes == (0, 0, 0):
        notes.append("the axis order is not set; columns, rows, sections are taken as x, y, z")
        return 1, 2, 3
    if sorted(axes) != [1, 2, 3]:
        cause = f"axis order {axes} is not an order of 1, 2, 3"
        remedy = "set words 17-19 to the order of x, y, z (1, 2, 3 for most programs)"
        raise InputError(file, "header, words 17-19", cause, remedy)
    return axes


def _extended_bytes(size: int, file: str | Path, limits: Limits) -> int:
    place = "header, word 24"
    if size < 0:
        raise InputError(file, place, f"an extended header of {size} bytes", _REPAIR)
    if size > limits.header_bytes:
        cause = f"an extended header of {size:,} bytes, more than {limits.header_bytes:,}"
        raise InputError(file, place, cause, "raise Limits.header_bytes if that is meant")
    return size


def _triple(field: np.void) -> tuple[float, float, float]:
    x, y, z = field.tolist()
    return x, y, z


def _finite(
    values: tuple[float, float, float], name: str, file: str | Path
) -> tuple[float, float, float]:
    if not np.isfinite(values).all():
        raise InputError(file, f"header, {name}", f"{values} is not finite", _REPAIR)
    return values
