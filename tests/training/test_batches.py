import threading
import time

import jax
import numpy as np
import pytest

from cryojax_graph.training import batches as module
from cryojax_graph.training.batches import ArrayReader, Batches, epoch_order
from cryojax_graph.training.mesh import data_mesh

N = 11
ARRAYS = {
    "image": np.arange(N * 6, dtype=np.float32).reshape(N, 2, 3),
    "defocus": np.arange(N, dtype=np.float32),
}
KEY = jax.random.key(7)
MESH = data_mesh()


def batches(**options):
    return Batches(
        ArrayReader(ARRAYS),
        **{"key": KEY, "batch_size": 4, "mesh": MESH, "steps_per_dispatch": 2} | options,
    )


def unpack(feeds):
    """One dict of arrays per step."""
    return [
        {name: np.asarray(values[i]) for name, values in feed.batches.items()}
        for feed in feeds
        for i in range(feed.count)
    ]


@pytest.mark.parametrize("budget", [0, 2**20])
def test_an_epoch_shows_each_image_once_and_pads_with_weight_zero(budget):
    source = batches(budget_bytes=budget)
    assert source.steps_per_epoch == 3
    assert source.kept == bool(budget)
    steps = unpack(source.stream(0, 3))
    index = np.concatenate([s["index"] for s in steps])
    weight = np.concatenate([s["weight"] for s in steps])
    assert sorted(index[weight == 1]) == list(range(N))
    assert index[weight == 0].tolist() == [N]
    for step in steps:
        real = step["weight"] == 1
        np.testing.assert_array_equal(step["image"][real], ARRAYS["image"][step["index"][real]])
        assert np.isfinite(step["image"]).all()


@pytest.mark.parametrize("copies", [1, 2**20])
def test_memory_filled_in_parts_and_disk_give_the_same_batches(monkeypatch, copies):
    monkeypatch.setattr(module, "_IMAGES_PER_PART", 4)
    # Of more copies than the budget holds, one on the host serves all devices.
    monkeypatch.setattr(module, "_copies_in_one_memory", lambda _: copies)
    for kept, read in zip(
        batches(budget_bytes=2**20).stream(0, 7),
        batches(budget_bytes=0).stream(0, 7),
        strict=True,
    ):
        assert kept.count == read.count
        for name in kept.batches:
            first, second = kept.batches[name][: kept.count], read.batches[name][: read.count]
            np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("budget", "copies"), [(0, 1), (2**20, 2**20), (2**20, 1)])
def test_batches_are_prepared_from_what_was_read(monkeypatch, budget, copies):
    def prepare(read):
        return {"sum": read["image"].sum((1, 2)) + read["more"][0]}

    class Nested(ArrayReader):
        def read(self, images):
            arrays = super().read(images)
            return {"image": arrays["image"], "more": (arrays["defocus"],)}

    monkeypatch.setattr(module, "_copies_in_one_memory", lambda _: copies)
    source = Batches(
        Nested(ARRAYS), key=KEY, batch_size=4, mesh=MESH, prepare=prepare,
        steps_per_dispatch=2, budget_bytes=budget,
    )  # fmt: skip
    expected = ARRAYS["image"].sum((1, 2)) + ARRAYS["defocus"]
    for step in unpack(source.stream(0, 3)):
        assert set(step) == {"sum", "index", "weight"}
        real = step["weight"] == 1
        np.testing.assert_allclose(step["sum"][real], expected[step["index"][real]])


def test_the_reading_thread_does_not_use_jax(monkeypatch):
    """Programs sent from two threads to several processors have hung."""
    elsewhere = []
    for name in ("device_put", "jit", "eval_shape", "make_array_from_process_local_data"):
        original = getattr(jax, name)

        def noted(*args, original=original, **kwargs):
            elsewhere.append(threading.current_thread() is not threading.main_thread())
            return original(*args, **kwargs)

        monkeypatch.setattr(jax, name, noted)
    list(batches(budget_bytes=0).stream(0, 7))
    assert elsewhere
    assert not any(elsewhere)


