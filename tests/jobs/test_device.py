import os

import jax
import pytest

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.device import describe_devices, select_device


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    # Set first, so that whatever the function sets is undone after the test.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
    before = jax.config.jax_platforms
    yield
    jax.config.update("jax_platforms", before)


def test_auto_changes_nothing():
    before = dict(os.environ)
    select_device("auto")
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


@pytest.mark.parametrize("device", ["", "cuda", "cpu:1", "gpu:", "gpu:a", "gpu:0,", "GPU", "tpu:0"])
def test_other_names_are_refused(device):
    with pytest.raises(InputError, match="no such device"):
        select_device(device)
