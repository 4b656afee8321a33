"""Whether a stored config is the one that is asked for now, and where it is not."""

from typing import Any


def differing_fields(stored: Any, current: Any, path: str = "") -> list[str]:
    """Compare two configs as plain JSON values.

    Args:
        stored: nested dicts, lists and scalars, as read from a file.
        current: the same for the config of now.
        path: dotted place of both in the whole.

    Returns:
        one entry like ``"training.epochs is 20, was 10"`` for each field that differs.
    """
    if isinstance(stored, dict) and isinstance(current, dict):
        return [
            difference
            for name in sorted({*stored, *current})
            for difference in differing_fields(
                stored.get(name, _ABSENT),
                current.get(name, _ABSENT),
                f"{path}.{name}" if path else name,
            )
        ]
    return [] if stored == current else [f"{path} is {current!r}, was {stored!r}"]


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()
