import pytest

from cryojax_graph.jobs.relion import ABORT_NOW, exit_marks
from cryojax_graph.training.abort import Aborted


def marks(folder):
    return sorted(path.name for path in folder.iterdir())


def test_success_replaces_the_marks_of_an_earlier_run(tmp_path):
    folder = tmp_path / "External" / "job012"
    folder.mkdir(parents=True)
    for name in ("RELION_JOB_EXIT_FAILURE", ABORT_NOW):
        (folder / name).touch()
    with exit_marks(folder):
        assert marks(folder) == []
    assert marks(folder) == ["RELION_JOB_EXIT_SUCCESS"]


@pytest.mark.parametrize(
    ("error", "mark"),
    [
        (Aborted("asked"), "RELION_JOB_EXIT_ABORTED"),
        (KeyboardInterrupt(), "RELION_JOB_EXIT_ABORTED"),
        (ValueError("bad"), "RELION_JOB_EXIT_FAILURE"),
        (SystemExit(2), "RELION_JOB_EXIT_FAILURE"),
    ],
)
def test_each_way_to_end_has_its_mark_and_still_raises(tmp_path, error, mark):
    with pytest.raises(type(error)), exit_marks(tmp_path / "new"):
        raise error
    assert marks(tmp_path / "new") == [mark]
