"""Metrics of every step in a CSV file that survives a crash and continues after it."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.training.loop import Progress


class History:
    """A callback that appends one line per step.

    Lines beyond the step at which the run resumes belong to work that was lost and is done again;
    they are dropped, so the finished file is the same with and without crashes. Of several
    processes, the first one writes.
    """

    def __init__(self, path: Path, *, step: int) -> None:
        """Open the file.

        Args:
            path: of the CSV file.
            step: steps taken so far; 0 for a new run.
        """
        self._path = path
        self._writes = jax.process_index() == 0
        self._names: list[str] | None = None
        if self._writes and path.exists():
            kept = _complete_lines(path)[: step + 1]
            self._names = kept[0].strip().split(",")[1:] if kept else None
            write_atomically(path, "".join(kept).encode())

    def __call__(self, progress: Progress) -> None:
        """Append the metrics of one group of steps."""
        if not self._writes:
            return
        with self._path.open("a") as file:
            if self._names is None:
                self._names = sorted(progress.metrics)
                file.write(",".join(["step", *self._names]) + "\n")
            columns = [progress.metrics[name] for name in self._names]
            for i, row in enumerate(zip(*columns, strict=True)):
                values = ",".join(f"{float(value):.9g}" for value in row)
                file.write(f"{progress.first + i},{values}\n")


def read_history(path: Path) -> dict[str, Float[np.ndarray, " steps"]]:
    """Columns of a history file.

    Args:
        path: of the CSV file.

    Returns:
        by name, ``step`` among them; one value per step, nan or inf where a step had it.
    """
    names, *lines = _complete_lines(path)
    values = np.array([line.strip().split(",") for line in lines], dtype=float)
    names = names.strip().split(",")
    return dict(zip(names, values.reshape(-1, len(names)).T, strict=True))


def _complete_lines(path: Path) -> list[str]:
    # A crash may leave half a line at the end.
    return [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
