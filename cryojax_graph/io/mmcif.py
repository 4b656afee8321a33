"""The mmCIF format of models: ``_atom_site`` to arrays, and arrays to a file that programs read."""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]
from jaxtyping import Bool, Float32, Float64, Int32, Shaped

from cryojax_graph._version import __version__
from cryojax_graph.io.atom_table import (
    AtomRecords,
    AtomTable,
    element_from_name,
    element_symbol,
)
from cryojax_graph.io.cif_text import TEXT, parse_cif, plain_values, to_numbers
from cryojax_graph.io.entities import Entities, find_entities
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.limits import Limits

_Text: TypeAlias = Shaped[np.ndarray, " n"]
_CORRECT = "correct the file, or write it again"
_LONGEST_NAME = 32
_SITE = "_atom_site."


def parse_mmcif(text: str, *, file: str | Path, limits: Limits) -> AtomRecords:
    """Read the atoms of an mmCIF file.

    Chains, residue numbers and insertion codes are the authors', as in the PDB format.

    Args:
        text: contents of the file.
        file: its name, for messages.
        limits: cap on the number of atoms.

    Returns:
        all atoms of all models, alternate locations included.

    Raises:
        InputError: the syntax is broken, there are no atoms, a column is missing, or a number
            cannot be read; the row is named.
    """
    columns = _atom_site(parse_cif(text, file=file), file, limits)
    positions = np.stack([_real(columns, f"Cartn_{axis}", file) for axis in "xyz"], axis=1)
    far = (np.abs(positions) > 1e6).any(axis=1)
    if far.any():
        place = row_place(int(far.argmax()), table="_atom_site", column="Cartn_x")
        raise InputError(file, place, "an atom more than 0.1 mm away", _CORRECT)
    count = len(positions)
    names = _text(columns, ("label_atom_id", "auth_atom_id"), file)
    residues = _text(columns, ("auth_comp_id", "label_comp_id"), file)
    numbers = _first_stated(columns, ("auth_seq_id", "label_seq_id"), file)
    models = columns.get("pdbx_PDB_model_num", np.array(["1"] * count, TEXT)).tolist()
    order = {name: i for i, name in enumerate(dict.fromkeys(models))}
    records = AtomRecords(
        AtomTable(
            positions=positions.astype(np.float32),
            element=_elements(columns, names, residues, file),
            name=names,
            residue_name=residues,
            residue_number=_whole(numbers, "auth_seq_id", file),
            insertion_code=_text(columns, ("pdbx_PDB_ins_code",), file, default=""),
            chain=_text(columns, ("auth_asym_id", "label_asym_id"), file, default=""),
            b_factor=_real(columns, "B_iso_or_equiv", file, "0").astype(np.float32),
            occupancy=_real(columns, "occupancy", file, "1").astype(np.float32),
            hetero=columns.get("group_PDB", np.array(["ATOM"] * count, TEXT)) == "HETATM",
        ),
        altloc=_text(columns, ("label_alt_id",), file, default=""),
        model=np.array([order[name] for name in models], np.int32),
    )
    if (np.diff(records.model) < 0).any():
        row = int((np.diff(records.model) < 0).argmax()) + 1
        place = row_place(row, table="_atom_site", column="pdbx_PDB_model_num")
        raise InputError(file, place, "the atoms of a model are not together", _CORRECT)
    return records


def _atom_site(document: cif.Document, file: str | Path, limits: Limits) -> dict[str, _Text]:
    blocks = [block for block in document if block.find_values(_SITE + "Cartn_x")]
    if len(blocks) != 1:
        cause = f"{len(blocks)} of its {len(document)} data blocks hold atoms"
        remedy = "name an mmCIF file of one model"
        raise InputError(file, "table _atom_site", cause, remedy)
    try:
        table = blocks[0].find_mmcif_category(_SITE)
    except RuntimeError as error:
        raise InputError(file, "table _atom_site", quote(error), _CORRECT) from None
    if len(table) == 0:
        raise InputError(file, "table _atom_site", "it holds no atoms", _CORRECT)
    if len(table) > limits.atoms:
        cause = f"{len(table)} atoms, more than {limits.atoms}"
        raise InputError(file, "table _atom_site", cause, "raise Limits.atoms if that is meant")
    columns = {}
    for number, tag in enumerate(table.tags):
        values = plain_values(str(value) for value in table.column(number))
        columns[str(tag)[len(_SITE) :]] = np.array(values, TEXT)
    return columns


