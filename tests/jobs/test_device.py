import os

import jax
import pytest

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs import device
from cryojax_graph.jobs.device import describe_devices, select_device, share_cores


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    # Set first, so that whatever the function sets is undone after the test.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    monkeypatch.setenv("JAX_NUM_CPU_DEVICES", "1")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=/nowhere")
    before = jax.config.jax_platforms
    yield
    jax.config.update("jax_platforms", before)


def test_auto_changes_nothing():
    before = dict(os.environ)
    select_device("auto")
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("cores", "devices", "each_has_one"),
    [(1, "1", True), (2, "2", True), (6, "4", False), (16, "16", True), (64, "16", False)],
)
def test_cores_become_devices(monkeypatch, tmp_path, cores, devices, each_has_one):
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setattr(device, "_QUOTA", tmp_path / "missing")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(cores), raising=False)
    share_cores()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == devices
    flags = os.environ["XLA_FLAGS"].split()
    assert flags[0] == "--xla_dump_to=/nowhere"
    assert flags[1:] == ["--xla_cpu_multi_thread_eigen=false"] * each_has_one


@pytest.mark.parametrize(
    ("quota", "devices"),
    [("max 100000", "16"), ("250000 100000", "2"), ("50000 100000", "1"), ("9900000 100000", "16")],
)
def test_a_container_has_as_many_cores_as_its_quota(monkeypatch, tmp_path, quota, devices):
    monkeypatch.delenv("JAX_NUM_CPU_DEVICES")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(16), raising=False)
    (tmp_path / "cpu.max").write_text(quota + "\n")
    monkeypatch.setattr(device, "_QUOTA", tmp_path / "cpu.max")
    share_cores()
    assert os.environ["JAX_NUM_CPU_DEVICES"] == devices


def test_what_the_user_chose_stays():
    before = dict(os.environ)
    share_cores()
    assert dict(os.environ) == before


def test_a_processor_is_always_there():
    select_device("cpu")
    assert jax.config.jax_platforms == "cpu"
    assert "cpu:0" in describe_devices()


def test_numbers_count_among_the_visible_devices():
    select_device("gpu:0,2")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "4,7"
    assert jax.config.jax_platforms == "cuda"


def test_a_number_beyond_them_is_refused():
    with pytest.raises(InputError, match="only 3 GPUs are visible"):
        select_device("gpu:3")


@pytest.mark.parametrize("name", ["", "cuda", "cpu:1", "gpu:", "gpu:a", "gpu:0,", "GPU", "tpu:0"])
def test_other_names_are_refused(name):
    with pytest.raises(InputError, match="no such device"):
        select_device(name)
