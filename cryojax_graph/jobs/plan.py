"""What a job would do, take and write, before it does."""

from pathlib import Path
from typing import NamedTuple

from cryojax_graph.io.particles import is_cs
from cryojax_graph.io.unpack import file_size

# Measured on tables of 120,000 rows: most is taken while text is parsed.
_OF_TEXT, _OF_RECORDS = 14, 6


class Plan(NamedTuple):
    """Answer to ``--dry-run``.

    Attributes:
        actions: what is done, in order, in the user's words.
        outputs: names of the files to be written.
        seconds: expected time.
        memory_bytes: expected peak.
        disk_bytes: expected size of the outputs.
    """

    actions: tuple[str, ...]
    outputs: tuple[str, ...]
    seconds: float
    memory_bytes: int
    disk_bytes: int


def describe_plan(plan: Plan) -> str:
    """Text of a plan for a terminal.

    Args:
        plan: of one job.

    Returns:
        several lines.
    """
    return "\n".join(
        [
            "Would do:",
            *(f"  {number}. {action}" for number, action in enumerate(plan.actions, start=1)),
            f"Would write: {', '.join(plan.outputs)}",
            f"Time: about {readable_time(plan.seconds)}",
            f"Memory: about {readable_size(plan.memory_bytes)}",
            f"Disk: about {readable_size(plan.disk_bytes)}",
        ]
    )


def bytes_of_table(path: str | Path) -> int:
    """Memory that a table of particles takes at most, read, held and written in its own form.

    Args:
        path: STAR, ``.cs`` or ``.npz`` table.

    Returns:
        bytes, in proportion to the size of the file.

    Raises:
        InputError: there is no such file.
    """
    return (_OF_RECORDS if is_cs(path) else _OF_TEXT) * file_size(path)


def readable_time(seconds: float | int) -> str:
    """A duration as one would say it.

    Args:
        seconds: not negative.

    Returns:
        for instance ``"42 s"``, ``"3 min 20 s"``, ``"2 h 05 min"``.
    """
    whole = round(seconds)
    if seconds < 1:
        return f"{seconds:.2g} s"
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def readable_size(size: float | int) -> str:
    """A number of bytes with a unit.

    Args:
        size: bytes.

    Returns:
        for instance ``"312 B"``, ``"1.4 MiB"``.
    """
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
