"""Tables of RELION in the columns of cryoSPARC and the other way, nothing lost on the way back.

What the other program has no column for travels under a prefix: ``relion/TABLE/LABEL`` and
``relion_optics/LABEL`` in a ``.cs`` file, ``cs/NAME`` in a STAR file, with a table of their types.
On the way back these columns take their places again. Where the other program changed a pose, a
CTF, a half or a class meanwhile, the new value stands in the column; elsewhere its old text does.
Numbers that our own jobs write under a label of RELION, such as the probability of a pose, have it
in both: in a STAR file they replace what was carried there.
"""

from dataclasses import replace

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.agreement import restate
from cryojax_graph.io.carried import (
    FROM_CRYOSPARC,
    FROM_OPTICS,
    FROM_RELION,
    TYPES_TABLE,
    column_text,
    column_values,
    read_types,
    types_table,
)
from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.cryosparc import (
    PATH,
    SIGN,
    columns_from_fields,
    decode_cryosparc,
    recreated_columns,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import carried_sign_holds
from cryojax_graph.io.particle_table import (
    Columns,
    ParticleTable,
    canonical_fields,
    make_table,
)
from cryojax_graph.io.relion import (
    IMAGE_NAME,
    OPTICS_GROUP,
    STATED,
    as_text,
    decode_relion,
    tables_from_fields,
)
from cryojax_graph.io.star import StarTable

# What labels of STAR files begin with.
_LABELS = ("rln", "cryojaxgraph")


def to_cryosparc(table: ParticleTable) -> ParticleTable:
    """A table of RELION in the columns of cryoSPARC.

    Args:
        table: particles of a STAR file, with box and pixel size.

    Returns:
        the same particles, with identifiers where the table carries none.

    Raises:
        InputError: box or pixel size are absent, an optics group has a number below 1, or a
            carried column is damaged.
    """
    types = read_types(table.other_tables, file=table.source)
    if not types:
        table.require("box", "pixel_size")
    fields = canonical_fields(table)
    if table.optics_group is not None and table.optics_group.min() < 1:
        cause = f"{OPTICS_GROUP} {table.optics_group.min()}: RELION counts optics groups from 1"
        raise InputError(table.source, f"table {table.table_name}", cause, "number them from 1")
    fresh = columns_from_fields(fields)
    carried = {
        name: column_values(values, types.get(name), name=name, file=table.source)
        for label, values in table.columns.items()
        if (name := _cryosparc_name(label, types))
    }
    if SIGN in carried:
        # New files are light on dark, as RELION wants them.
        sign = carried[SIGN]
        carried[SIGN] = np.where(carried_sign_holds(table), sign, 1).astype(sign.dtype)
    known = {name: values for name, values in fresh.items() if name in types} if types else fresh
    base = _as_typed({**known, **carried}, types)
    decoded = decode_cryosparc(base, file=table.source)
    columns = restate(make_table(table.source, "cs", base, decoded), fields).columns
    order = [*(name for name in types if name in columns), *columns]
    columns = {name: columns[name] for name in dict.fromkeys(order)}
    columns |= _relion_columns(table, columns if types else {}, types)
    return make_table(table.source, "cs", columns, decode_cryosparc(columns, file=table.source))


def _cryosparc_name(label: str, types: dict[str, np.dtype]) -> str:
    """Name of a column that a STAR file has from a ``.cs`` table; empty for all others."""
    if label in types and _has_label(label, types[label]):
        return label
    return label.removeprefix(FROM_CRYOSPARC) if label.startswith(FROM_CRYOSPARC) else ""


def _has_label(name: str, kind: np.dtype) -> bool:
    """Whether a column of a ``.cs`` table is one of a STAR file too: numbers of our own jobs."""
    numbers = kind.base.kind in "fiub" and not kind.shape
    return numbers and name.startswith(_LABELS) and name not in STATED


def _as_typed(columns: Columns, types: dict[str, np.dtype]) -> Columns:
    """Numbers in the type, and text in the width, that they had in their first table."""
    kinds = {name: types[name].base for name in columns if name in types}
    return {
        name: values.astype(kinds[name])
        if name in kinds and _fits(values.dtype, kinds[name])
        else values
        for name, values in columns.items()
    }


def _fits(own: np.dtype, wanted: np.dtype) -> bool:
    if wanted.kind in "fiu":
        return own.kind in "fiu"
    return own.kind == wanted.kind and own.itemsize <= wanted.itemsize


def _relion_columns(table: ParticleTable, crossed: Columns, types: dict[str, np.dtype]) -> Columns:
    """Columns of RELION that ``crossed`` would not give again on the way back."""
    again = _from_cryosparc_alone(table.source, crossed) if crossed else None
    made = again.columns if again else {}
    made_optics = again.optics.columns if again and again.optics else {}
    columns = {
        f"{FROM_RELION}{table.table_name}/{label}": _as_bytes(values)
        for label, values in table.columns.items()
        if not _cryosparc_name(label, types)
        and not (label in made and made[label].tolist() == values.tolist())
    }
    if table.optics is not None and not (
        again
        and list(made_optics) == list(table.optics.columns)
        and all(made_optics[k].tolist() == v.tolist() for k, v in table.optics.columns.items())
    ):
        known = table.optics.columns[OPTICS_GROUP].astype(np.float64).tolist()
        groups = table.columns[OPTICS_GROUP].astype(np.float64).tolist()
        row_of = {group: row for row, group in enumerate(known)}
        rows = np.array([row_of[group] for group in groups])
        for label, values in table.optics.columns.items():
            columns[FROM_OPTICS + label] = _as_bytes(values)[rows]
    return columns


def lost_in_cryosparc(table: ParticleTable) -> list[str]:
    """What of a STAR file its ``.cs`` table cannot carry.

    Args:
        table: particles of a STAR file.

    Returns:
        each in words: further tables, and optics groups without particles.
    """
    others = [name for name in table.other_tables if name != TYPES_TABLE]
    lost = [f"the table data_{name}" for name in others]
    if table.optics is not None:
        used = set(table.columns[OPTICS_GROUP].astype(np.float64).tolist())
        groups = table.optics.columns[OPTICS_GROUP]
        unused = [g for g in groups.tolist() if float(g) not in used]
        lost += [f"optics group {group}, in which no particle is" for group in unused]
    return lost


def to_relion(table: ParticleTable) -> ParticleTable:
    """A table of cryoSPARC in the columns of RELION.

    Args:
        table: particles of a ``.cs`` file.

    Returns:
        the same particles; in the columns and tables of the STAR file that they came from, where
        they carry these, else in those of RELION 3.1.
    """
    columns, optics, name = _carried_relion(table.columns, table.source)
    if not columns:
        return _with_cryosparc(_from_cryosparc_alone(table.source, table.columns), table.columns)
    if IMAGE_NAME not in columns:
        cause = f"it carries columns of RELION, but not {IMAGE_NAME}"
        remedy = "remove the columns whose names begin with relion/, or write the file again"
        raise InputError(table.source, "its columns", cause, remedy)
    decoded = decode_relion(columns, optics, file=table.source, name=name)
    own = make_table(table.source, "star", columns, decoded, optics=optics, table_name=name)
    own = restate(own, canonical_fields(table))
    others = {
        n: v for n, v in table.columns.items() if not n.startswith((FROM_RELION, FROM_OPTICS))
    }
    return _with_cryosparc(own, others, came_from_relion=True)


def _carried_relion(columns: Columns, source: str) -> tuple[Columns, StarTable | None, str]:
    """Columns, optics and name of the STAR table that a ``.cs`` table carries."""
    carried: Columns = {}
    table_name = ""
    for name, values in columns.items():
        if name.startswith(FROM_RELION):
            table_name, _, label = name.removeprefix(FROM_RELION).partition("/")
            carried[label] = as_text(values)
    optics = {
        name.removeprefix(FROM_OPTICS): values
        for name, values in columns.items()
        if name.startswith(FROM_OPTICS)
    }
    if not optics or OPTICS_GROUP not in optics:
        return carried, None, table_name
    try:
        groups = optics[OPTICS_GROUP].astype(np.float64)
    except ValueError:
        cause, remedy = "a value is no number", "write the file again"
        raise InputError(source, f"column {FROM_OPTICS}{OPTICS_GROUP}", cause, remedy) from None
    first = np.unique(groups, return_index=True)[1]
    return carried, StarTable({k: as_text(v[first]) for k, v in optics.items()}), table_name


def _from_cryosparc_alone(source: str, columns: Columns) -> ParticleTable:
    """RELION 3.1 tables of what cryoSPARC's own columns say."""
    fields = decode_cryosparc(columns, file=source)
    made, optics = tables_from_fields(fields)
    made |= _micrographs(columns)
    decoded = decode_relion(made, optics, file=source, name="particles")
    return make_table(source, "star", made, decoded, optics=optics, table_name="particles")


def _micrographs(columns: Columns) -> Columns:
    """Where each particle was picked, which RELION needs to extract or polish it again."""
    made: Columns = {}
    path = columns.get("location/micrograph_path")
    if path is not None and path.dtype.kind == "S" and all(path.tolist()):
        made["rlnMicrographName"] = np.array(
            [text.removeprefix(">") for text in as_text(path).tolist()], TEXT
        )
    shape = columns.get("location/micrograph_shape")
    for axis, label, column in ((1, "rlnCoordinateX", "x"), (0, "rlnCoordinateY", "y")):
        fraction = columns.get(f"location/center_{column}_frac")
        if fraction is not None and shape is not None and shape.shape[1:] == (2,):
            made[label] = as_text(fraction.astype(np.float64) * shape[:, axis])
    return made


def _with_cryosparc(
    table: ParticleTable, columns: Columns, *, came_from_relion: bool = False
) -> ParticleTable:
    """Add the columns of a ``.cs`` table that its own could not be made from again."""
    recreated = recreated_columns(columns, canonical_fields(table))
    labels = {
        name: column_text(values)
        for name, values in columns.items()
        if _has_label(name, np.dtype((values.dtype, values.shape[1:])))
    }
    table = replace(table, columns={**table.columns, **labels})
    recreated |= labels.keys()
    if SIGN in columns and SIGN not in recreated:
        # It is said of these files, and of no others.
        recreated -= {PATH}
    carried = {
        FROM_CRYOSPARC + name: column_text(values)
        for name, values in columns.items()
        if name not in recreated
    }
    if came_from_relion and not carried:
        return table
    return replace(
        table,
        columns={**table.columns, **carried},
        other_tables={**table.other_tables, TYPES_TABLE: types_table(columns)},
    )


def _as_bytes(values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    encoded = [text.encode("utf-8") for text in values.tolist()]
    return np.array(encoded, f"S{max(1, *map(len, encoded))}")
