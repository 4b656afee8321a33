"""What ``flex`` fits to what, read and checked, with the template placed in the box."""

import time
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.io.describe import FileKind, file_kind
from cryojax_graph.io.describe_particles import optics_warnings
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.flex.config import (
    FlexConfig,
    check_fitted_alone,
    check_ranges,
    model_config,
)
from cryojax_graph.jobs.flex.inputs import (
    Particles,
    TemplateModel,
    moved,
    read_template,
    read_views,
)
from cryojax_graph.jobs.flex.saved import SavedModel, check_saved, read_saved
from cryojax_graph.jobs.flex.truth import read_truth_of
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.truth import Truth
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import predicted_spectrum
from cryojax_graph.models.backbone_graph.template import Template, build_template
from cryojax_graph.training.recipes.backbone_graph import SpectrumReader
from cryojax_graph.training.splits import held_out

_IMAGES_TO_LOOK_AT = 128
_SECONDS_TO_LOOK = 5.0
_FEWEST_TO_COMPARE = 20
_CLEAR_CORRELATION = 0.05
_NAMES: dict[FileKind, str] = {
    "map": "a map",
    "stack": "a stack of images",
    "particles": "a table of particles",
    "model": "an atomic model",
    "sequences": "sequences",
    "arrays": "an archive of arrays",
}


class Problem(NamedTuple):
    """All that is known before the fit.

    Attributes:
        particles: images and how they were taken.
        model: template with its atoms, its zero at the centre of the box.
        template: the same as arrays of the model of motion.
        reader: of the images.
        config: of the model of motion.
        fitted: images to fit; none when the model comes from an earlier job.
        held: images whose conformations are found with the decoder frozen.
        saved: model of an earlier job.
        moved_by: what was added to the coordinates of the template's file, Å.
        truth: of a simulation, when it is at hand.
    """

    particles: Particles
    model: TemplateModel
    template: Template
    reader: SpectrumReader
    config: BackboneGraphConfig
    fitted: Int[np.ndarray, " fitted"]
    held: Int[np.ndarray, " held"]
    saved: SavedModel | None
    moved_by: Float[np.ndarray, "3"]
    truth: Truth | None


class Inputs(NamedTuple):
    """The user's files, read and checked one by one."""

    particles: Particles
    template: TemplateModel
    truth: Truth | None
    saved: SavedModel | None
    model: BackboneGraphConfig


def read_inputs(config: FlexConfig) -> Inputs:
    """Read the inputs, before a folder is claimed for the job.

    Args:
        config: of the verb.

    Returns:
        the inputs and the settings of the model.

    Raises:
        InputError: an input or an option cannot be used.
    """
    check_ranges(config)
    saved = None
    if config.fitted:
        check_fitted_alone(config)
        saved = read_saved(config.fitted)
    model = saved.config if saved else model_config(config)
    _refuse_other_kind(config.particles, "particles", "PARTICLES is the STAR or .cs table")
    _refuse_other_kind(config.template, "model", "--template is the PDB or mmCIF file")
    particles = read_views(config.particles, image_root=config.image_root)
    template = read_template(config.template)
    truth = None
    if config.truth:
        truth = read_truth_of(
            config.truth, images=len(particles.table), residues=len(template.arrays.c_alpha)
        )
    return Inputs(particles, template, truth, saved, model)


def place_problem(inputs: Inputs, config: FlexConfig, key: Key[Array, ""], job: Job) -> Problem:
    """Draw the held-out images and place the template in the box.

    Args:
        inputs: from ``read_inputs``.
        config: of the verb.
        key: draws the held-out images.
        job: for messages.

    Returns:
        what is to be fitted.

    Raises:
        InputError: the template does not fit the box, or an image cannot be used.
    """
    particles, template_model, truth, saved, model = inputs
    count, residues = len(particles.table), len(template_model.arrays.c_alpha)
    job.log(
        f"{count:,} images of {particles.box} px at {particles.pixel_size:g} Å, "
        f"template of {residues:,} residues"
    )
    for text in optics_warnings(particles.table):
        job.warn(f"{particles.table.source}: {text}: check its unit")
    fitted, held = held_out(key, count, config.held_out)
    if config.half_sets and len(held) < _FEWEST_TO_COMPARE:
        raise InputError(
            "command line",
            "--half-sets",
            f"{len(held)} held-out images are too few to compare two fits on",
            f"raise --held-out until there are {_FEWEST_TO_COMPARE}",
        )
    if saved is not None:
        fitted, held = np.zeros(0, np.int64), np.arange(count)
    reader = SpectrumReader(
        particles.images.read,
        particles.views,
        pixel_size=particles.pixel_size,
        standardise=model.objective.kind == "squared_error",
    )
    _look_through(particles, job)
    moved_by = _to_centre(template_model, particles, reader, config, model, job)
    template_model = moved(template_model, moved_by)
    template = build_template(template_model.arrays, model, pixel_size=particles.pixel_size)
    if saved is not None and config.fitted:
        check_saved(
            saved,
            config.fitted,
            template=np.asarray(template.c_alpha),
            box=particles.box,
            pixel_size=particles.pixel_size,
        )
    return Problem(
        particles, template_model, template, reader, model, fitted, held, saved, moved_by, truth
    )


