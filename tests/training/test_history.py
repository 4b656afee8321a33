import numpy as np
import pytest

from cryojax_graph.training.history import History, read_history
from cryojax_graph.training.loop import Progress


def progress(first, losses):
    metrics = {"loss": np.array(losses, np.float32), "skipped": np.zeros(len(losses), np.int32)}
    return Progress(None, first, first + len(losses), 100, metrics)


def test_what_is_written_is_read_back_to_the_last_bit(tmp_path):
    losses = np.float32([0.1, 1 / 3, 1e-30, 7.0])
    history = History(tmp_path / "history.csv", step=0)
    history(progress(0, losses[:3]))
    history(progress(3, losses[3:]))
    columns = read_history(tmp_path / "history.csv")
    np.testing.assert_array_equal(columns["loss"].astype(np.float32), losses)
    assert columns["step"].tolist() == [0, 1, 2, 3]
    assert columns["skipped"].tolist() == [0, 0, 0, 0]


def test_a_loss_that_is_not_finite_is_kept(tmp_path):
    history = History(tmp_path / "history.csv", step=0)
    history(progress(0, [np.nan, np.inf]))
    loss = read_history(tmp_path / "history.csv")["loss"]
    assert np.isnan(loss[0])
    assert np.isinf(loss[1])


@pytest.mark.parametrize("tail", ["", "4,0.", "4,0.5,0\n5,0.1"])
def test_lines_of_lost_work_are_written_again(tmp_path, tail):
    path = tmp_path / "history.csv"
    History(path, step=0)(progress(0, [0.0, 1.0, 2.0, 3.0]))
    whole = path.read_text()
    path.write_text(whole + tail)
    resumed = History(path, step=2)
    resumed(progress(2, [2.0, 3.0]))
    assert path.read_text() == whole


def test_a_crash_before_the_first_checkpoint_begins_anew(tmp_path):
    path = tmp_path / "history.csv"
    History(path, step=0)(progress(0, [5.0]))
    History(path, step=0)(progress(0, [6.0]))
    assert read_history(path)["loss"].tolist() == [6.0]


def test_a_crash_while_the_header_is_written_begins_anew(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("step,lo")
    History(path, step=0)(progress(0, [6.0]))
    assert read_history(path)["loss"].tolist() == [6.0]
