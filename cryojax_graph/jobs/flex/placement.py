"""Images looked through, and the template's zero put where the images have it."""

import time
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.inputs import Particles, TemplateModel, moved
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.agreement import ShellAgreement, shell_agreement
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.training.recipes.backbone_graph import SpectrumReader

_IMAGES_TO_LOOK_AT = 128
_SECONDS_TO_LOOK = 5.0
_IMAGES_TO_COMPARE = 512
_CLEAR_CORRELATION = 0.05
_LEAST_CORRELATION = 0.02
_LOW_FREQUENCY = 0.1
# In our trials the right template reached 4.0, 4.8 and 8.7 Å at SNR 1, 0.1 and 0.01; other proteins
# 7, 9 and 11 Å at best, the mirror image 12 Å.
_FINE_ENOUGH = 9.0
# Atoms' own motion, which the residues of a template do not have.
_EXTRA_VARIANCE = 4.0


class Placement(NamedTuple):
    """Where the template stands, and how it looks from there.

    Attributes:
        by: what brings its zero to the centre of the box, Å.
        agreement: of its projections with images.
    """

    by: Float[np.ndarray, "3"]
    agreement: ShellAgreement


def look_through(particles: Particles, job: Job) -> None:
    """Read images in some seconds' worth of places: a bad one is refused now, not hours later.

    Args:
        particles: images.
        job: for messages.

    Raises:
        InputError: an image is blank, damaged or not finite.
    """
    count, began = len(particles.table), time.monotonic()
    stretches = np.array_split(np.arange(count), -(-count // _IMAGES_TO_LOOK_AT))
    seen = 0
    # In an order that spreads over the whole set, however early it ends.
    for number in np.random.default_rng(0).permutation(len(stretches)):
        images = particles.images.read(stretches[number])
        blank = stretches[number][np.ptp(images, axis=(1, 2)) == 0.0]
        if len(blank):
            raise InputError(
                particles.table.source,
                f"particle {blank[0] + 1}",
                "its image is blank: all pixels are equal",
                "remove such particles, or extract them again",
            )
        seen += len(images)
        if time.monotonic() - began > _SECONDS_TO_LOOK:
            break
    if seen < count:
        job.log(f"{seen:,} images are sound; the other {count - seen:,} are checked when read")


def place_template(
    model: TemplateModel,
    particles: Particles,
    reader: SpectrumReader,
    config: FlexConfig,
    settings: BackboneGraphConfig,
    job: Job,
) -> Placement:
    """Find the zero of the template's coordinates, and say how well it agrees with the images.

    Args:
        model: in the frame of its file.
        particles: images and how they were taken.
        reader: of the images.
        config: of the verb.
        settings: of the model of motion.
        job: for messages.

    Returns:
        the placement.

    Raises:
        InputError: images are inverted, or the template does not fit the box.
    """
    half_box = particles.box // 2 * particles.pixel_size
    candidates = {"centre": np.zeros(3), "corner": np.full(3, -half_box)}
    if config.origin != "auto":
        candidates = {config.origin: candidates[config.origin]}
    inside = {
        name: by
        for name, by in candidates.items()
        if np.abs(model.arrays.c_alpha + by).max() <= half_box
    }
    if not inside:
        reach = min(float(np.abs(model.arrays.c_alpha + by).max()) for by in candidates.values())
        raise InputError(
            config.template,
            "its coordinates",
            f"C-alpha atoms reach {reach:.0f} Å from the zero, the box only {half_box:.0f} Å",
            "give the model in the frame of the map, or set --origin",
        )
    agreements = {
        name: _agreement(moved(model, by), particles, reader, settings)
        for name, by in inside.items()
    }
    scores = {name: seen.correlation_below(_LOW_FREQUENCY) for name, seen in agreements.items()}
    origin = max(scores, key=lambda name: abs(scores[name]))
    if scores[origin] < -_CLEAR_CORRELATION:
        raise InputError(
            particles.table.source,
            "contrast",
            f"images are dark where the template has mass "
            f"(correlation {100 * scores[origin]:.0f} %)",
            "invert the images: protein must be white, as RELION keeps it, or marked dark by "
            "cryoSPARC's blob/sign",
        )
    listed = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
    job.log(f"Zero of the template's coordinates: {origin} (correlation: {listed})")
    _judge(scores[origin], agreements[origin].limit(), job)
    return Placement(inside[origin], agreements[origin])


def _judge(correlation: float, limit: float, job: Job) -> None:
    if correlation < _LEAST_CORRELATION or not np.isfinite(limit):
        job.warn(
            "The template hardly correlates with the images in their poses: check poses, "
            "handedness, contrast (protein must be white) and the frame of the template."
        )
        return
    job.log(f"Template and images agree down to {limit:.1f} Å")
    job.metric("template_agreement_angstrom", limit)
    if limit > _FINE_ENOUGH:
        job.warn(
            f"Template and images agree down to {limit:.0f} Å only. So they do when the template "
            "is another protein, a mirror image, or far from the conformations in the images; few "
            "or very noisy images can be the reason, too."
        )


def _agreement(
    model: TemplateModel,
    particles: Particles,
    reader: SpectrumReader,
    settings: BackboneGraphConfig,
) -> ShellAgreement:
    quick = replace(settings, decoder=replace(settings.decoder, kind="mlp"), beads="residue")
    template = build_template(model.arrays, quick, pixel_size=particles.pixel_size)
    last = len(particles.table) - 1
    chosen = np.unique(np.linspace(0, last, min(_IMAGES_TO_COMPARE, last + 1)).astype(int))
    return shell_agreement(
        template.c_alpha,
        reader.read(chosen),
        template=template,
        pixel_size=particles.pixel_size,
        extra_variance=_EXTRA_VARIANCE,
    )
