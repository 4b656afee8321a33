"""The PDB format: fixed columns read strictly, and written within its limits."""

from pathlib import Path

import numpy as np
from jaxtyping import Float32, Float64, Int32, Shaped, UInt8

from cryojax_graph.io.atom_table import (
    AtomRecords,
    AtomTable,
    element_from_name,
    element_symbol,
    residue_starts,
)
from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import Limits

_WIDTH = 80
_CORRECT = "correct the file, or write it again"
_Text = Shaped[np.ndarray, " n"]


def parse_pdb(text: str, *, file: str | Path, limits: Limits) -> AtomRecords:
    """Read the atoms of a PDB file.

    Args:
        text: contents of the file.
        file: its name, for messages.
        limits: cap on the number of atoms.

    Returns:
        all atoms of all models, alternate locations included.

    Raises:
        InputError: there are no atoms, a line is cut, or a number cannot be read; the line is
            named.
    """
    rows, numbers, models = _atom_lines(text, file)
    if len(rows) > limits.atoms:
        cause = f"{len(rows)} atoms, more than {limits.atoms}"
        raise InputError(file, "its contents", cause, "raise Limits.atoms if that is meant")
    block = "".join(row[:_WIDTH].ljust(_WIDTH) for row in rows)
    if not block.isascii():
        row = next(i for i, line in enumerate(rows) if not line[:_WIDTH].isascii())
        cause = "a character that is not ASCII"
        raise InputError(file, f"line {numbers[row]}", cause, _CORRECT)
    characters = np.frombuffer(block.encode("ascii"), np.uint8).reshape(len(rows), _WIDTH)

    def text_at(start: int, stop: int) -> _Text:
        return np.strings.strip(_bytes_at(characters, start, stop)).astype("U")

    def number_at(start: int, stop: int, name: str, default: str = "") -> Float64[np.ndarray, " n"]:
        return _numbers(_bytes_at(characters, start, stop), name, default, numbers, file)

    positions = np.stack([number_at(s, s + 8, "coordinate") for s in (30, 38, 46)], axis=1)
    _refuse_far(positions, numbers, file)
    names, residue_names = text_at(12, 16), text_at(17, 20)
    raw_names = _bytes_at(characters, 12, 16).astype("U")
    if (names == "").any():
        place = f"line {numbers[int((names == '').argmax())]}"
        raise InputError(file, place, "an atom without a name", _CORRECT)
    return AtomRecords(
        AtomTable(
            positions=positions.astype(np.float32),
            element=_elements(text_at(76, 78), raw_names, residue_names, numbers, file),
            name=names,
            residue_name=residue_names,
            residue_number=_residue_numbers(text_at(22, 26), text_at(26, 27), numbers, file),
            insertion_code=text_at(26, 27),
            # Two letters where large assemblies need them, as gemmi and Phenix write them.
            chain=text_at(20, 22),
            b_factor=number_at(60, 66, "B-factor", "0").astype(np.float32),
            occupancy=number_at(54, 60, "occupancy", "1").astype(np.float32),
            hetero=text_at(0, 6) == "HETATM",
        ),
        altloc=text_at(16, 17),
        model=np.array(models, np.int32),
    )


def _atom_lines(text: str, file: str | Path) -> tuple[list[str], list[int], list[int]]:
    rows, numbers, models = [], [], []
    model = -1
    for number, line in enumerate(text.split("\n"), 1):
        record = line[:6].rstrip()
        if record == "MODEL":
            if model < 0 and rows:
                cause = "a model begins after atoms that belong to none"
                raise InputError(file, f"line {number}", cause, _CORRECT)
            model += 1
        elif record in ("ATOM", "HETATM"):
            line = line.rstrip("\r")
            if len(line) < 54:
                cause = f"an atom line cut after {len(line)} of 54 columns"
                raise InputError(file, f"line {number}", cause, _CORRECT)
            rows.append(line)
            numbers.append(number)
            models.append(max(model, 0))
    if not rows:
        remedy = "name a PDB or mmCIF file of a model"
        raise InputError(file, "its contents", "it holds no atoms", remedy)
    return rows, numbers, models


def _bytes_at(characters: UInt8[np.ndarray, "n width"], start: int, stop: int) -> _Text:
    return np.ascontiguousarray(characters[:, start:stop]).view(f"S{stop - start}")[:, 0]


def _numbers(
    values: _Text, name: str, default: str, lines: list[int], file: str | Path
) -> Float64[np.ndarray, " n"]:
    texts = [value.decode("ascii").strip() or default for value in values.tolist()]
    converted = np.empty(len(texts))
    for row, text in enumerate(texts):
        try:
            converted[row] = float(text)
        except ValueError:
            converted[row] = np.nan
        if not np.isfinite(converted[row]) or "_" in text:
            cause = f"{name} {quote(text)} is not a finite number"
            raise InputError(file, f"line {lines[row]}", cause, _CORRECT)
    return converted


def _refuse_far(positions: Float64[np.ndarray, "n 3"], lines: list[int], file: str | Path) -> None:
    far = (np.abs(positions) > 1e6).any(axis=1)
    if far.any():
        place = f"line {lines[int(far.argmax())]}"
        raise InputError(file, place, "an atom more than 0.1 mm away", _CORRECT)


