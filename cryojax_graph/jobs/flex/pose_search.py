"""Poses of images searched with the template, or with several conformations."""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from cryojax_graph.forward.slices import volume_spectrum
from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.inputs import Particles, TemplateModel
from cryojax_graph.jobs.flex.symmetry import apparent_fold
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import GroupNoise, noise_of_groups
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.outputs import note_shifts
from cryojax_graph.jobs.pose.reference import density_of_model
from cryojax_graph.jobs.pose.run import bytes_of_search, seconds_of_search
from cryojax_graph.jobs.pose.searcher import Found, Searcher
from cryojax_graph.jobs.pose.searching import search_all
from cryojax_graph.jobs.pose.settings import Settings, settings_for
from cryojax_graph.jobs.pose.survey import survey_once
from cryojax_graph.poses.reference import Reference, reference_of
from cryojax_graph.poses.search import plan_search
from cryojax_graph.training.recipes.backbone_graph import Views

_SHIFT_SHARE = 1 / 12
_NEARER = (
    "extract them anew around their middle, or find their poses with pose and a larger "
    "--shift-range, and go on with --poses refine"
)
# Of a contrast that is 1 but for a thousandth: without a prior it would be free.
_FIXED_CONTRAST = 1e6


class Searched(NamedTuple):
    """Particles with the poses that were found.

    Attributes:
        particles: with these poses.
        doubt: expected errors of the rotations, radians; modulo the symmetry of the template.
        evidence: of each image for each conformation in any pose, nats.
        unknown: expected error of a rotation of which nothing is known, radians.
    """

    particles: Particles
    doubt: Float[np.ndarray, " images"]
    evidence: Float[np.ndarray, "images conformations"]
    unknown: float


