"""What to do between groups of steps: save, stop, do something now and then."""

import time
from collections.abc import Callable

from cryojax_graph.training.abort import Aborted
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.loop import Callback, Progress
from cryojax_graph.training.mesh import on_any_process


def save_every(checkpoints: Checkpoints, *, seconds: float = 30.0) -> Callback:
    """Save when this much time has passed since the last save, and after the last step.

    Args:
        checkpoints: where to.
        seconds: of work that a crash may cost.

    Returns:
        a callback; put it last, so that what others write is not behind the checkpoint.
    """
    last_saved = time.monotonic()

    def save(progress: Progress) -> None:
        nonlocal last_saved
        due = time.monotonic() - last_saved >= seconds or progress.step == progress.steps
        if on_any_process(due):
            checkpoints.save(progress.state)
            last_saved = time.monotonic()

    return save


def abort_when(reason: Callable[[], str | None], checkpoints: Checkpoints) -> Callback:
    """Save and end the run when asked to.

    Args:
        reason: says why to stop, or nothing; asked once per group of steps.
        checkpoints: where the state is saved first.

    Returns:
        a callback that raises ``Aborted`` with the reason.
    """

    def check(progress: Progress) -> None:
        why = reason()
        if on_any_process(bool(why)):
            checkpoints.save(progress.state)
            checkpoints.wait()
            why = why or "stopped by another process"
            raise Aborted(f"{why}; saved at step {progress.step} of {progress.steps}")

    return check


def every_steps(steps: int, action: Callback) -> Callback:
    """Do something each time that a multiple of ``steps`` is reached or passed.

    Args:
        steps: the period, for instance the steps of an epoch.
        action: receives the progress of the group that reached it.

    Returns:
        a callback.
    """

    def act(progress: Progress) -> None:
        if progress.step // steps > progress.first // steps:
            action(progress)

    return act