def _residue_numbers(
    texts: _Text, codes: _Text, lines: list[int], file: str | Path
) -> Int32[np.ndarray, " n"]:
    decoded: dict[str, int] = {}
    for text in np.unique(texts).tolist():
        number = _decode_hybrid36(text)
        if number is None:
            row = int((texts == text).argmax())
            cause = f"residue number {quote(text)} is not a number"
            raise InputError(file, f"line {lines[row]}", cause, _CORRECT)
        decoded[text] = number
    overflow = np.strings.isdigit(codes)
    if overflow.any():
        cause = "a residue number of more than four digits runs into the next column"
        place = f"line {lines[int(overflow.argmax())]}"
        raise InputError(file, place, cause, "write the model as mmCIF")
    return np.array([decoded[text] for text in texts.tolist()], np.int32)


def _decode_hybrid36(text: str) -> int | None:
    """Residue number; beyond 9999 in base 36, A000 and a000 on (Grosse-Kunstleve, cctbx)."""
    if text.lstrip("-").isdecimal() and text.count("-") <= 1:
        return int(text)
    if len(text) != 4 or not text.isalnum() or not text[0].isalpha():
        return None
    if text.isupper():
        return int(text, 36) - 10 * 36**3 + 10**4
    return int(text, 36) + 16 * 36**3 + 10**4 if text.islower() else None


def _elements(
    symbols: _Text, names: _Text, residues: _Text, lines: list[int], file: str | Path
) -> _Text:
    keys = np.stack([symbols, names, residues], axis=1)
    kinds, first, which = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    found = []
    for (symbol, name, residue), row in zip(kinds.tolist(), first.tolist(), strict=True):
        # Old files have other things in the columns of the element.
        element = element_symbol(symbol) or element_from_name(name, residue)
        if not element:
            cause = f"no element can be told from the atom name {quote(name)}"
            raise InputError(file, f"line {lines[row]}", cause, "fill columns 77-78")
        found.append(element)
    return np.array(found, "U2")[which.reshape(-1)]


def format_pdb(
    atoms: AtomTable, positions: Float32[np.ndarray, "frames n 3"], *, file: str | Path
) -> str:
    """Atoms in PDB format, one MODEL per frame when there are several.

    Args:
        atoms: the atoms.
        positions: their positions in every frame in Å.
        file: name of the file to be, for messages.

    Returns:
        contents of the file.

    Raises:
        InputError: something does not fit into the columns of the format.
    """
    _refuse_unfit(atoms, positions, file)
    heads = [
        f"{'HETATM' if hetero else 'ATOM':<6}{serial:5d} {_column_name(name, element)} "
        f"{residue:>3} {chain or ' ':1}{number:4d}{code or ' ':1}   "
        for serial, hetero, name, element, residue, chain, number, code in zip(
            range(1, len(atoms) + 1),
            atoms.hetero.tolist(),
            atoms.name.tolist(),
            atoms.element.tolist(),
            atoms.residue_name.tolist(),
            atoms.chain.tolist(),
            atoms.residue_number.tolist(),
            atoms.insertion_code.tolist(),
            strict=True,
        )
    ]
    pairs = zip(atoms.occupancy.tolist(), atoms.b_factor.tolist(), strict=True)
    numbers = [f"{occupancy:6.2f}{b:6.2f}" for occupancy, b in pairs]
    tails = [f"          {element.upper():>2}\n" for element in atoms.element.tolist()]
    ends = _chain_ends(atoms)
    parts = []
    for number, frame in enumerate(positions.tolist(), 1):
        if len(positions) > 1:
            parts.append(f"MODEL     {number:4d}\n")
        for i, (x, y, z) in enumerate(frame):
            parts.append(f"{heads[i]}{x:8.3f}{y:8.3f}{z:8.3f}{numbers[i]}{tails[i]}")
            if i in ends:
                parts.append("TER\n")
        if len(positions) > 1:
            parts.append("ENDMDL\n")
    return "".join([*parts, "END\n"])


def _refuse_unfit(
    atoms: AtomTable, positions: Float32[np.ndarray, "frames n 3"], file: str | Path
) -> None:
    widths = {"name": 4, "residue_name": 3, "chain": 1, "insertion_code": 1}
    wide = [f for f, w in widths.items() if (np.strings.str_len(getattr(atoms, f)) > w).any()]
    limits = {
        "more than 99,999 atoms": len(atoms) > 99_999,
        "more than 9,999 models": len(positions) > 9_999,
        "a coordinate outside -999.999 to 9999.999": (positions < -999.999).any()
        or (positions > 9999.999).any(),
        "a residue number outside -999 to 9999": (atoms.residue_number < -999).any()
        or (atoms.residue_number > 9999).any(),
        "a B-factor outside -99 to 999": (np.abs(atoms.b_factor - 450) > 549).any(),
        "an occupancy outside -99 to 999": (np.abs(atoms.occupancy - 450) > 549).any(),
    }
    causes = [f"a long {field.replace('_', ' ')}" for field in wide]
    causes += [cause for cause, holds in limits.items() if holds]
    if causes:
        cause = f"{causes[0]} does not fit into the PDB format"
        raise InputError(file, "writing it", cause, "write mmCIF: end the name in .cif")


def _column_name(name: str, element: str) -> str:
    return f"{name:<4}" if len(element) == 2 or len(name) == 4 else f" {name:<3}"


def _chain_ends(atoms: AtomTable) -> set[int]:
    """Last atom of the ATOM records of every chain, where TER belongs."""
    starts = residue_starts(atoms)
    polymer = ~atoms.hetero[starts]
    chains = atoms.chain[starts]
    last: dict[str, int] = {}
    stops = [*starts[1:].tolist(), len(atoms)]
    for chain, in_polymer, stop in zip(chains.tolist(), polymer.tolist(), stops, strict=True):
        if in_polymer:
            last[chain] = stop - 1
    return set(last.values())
