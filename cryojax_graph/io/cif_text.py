"""CIF syntax, the one under STAR tables and mmCIF models, its faults told as input errors."""

import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]
from jaxtyping import Shaped

from cryojax_graph.io.errors import InputError, quote

# Variable width: one long value in a column does not widen every other value of it.
TEXT = np.dtypes.StringDType()
_END_OF_LOOP = ("_", "data_", "loop_", "save_", "global_")
_TOKEN = re.compile(r"'.*?'(?=\s|$)|\".*?\"(?=\s|$)|\S+")
_PLACE = re.compile(r"^string:(\d+)(?::\d+\(\d+\))?(?: in \S*)?:\s*(.*)$", re.DOTALL)


def parse_cif(text: str, *, file: str | Path) -> cif.Document:
    """Parse text in CIF syntax.

    Args:
        text: contents of the file.
        file: its name, for messages.

    Returns:
        its blocks.

    Raises:
        InputError: it breaks the syntax; the line is named.
    """
    try:
        return cif.read_string(text)
    except (ValueError, RuntimeError) as error:
        line, cause = _explain(str(error), text)
        raise InputError(file, line, cause, "correct the file, or write it again") from None


def _explain(message: str, text: str) -> tuple[str, str]:
    match = _PLACE.match(message)
    if match is None:
        return "its contents", quote(message.removeprefix("string: "))
    number, cause = int(match[1]), match[2]
    lines = text.split("\n")
    if "Wrong number of values" in cause:
        if uneven := find_uneven_row(lines, number):
            return uneven
        # The parser ends a loop where it meets a character that it does not know.
        rest = enumerate(lines[number - 1 :], number)
        number = next((n for n, line in rest if not line.isascii()), number)
        cause = "its values do not fill its columns"
    line = lines[number - 1] if 0 < number <= len(lines) else ""
    if not line.isascii():
        cause = "a character that is not ASCII"
    return f"line {number}", f"{cause} in {quote(line.strip())}"


def find_uneven_row(lines: list[str], start: int) -> tuple[str, str] | None:
    """First line of a loop that holds more or fewer values than the loop has columns.

    CIF lets a row run over several lines, STAR tables do not: there, rows that are all short can
    fill the columns by chance, and every value would stand in a wrong column.

    Args:
        lines: lines of the file.
        start: number of the line with ``loop_``, from 1.

    Returns:
        place and cause, or None where every row fills one line.
    """
    columns = 0
    in_rows = False
    for number, line in enumerate(lines[start:], start + 1):
        count, first = _count_values(line)
        if count == 0:
            continue
        if first[0] == "_" and not in_rows:
            columns += 1
            continue
        if first.lower().startswith(_END_OF_LOOP):
            break
        in_rows = True
        if count != columns:
            return f"line {number}", f"{count} values for the {columns} columns of its loop"
    return None


def _count_values(line: str) -> tuple[int, str]:
    words = _TOKEN.findall(line) if "'" in line or '"' in line else line.split()
    if "#" in line:
        comment = next((i for i, word in enumerate(words) if word[0] == "#"), len(words))
        words = words[:comment]
    return len(words), words[0] if words else ""


def plain_values(values: Iterable[str]) -> list[str]:
    """Values without the quotes of the file.

    Args:
        values: tokens as they stand in the file.

    Returns:
        the text that they mean; ``.`` and ``?`` stay.
    """
    return [cif.as_string(v) if v[0] in "'\";" else v for v in values]


def to_numbers(
    values: Shaped[np.ndarray, " n"],
) -> tuple[Shaped[np.ndarray, " n"], int | None]:
    """Convert text to numbers, telling the first that is none.

    Args:
        values: text.

    Returns:
        float64 values and the index of the first that is not a finite number, or None.
    """
    try:
        numbers = values.astype(np.float64)
        # Python reads 1_0 as 10; no file format does.
        bad = ~np.isfinite(numbers) | (np.strings.find(values, np.array("_", TEXT)) >= 0)
        return numbers, int(bad.argmax()) if bad.any() else None
    except ValueError:
        pass
    for index, value in enumerate(values.tolist()):
        try:
            float(value)
        except ValueError:
            return np.zeros(len(values)), index
    return np.zeros(len(values)), 0
