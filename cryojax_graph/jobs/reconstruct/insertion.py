"""Images of a set, part by part, into the sums from which a map is solved."""

import math
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Complex, Float, Int

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import shift_phase, to_spectrum
from cryojax_graph.forward.grids import frequency_indices
from cryojax_graph.forward.noise import background_level
from cryojax_graph.forward.reconstruct import SliceSums, insert_slices, no_slices
from cryojax_graph.io.describe_particles import CtfState
from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.training.mesh import data_mesh

# Images of one device per call, and of these, those whose spectra are made at a time.
_BLOCK, _CHUNK = 64, 16
# Of the sums of all devices that share one memory: bytes, or the share of it where that is more.
_MOST_BYTES, _MOST_SHARE = 2**31, 0.25


class Views(NamedTuple):
    """Which images enter a map and in which poses; an image may enter in several.

    Attributes:
        image: numbers of the images in their table.
        rotation: object to image coordinates.
        shift: that centres the particle, Å.
        weight: probability of the pose, or any other.
    """

    image: Int[np.ndarray, " views"]
    rotation: Float[np.ndarray, "views 3 3"]
    shift: Float[np.ndarray, "views 2"]
    weight: Float[np.ndarray, " views"]


class Source(NamedTuple):
    """Images, and what is common to all reconstructions from them.

    Attributes:
        particles: images and CTF.
        group: of each image, from 0.
        precision: inverse variance of the noise of each group in shells, beside that of the set.
        contrast: of each image beside that of the set.
        state: what was done to the images with their CTF.
        padding: of the spectrum.
    """

    particles: ParticleSet
    group: Int[np.ndarray, " images"]
    precision: Float[np.ndarray, "groups shells"]
    contrast: Float[np.ndarray, " images"]
    state: CtfState
    padding: int


class _Block(NamedTuple):
    """What one call inserts, one row per view; rows of weight 0 fill it up."""

    image: Float[Array, "rows box box"]
    ctf: CTF
    rotation: Float[Array, "rows 3 3"]
    shift: Float[Array, "rows 2"]
    weight: Float[Array, " rows"]
    contrast: Float[Array, " rows"]
    precision: Float[Array, "rows shells"]
    share: Float[Array, "rows maps"]


def insert_views(
    source: Source,
    views: Views,
    *,
    shares: Float[np.ndarray, "views maps"] | None = None,
    job: Job,
    name: str | None = None,
    advance: Callable[[int], None] = lambda done: None,
) -> SliceSums:
    """Sums over views, any number of them at constant memory.

    Every device sums its share of the views; the sums are joined once, at the end, and whenever
    they are saved.

    Args:
        source: of the images.
        views: to insert.
        shares: of each view in each of several maps, whose sums are then made in one pass; one map
            when not given.
        job: in whose folder the sums are kept from time to time, so that interrupted work goes on.
        name: of what is kept; nothing is when not given.
        advance: told how many views are in.

    Returns:
        the sums.

    Raises:
        Aborted: on request, between two blocks.
    """
    kept = job.working(f"{name}.npz") if name else None
    if shares is None:
        shares = np.ones((len(views.image), 1))
    maps = shares.shape[1]
    box, padding = source.particles.box, source.padding
    mesh = data_mesh(jax.devices()[: devices_for(box, padding=padding, maps=maps)])
    first, before = _resume(kept, source, maps)
    sums = _nothing(source, mesh, maps)
    block = _BLOCK * mesh.size
    saved = time.monotonic()
    for start in range(first, len(views.image), block):
        job.check_abort()
        # Read while the devices are still busy with the block before.
        read = _read(source, views, start, block, shares, mesh)
        sums.block_until_ready()
        sums = _insert(
            sums,
            read,
            box=box,
            pixel_size=source.particles.pixel_size,
            state=source.state,
            mesh=mesh,
        )
        done = min(start + block, len(views.image))
        advance(done)
        if kept and time.monotonic() - saved > job.save_seconds:
            before, sums = before + np.asarray(_joined(sums)), _nothing(source, mesh, maps)
            write_npz(kept, {"sums": before, "done": np.array(done)}, compress=False)
            saved = time.monotonic()
    # On one device, whatever they are sums over: maps are solved on one device each.
    return SliceSums(jnp.asarray(before + np.asarray(_joined(sums))))


