import hashlib
import re
import sys

import pytest

from cryojax_graph._version import __version__
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs import manifest


@pytest.mark.parametrize(
    ("script", "name"),
    [
        ("/usr/bin/cryojax-graph", "cryojax-graph"),
        ("/lib/python3/cryojax_graph/__main__.py", "cryojax-graph"),
        ("/lib/python3/another/__main__.py", "__main__.py"),
        ("my analysis.py", "'my analysis.py'"),
    ],
)
def test_the_command_can_be_pasted_into_a_shell(monkeypatch, script, name):
    monkeypatch.setattr(sys, "argv", [script, "check", "a b.star", "$HOME"])
    described = manifest.describe_program()
    assert described["command"] == f"{name} check 'a b.star' '$HOME'"
    assert described["version"] == __version__
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", described["versions"]["jax"])


def test_devices_are_named_only_when_jax_is_in_use(monkeypatch):
    monkeypatch.delitem(sys.modules, "jax", raising=False)
    assert manifest.describe_machine()["devices"] == []
    import jax

    monkeypatch.setitem(sys.modules, "jax", jax)
    assert manifest.describe_machine()["devices"] == [d.device_kind for d in jax.devices()]
    assert manifest.describe_machine()["cores"] >= 1


def test_a_file_is_known_by_its_content(tmp_path):
    path = tmp_path / "x"
    path.write_bytes(b"abc" * 10**5)
    assert manifest.sha256_of(path) == hashlib.sha256(b"abc" * 10**5).hexdigest()
    assert manifest.sha256_of(tmp_path) is None


def test_inputs_are_described_and_missing_ones_refused(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    described = manifest.describe_inputs({"map": tmp_path / "x"})
    assert described["map"]["bytes"] == 3
    assert described["map"]["path"] == str(tmp_path / "x")
    with pytest.raises(InputError) as refused:
        manifest.describe_inputs({"map": tmp_path / "x", "mask": tmp_path / "y"})
    assert (refused.value.file, refused.value.place) == (str(tmp_path / "y"), "mask")


def test_times_are_utc_to_the_millisecond():
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", manifest.now())
