"""What ``flex`` fits to what, read and checked, with the template placed in the box."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.io.describe_particles import optics_warnings
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.flex.config import (
    FlexConfig,
    check_fitted_alone,
    check_settings,
    model_config,
    with_poses_from,
)
from cryojax_graph.jobs.flex.inputs import (
    FEWEST_IMAGES,
    SMALL_MOLECULES,
    Particles,
    TemplateModel,
    moved,
    read_template,
    read_views,
)
from cryojax_graph.jobs.flex.placement import Placement, place_template, possible_places
from cryojax_graph.jobs.flex.pose_search import search_for_template
from cryojax_graph.jobs.flex.saved import SavedModel, read_saved
from cryojax_graph.jobs.flex.symmetry import check_template_symmetry
from cryojax_graph.jobs.flex.truth import read_truth_of
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.particles import look_through
from cryojax_graph.jobs.truth import Truth
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.template import Template, build_template
from cryojax_graph.training.recipes.backbone_graph import SpectrumReader
from cryojax_graph.training.splits import held_out

_FEWEST_TO_COMPARE = 20


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
        placement: where the template of the file was put.
        truth: of a simulation, when it is at hand.
        doubt: expected error of rotations that were searched, radians; None where they were given.
        evidence: of each image for each of several conformations in any pose, nats; None where none
            were searched for.
        unknown: expected error of a rotation of which nothing is known, radians; None where poses
            were given.
    """

    particles: Particles
    model: TemplateModel
    template: Template
    reader: SpectrumReader
    config: BackboneGraphConfig
    fitted: Int[np.ndarray, " fitted"]
    held: Int[np.ndarray, " held"]
    saved: SavedModel | None
    placement: Placement
    truth: Truth | None
    doubt: Float[np.ndarray, " images"] | None
    evidence: Float[np.ndarray, "images conformations"] | None = None
    unknown: float | None = None

    @property
    def decoder_images(self) -> int:
        """How many images the decoder is fitted to, now or by the earlier job."""
        return self.saved.images if self.saved else len(self.fitted)


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
    check_settings(config)
    saved = None
    if config.fitted:
        check_fitted_alone(config)
        saved = read_saved(config.fitted)
    model = with_poses_from(saved.config, config.poses) if saved else model_config(config)
    refuse_other_kind(config.template, "model", remedy="--template is the PDB or mmCIF file")
    particles = read_views(
        config.particles,
        image_root=config.image_root,
        fewest=1 if config.fitted else FEWEST_IMAGES,
        poses=config.poses != "search",
    )
    template = read_template(config.template)
    centred = template.arrays.c_alpha - template.middle
    check_template_symmetry(centred, config.symmetry, config.template)
    truth = None
    if config.truth:
        truth = read_truth_of(
            config.truth,
            images=len(particles.table),
            residues=len(template.arrays.c_alpha),
            euler_degrees=particles.table.euler_degrees if config.poses == "known" else None,
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
    _tell_left_out(template_model, config.template, job)
    for text in optics_warnings(particles.table):
        job.warn(f"{particles.table.source}: {text}: check its unit")
    image = particles.table.image_of_row()
    if saved is None:
        fitted, held = held_out(key, count, config.held_out, group=image)
    else:
        fitted, held = np.zeros(0, np.int64), np.arange(count)
    if count > (different := image.max() + 1):
        job.log(
            f"{count:,} rows show {different:,} images: rows of one image stay together where "
            "images are held out or divided"
        )
    if model.objective.kind == "squared_error" and len(held):
        # It has no likelihood by which to judge them, nor to find their conformations.
        fitted, held = np.arange(count), np.zeros(0, np.int64)
        job.log("No image is held out: the published objective cannot judge one")
    if config.half_sets and len(held) < _FEWEST_TO_COMPARE:
        raise InputError(
            "command line",
            "--half-sets",
            f"{len(held)} held-out images are too few to compare two fits on",
            f"raise --held-out until there are {_FEWEST_TO_COMPARE}",
        )
    job.require_unchanged("images", particles.images.fingerprint())
    look_through(particles.table, particles.images, job)
    places = possible_places(template_model, particles, config, saved)
    doubt = unknown = None
    if config.poses == "search":
        (by,) = places.values()
        found = search_for_template(particles, template_model, by, config, job)
        particles, doubt, unknown = found.particles, found.doubt, found.unknown
    reader = reader_of(particles, model)
    placement = place_template(template_model, particles, reader, places, model, job)
    template_model = moved(template_model, placement.by)
    template = build_template(template_model.arrays, model, pixel_size=particles.pixel_size)
    return Problem(
        particles=particles,
        model=template_model,
        template=template,
        reader=reader,
        config=model,
        fitted=fitted,
        held=held,
        saved=saved,
        placement=placement,
        truth=truth,
        doubt=doubt,
        unknown=unknown,
    )


def reader_of(particles: Particles, model: BackboneGraphConfig) -> SpectrumReader:
    """Reader of images in their poses.

    Args:
        particles: images and how they were taken.
        model: settings of the model of motion.

    Returns:
        the reader.
    """
    return SpectrumReader(
        particles.images.read,
        particles.views,
        pixel_size=particles.pixel_size,
        standardise=model.objective.kind == "squared_error",
    )


def _tell_left_out(model: TemplateModel, path: str, job: Job) -> None:
    """Say what of the file is not in the template: a warning where it is part of the polymers."""
    if not model.left_out:
        return
    listed = ", ".join(f"{count:,} {name}" for name, count in model.left_out.items())
    text = f"{path}: left out of the template: {listed}"
    if model.left_out.keys() <= {SMALL_MOLECULES}:
        job.log(text)
    else:
        job.warn(f"{text}. If they are in the particles, the fit has to do without them.")
