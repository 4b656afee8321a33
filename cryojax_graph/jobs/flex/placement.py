"""Images looked through, and the template's zero put where the images have it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.inputs import Particles, TemplateModel, moved
from cryojax_graph.jobs.flex.saved import SavedModel, place_in_saved
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import noise_of_spectra
from cryojax_graph.models.backbone_graph.agreement import ShellAgreement, shell_agreement
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.template import build_template
from cryojax_graph.training.recipes.backbone_graph import SpectrumReader

_IMAGES_TO_COMPARE = 512
_CLEAR_CORRELATION = 0.05
_LEAST_CORRELATION = 0.02
_LOW_FREQUENCY = 0.1
# In our trials the right template reached 4.0, 4.8 and 8.7 Å at SNR 1, 0.1 and 0.01; other proteins
# 7, 9 and 11 Å at best, the mirror image 12 Å.
_FINE_ENOUGH = 9.0
# The closed half of a transition explained 64 % of images of all of it; 190, 150 and 100 of its 214
# residues 50, 39 and 22 %, at any noise.
_WHOLE_ENOUGH = 0.4
# Atoms' own motion, which the residues of a template do not have.
_EXTRA_VARIANCE = 4.0


class Placement(NamedTuple):
    """Where the template stands, and how it looks from there.

    Attributes:
        by: what brings its zero to the centre of the box, Å.
        agreement: of its projections with images.
        explained: share of the images' signal at low resolution that it explains; None where images
            were masked, and do not tell their noise.
    """

    by: Float[np.ndarray, "3"]
    agreement: ShellAgreement
    explained: float | None


def possible_places(
    model: TemplateModel, particles: Particles, config: FlexConfig, saved: SavedModel | None
) -> dict[str, Float[np.ndarray, "3"]]:
    """Where the template may stand.

    Given poses say from where images see the frame of the template, and where its zero is; poses
    that are searched for do not, and the template's middle is where shifts are looked for.

    Args:
        model: in the frame of its file.
        particles: images and how they were taken.
        config: of the verb.
        saved: model of an earlier job, which knows where its template stood.

    Returns:
        by name, what brings the zero of its coordinates to the centre of the box, Å.

    Raises:
        InputError: the template does not fit the box, or is not that of the earlier job.
    """
    half_box = particles.box // 2 * particles.pixel_size
    places = {"centre": np.zeros(3), "corner": np.full(3, -half_box), "middle": -model.middle}
    if config.origin != "auto":
        places = {config.origin: places[config.origin]}
    if saved is not None and config.fitted:
        name = place_in_saved(
            saved,
            config.fitted,
            placed={name: model.arrays.c_alpha + by for name, by in places.items()},
            box=particles.box,
            pixel_size=particles.pixel_size,
        )
        return {name: places[name]}
    if config.poses == "search":
        _require_room(model, half_box, config.template)
        return {"middle": places["middle"]}
    places.pop("middle", None)
    reach = {name: float(np.abs(model.arrays.c_alpha + by).max()) for name, by in places.items()}
    if min(reach.values()) > half_box:
        raise InputError(
            config.template,
            "its coordinates",
            f"C-alpha atoms reach {min(reach.values()):.0f} Å from the zero, the box only "
            f"{half_box:.0f} Å",
            "give the model in the frame of the map, or set --origin",
        )
    return {name: by for name, by in places.items() if reach[name] <= half_box}


def _require_room(model: TemplateModel, half_box: float, path: str) -> None:
    """Refuse a template that is larger than the box."""
    reach = float(np.linalg.norm(model.seen.positions - model.middle, axis=1).max())
    if reach > half_box:
        raise InputError(
            path,
            "its coordinates",
            f"atoms reach {reach:.0f} Å from their middle, the box only {half_box:.0f} Å",
            "extract the particles in a larger box, or take what the images do not show out of "
            "the template",
        )


def place_template(
    model: TemplateModel,
    particles: Particles,
    reader: SpectrumReader,
    places: Mapping[str, Float[np.ndarray, "3"]],
    settings: BackboneGraphConfig,
    job: Job,
) -> Placement:
    """Find the zero of the template's coordinates, and say how well it agrees with the images.

    Args:
        model: in the frame of its file.
        particles: images and how they were taken.
        reader: of the images.
        places: from ``possible_places``.
        settings: of the model of motion.
        job: for messages.

    Returns:
        the placement.

    Raises:
        InputError: images are inverted.
    """
    images = _some_images(reader)
    agreements = {
        name: _agreement(moved(model, by), particles, images, settings)
        for name, by in places.items()
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
    agreement, noise = agreements[origin], noise_of_spectra(images["spectrum"])
    explained = None if noise is None else agreement.explained(noise)
    placement = Placement(places[origin], agreement, explained)
    _judge(scores[origin], placement, job)
    return placement


def _judge(correlation: float, placement: Placement, job: Job) -> None:
    limit, explained = placement.agreement.limit(), placement.explained
    if correlation < _LEAST_CORRELATION or not np.isfinite(limit):
        job.warn(
            "The template hardly correlates with the images in their poses: check poses, "
            "handedness, contrast (protein must be white) and the frame of the template."
        )
        return
    share = (
        "how much of their signal it explains cannot be told: their corners are empty"
        if explained is None
        else f"of the signal coarser than 15 Å the template explains {100 * explained:.0f} %"
    )
    job.log(f"Template and images agree down to {limit:.1f} Å; {share}")
    job.metric("template_agreement_angstrom", limit)
    if explained is not None:
        job.metric("template_explains_percent", 100 * explained)
    if explained is not None and explained < _WHOLE_ENOUGH:
        job.warn(
            f"The template explains {100 * explained:.0f} % of the images' signal coarser than "
            "15 Å: parts of the molecule may be missing from it, or the conformations in the "
            "images are far from its own."
        )
    if limit > _FINE_ENOUGH:
        job.warn(
            f"Template and images agree down to {limit:.0f} Å only. So they do when the template "
            "is another protein, a mirror image, or far from the conformations in the images; few "
            "or very noisy images can be the reason, too."
        )


def _some_images(reader: SpectrumReader) -> dict[str, np.ndarray]:
    last = len(reader) - 1
    chosen = np.linspace(0, last, min(_IMAGES_TO_COMPARE, last + 1)).astype(int)
    return reader.spectra(np.unique(chosen))


def _agreement(
    model: TemplateModel,
    particles: Particles,
    images: dict[str, np.ndarray],
    settings: BackboneGraphConfig,
) -> ShellAgreement:
    quick = replace(settings, decoder=replace(settings.decoder, kind="mlp"), beads="residue")
    template = build_template(model.arrays, quick, pixel_size=particles.pixel_size)
    return shell_agreement(
        template.c_alpha[None],
        images,
        template=template,
        pixel_size=particles.pixel_size,
        extra_variance=_EXTRA_VARIANCE,
    )
