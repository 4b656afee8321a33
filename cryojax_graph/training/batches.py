"""Batches whose order is a function of key and epoch, from memory or streamed from disk.

One thread reads ahead and does nothing else: programs are sent to the devices by the caller's
thread alone. Two threads that send programs to several processors at once can wait for each other
for ever (seen once in some forty runs with two CPU devices).
"""

from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.training.mesh import over_images, replicate
from cryojax_graph.training.step import Batch

_IMAGES_PER_PART = 1024


@runtime_checkable
class Reader(Protocol):
    """A set of images that can be read in any order, for instance from a stack on disk."""

    def __len__(self) -> int:
        """Number of images."""
        ...

    def read(self, images: Int[np.ndarray, " n"]) -> dict[str, Any]:
        """Numpy arrays by name, one row per given image; fresh arrays at every call.

        Runs in a thread beside the training loop: no work for JAX belongs here but in ``prepare``
        of ``Batches``.
        """
        ...


class ArrayReader:
    """Images that are arrays already, memory-mapped ones included."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        """Take the arrays as they are.

        Args:
            arrays: by name, one row per image.

        Raises:
            ValueError: there are none, or they disagree about the number of images.
        """
        if not arrays:
            raise ValueError("there are no arrays")
        lengths = {name: len(values) for name, values in arrays.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"arrays of different lengths: {lengths}")
        self._arrays = arrays
        self._length = next(iter(lengths.values()))

    def __len__(self) -> int:
        """Number of images."""
        return self._length

    def read(self, images: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Copies of the rows of the given images."""
        return {name: np.asarray(values[images]) for name, values in self._arrays.items()}


class Feed(NamedTuple):
    """What one call of a step function takes.

    Attributes:
        batches: arrays of shape (steps_per_dispatch, batch_size, …), sharded over images; with
            ``index``, the number of each image, and ``weight``, 1 or, for padding, 0. Padding has
            indices past the last image.
        count: leading batches that are real; the rest fills up.
        step: number of the first step.
    """

    batches: Batch
    count: int
    step: int


class _Plan(NamedTuple):
    """What one feed will hold; arrays of shape (count, batch_size)."""

    step: int
    count: int
    index: Int[np.ndarray, "count batch"]
    weight: Float[np.ndarray, "count batch"]
    rows: Int[np.ndarray, "count batch"]


def epoch_order(key: Key[Array, ""], epoch: int, count: int) -> Int[np.ndarray, " count"]:
    """Order of the images in one epoch.

    Args:
        key: root of the order.
        epoch: from 0.
        count: number of images.

    Returns:
        a permutation of 0 … count - 1.
    """
    return np.asarray(jax.random.permutation(jax.random.fold_in(key, epoch), count))


