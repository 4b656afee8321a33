"""Options of the command line that are out of their range."""

import math

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError


def check_ranges(ranges: dict[str, tuple[float | int | None, float | int, float | int]]) -> None:
    """Refuse numbers that make no sense, before anything is read.

    Args:
        ranges: by option, without dashes: value, least and most; None is an option not given.

    Raises:
        InputError: the first number that is out of its range.
    """
    for name, (value, least, most) in ranges.items():
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            remedy = f"give {least:g} to {most:g}"
            raise InputError("command line", f"--{name}", f"it is {value:g}", remedy)


def check_symmetry(symmetry: str) -> None:
    """Refuse a symmetry that is none.

    Args:
        symmetry: of the object.

    Raises:
        InputError: it is no point group.
    """
    try:
        symmetry_rotations(symmetry)
    except ValueError as error:
        remedy = "name the point group as RELION does"
        raise InputError("command line", "--symmetry", str(error), remedy) from None
