"""What is in an archive of arrays, such as the results of a job."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npz import read_npz


@dataclass(frozen=True)
class ArrayFacts:
    """An ``.npz`` archive that is no trajectory.

    Args:
        path: the file.
        shapes: shape of each array, by name.
        types: what the numbers of each array are.
        warnings: what is unusual.
    """

    path: str
    shapes: dict[str, tuple[int, ...]]
    types: dict[str, str]
    warnings: tuple[str, ...]


def describe_arrays(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> ArrayFacts:
    """Look at an archive of arrays.

    Args:
        path: ``.npz`` file.
        limits: caps on number and size of its arrays.

    Returns:
        the facts.

    Raises:
        InputError: it is damaged, too large, or needs pickle.
    """
    arrays = read_npz(path, limits=limits)
    warnings = [
        f"array {name}: {odd:,} of {array.size:,} numbers are not finite"
        for name, array in arrays.items()
        if array.dtype.kind in "fc" and (odd := array.size - int(np.isfinite(array).sum()))
    ]
    return ArrayFacts(
        str(path),
        {name: array.shape for name, array in arrays.items()},
        {
            name: "text" if array.dtype.kind == "U" else str(array.dtype)
            for name, array in arrays.items()
        },
        tuple(warnings),
    )