def _refuse_other_kind(path: str, wanted: FileKind, remedy: str) -> None:
    """Say what a file is when it is sound but the wrong one; its reader says what is damaged."""
    try:
        kind = file_kind(path)
    except InputError:
        return
    if kind != wanted:
        raise InputError(path, "its contents", f"{_NAMES[kind]}, not {_NAMES[wanted]}", remedy)


def _look_through(particles: Particles, job: Job) -> None:
    """Read images in some seconds' worth of places: a bad one is refused now, not hours later."""
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


def _to_centre(
    model: TemplateModel,
    particles: Particles,
    reader: SpectrumReader,
    config: FlexConfig,
    settings: BackboneGraphConfig,
    job: Job,
) -> Float[np.ndarray, "3"]:
    """What brings the template's zero to the centre of the box."""
    half_box = particles.box // 2 * particles.pixel_size
    candidates = {"centre": np.zeros(3), "corner": np.full(3, -half_box)}
    origin = config.origin
    if origin == "auto":
        scores = {
            name: _explained(moved(model, by), particles, reader, settings)
            for name, by in candidates.items()
            if np.abs(model.arrays.c_alpha + by).max() <= half_box
        } or {"centre": 0.0}
        origin = max(scores, key=lambda name: abs(scores[name]))
        if scores[origin] < -_CLEAR_CORRELATION:
            raise InputError(
                particles.table.source,
                "contrast",
                f"images are dark where the template has mass (correlation "
                f"{100 * scores[origin]:.0f} %)",
                "invert the images: protein must be white, as RELION and cryoSPARC keep it",
            )
        listed = ", ".join(f"{name} {100 * score:.1f} %" for name, score in scores.items())
        job.log(f"Zero of the template's coordinates: {origin} (correlation: {listed})")
        if scores[origin] < 0.02:
            job.warn(
                "The template hardly correlates with the images in their poses: check poses, "
                "handedness, contrast (protein must be white) and the frame of the template."
            )
    by = candidates[origin]
    reach = float(np.abs(model.arrays.c_alpha + by).max())
    if reach > half_box:
        raise InputError(
            config.template,
            "its coordinates",
            f"C-alpha atoms reach {reach:.0f} Å from the zero, the box only {half_box:.0f} Å",
            "give the model in the frame of the map, or set --origin",
        )
    return by


def _explained(
    model: TemplateModel,
    particles: Particles,
    reader: SpectrumReader,
    settings: BackboneGraphConfig,
) -> float:
    """Mean correlation of projections of the template with some images, below 10 Å."""
    quick = replace(settings, decoder=replace(settings.decoder, kind="mlp"), beads="residue")
    template = build_template(model.arrays, quick, pixel_size=particles.pixel_size)
    count = min(_IMAGES_TO_LOOK_AT, len(particles.table))
    chosen = np.linspace(0, len(particles.table) - 1, count).astype(int)
    batch = reader.read(np.unique(chosen))
    frequency = np.hypot(
        np.fft.fftfreq(particles.box, particles.pixel_size)[:, None],
        np.fft.rfftfreq(particles.box, particles.pixel_size),
    )
    band = jnp.asarray((frequency < 0.1) & (frequency > 0))
    predict = partial(predicted_spectrum, template=template, pixel_size=particles.pixel_size)

    @jax.jit
    @jax.vmap
    def correlation(
        spectrum: Array, transfer: Array, rotation: Array, shift: Array
    ) -> Float[Array, ""]:
        predicted = predict(template.c_alpha, rotation, shift, transfer, 4.0) * band
        observed = spectrum * band
        product = jnp.sum((predicted * observed.conj()).real)
        power = jnp.sum(jnp.abs(predicted) ** 2) * jnp.sum(jnp.abs(observed) ** 2)
        return product / jnp.sqrt(jnp.maximum(power, 1e-30))

    fields = (batch["spectrum"], batch["transfer"], batch["rotation"], batch["shift"])
    return float(jnp.mean(correlation(*fields)))
