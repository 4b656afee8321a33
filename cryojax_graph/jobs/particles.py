"""Particle images for a job, checked before anything is computed."""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.noise import background_level
from cryojax_graph.io.cryosparc import SIGN
from cryojax_graph.io.describe_particles import (
    ctf_treatment,
    envelope_warnings,
    sign_warnings,
    unmodelled,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import CARRIED_SIGN, ParticleImages, open_images
from cryojax_graph.io.particle_table import ParticleTable, Piece
from cryojax_graph.io.paths import allowed_roots
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.passthrough import read_with_passthrough

_IMAGES_TO_LOOK_AT = 128
_SECONDS_TO_LOOK = 5.0
_LARGEST_PIXEL = 1e12
# Beside the standard deviation of an image, what its background may be off 0.
_LARGEST_BACKGROUND = 0.3


class ParticleSet(NamedTuple):
    """Particle images of one pixel size, and their CTF.

    Attributes:
        table: as it was read.
        images: on disk.
        ctf: fields of shape (images,).
        pixel_size: Å.
        box: pixels.
        image_root: folder that the image names of the table are relative to.
    """

    table: ParticleTable
    images: ParticleImages
    ctf: CTF
    pixel_size: float
    box: int
    image_root: Path


def read_particle_set(
    path: str | Path,
    *pieces: Piece,
    image_root: str | None,
    fewest: int = 1,
    too_few: str = "",
    treated: bool = False,
) -> ParticleSet:
    """Particles with CTF and pixel size.

    Args:
        path: STAR or .cs table.
        pieces: what else the job needs, for instance ``poses``.
        image_root: folder for relative image names.
        fewest: images that will do.
        too_few: for what fewer are too few.
        treated: images that were corrected for their CTF will do.

    Returns:
        the particles; no pixel has been read.

    Raises:
        InputError: a piece is missing, boxes or pixel sizes are mixed, images are missing or were
            corrected for their CTF, or there are too few.
    """
    table = read_with_passthrough(path, *pieces, "ctf", "pixel_size")
    if len(table) < fewest:
        raise InputError(
            path,
            "table",
            f"{len(table)} particles are too few {too_few}",
            f"give at least {fewest}; thousands are usual",
        )
    if not treated and (treatment := ctf_treatment(table)):
        raise InputError(
            path, "optics", treatment, "extract the particles again without any CTF correction"
        )
    images = open_images(table, image_root=image_root)
    sizes = table.pixel_size
    assert sizes is not None
    if np.ptp(sizes) > 1e-3 * sizes[0]:
        raise InputError(
            path,
            "pixel size",
            f"optics groups have pixel sizes from {sizes.min():g} to {sizes.max():g} Å",
            "scale all images to one pixel size first",
        )
    ctf = CTF(
        defocus_u=np.float32(table.defocus_u),
        defocus_v=np.float32(table.defocus_v),
        defocus_angle=np.deg2rad(np.float32(table.defocus_angle_degrees)),
        voltage=np.float32(table.voltage_kv),
        spherical_aberration=np.float32(table.spherical_aberration_mm),
        amplitude_contrast=np.float32(table.amplitude_contrast),
        phase_shift=np.deg2rad(np.float32(table.phase_shift_degrees)),
        b_factor=np.float32(table.b_factor),
    )
    root = _root_of(table, image_root)
    return ParticleSet(table, images, ctf, float(sizes[0]), images.box, root)


def _root_of(table: ParticleTable, image_root: str | None) -> Path:
    """The folder under which a table elsewhere finds the same images: that of the project, say."""
    folders, name = allowed_roots(table.source, image_root).folders, table.image_path[0]
    return next((folder for folder in folders if (folder / name).exists()), folders[0])


def refuse_second_inversion(particles: ParticleSet, contrast: str) -> None:
    """Refuse to invert images that were inverted when they were read.

    Args:
        particles: with what cryoSPARC said of their contrast.
        contrast: ``dark`` inverts; all others will do.

    Raises:
        InputError: images that cryoSPARC marked as dark would become dark again.
    """
    marked = int((particles.images.sign < 0).sum())
    if contrast != "dark" or not marked:
        return
    table = particles.table
    column = SIGN if SIGN in table.columns else CARRIED_SIGN
    cause = (
        f"cryoSPARC marks {marked:,} of {len(table):,} images as dark ({column} -1): they are made "
        "light when they are read, and would be inverted again"
    )
    raise InputError(table.source, "--contrast dark", cause, "leave it out")


def look_through(table: ParticleTable, images: ParticleImages, job: Job) -> None:
    """Read images in some seconds' worth of places: a bad one is refused now, not hours later.

    Also says which effects of the optics the table states that no job models, whether its CTF
    amplifies, and whether images were not normalised.

    Args:
        table: of the particles.
        images: on disk.
        job: for messages.

    Raises:
        InputError: an image is blank, damaged, not finite or has absurd values.
    """
    if effects := unmodelled(table):
        job.warn(f"The table states what is not modelled: {', '.join(effects)}")
    for warning in envelope_warnings(table):
        job.warn(warning)
    for warning in sign_warnings(table):
        job.warn(warning[0].upper() + warning[1:])
    count, began = len(table), time.monotonic()
    backgrounds: list[Float[np.ndarray, " images"]] = []
    stretches = np.array_split(np.arange(count), -(-count // _IMAGES_TO_LOOK_AT))
    seen = 0
    # In an order that spreads over the whole set, however early it ends.
    for number in np.random.default_rng(0).permutation(len(stretches)):
        read = images.read(stretches[number])
        blank = stretches[number][np.ptp(read, axis=(1, 2)) == 0.0]
        if len(blank):
            raise InputError(
                table.source,
                f"particle {blank[0] + 1}",
                "its image is blank: all pixels are equal",
                "remove such particles, or extract them again",
            )
        absurd = stretches[number][np.abs(read).max(axis=(1, 2)) > _LARGEST_PIXEL]
        if len(absurd):
            raise InputError(
                table.source,
                f"particle {absurd[0] + 1}",
                f"its image has pixels beyond {_LARGEST_PIXEL:g}, whose squares cannot be added up",
                "remove such particles, or extract them again",
            )
        backgrounds.append(_background(read))
        seen += len(read)
        if time.monotonic() - began > _SECONDS_TO_LOOK:
            break
    background = float(np.median(np.concatenate(backgrounds)))
    if background > _LARGEST_BACKGROUND:
        job.warn(
            f"The background of the images is off 0 by {background:.2g} of their standard "
            "deviation (median): reconstructions subtract the mean of the corners, nothing else "
            "does. Normalise the images: relion_preprocess --norm"
        )
    if seen < count:
        job.log(f"{seen:,} images are sound; the other {count - seen:,} are checked when read")


def _background(images: Float[np.ndarray, "n box box"]) -> Float[np.ndarray, " n"]:
    """How far the corners of images are off 0, beside the images' standard deviations.

    Not beside those of the corners, which hold next to nothing where a mask or no noise was there.
    """
    deviation = images.std(axis=(1, 2), dtype=np.float64)
    return np.abs(np.asarray(_levels(images), np.float64)) / deviation


_levels = jax.jit(jax.vmap(background_level))
