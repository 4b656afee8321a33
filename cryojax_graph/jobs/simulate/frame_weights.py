"""How often each frame of a trajectory is drawn."""

import csv
import io
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.unpack import read_text

_REMEDY = "give two columns, frame,weight, one line for each frame, counted from 0"


def read_frame_weights(path: str | Path, frames: int) -> Float[np.ndarray, " frames"]:
    """Weights of the frames from a CSV file with the columns ``frame`` and ``weight``.

    Args:
        path: the file; frames that it does not list are never drawn.
        frames: number of frames of the trajectory.

    Returns:
        weights with sum 1.

    Raises:
        InputError: a line cannot be read, a frame does not exist or occurs twice, a weight is
            negative, or all are 0.
    """
    rows = list(csv.reader(io.StringIO(read_text(path))))
    if [cell.strip() for cell in rows[0]] != ["frame", "weight"]:
        cause = f"its first line is {quote(','.join(rows[0]))}"
        raise InputError(path, "line 1", cause, _REMEDY)
    weights = np.zeros(frames)
    seen = set()
    for line, row in enumerate(rows[1:], 2):
        if not row:
            continue
        frame, weight = _parsed(row, path, line)
        if not 0 <= frame < frames:
            cause = f"there is no frame {frame}: the trajectory has {frames}"
            raise InputError(path, f"line {line}", cause, _REMEDY)
        if frame in seen:
            raise InputError(path, f"line {line}", f"frame {frame} occurs twice", _REMEDY)
        seen.add(frame)
        weights[frame] = weight
    if weights.sum() == 0:
        raise InputError(path, "its weights", "no frame has any weight", _REMEDY)
    return weights / weights.sum()


def _parsed(row: list[str], path: str | Path, line: int) -> tuple[int, float]:
    try:
        frame, weight = int(row[0]), float(row[1])
        if len(row) == 2 and np.isfinite(weight) and weight >= 0:
            return frame, weight
    except (ValueError, IndexError):
        pass
    cause = f"{quote(','.join(row))} is not a frame and a weight of at least 0"
    raise InputError(path, f"line {line}", cause, _REMEDY)