def devices_for(box: int, *, padding: int, maps: int = 1) -> int:
    """Devices that insert images at the same time, each into sums of its own.

    The cores of a processor share one memory, which their sums must not fill; accelerators have
    each their own.

    Args:
        box: edge of the images in pixels.
        padding: of the spectrum.
        maps: that are made in one pass.

    Returns:
        their number, at least 1.
    """
    devices = jax.devices()
    if devices[0].platform != "cpu":
        return len(devices)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    most = max(_MOST_BYTES, _MOST_SHARE * memory)
    return max(1, min(len(devices), int(most // _bytes(box, padding, maps))))


def bytes_of_sums(box: int, *, padding: int, maps: int = 1) -> int:
    """Memory of the sums of all devices that insert images at the same time.

    Args:
        box: edge of the images in pixels.
        padding: of the spectrum.
        maps: that are made in one pass.

    Returns:
        bytes.
    """
    return devices_for(box, padding=padding, maps=maps) * _bytes(box, padding, maps)


def _bytes(box: int, padding: int, maps: int) -> int:
    return 4 * math.prod(_shape(box, padding, maps))


def _resume(
    kept: Path | None, source: Source, maps: int
) -> tuple[int, Float[np.ndarray, "z y x terms"]]:
    """How many views an interrupted run inserted, and their sums."""
    if kept and kept.exists():
        found = read_npz(kept, limits=OWN_LIMITS)
        return int(found["done"]), found["sums"]
    return 0, np.zeros(_shape(source.particles.box, source.padding, maps), np.float32)


def _shape(box: int, padding: int, maps: int) -> tuple[int, ...]:
    return jax.eval_shape(partial(no_slices, box, padding=padding, maps=maps)).values.shape


def _nothing(source: Source, mesh: Mesh, maps: int) -> Float[Array, "devices z y x terms"]:
    """Empty sums, one on each device."""
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    shape = _shape(source.particles.box, source.padding, maps)
    return jnp.zeros((mesh.size, *shape), jnp.float32, device=sharding)


def _read(
    source: Source,
    views: Views,
    start: int,
    block: int,
    shares: Float[np.ndarray, "views maps"],
    mesh: Mesh,
) -> _Block:
    rows = np.arange(start, min(start + block, len(views.image)))
    padded = np.resize(rows, block)
    images = views.image[padded]
    read = source.particles.images.read(views.image[rows])
    whole = read if len(rows) == block else np.resize(read, (block, *read.shape[1:]))
    weight = np.where(np.arange(block) < len(rows), views.weight[padded], 0.0)
    sharding = NamedSharding(mesh, PartitionSpec("data"))

    def share_out(values: Float[np.ndarray, "rows ..."]) -> Float[Array, "rows ..."]:
        return jax.device_put(np.asarray(values, np.float32), sharding)

    return _Block(
        image=share_out(whole),
        ctf=CTF(*(share_out(np.asarray(values)[images]) for values in source.particles.ctf)),
        rotation=share_out(views.rotation[padded]),
        shift=share_out(views.shift[padded]),
        weight=share_out(weight),
        contrast=share_out(source.contrast[images]),
        precision=share_out(source.precision[source.group[images]]),
        share=share_out(shares[padded]),
    )


@partial(jax.jit, static_argnames=("box", "pixel_size", "state", "mesh"), donate_argnames=("sums",))
def _insert(
    sums: Float[Array, "devices z y x terms"],
    block: _Block,
    *,
    box: int,
    pixel_size: float,
    state: CtfState,
    mesh: Mesh,
) -> Float[Array, "devices z y x terms"]:
    weigh = partial(_weighed, box=box, pixel_size=pixel_size, state=state)

    def chunk(sums: SliceSums, part: _Block) -> tuple[SliceSums, None]:
        data, weights = jax.vmap(weigh)(part)
        return insert_slices(sums, data, weights, part.rotation, part.share), None

    def of_device(sums: Array, block: _Block) -> Array:
        parts = jax.tree.map(lambda a: a.reshape(-1, _CHUNK, *a.shape[1:]), block)
        return jax.lax.scan(chunk, SliceSums(sums[0]), parts)[0].values[None]

    share = PartitionSpec("data")
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=(share, share), out_specs=share, check_vma=False
    )(sums, block)


def _weighed(
    view: _Block, *, box: int, pixel_size: float, state: CtfState
) -> tuple[Complex[Array, "box half"], Float[Array, "box half"]]:
    """Datum and weight of every coefficient of one image."""
    transfer = contrast_transfer(view.ctf, box=box, pixel_size=pixel_size)
    if state == "phase-flipped":
        transfer = jnp.abs(transfer)
    # Images that were multiplied by their CTF hold one factor of it already.
    factor = jnp.ones_like(transfer) if state == "multiplied" else transfer
    # An image of more contrast says more: data grow with it, weights with its square.
    weight = view.weight * view.precision[_shells(box)] * view.contrast**2
    # What is left of the background at zero frequency would be divided by the square of the little
    # that the transfer is there: both halves would be given one ball, and agree by its edge.
    shown = (view.image - background_level(view.image)) / view.contrast
    centred = to_spectrum(shown) * shift_phase(view.shift, box=box, pixel_size=pixel_size)
    return centred * (weight * factor), weight * transfer**2


def _shells(box: int) -> Int[Array, "box half"]:
    ky, kx = frequency_indices(box)
    shell = jnp.round(jnp.sqrt(ky[:, None] ** 2 + kx**2)).astype(jnp.int32)
    return jnp.minimum(shell, box // 2)


@jax.jit
def _joined(sums: Float[Array, "devices z y x terms"]) -> Float[Array, "z y x terms"]:
    return jnp.sum(sums, axis=0)
