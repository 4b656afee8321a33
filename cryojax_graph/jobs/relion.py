"""Marks by which RELION's pipeline follows a job (src/pipeline_control.cpp of RELION 5)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cryojax_graph.training.abort import Aborted

ABORT_NOW = "RELION_JOB_ABORT_NOW"
_SUCCESS = "RELION_JOB_EXIT_SUCCESS"
_FAILURE = "RELION_JOB_EXIT_FAILURE"
_ABORTED = "RELION_JOB_EXIT_ABORTED"


@contextmanager
def exit_marks(folder: Path) -> Iterator[None]:
    """Leave a mark in the job folder that tells RELION how the block ended.

    Marks of an earlier run are removed first, a stale request to abort among them.

    Args:
        folder: of the job; made when missing.

    Yields:
        nothing.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for mark in (_SUCCESS, _FAILURE, _ABORTED, ABORT_NOW):
        (folder / mark).unlink(missing_ok=True)
    try:
        yield
    except (Aborted, KeyboardInterrupt):
        (folder / _ABORTED).touch()
        raise
    except BaseException:
        (folder / _FAILURE).touch()
        raise
    (folder / _SUCCESS).touch()
