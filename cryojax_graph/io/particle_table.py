"""One table of particles, whatever program wrote it: canonical arrays beside its own columns."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64, Integer, Shaped

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.star import StarTable

Kind: TypeAlias = Literal["star", "cs"]
Piece: TypeAlias = Literal["poses", "ctf", "pixel_size", "box", "half_sets"]
Columns: TypeAlias = dict[str, Shaped[np.ndarray, "rows ..."]]

_FIELDS_OF: dict[Piece, tuple[str, ...]] = {
    "poses": ("euler_degrees", "shift_angstrom"),
    "ctf": (
        "defocus_u",
        "defocus_v",
        "defocus_angle_degrees",
        "phase_shift_degrees",
        "voltage_kv",
        "spherical_aberration_mm",
        "amplitude_contrast",
        "b_factor",
    ),
    "pixel_size": ("pixel_size",),
    "box": ("box",),
    "half_sets": ("half_set",),
}
_COLUMNS_OF: dict[tuple[Kind, Piece], tuple[str, ...]] = {
    ("star", "poses"): ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"),
    ("star", "ctf"): (
        "rlnDefocusU",
        "rlnDefocusV",
        "rlnDefocusAngle",
        "rlnVoltage",
        "rlnSphericalAberration",
        "rlnAmplitudeContrast",
    ),
    ("star", "pixel_size"): ("rlnDetectorPixelSize", "rlnMagnification"),
    ("star", "box"): ("rlnImageSize",),
    ("star", "half_sets"): ("rlnRandomSubset",),
    ("cs", "poses"): ("alignments3D/pose", "alignments3D/shift", "alignments3D/psize_A"),
    ("cs", "ctf"): (
        "ctf/df1_A",
        "ctf/df2_A",
        "ctf/df_angle_rad",
        "ctf/accel_kv",
        "ctf/cs_mm",
        "ctf/amp_contrast",
    ),
    ("cs", "pixel_size"): ("blob/psize_A",),
    ("cs", "box"): ("blob/shape",),
    ("cs", "half_sets"): ("alignments3D/split",),
}
# Where a table with none of the columns needs to be told more than their names.
_IN_WORDS: dict[tuple[Kind, Piece], str] = {
    ("star", "poses"): "rlnAngleRot, rlnAngleTilt, rlnAnglePsi and origins in Å or pixels",
    ("star", "pixel_size"): "rlnImagePixelSize, or rlnDetectorPixelSize and rlnMagnification",
    ("cs", "half_sets"): "alignments3D/split with both halves",
}


@dataclass(frozen=True)
class ParticleTable:
    """Particles of one table; an array is None where the table does not say.

    Angles, signs and the CTF follow RELION. ``columns`` holds every column of the file under its
    own name, so that nothing is lost when the table is written again; change values through
    :func:`cryojax_graph.io.with_columns`, which keeps both sides equal.

    Args:
        source: file of the table, for messages.
        kind: program whose columns these are: ``star`` (RELION) or ``cs`` (cryoSPARC).
        columns: columns of the particles as they came: text for ``star``, typed for ``cs``.
        optics: table of optics groups of RELION 3.1 and later.
        other_tables: further tables of the STAR file.
        table_name: name of the particles' own table in the STAR file.
        image_path: name of the stack of each image, as in the table.
        image_index: number of the image in its stack, from 0.
        euler_degrees: rot, tilt, psi: ZYZ, object to image coordinates.
        shift_angstrom: origin (x, y) in Å: moving the image by it centres the particle.
        defocus_u: larger defocus in Å, positive for underfocus.
        defocus_v: smaller defocus in Å.
        defocus_angle_degrees: angle from x to the direction of ``defocus_u``.
        phase_shift_degrees: phase shift of a phase plate; 0 where the table has CTF but no column.
        voltage_kv: acceleration voltage.
        spherical_aberration_mm: Cs.
        amplitude_contrast: fraction of amplitude contrast.
        b_factor: CTF envelope in Å², exp(−B k² / 4); 0 where the table has CTF but no column.
        pixel_size: Å.
        box: edge of the image in pixels.
        optics_group: number of the optics group.
        half_set: 1 or 2.
        class_number: number of the class, from 1; RELION writes 0 where there is none.
    """

    source: str
    kind: Kind
    columns: Columns
    optics: StarTable | None
    other_tables: dict[str, StarTable]
    table_name: str
    image_path: Shaped[np.ndarray, " n"]
    image_index: Int64[np.ndarray, " n"]
    euler_degrees: Float64[np.ndarray, "n 3"] | None = None
    shift_angstrom: Float64[np.ndarray, "n 2"] | None = None
    defocus_u: Float64[np.ndarray, " n"] | None = None
    defocus_v: Float64[np.ndarray, " n"] | None = None
    defocus_angle_degrees: Float64[np.ndarray, " n"] | None = None
    phase_shift_degrees: Float64[np.ndarray, " n"] | None = None
    voltage_kv: Float64[np.ndarray, " n"] | None = None
    spherical_aberration_mm: Float64[np.ndarray, " n"] | None = None
    amplitude_contrast: Float64[np.ndarray, " n"] | None = None
    b_factor: Float64[np.ndarray, " n"] | None = None
    pixel_size: Float64[np.ndarray, " n"] | None = None
    box: Int64[np.ndarray, " n"] | None = None
    optics_group: Int64[np.ndarray, " n"] | None = None
    half_set: Int64[np.ndarray, " n"] | None = None
    class_number: Int64[np.ndarray, " n"] | None = None

    def __len__(self) -> int:
        """Number of particles."""
        return len(self.image_index)

    def image_of_row(self) -> Int64[np.ndarray, " n"]:
        """Which rows show the same image, as after symmetry expansion.

        Returns:
            number of each row's image, counted in the order in which images first appear.
        """
        _, path = np.unique(self.image_path, return_inverse=True)
        images = np.stack([path.ravel(), self.image_index], axis=1)
        _, first, image = np.unique(images, axis=0, return_index=True, return_inverse=True)
        return np.argsort(np.argsort(first))[image.ravel()]

    def has(self, piece: Piece) -> bool:
        """Whether the table states a piece of information.

        Args:
            piece: ``poses``, ``ctf``, ``pixel_size``, ``box`` or ``half_sets``.

        Returns:
            True when every array of it is there.
        """
        return all(getattr(self, name) is not None for name in _FIELDS_OF[piece])

    def absent_columns(self, piece: Piece) -> tuple[str, ...]:
        """Columns for want of which the others of a piece of information are of no use.

        Args:
            piece: ``poses``, ``ctf``, ``pixel_size``, ``box`` or ``half_sets``.

        Returns:
            their names, or words for a choice of them; none where the table states the piece, or
            has no column of it at all.
        """
        if self.has(piece):
            return ()
        present = self.columns.keys() | (self.optics.columns if self.optics else {}).keys()
        columns = _COLUMNS_OF[self.kind, piece]
        absent = tuple(name for name in columns if name not in present)
        if not absent and (self.kind, piece) == ("star", "poses"):
            # Origins in pixels mean nothing without their size.
            return (_IN_WORDS["star", "pixel_size"],)
        return absent if len(absent) < len(columns) else ()

    def require(self, *pieces: Piece) -> None:
        """Refuse the table unless it states what a job needs.

        Args:
            pieces: any of ``poses``, ``ctf``, ``pixel_size``, ``box``, ``half_sets``.

        Raises:
            InputError: a piece is absent; the columns that it needs are named.
        """
        for piece in pieces:
            if self.has(piece):
                continue
            cause = f"it does not state {piece.replace('_', ' ')}"
            key = self.kind, piece
            needed = _IN_WORDS.get(key, ", ".join(_COLUMNS_OF[key]))
            remedy = f"add {', '.join(self.absent_columns(piece)) or needed}"
            if self.kind == "star" and self.optics is None and "rlnOpticsGroup" in self.columns:
                cause += ", and the table data_optics is missing"
            elif self.kind == "cs":
                remedy += ", or put the passthrough file of the same job beside it"
            place = f"table {self.table_name}" if self.table_name else "table"
            raise InputError(self.source, place, cause, remedy)


_NOT_ARRAYS = ("source", "kind", "columns", "optics", "other_tables", "table_name")
CANONICAL = tuple(f.name for f in fields(ParticleTable) if f.name not in _NOT_ARRAYS)


def make_table(
    source: str | Path,
    kind: Kind,
    columns: Columns,
    arrays: Mapping[str, Shaped[np.ndarray, "n ..."]],
    *,
    optics: StarTable | None = None,
    other_tables: Mapping[str, StarTable] | None = None,
    table_name: str = "",
) -> ParticleTable:
    """Put a table together from its columns and the canonical arrays decoded from them.

    Args:
        source: file of the table, for messages.
        kind: program whose columns these are.
        columns: columns as they came.
        arrays: canonical arrays by field name.
        optics: table of optics groups.
        other_tables: further tables of the STAR file.
        table_name: name of the particles' own table.

    Returns:
        the table.
    """
    return ParticleTable(
        source=str(source),
        kind=kind,
        columns=columns,
        optics=optics,
        other_tables=dict(other_tables or {}),
        table_name=table_name,
        **dict(arrays),  # pyright: ignore[reportArgumentType]
    )


def canonical_fields(table: ParticleTable) -> dict[str, Shaped[np.ndarray, "n ..."]]:
    """Canonical arrays that the table states.

    Args:
        table: particles.

    Returns:
        arrays by field name.
    """
    named = {name: getattr(table, name) for name in CANONICAL}
    return {name: values for name, values in named.items() if values is not None}


def subset(
    table: ParticleTable, indices: Integer[np.ndarray, " m"] | Bool[np.ndarray, " n"]
) -> ParticleTable:
    """Some particles of a table, with all their columns and every optics group.

    Args:
        table: particles.
        indices: row numbers from 0 in the order wanted, or a mask.

    Returns:
        a table of these rows.
    """
    columns = {name: values[indices] for name, values in table.columns.items()}
    arrays = {name: values[indices] for name, values in canonical_fields(table).items()}
    return replace(table, columns=columns, **arrays)


def check_lengths(table: ParticleTable, changes: Mapping[str, Shaped[np.ndarray, "..."]]) -> None:
    """Refuse new columns that do not fit the table.

    Args:
        table: particles.
        changes: new values by name of a field or column.

    Raises:
        ValueError: a column has another number of rows.
    """
    for name, values in changes.items():
        if len(values) != len(table):
            raise ValueError(f"{name} has {len(values)} rows, the table has {len(table)}")
