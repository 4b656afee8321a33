"""Many images in chunks that stay in cache, their gradients computed on the way.

On a processor a chunk of about 16 images keeps its intermediate arrays in cache, which doubles the
speed of the forward model; on an accelerator a chunk of hundreds fills the device.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float, PyTree

Result = TypeVar("Result")
Loss = Callable[[Any, Any, Any], Any]


def map_images(
    function: Callable[..., Result], *arguments: PyTree, chunk: int = 16, mesh: Mesh | None = None
) -> Result:
    """Apply a function of one image to many, a chunk at a time.

    Args:
        function: of one example of each argument.
        *arguments: trees of arrays whose leading axis counts the images.
        chunk: images computed at once.
        mesh: divide the images over the axis ``data`` of these devices; their number must be a
            multiple of the number of devices.

    Returns:
        the results of ``function``, stacked; empty arrays of their shapes for no image.
    """
    return map_batches(jax.vmap(function), *arguments, chunk=chunk, mesh=mesh)


def map_batches(
    function: Callable[..., Result], *arguments: PyTree, chunk: int, mesh: Mesh | None = None
) -> Result:
    """Apply a function of many images to more of them, a chunk at a time.

    Args:
        function: of arrays with a leading axis of images; returns such arrays.
        *arguments: trees of arrays whose leading axis counts the images.
        chunk: images computed at once.
        mesh: as for ``map_images``.

    Returns:
        the results of ``function`` for all images; empty arrays of their shapes for no image.
    """
    run = partial(_map_chunks, function, chunk=chunk)
    if mesh is not None:
        images = PartitionSpec("data")
        run = jax.shard_map(run, mesh=mesh, in_specs=images, out_specs=images)
    return run(*arguments)


def sum_images(
    loss: Loss,
    shared: PyTree,
    inputs: PyTree,
    data: PyTree,
    *,
    chunk: int = 16,
    mesh: Mesh | None = None,
    has_aux: bool = False,
) -> tuple[Float[Array, ""], PyTree]:
    """Sum of a loss over many images, differentiable at the cost of one pass.

    Where a sum is differentiated, values and gradients of a chunk are computed together while it is
    in cache, and only the gradients are kept: nothing is computed twice and no intermediate array
    of another chunk is stored. The sum is differentiated in reverse mode only: JAX refuses
    ``jax.jvp`` of it, though not of its gradient.

    Args:
        loss: of (shared, inputs of one image, data of one image).
        shared: tree of floating-point arrays common to all images, differentiable.
        inputs: tree of floating-point arrays with a leading axis of images, differentiable.
        data: tree of arrays with a leading axis of images, not differentiated.
        chunk: images computed at once.
        mesh: divide the images over the axis ``data`` of these devices; their number must be a
            multiple of the number of devices.
        has_aux: the loss returns a pair, its value and a tree of arrays to report.

    Returns:
        the sum, 0 for no image, and the loss of each image or the pairs of loss and report; these
        carry no gradient.
    """
    report_loss = loss if has_aux else lambda *image: (loss(*image), ())

    def outcome(values: PyTree) -> tuple[Array, PyTree]:
        return jnp.sum(values[0]), values if has_aux else values[0]

    @jax.custom_vjp
    def total(shared: PyTree, inputs: PyTree, data: PyTree) -> tuple[Array, PyTree]:
        run = partial(report_loss, shared)
        return outcome(map_images(run, inputs, data, chunk=chunk, mesh=mesh))

    def forward(shared: PyTree, inputs: PyTree, data: PyTree) -> tuple[Any, Any]:
        values, to_shared, to_inputs = _gradients(report_loss, shared, inputs, data, chunk, mesh)
        return outcome(values), (to_shared, to_inputs)

    def backward(gradients: tuple[PyTree, PyTree], cotangents: tuple[Array, PyTree]) -> Any:
        scaled = jax.tree.map(lambda gradient: cotangents[0] * gradient, gradients)
        return (*scaled, None)

    total.defvjp(forward, backward)
    return total(shared, inputs, data)


def _gradients(
    loss: Loss, shared: PyTree, inputs: PyTree, data: PyTree, chunk: int, mesh: Mesh | None
) -> tuple[PyTree, PyTree, PyTree]:
    """Losses and reports of all images, gradients of the sum by ``shared`` and ``inputs``."""

    def of_chunk(shared: PyTree, inputs: PyTree, data: PyTree, counts: Bool[Array, " c"]) -> Any:
        def chunk_sum(shared: PyTree, inputs: PyTree) -> tuple[Array, PyTree]:
            values = jax.vmap(loss, in_axes=(None, 0, 0))(shared, inputs, data)
            return jnp.sum(jnp.where(counts, values[0], 0.0)), values

        (_, values), gradients = jax.value_and_grad(chunk_sum, argnums=(0, 1), has_aux=True)(
            shared, inputs
        )
        return values, *gradients

    def run(shared: PyTree, inputs: PyTree, data: PyTree) -> Any:
        def step(to_shared: PyTree, images: tuple[PyTree, PyTree], counts: Array) -> Any:
            values, more, to_inputs = of_chunk(shared, *images, counts)
            return jax.tree.map(jnp.add, to_shared, more), (values, to_inputs)

        to_shared, (values, to_inputs) = _scan_chunks(
            step, jax.tree.map(jnp.zeros_like, shared), (inputs, data), chunk
        )
        if mesh is not None:
            to_shared = jax.lax.psum(to_shared, "data")
        return values, to_shared, to_inputs

    if mesh is not None:
        common, images = PartitionSpec(), PartitionSpec("data")
        run = jax.shard_map(
            run,
            mesh=mesh,
            in_specs=(common, images, images),
            out_specs=(images, common, images),
            check_vma=False,
        )
    return run(shared, inputs, data)


def _map_chunks(function: Callable[..., Any], *arguments: PyTree, chunk: int) -> Any:
    def step(carry: None, images: tuple[PyTree, ...], _: Array) -> tuple[None, Any]:
        return carry, function(*images)

    return _scan_chunks(step, None, arguments, chunk)[1]


def _scan_chunks(step: Callable[..., Any], carry: Any, images: Any, chunk: int) -> tuple[Any, Any]:
    """``lax.scan`` over even chunks of the leading axis.

    The last image is repeated until the chunks are even, and ``step`` is told which images count: a
    chunk of another size would be compiled once more, which takes longer than many images.
    """
    count = jax.tree.leaves(images)[0].shape[0]
    if count == 0:
        return carry, _nothing(step, carry, images)
    chunks = -(-count // chunk)
    size = -(-count // chunks)
    counts = jnp.arange(chunks * size) < count
    if chunks == 1:
        return step(carry, images, counts)

    def divided(a: Array) -> Array:
        if more := chunks * size - count:
            a = jnp.concatenate([a, *[a[-1:]] * more])
        return a.reshape(chunks, size, *a.shape[1:])

    def one_chunk(carry: Any, of_chunk: tuple[Any, Array]) -> Any:
        return step(carry, *of_chunk)

    even = jax.tree.map(divided, images), counts.reshape(chunks, size)
    carry, stacked = jax.lax.scan(one_chunk, carry, even)
    return carry, jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:])[:count], stacked)


def _nothing(step: Callable[..., Any], carry: Any, images: Any) -> Any:
    """Results of no image: a single one tells the shapes, for a function may refuse none."""
    one = jax.tree.map(lambda a: jax.ShapeDtypeStruct((1, *a.shape[1:]), a.dtype), images)
    _, results = jax.eval_shape(step, carry, one, jnp.ones(1, bool))
    return jax.tree.map(lambda a: jnp.zeros((0, *a.shape[1:]), a.dtype), results)