class Batches:
    """An endless sequence of batches in which batch s depends on s alone, so that a run can
    resume."""

    def __init__(
        self,
        reader: Reader,
        *,
        key: Key[Array, ""] | None,
        batch_size: int,
        mesh: Mesh,
        prepare: Callable[[Batch], Batch] | None = None,
        images: Int[np.ndarray, " n"] | None = None,
        steps_per_dispatch: int = 8,
        budget_bytes: int = 2**30,
        prefetch: int = 2,
    ) -> None:
        """Plan the batches; images that fit the budget are read here, once.

        Args:
            reader: the images.
            key: root of the order of every epoch; without it, images keep their order (to embed or
                to evaluate).
            batch_size: images per step, over all devices.
            mesh: from ``data_mesh``; its size divides ``batch_size``.
            prepare: pure function that makes the arrays of a batch from those that were read, row
                by row; compiled. Nothing is changed when not given.
            images: the subset to use, all when not given.
            steps_per_dispatch: most batches per feed; one host round trip is paid per feed.
            budget_bytes: a set of at most this size, prepared, is kept whole: on each device, or,
                where the copies of several processors would exceed it, once for all of them.
            prefetch: feeds read ahead by a thread; host memory holds ``prefetch + 1`` of them.

        Raises:
            ValueError: no images, or numbers that the reader does not have; no step in a dispatch;
                the batch does not divide among the devices.
        """
        self._images = np.arange(len(reader)) if images is None else np.asarray(images)
        if not len(self._images):
            raise ValueError("there are no images to make batches of")
        if self._images.min() < 0 or self._images.max() >= len(reader):
            raise ValueError(f"image numbers must be from 0 to {len(reader) - 1}")
        if steps_per_dispatch < 1:
            raise ValueError(f"{steps_per_dispatch} steps in a dispatch; it takes at least 1")
        if batch_size % mesh.size:
            raise ValueError(f"{batch_size} images do not divide among {mesh.size} devices")
        self._reader, self._key, self._mesh = reader, key, mesh
        self._prepare = prepare or _as_it_is
        self._batch_size, self._prefetch = batch_size, prefetch
        self._per_dispatch = steps_per_dispatch
        self._cached_order: tuple[int, np.ndarray] = (-1, self._images)
        one = jax.eval_shape(self._prepare, reader.read(self._images[:1]))
        bytes_per_image = sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(one))
        size = bytes_per_image * len(self._images)
        self.kept = size <= budget_bytes
        self._from_devices = _copies_in_one_memory(mesh) * size <= budget_bytes
        self._everything: Batch | None = None
        if self.kept and not self._from_devices:
            self._everything = self._on_host()
            self._prepare = _as_it_is
        self._to_batches = self._taken() if self._from_devices else self._prepared()

    @property
    def steps_per_epoch(self) -> int:
        """Batches that show every image once; the last is padded."""
        return -(-len(self._images) // self._batch_size)

    def stream(self, start: int, stop: int) -> Generator[Feed]:
        """Feeds for the steps ``start`` … ``stop - 1``; a feed never crosses the end of an epoch.

        Args:
            start: number of the first step.
            stop: number after the last.

        Yields:
            feeds, read ahead by one thread, which ends with the iterator.
        """
        waiting: deque[tuple[_Plan, Future[dict[str, Any]]]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
            try:
                for plan in self._plans(start, stop):
                    waiting.append((plan, thread.submit(self._read, plan.rows)))
                    if len(waiting) > self._prefetch:
                        yield self._feed(*waiting.popleft())
                while waiting:
                    yield self._feed(*waiting.popleft())
            finally:
                thread.shutdown(wait=True, cancel_futures=True)

    def _plans(self, start: int, stop: int) -> Iterator[_Plan]:
        while start < stop:
            to_epoch_end = self.steps_per_epoch - start % self.steps_per_epoch
            count = min(self._per_dispatch, to_epoch_end, stop - start)
            yield self._plan(start, count)
            start += count

    def _plan(self, step: int, count: int) -> _Plan:
        epoch, position = divmod(step, self.steps_per_epoch)
        first = position * self._batch_size
        order = self._order(epoch)[first : first + count * self._batch_size]
        padding = count * self._batch_size - len(order)

        past_the_end = len(self._reader) + np.arange(padding)
        index = np.concatenate([self._images[order], past_the_end]).astype(np.int32)
        weight = (np.arange(count * self._batch_size) < len(order)).astype(np.float32)
        # Padding repeats an image that is read anyway, so that it is as finite as the data.
        rows = np.concatenate([order, np.full(padding, order[-1])]).astype(np.int32)
        return _Plan(step, count, *(a.reshape(count, -1) for a in (index, weight, rows)))

    def _order(self, epoch: int) -> Int[np.ndarray, " n"]:
        if self._key is None:
            return np.arange(len(self._images))
        if self._cached_order[0] != epoch:
            self._cached_order = (epoch, epoch_order(self._key, epoch, len(self._images)))
        return self._cached_order[1]

    def _read(self, rows: Int[np.ndarray, "count batch"]) -> dict[str, Any]:
        """What must come from disk or memory for a feed; runs beside the loop."""
        mine = self._mine(rows)
        if self._from_devices:
            return {"row": mine}
        if self._everything is not None:
            return jax.tree.map(lambda values: values[mine], self._everything)
        arrays = self._reader.read(self._images[mine.ravel()])
        return jax.tree.map(lambda values: values.reshape(*mine.shape, *values.shape[1:]), arrays)

    def _feed(self, plan: _Plan, reading: Future[dict[str, Any]]) -> Feed:
        labels = {"index": self._mine(plan.index), "weight": self._mine(plan.weight)}
        batches = self._to_batches(jax.tree.map(self._put, reading.result()))
        return Feed(batches | jax.tree.map(self._put, labels), plan.count, plan.step)

    def _mine(self, values: np.ndarray) -> np.ndarray:
        """Columns of a (steps, batch) array that belong to the devices of this process."""
        return np.array_split(values, jax.process_count(), axis=1)[jax.process_index()]

    def _put(self, values: np.ndarray) -> Array:
        """Join the columns of all processes to one array on the mesh; the last step fills up."""
        missing = self._per_dispatch - len(values)
        full = np.concatenate([values, np.repeat(values[-1:], missing, 0)]) if missing else values
        shape = (self._per_dispatch, self._batch_size, *values.shape[2:])
        return jax.make_array_from_process_local_data(over_images(self._mesh), full, shape)

    def _prepared(self) -> Callable[[Batch], Batch]:
        """Each device prepares its share of what was read."""
        if self._prepare is _as_it_is:
            return _as_it_is

        def prepare_share(read: Batch) -> Batch:
            steps, share = jax.tree.leaves(read)[0].shape[:2]
            flat = jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), read)
            return jax.tree.map(
                lambda a: a.reshape(steps, share, *a.shape[1:]), self._prepare(flat)
            )

        images = PartitionSpec(None, "data")
        return jax.jit(
            jax.shard_map(
                prepare_share, mesh=self._mesh, in_specs=images, out_specs=images, check_vma=False
            )
        )

    def _taken(self) -> Callable[[Batch], Batch]:
        """Each device takes its share from what it keeps."""
        take = jax.jit(
            lambda arrays, rows: jax.tree.map(lambda a: a[rows], arrays),
            out_shardings=over_images(self._mesh),
        )
        everything = self._on_devices()
        return lambda chosen: take(everything, chosen["row"])

    def _on_host(self) -> Batch:
        """All images, prepared by one device part by part."""
        prepare, count = jax.jit(self._prepare), len(self._images)
        whole = None
        for start in range(0, count, _IMAGES_PER_PART):
            read = self._reader.read(self._images[start : start + _IMAGES_PER_PART])
            part = jax.device_get(prepare(read))
            if whole is None:
                whole = jax.tree.map(lambda a: np.empty((count, *a.shape[1:]), a.dtype), part)
            for kept, new in zip(jax.tree.leaves(whole), jax.tree.leaves(part), strict=True):
                kept[start : start + len(new)] = new
        assert whole is not None
        return whole

    def _on_devices(self) -> Batch:
        """All images on each device, filled in part by part: at no time are there two copies."""
        write = jax.jit(
            lambda whole, part, start: jax.tree.map(
                lambda w, p: jax.lax.dynamic_update_slice_in_dim(w, p, start, 0),
                whole,
                self._prepare(part),
            ),
            donate_argnums=0,
        )
        whole, count = None, len(self._images)
        for start in range(0, count, _IMAGES_PER_PART):
            part = self._reader.read(self._images[start : start + _IMAGES_PER_PART])
            if whole is None:
                kinds = jax.eval_shape(self._prepare, part)
                empty = jax.tree.map(lambda k: jnp.zeros((count, *k.shape[1:]), k.dtype), kinds)
                whole = replicate(empty, self._mesh)
            whole = write(whole, replicate(part, self._mesh), start)
        assert whole is not None
        return whole


def _as_it_is(batch: Batch) -> Batch:
    return batch


def _copies_in_one_memory(mesh: Mesh) -> int:
    """How often what every device keeps is in the same memory: processors share theirs."""
    return mesh.size if mesh.devices.flat[0].platform == "cpu" else 1
