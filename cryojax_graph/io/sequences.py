"""FASTA files, read strictly."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.unpack import read_text

# X: unknown, U: selenocysteine, O: pyrrolysine. B, J and Z mean one of two residues.
_PROTEIN = frozenset("ACDEFGHIKLMNPQRSTVWYXUO")
_NUCLEOTIDE = frozenset("ACGTUN")
_WHY_NOT = {
    "-": "is a gap of an alignment",
    ".": "is a gap of an alignment",
    "*": "is a stop codon",
    "B": "means Asp or Asn",
    "J": "means Leu or Ile",
    "Z": "means Glu or Gln",
}
_REMEDIES = {"-": "remove the gaps", ".": "remove the gaps", "*": "remove it"}


@dataclass(frozen=True)
class Sequence:
    """One record of a FASTA file.

    Args:
        name: first word of its header.
        description: rest of its header.
        letters: upper-case sequence.
        kind: protein or nucleotide; a sequence of A, C, G, T, U and N alone is a nucleotide.
        lower_case: whether the file had letters in lower case.
    """

    name: str
    description: str
    letters: str
    kind: Literal["protein", "nucleotide"]
    lower_case: bool


def read_sequences(
    path: str | Path,
    *,
    kind: Literal["protein", "any"] = "protein",
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Sequence, ...]:
    """Read the sequences of a FASTA file.

    Args:
        path: FASTA file, plain, gzip or bzip2.
        kind: what to accept; with ``protein``, nucleic acids are refused.
        limits: cap on its unpacked size.

    Returns:
        the records in their order.

    Raises:
        InputError: a record has no name or no letters, a letter is unknown or ambiguous, a name
            occurs twice, or a nucleic acid stands where proteins are expected.
    """
    records: list[Sequence] = []
    names: dict[str, int] = {}
    header, start, parts = "", 0, []
    lines = [*enumerate(read_text(path, limits=limits).split("\n"), 1), (0, ">")]
    for number, raw in lines:
        line = raw.strip()
        if not line.startswith(">"):
            if line and not start:
                cause = f"{quote(line)} stands before the first header"
                raise InputError(path, f"line {number}", cause, "begin each record with >name")
            parts.append((number, line))
            continue
        if start:
            record = _record(header, start, parts, path)
            if record.name in names:
                cause = f"the name {quote(record.name)} stands already at line {names[record.name]}"
                raise InputError(path, f"line {start}", cause, "give each record its own name")
            if kind == "protein" and record.kind != "protein":
                cause = f"{quote(record.name)} is a nucleic acid: only A, C, G, T, U, N"
                remedy = "leave nucleic acids out: proteins are expected"
                raise InputError(path, f"line {start}", cause, remedy)
            names[record.name] = start
            records.append(record)
        header, start, parts = line[1:].strip(), number, []
    return tuple(records)


def _record(header: str, start: int, parts: list[tuple[int, str]], path: str | Path) -> Sequence:
    name, _, description = header.partition(" ")
    if not name:
        remedy = "give each record a name after >"
        raise InputError(path, f"line {start}", "a record without a name", remedy)
    original = "".join("".join(line.split()) for _, line in parts)
    if not original:
        cause = f"the record {quote(name)} is empty"
        raise InputError(path, f"line {start}", cause, "add its sequence, or remove it")
    if not all(map(_is_residue, set(original))):
        raise _unknown_letter(name, parts, path)
    letters = original.upper()
    kind = "nucleotide" if set(letters) <= _NUCLEOTIDE else "protein"
    return Sequence(name, description.strip(), letters, kind, original != letters)


def _unknown_letter(name: str, parts: list[tuple[int, str]], path: str | Path) -> InputError:
    number, column, letter = next(
        (number, column, letter)
        for number, line in parts
        for column, letter in enumerate(line, 1)
        if not _is_residue(letter) and not letter.isspace()
    )
    return InputError(
        path,
        f"line {number}, column {column}, record {quote(name)}",
        f"{quote(letter)} {_WHY_NOT.get(letter.upper(), 'is no amino acid')}",
        _REMEDIES.get(letter, "correct it, or write X for an unknown residue"),
    )


def _is_residue(letter: str) -> bool:
    # Some foreign letters turn into Latin ones in upper case.
    return letter.isascii() and letter.upper() in _PROTEIN