def _null(values: _Text) -> Bool[np.ndarray, " n"]:
    return (values == ".") | (values == "?") | (values == "")


def _first_stated(columns: dict[str, _Text], names: tuple[str, ...], file: str | Path) -> _Text:
    """Values of the first column, and of the others where those before say nothing."""
    found = [columns[name] for name in names if name in columns]
    if not found:
        cause = f"there is no column {' or '.join(names)}"
        raise InputError(file, "table _atom_site", cause, _CORRECT)
    values = found[0]
    for others in found[1:]:
        values = np.where(_null(values), others, values)
    return values


def _text(
    columns: dict[str, _Text],
    names: tuple[str, ...],
    file: str | Path,
    default: str | None = None,
) -> _Text:
    if default is not None and not any(name in columns for name in names):
        return np.full(len(columns["Cartn_x"]), default, "U1")
    values = _first_stated(columns, names, file)
    nothing = _null(values)
    if default is None and nothing.any():
        place = row_place(int(nothing.argmax()), table="_atom_site", column=names[0])
        raise InputError(file, place, "it says nothing", _CORRECT)
    values = np.where(nothing, np.array(default or "", TEXT), values)
    long = np.strings.str_len(values) > _LONGEST_NAME
    if long.any():
        row = int(long.argmax())
        place = row_place(row, table="_atom_site", column=names[0])
        cause = f"{quote(values[row])} is too long for a name"
        raise InputError(file, place, cause, _CORRECT)
    return values.astype(f"U{max(1, int(np.strings.str_len(values).max()))}")


def _real(
    columns: dict[str, _Text], name: str, file: str | Path, default: str | None = None
) -> Float64[np.ndarray, " n"]:
    if default is not None:
        values = columns.get(name, np.array(["?"] * len(columns["Cartn_x"]), TEXT))
        values = np.where(_null(values), np.array(default, TEXT), values)
    else:
        values = _first_stated(columns, (name,), file)
    converted, bad = to_numbers(values)
    if bad is not None:
        place = row_place(bad, table="_atom_site", column=name)
        cause = f"{quote(values[bad])} is not a finite number"
        raise InputError(file, place, cause, _CORRECT)
    return converted


def _whole(values: _Text, name: str, file: str | Path) -> Int32[np.ndarray, " n"]:
    converted, bad = to_numbers(values)
    if bad is None:
        wrong = (converted != np.round(converted)) | (np.abs(converted) > 2**31 - 1)
        bad = int(wrong.argmax()) if wrong.any() else None
    if bad is not None:
        place = row_place(bad, table="_atom_site", column=name)
        cause = f"{quote(values[bad])} is not a whole number"
        raise InputError(file, place, cause, _CORRECT)
    return converted.astype(np.int32)


def _elements(columns: dict[str, _Text], names: _Text, residues: _Text, file: str | Path) -> _Text:
    symbols = columns.get("type_symbol", np.array(["?"] * len(names), TEXT))
    known: dict[tuple[str, str, str], str] = {}
    found = []
    for row, key in enumerate(
        zip(symbols.tolist(), names.tolist(), residues.tolist(), strict=True)
    ):
        if key not in known:
            symbol, name, residue = key
            told = element_from_name(name, residue) if symbol in ("?", ".") else ""
            known[key] = told or element_symbol(symbol)
            if not known[key]:
                place = row_place(row, table="_atom_site", column="type_symbol")
                cause = f"{quote(symbol)} is not an element"
                raise InputError(file, place, cause, _CORRECT)
        found.append(known[key])
    return np.array(found, "U2")


