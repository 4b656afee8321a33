import os
import signal
import threading

import pytest

from cryojax_graph.jobs.abort import abort_requests


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_and_the_old_handler_comes_back(number, capsys):
    before = signal.getsignal(number)
    with abort_requests(None) as reason:
        assert reason() is None
        os.kill(os.getpid(), number)
        assert reason() == f"stopped by {number.name}"
    assert signal.getsignal(number) is before
    assert number.name in capsys.readouterr().err


def test_a_second_interrupt_stops_at_once():
    with abort_requests(None):
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_a_mark_in_the_folder_asks_to_stop(tmp_path):
    mark = tmp_path / "RELION_JOB_ABORT_NOW"
    with abort_requests(mark) as reason:
        assert reason() is None
        mark.touch()
        assert reason() == "stopped by RELION_JOB_ABORT_NOW"


def test_outside_the_main_thread_only_the_mark_counts(tmp_path):
    answers = []

    def work():
        with abort_requests(tmp_path) as reason:
            answers.append(reason())

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert answers == [f"stopped by {tmp_path.name}"]
    assert signal.getsignal(signal.SIGTERM) is before
