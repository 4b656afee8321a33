import io
from types import SimpleNamespace

import pytest

from cryojax_graph.jobs import progress as module
from cryojax_graph.jobs.progress import progress


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(module.time, "monotonic", lambda: clock.now)
    return clock


def test_a_log_gets_a_line_now_and_then_with_the_time_left(clock):
    lines = []
    with progress("Fitting", 100, write_line=lines.append, terminal=False) as advance:
        for done, now in ((10, 110.0), (20, 131.0), (21, 140.0), (40, 170.0)):
            clock.now = now
            advance(done, f"loss {done}")
        clock.now = 300.0
        advance(100)
    assert lines == [
        "Fitting: 20/100, 2 min 04 s left, loss 20",
        "Fitting: 40/100, 1 min 45 s left, loss 40",
        "Fitting: 100/100, took 3 min 20 s",
    ]


def test_the_estimate_leaves_out_what_an_earlier_run_did(clock):
    lines = []
    with progress("Fitting", 100, start=60, write_line=lines.append, terminal=False) as advance:
        clock.now = 140.0
        advance(80)
    assert lines[0] == "Fitting: 80/100, 40 s left"


def test_an_interrupted_piece_of_work_is_not_reported_as_done(clock):
    lines = []

    def work():
        with progress("Fitting", 5, write_line=lines.append, terminal=False) as advance:
            advance(1)
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert lines == []


def test_a_terminal_gets_a_bar_and_the_log_no_control_characters(monkeypatch):
    stream, lines = io.StringIO(), []
    console = module.Console(file=stream, force_terminal=True, width=100, color_system=None)
    monkeypatch.setattr(module, "Console", lambda stderr: console)
    with progress("Fitting", 4, write_line=lines.append, terminal=True) as advance:
        advance(4, "loss 1")
    shown = stream.getvalue()
    assert "\x1b" in shown
    assert "4/4" in shown
    assert "loss 1" in shown
    assert lines
    assert all(line.isprintable() for line in lines)


def test_nothing_is_drawn_where_there_is_no_terminal(capfd):
    with progress("Fitting", 4, write_line=lambda line: None) as advance:
        advance(4)
    assert capfd.readouterr() == ("", "")