def format_mmcif(
    atoms: AtomTable,
    positions: Float32[np.ndarray, "frames n 3"],
    *,
    name: str,
    altloc: _Text | None = None,
) -> str:
    """Atoms in mmCIF format, one model per frame, with entities, sequences and software.

    Args:
        atoms: the atoms.
        positions: their positions in every frame in Å.
        name: name of the data block and of the entry.
        altloc: letter of the alternate location of each atom, or empty; none when not given.

    Returns:
        contents of the file.
    """
    entry = "".join(c if c.isalnum() and c.isascii() else "_" for c in name) or "model"
    entities = find_entities(atoms)
    heads = [
        " ".join(values)
        for values in zip(
            np.where(atoms.hetero, "HETATM", "ATOM").tolist(),
            _tokens(np.strings.upper(atoms.element)),
            _tokens(atoms.name),
            ["."] * len(atoms) if altloc is None else _tokens(altloc),
            _tokens(atoms.residue_name),
            entities.label_chain.tolist(),
            entities.entity.astype("U").tolist(),
            np.where(
                entities.sequence_number > 0, entities.sequence_number.astype("U"), "."
            ).tolist(),
            _tokens(atoms.insertion_code, "?"),
            strict=True,
        )
    ]
    tails = [
        f"{occupancy:.2f} {b:.2f} {number} {chain}"
        for occupancy, b, number, chain in zip(
            atoms.occupancy.tolist(),
            atoms.b_factor.tolist(),
            atoms.residue_number.tolist(),
            _tokens(entities.author_chain),
            strict=True,
        )
    ]
    parts = [f"data_{entry}\n#\n_entry.id {entry}\n#\n", _software(), _entities(entities)]
    parts.append("loop_\n" + "".join(f"{_SITE}{tag}\n" for tag in _SITE_TAGS))
    serial = 1
    for model, frame in enumerate(positions.tolist(), 1):
        for head, (x, y, z), tail in zip(heads, frame, tails, strict=True):
            group, rest = head.split(" ", 1)
            parts.append(f"{group} {serial} {rest} {x:.3f} {y:.3f} {z:.3f} {tail} {model}\n")
            serial += 1
    return "".join([*parts, "#\n"])


_SITE_TAGS = (
    "group_PDB",
    "id",
    "type_symbol",
    "label_atom_id",
    # Mostly empty, but gemmi takes a table without it for no atoms at all.
    "label_alt_id",
    "label_comp_id",
    "label_asym_id",
    "label_entity_id",
    "label_seq_id",
    "pdbx_PDB_ins_code",
    "Cartn_x",
    "Cartn_y",
    "Cartn_z",
    "occupancy",
    "B_iso_or_equiv",
    "auth_seq_id",
    "auth_asym_id",
    "pdbx_PDB_model_num",
)


def _tokens(values: _Text, empty: str = ".") -> list[str]:
    quoted = {value: cif.quote(value) if value else empty for value in np.unique(values).tolist()}
    return [quoted[value] for value in values.tolist()]


def _software() -> str:
    return (
        "_software.pdbx_ordinal 1\n_software.name cryojax-graph\n"
        f"_software.version {__version__}\n_software.classification 'model building'\n#\n"
    )


def _entities(entities: Entities) -> str:
    parts = ["loop_\n_entity.id\n_entity.type\n"]
    parts += [f"{e.number} {e.kind}\n" for e in entities.table]
    parts.append("#\nloop_\n_struct_asym.id\n_struct_asym.entity_id\n")
    parts += [f"{chain} {number}\n" for chain, number in entities.chains]
    polymers = [e for e in entities.table if e.kind == "polymer"]
    if polymers:
        parts.append(
            "#\nloop_\n_entity_poly.entity_id\n_entity_poly.type\n"
            "_entity_poly.pdbx_seq_one_letter_code\n_entity_poly.pdbx_strand_id\n"
        )
        parts += [
            f"{e.number} {cif.quote(e.polymer_type)} {e.letters} {cif.quote(','.join(e.strands))}\n"
            for e in polymers
        ]
        parts.append(
            "#\nloop_\n_entity_poly_seq.entity_id\n_entity_poly_seq.num\n_entity_poly_seq.mon_id\n"
        )
        for e in polymers:
            parts += [f"{e.number} {i} {cif.quote(n)}\n" for i, n in enumerate(e.residues, 1)]
    return "".join([*parts, "#\n"])
