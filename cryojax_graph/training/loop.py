"""The training loop; it knows steps, not systems."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from cryojax_graph.training.batches import Feed
from cryojax_graph.training.state import TrainState
from cryojax_graph.training.step import Step


class TrainingDiverged(RuntimeError):
    """Too many steps in a row had a gradient that was not finite."""


class Progress(NamedTuple):
    """What callbacks see after each group of steps.

    Attributes:
        state: after the group; the next group donates it, so keep a copy of what must last.
        first: number of the group's first step.
        step: steps taken so far.
        steps: steps asked for.
        metrics: of each step of the group, on the host.
    """

    state: TrainState
    first: int
    step: int
    steps: int
    metrics: dict[str, np.ndarray]


Callback = Callable[[Progress], None]
"""Called after each group of steps, in the order given; an exception from it ends the run."""


@runtime_checkable
class FeedSource(Protocol):
    """Where batches come from; ``Batches`` is one."""

    def stream(self, start: int, stop: int) -> Generator[Feed]:
        """Feeds for the steps ``start`` … ``stop - 1``."""
        ...


def fit(
    state: TrainState,
    step_fn: Step,
    batches: FeedSource,
    *,
    steps: int,
    callbacks: Sequence[Callback] = (),
    patience: int = 10,
) -> TrainState:
    """Take steps until ``steps`` have been taken since step 0.

    Args:
        state: where to start; a restored checkpoint continues where it stood. It is donated.
        step_fn: from ``make_step``.
        batches: the same source as before when resuming.
        steps: number of the last step, not a number of further steps.
        callbacks: checkpoints, logs, progress bars, abort marks.
        patience: end the run after this many steps in a row without a finite gradient.

    Returns:
        the state after the last step.

    Raises:
        TrainingDiverged: ``patience`` is exhausted. Callbacks are not told, so the last checkpoint
            stays the one before.
    """
    # A run shorter than that has not moved at all when all of its steps were bad.
    patience = min(patience, steps)
    with closing(batches.stream(int(state.step), steps)) as feeds:
        for feed in feeds:
            state, metrics = step_fn(state, feed.batches, feed.count)
            metrics, bad = jax.device_get((metrics, state.skipped_in_a_row))
            last = feed.step + feed.count
            if bad >= patience:
                raise TrainingDiverged(
                    f"{bad} steps in a row up to step {last} had a gradient that is not finite; "
                    "lower the learning rate, or look for images or a template with absurd values"
                )
            metrics = {name: values[: feed.count] for name, values in metrics.items()}
            progress = Progress(state, feed.step, last, steps, metrics)
            for callback in callbacks:
                callback(progress)
    return state
