from types import SimpleNamespace

import numpy as np
import pytest

from cryojax_graph.training import callbacks
from cryojax_graph.training.abort import Aborted
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.loop import Progress


class Recorder(Checkpoints):
    """Checkpoints that only remember what was asked of them."""

    def __init__(self):
        self.calls = []

    def save(self, state):
        self.calls.append(state)

    def wait(self):
        self.calls.append("wait")


def at(step, steps=100, first=None):
    state = f"state {step}"
    return Progress(state, step - 1 if first is None else first, step, steps, {"a": np.zeros(1)})


def test_saves_when_the_time_has_passed_and_at_the_end(monkeypatch):
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(callbacks.time, "monotonic", lambda: clock.now)
    recorder = Recorder()
    save = callbacks.save_every(recorder, seconds=30.0)
    for step, now in ((1, 10.0), (2, 29.9), (3, 30.0), (4, 45.0), (5, 61.0)):
        clock.now = now
        save(at(step))
    save(at(6, steps=6))
    assert recorder.calls == ["state 3", "state 5", "state 6"]


def test_aborts_after_saving_and_says_why():
    recorder, reasons = Recorder(), iter([None, "stopped by SIGTERM"])
    check = callbacks.abort_when(lambda: next(reasons), recorder)
    check(at(1))
    assert recorder.calls == []
    with pytest.raises(Aborted, match="stopped by SIGTERM; saved at step 2 of 100"):
        check(at(2))
    assert recorder.calls == ["state 2", "wait"]


def test_acts_whenever_a_multiple_is_reached_or_passed():
    acted = []
    act = callbacks.every_steps(10, lambda progress: acted.append(progress.step))
    for first, step in ((0, 4), (4, 9), (9, 10), (10, 19), (19, 31), (31, 40)):
        act(at(step, first=first))
    assert acted == [10, 31, 40]