def search_settings(*, box: int, pixel_size: float, radius: float, symmetry: str) -> Settings:
    """Grids of a search for a template or its conformations.

    Args:
        box: edge of the images in pixels.
        pixel_size: Å.
        radius: of the sphere with the molecule's radius of gyration, Å.
        symmetry: point group of the template. Conformations may break it: what one of them shows
            outside its asymmetric unit, another one, turned by the group, shows inside.

    Returns:
        the settings.
    """
    field = box * pixel_size
    return settings_for(
        plan_search(field=field, radius=max(radius, pixel_size), finest=box // 2),
        field=field,
        shift_range=_SHIFT_SHARE * field,
        within_degrees=None,
        symmetry=symmetry,
    )


class SearchCost(NamedTuple):
    """What one search takes.

    Attributes:
        seconds_per_image: on two cores, roughly.
        memory_bytes: with the program.
    """

    seconds_per_image: float
    memory_bytes: float


def cost_of_search(*, box: int, pixel_size: float, radius: float, symmetry: str) -> SearchCost:
    """What a search for a template or its conformations takes.

    Args:
        box: edge of the images in pixels.
        pixel_size: Å.
        radius: of the sphere with the molecule's radius of gyration, Å.
        symmetry: point group of the template.

    Returns:
        time and memory.
    """
    settings = search_settings(box=box, pixel_size=pixel_size, radius=radius, symmetry=symmetry)
    spectrum = jax.eval_shape(
        lambda density: volume_spectrum(density).coefficients,
        jax.ShapeDtypeStruct((box, box, box), jnp.float32),
    )
    return SearchCost(seconds_of_search(settings), bytes_of_search(settings, 8 * spectrum.size))


def search_for_template(
    particles: Particles,
    template: TemplateModel,
    by: Float[np.ndarray, "3"],
    config: FlexConfig,
    job: Job,
) -> Searched:
    """Find the template in every image.

    Args:
        particles: images; their poses are not looked at.
        template: in the frame of its file.
        by: what brings its zero to the centre of the box, Å.
        config: of the verb.
        job: for messages and what is kept for resuming.

    Returns:
        particles with poses.

    Raises:
        InputError: the template cannot be searched for, or images are inverted.
    """
    if config.symmetry.upper() == "C1":
        _warn_of_symmetry(template, job)
    images = _as_set(particles)
    settings = search_settings(
        box=particles.box,
        pixel_size=particles.pixel_size,
        radius=template.radius,
        symmetry=config.symmetry,
    )
    searcher = Searcher(images, settings, noise=noise_of_groups(images))
    known = survey_once(searcher, _reference(template, by, config.template, particles), images, job)
    found = search_all(
        searcher,
        searcher.prepare(known.reference, known.noise),
        known.contrast_precision,
        np.arange(len(particles.table)),
        job,
        name="poses_template",
        label="Searching with the template",
    )
    note_shifts(found, settings, job, remedy=_NEARER)
    return _searched(particles, [found], settings, job)


def search_for_conformations(
    particles: Particles,
    densities: list[Float[np.ndarray, "box box box"]],
    *,
    noise: Float[np.ndarray, " shells"],
    contrast_deviation: float,
    radius: float,
    symmetry: str,
    job: Job,
    name: str,
) -> Searched:
    """Find one of several conformations in every image.

    Args:
        particles: images; their poses are not looked at.
        densities: of the conformations, in the units of the images.
        noise: mean power of the images' noise in shells, variance per pixel.
        contrast_deviation: of the prior of the contrast; 0 fixes it at 1.
        radius: of the sphere with the molecule's radius of gyration, Å.
        symmetry: point group of the template.
        job: for messages and what is kept for resuming.
        name: of what is kept.

    Returns:
        particles with the pose in the conformation that explains each best; poses in others are
        among what its error expects, as probable as they are.
    """
    images = _as_set(particles)
    field, pixel = particles.box * particles.pixel_size, particles.pixel_size
    settings = search_settings(
        box=particles.box, pixel_size=pixel, radius=radius, symmetry=symmetry
    )
    groups = noise_of_groups(images)
    searcher = Searcher(images, settings, noise=groups)
    every = []
    for number, density in enumerate(densities, 1):
        reference = reference_of(
            jnp.asarray(density), voxel_size=pixel, field=field, pixel_size=pixel
        )
        every.append(
            search_all(
                searcher,
                searcher.prepare(reference, noise / _mean_ratio(groups)),
                contrast_deviation**-2 if contrast_deviation else _FIXED_CONTRAST,
                np.arange(len(particles.table)),
                job,
                name=f"{name}_{number}",
                label=f"Searching with conformation {number} of {len(densities)}",
            )
        )
    return _searched(particles, every, settings, job)


def _as_set(particles: Particles) -> ParticleSet:
    return ParticleSet(
        particles.table,
        particles.images,
        particles.views.ctf,
        particles.pixel_size,
        particles.box,
        particles.image_root,
    )


def _reference(
    template: TemplateModel, by: Float[np.ndarray, "3"], path: str, particles: Particles
) -> Reference:
    box, pixel = particles.box, particles.pixel_size
    positions = (template.seen.positions + by).astype(np.float32)
    atoms = replace(template.seen, positions=positions)
    density = density_of_model(atoms, path, box=box, voxel_size=pixel)
    return reference_of(density, voxel_size=pixel, field=box * pixel, pixel_size=pixel)


def _mean_ratio(groups: GroupNoise) -> Float[np.ndarray, " shells"]:
    """Mean power of all images beside that of the set, of which groups state their share."""
    count = np.bincount(groups.group, minlength=len(groups.ratio))
    return np.average(groups.ratio, axis=0, weights=count)


def _warn_of_symmetry(template: TemplateModel, job: Job) -> None:
    fold = apparent_fold(template.arrays.c_alpha)
    if fold > 1:
        job.warn(
            f"The template looks the same after 1/{fold} of a turn about an axis: images do not "
            f"tell its {fold} sides from one another, so that their poses will seem doubtful. If "
            "the particle has this symmetry, turn the template until its axes are where RELION has "
            f"them, and give --symmetry: C{fold}, say."
        )


def _searched(particles: Particles, every: list[Found], settings: Settings, job: Job) -> Searched:
    """The pose in the conformation that explains each image best, and how sure it is."""
    evidence = np.stack([found.evidence for found in every], axis=1).astype(np.float64)
    best, each = np.argmax(evidence, axis=1), np.arange(len(evidence))
    rotations = np.stack([found.rotation for found in every], axis=1)
    chosen = rotations[each, best]
    apart = _apart(chosen, rotations, settings.operators)
    within = np.stack([found.rotation_deviation for found in every], axis=1)
    # What may be anywhere is no farther from another place than from its own.
    placed = 1.0 - np.minimum(within / settings.unknown, 1.0) ** 2
    expected = within**2 + placed * apart**2
    doubt = np.sqrt(np.sum(softmax(evidence, axis=1) * expected, axis=1))
    shift = np.stack([found.shift for found in every], axis=1)[each, best]
    job.log(f"Rotations are known to {np.degrees(np.median(doubt)):.1f}° (median)")
    views = Views(chosen, shift, particles.views.ctf)
    return Searched(particles._replace(views=views), doubt, evidence, settings.unknown)


def _apart(
    chosen: Float[np.ndarray, "images 3 3"],
    rotations: Float[np.ndarray, "images conformations 3 3"],
    operators: Float[np.ndarray, "operators 3 3"],
) -> Float[np.ndarray, "images conformations"]:
    """Smallest angles between rotations of a symmetric object, radians."""
    # The trace of chosenᵀ R g is the sum of g times (chosenᵀ R)ᵀ.
    relative = np.einsum("nji,ncjk->ncki", chosen, rotations, dtype=np.float64)
    traces = relative.reshape(*relative.shape[:2], 9) @ operators.reshape(-1, 9).T
    return np.arccos(np.clip((traces.max(axis=2) - 1) / 2, -1, 1))
