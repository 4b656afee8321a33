"""All images of a set in parts: drawn, kept across interruptions, written as one stack."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Bool, Float, Float32, Int, Key

from cryojax_graph.io.stacks import open_stack, write_stack, write_stack_in_parts
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.drawing import noise_free_renderer, noise_sampler
from cryojax_graph.jobs.simulate.draws import ImageParameters, parameters_at
from cryojax_graph.jobs.simulate.molecule import Molecule, reach
from cryojax_graph.training.mesh import data_mesh

STACK = "particles.mrcs"
_PIXELS_PER_PART = 2**23
_IMAGES_PER_PART = 512
_SHOWN = 7


class Signal(NamedTuple):
    """What became of the signal and the noise.

    Attributes:
        scale: factor from scattering length per Å² to the units of the images, in which the noise
            has variance 1; without noise the images have variance 1 themselves.
        variance: of the noise-free images over the whole box, mean over the images, in those units.
        variance_in_disc: the same inside the disc of the particle.
        images_per_second: made in this run.
        clean: noise-free versions of the first images.
        noisy: the first images.
    """

    scale: float
    variance: float
    variance_in_disc: float
    images_per_second: float
    clean: Float32[np.ndarray, "shown box box"]
    noisy: Float32[np.ndarray, "shown box box"]


def images_per_part(box: int) -> int:
    """Images that are drawn, and kept in memory, together.

    Args:
        box: edge of the images in pixels.

    Returns:
        their number.
    """
    return max(1, min(_IMAGES_PER_PART, _PIXELS_PER_PART // box**2))


def particle_discs(
    parameters: ImageParameters, radius: float, config: SimulateConfig
) -> Iterator[Bool[np.ndarray, "box box"]]:
    """Pixels of each image within some distance of its particle.

    Args:
        parameters: of the images.
        radius: Å.
        config: of the verb.

    Yields:
        one mask for each image.
    """
    pixels = (np.arange(config.box) - config.box // 2) * config.pixel_size
    for x, y in -parameters.shift_angstrom:
        yield (pixels - x) ** 2 + (pixels[:, None] - y) ** 2 <= radius**2


def make_images(
    key: Key[Array, ""],
    molecule: Molecule,
    parameters: ImageParameters,
    config: SimulateConfig,
    job: Job,
) -> Signal:
    """Draw all images and write them to ``particles.mrcs``.

    Noise-free images are kept part by part in the folder ``clean`` until the noise is added, since
    its strength depends on all of them. Parts that an interrupted run finished are taken as they
    are; they depend on nothing but key and config.

    Args:
        key: of the noise.
        molecule: all its frames.
        parameters: of every image.
        config: of the verb.
        job: in whose folder to work.

    Returns:
        scale and strength of the signal.

    Raises:
        Aborted: on request, between two parts.
    """
    began = time.monotonic()
    parts = _parts(config)
    folder = job.working("clean")
    folder.mkdir(exist_ok=True)
    whole, disc = _draw_parts(molecule, parameters, config, parts, folder, job)
    variance = float(np.mean(whole))
    scale = 1.0 / np.sqrt(variance / config.snr if config.noise != "none" else variance)
    shown = []
    sample = noise_sampler(key, config, data_mesh())
    with (
        job.output(STACK, "the images") as path,
        job.progress("Adding noise", config.images) as advance,
        write_stack_in_parts(path, pixel_size=config.pixel_size) as writer,
    ):
        for number, part in enumerate(parts):
            job.check_abort()
            images = np.float32(scale) * _read_part(folder, number)
            if number == 0:
                shown.append(images[:_SHOWN])
            if config.noise != "none":
                images = images + sample(_padded(part, len(parts[0])))[: len(part)]
            if number == 0:
                shown.append(images[:_SHOWN])
            writer.append(images)
            advance(int(part[-1]) + 1)
    return Signal(
        scale=float(scale),
        variance=variance * scale**2,
        variance_in_disc=float(np.mean(disc)) * scale**2,
        images_per_second=config.images / (time.monotonic() - began),
        clean=shown[0],
        noisy=shown[1],
    )


def remove_parts(job: Job) -> None:
    """Remove what only an interrupted run would need.

    Args:
        job: that has written all its outputs.
    """
    shutil.rmtree(job.folder / "clean", ignore_errors=True)


def _parts(config: SimulateConfig) -> list[Int[np.ndarray, "_"]]:
    size = images_per_part(config.box)
    return [
        np.arange(first, min(first + size, config.images))
        for first in range(0, config.images, size)
    ]


def _draw_parts(
    molecule: Molecule,
    parameters: ImageParameters,
    config: SimulateConfig,
    parts: list[Int[np.ndarray, "_"]],
    folder: Path,
    job: Job,
) -> tuple[Float[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    """Variance of every noise-free image: over the box, and inside the particle's disc."""
    draw = noise_free_renderer(molecule, config, data_mesh())
    discs = particle_discs(parameters, reach(molecule), config)
    whole, disc = [], []
    done = sum(_is_finished(folder, number) for number in range(len(parts)))
    if done:
        job.log(f"{done} of {len(parts)} parts were drawn before")
    with job.progress("Drawing", config.images) as advance:
        for number, part in enumerate(parts):
            job.check_abort()
            if _is_finished(folder, number):
                images = _read_part(folder, number)
            else:
                padded = parameters_at(parameters, _padded(part, len(parts[0])))
                images = draw(padded)[: len(part)]
                write_stack(_part(folder, number), images, pixel_size=config.pixel_size)
            whole.append(images.var(axis=(1, 2), dtype=np.float64))
            disc.append([image[next(discs)].var(dtype=np.float64) for image in images])
            advance(int(part[-1]) + 1)
    return np.concatenate(whole), np.concatenate(disc)


def _padded(part: Int[np.ndarray, " images"], size: int) -> Int[np.ndarray, " size"]:
    """The same images and some more, so that every call has one shape and divides by devices."""
    devices = jax.device_count()
    return np.resize(part, -(-size // devices) * devices)


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:06d}.mrcs"


def _is_finished(folder: Path, number: int) -> bool:
    # It has its name only when it is whole.
    return _part(folder, number).exists()


def _read_part(folder: Path, number: int) -> Float32[np.ndarray, "images box box"]:
    stack = open_stack(_part(folder, number))
    return stack.read(np.arange(len(stack)))