def test_order_is_a_function_of_key_and_epoch():
    epochs = [epoch_order(KEY, epoch, N).tolist() for epoch in (0, 1, 1)]
    assert epochs[0] != epochs[1] == epochs[2]
    assert epochs[0] != epoch_order(jax.random.key(8), 0, N).tolist()


@pytest.mark.parametrize("start", [1, 3, 5])
def test_a_stream_that_starts_late_continues_the_same_steps(start):
    whole, rest = unpack(batches().stream(0, 7)), unpack(batches().stream(start, 7))
    assert len(rest) == 7 - start
    for expected, step in zip(whole[start:], rest, strict=True):
        jax.tree.map(np.testing.assert_array_equal, step, expected)


def test_feeds_end_at_the_epoch_and_say_where_they_begin():
    feeds = list(batches().stream(0, 7))
    assert [(f.step, f.count) for f in feeds] == [(0, 2), (2, 1), (3, 2), (5, 1), (6, 1)]
    assert {f.batches["image"].shape for f in feeds} == {(2, 4, 2, 3)}


def test_without_a_key_images_keep_their_order():
    index = np.concatenate([s["index"] for s in unpack(batches(key=None).stream(0, 3))])
    assert index.tolist() == list(range(N + 1))


@pytest.mark.parametrize("budget", [0, 2**20])
def test_a_subset_keeps_the_numbers_of_its_images(budget):
    source = batches(images=np.array([2, 5, 9]), batch_size=2, budget_bytes=budget)
    steps = unpack(source.stream(0, 2))
    index, weight = (np.concatenate([s[n] for s in steps]) for n in ("index", "weight"))
    assert sorted(index[weight == 1]) == [2, 5, 9]
    defocus = np.concatenate([s["defocus"] for s in steps])
    np.testing.assert_array_equal(defocus[weight == 1], index[weight == 1])


class SlowReader:
    """Counts the images that it was asked for, and fails at one of them."""

    def __init__(self, fails_at=-1):
        self.asked, self.fails_at = 0, fails_at

    def __len__(self):
        return 1000

    def read(self, images):
        self.asked += len(images)
        if self.fails_at in images:
            raise OSError("the disk is gone")
        return {"image": np.zeros((len(images), 2), np.float32)}


def test_reading_ahead_is_bounded_and_ends_with_the_iterator():
    reader = SlowReader()
    source = Batches(
        reader, key=None, batch_size=4, mesh=MESH, steps_per_dispatch=1, budget_bytes=0
    )
    before = threading.active_count()
    feeds = source.stream(0, 250)
    next(feeds)
    time.sleep(0.05)
    assert reader.asked <= 1 + 4 * 3
    feeds.close()
    assert threading.active_count() == before
    assert reader.asked <= 1 + 4 * 3


def test_an_error_of_the_reader_reaches_the_loop():
    source = Batches(SlowReader(fails_at=9), key=None, batch_size=4, mesh=MESH, budget_bytes=0)
    with pytest.raises(OSError, match="the disk is gone"):
        list(source.stream(0, 5))


def test_no_images_and_arrays_that_disagree_are_refused():
    with pytest.raises(ValueError, match="no images"):
        batches(images=np.array([], int))
    for wrong in ([-1], [N]):
        with pytest.raises(ValueError, match="image numbers must be from 0 to 10"):
            batches(images=np.array(wrong))
    with pytest.raises(ValueError, match="takes at least 1"):
        batches(steps_per_dispatch=0)
    with pytest.raises(ValueError, match="no arrays"):
        ArrayReader({})
    with pytest.raises(ValueError, match="different lengths"):
        ArrayReader({"a": np.zeros(3), "b": np.zeros(4)})


def test_a_memory_mapped_stack_is_read_as_plain_arrays(tmp_path):
    np.save(tmp_path / "stack.npy", ARRAYS["image"])
    mapped = np.load(tmp_path / "stack.npy", mmap_mode="r")
    read = ArrayReader({"image": mapped}).read(np.array([4, 1]))["image"]
    assert type(read) is np.ndarray
    np.testing.assert_array_equal(read, ARRAYS["image"][[4, 1]])
