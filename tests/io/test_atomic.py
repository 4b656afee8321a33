import os

import pytest

from cryojax_graph.io import InputError, atomic_file, write_atomically


def test_the_file_appears_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    with atomic_file(path) as handle:
        handle.write(b"half")
        assert not path.exists()
        handle.write(b" whole")
    assert path.read_bytes() == b"half whole"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    write_atomically(path, b"old")

    def fail():
        with atomic_file(path) as handle:
            handle.write(b"new")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_file_takes_the_usual_permissions(tmp_path):
    write_atomically(tmp_path / "a", b"")
    (tmp_path / "b").write_bytes(b"")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


def test_a_refusing_disk_is_told_in_words(tmp_path):
    with pytest.raises(InputError, match=r"a\.txt: writing it: No such file"):
        write_atomically(tmp_path / "missing" / "a.txt", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        write_atomically(tmp_path / "folder", b"")
    assert os.listdir(tmp_path) == ["folder"]
    with pytest.raises(InputError, match="No space left"), atomic_file(tmp_path / "b"):
        raise OSError(28, "No space left on device")
