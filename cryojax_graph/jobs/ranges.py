"""Options of the command line that are out of their range."""

import math

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError


def check_ranges(ranges: dict[str, tuple[float | int | None, float | int, float | int]]) -> None:
    """Refuse numbers that make no sense, before anything is read.

    Args:
        ranges: by option, without dashes: value, least and most, infinite where there is none;
            None is an option not given.

    Raises:
        InputError: the first number that is out of its range.
    """
    for name, (value, least, most) in ranges.items():
        if value is not None and not (math.isfinite(value) and least <= value <= most):
            remedy = f"give at least {least:g}"
            if math.isfinite(most):
                remedy = f"give {least:g} to {most:g}"
            raise InputError("command line", f"--{name}", f"it is {value:g}", remedy)


def check_only_with(option: str, given: object, needed: str, holds: bool) -> None:
    """Refuse an option that would do nothing.

    Args:
        option: with its dashes.
        given: its value; None where it was not given.
        needed: the option that it belongs to, with its value.
        holds: whether that is set.

    Raises:
        InputError: the option was given without the one that it belongs to.
    """
    if given is not None and not holds:
        cause = f"it says nothing without {needed}"
        raise InputError("command line", option, cause, f"give {needed} too, or leave it out")


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
