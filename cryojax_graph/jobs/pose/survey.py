"""A sample of the images first: sign, amplitudes and hand of the reference, and the noise."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import noise_outside
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.contrast import contrast_precision
from cryojax_graph.jobs.pose.searcher import Found, Searcher, sample_of
from cryojax_graph.poses.reference import Reference, amplify

# Of the sample, some are also held against the inverted reference, and that of the other hand.
_SAMPLE, _FEW = 256, 64
_FIRST_PRECISION = 4.0
_CLEARLY = 4.0
# What all images together have to say, nats: a few weak ones agree by chance.
_DECISIVE = 20.0


class Survey(NamedTuple):
    """What a sample tells.

    Attributes:
        reference: in the units of the images.
        noise: power in shells, variance per pixel.
        contrast_precision: of the prior of the contrast.
        gains: of the reference in shells, one row for each round of calibration.
        hand: evidence for this hand above that for the other, nats per image, and its standard
            error; None without given poses, as projections in unknown directions are those of
            either hand.
    """

    reference: Reference
    noise: Float[np.ndarray, " shells"]
    contrast_precision: float
    gains: Float[np.ndarray, "rounds shells"]
    hand: tuple[float, float] | None


def survey_once(searcher: Searcher, given: Reference, particles: ParticleSet, job: Job) -> Survey:
    """Survey a sample, or take what an interrupted run of the job has found in it.

    Args:
        searcher: of the set.
        given: the reference in units of its own.
        particles: images.
        job: in whose folder the outcome is kept.

    Returns:
        as from ``survey``.

    Raises:
        InputError: the images fit the inverted reference better.
        Aborted: on request, between two steps.
    """
    kept = job.working("survey.npz")
    if not kept.exists():
        known = survey(searcher, given, particles, job)
        # Not the reference, which is large and follows from the gains.
        values = {"noise": known.noise, "gains": known.gains, "hand": np.array(known.hand or ())}
        write_npz(kept, values | {"contrast_precision": np.array(known.contrast_precision)})
        return known
    job.log("The sample was looked at before")
    values = read_npz(kept, limits=OWN_LIMITS)
    reference, hand = given, values["hand"].tolist()
    for gain in values["gains"]:
        reference = _calibrated(reference, gain)
    return Survey(
        reference,
        values["noise"],
        float(values["contrast_precision"]),
        values["gains"],
        (hand[0], hand[1]) if hand else None,
    )


def survey(searcher: Searcher, given: Reference, particles: ParticleSet, job: Job) -> Survey:
    """Search a sample with the reference as it is, inverted and calibrated.

    Args:
        searcher: of the set.
        given: the reference in units of its own.
        particles: images.
        job: for messages.

    Returns:
        what the search of all images needs.

    Raises:
        InputError: the images fit the inverted reference better.
        Aborted: on request, between two steps.
    """
    images = sample_of(particles, _SAMPLE)
    some = slice(None, None, max(1, len(images) // _FEW))
    few = images[some]
    with job.progress("Looking at a sample", 4) as advance:
        noise = noise_outside(particles, images)
        first = searcher.prepare(given, noise)
        dark = given._replace(volume=given.volume._replace(coefficients=-given.volume.coefficients))
        found = searcher.find(first, images, 0.0)
        advance(1)
        job.check_abort()
        _refuse_inverted(
            Found(*(values[some] for values in found)),
            searcher.find(searcher.prepare(dark, noise), few, 0.0),
            particles,
        )
        calibration = searcher.calibration(first, images, found)
        gains = [calibration.gain]
        reference = _calibrated(given, gains[0])
        advance(2)
        job.check_abort()
        search = searcher.prepare(reference, calibration.noise)
        found = searcher.find(search, images, _FIRST_PRECISION)
        calibration = searcher.calibration(search, images, found)
        gains.append(calibration.gain)
        reference = _calibrated(reference, gains[1])
        precision = contrast_precision(found, _FIRST_PRECISION)
        advance(3)
        job.check_abort()
        hand = None
        if searcher.starts_given:
            noise = calibration.noise
            this = searcher.find(searcher.prepare(reference, noise), few, precision)
            others = (
                searcher.find(searcher.prepare(mirrored, noise), few, precision)
                for mirrored in _mirrored(reference)
            )
            other = max(others, key=lambda found: found.evidence.mean(dtype=np.float64))
            hand = _difference(this, other)
        advance(4)
    return Survey(reference, calibration.noise, precision, np.stack(gains), hand)


def note_hand(evidence: tuple[float, float] | None, job: Job) -> None:
    """Note which hand fits given poses, and warn where it is not that of the reference.

    Args:
        evidence: ``hand`` of the survey.
        job: for figures and warning.
    """
    if evidence is None:
        job.log("Either hand of the reference fits images in unknown directions alike")
        return
    hand, error = evidence
    job.metric("hand_evidence_mean_nats", hand)
    job.metric("hand_evidence_error_nats", error)
    if hand < -_CLEARLY * error:
        job.warn(
            f"The mirrored reference fits the images in their poses better (by {-hand:.1f} ± "
            f"{error:.1f} nats per image): the reference has the other hand than the poses."
        )


def _difference(first: Found, second: Found) -> tuple[float, float]:
    """Mean gain and its error, which is as large where the images together say little."""
    gain = first.evidence.astype(np.float64) - second.evidence
    mean, error = float(gain.mean()), 0.0
    if len(gain) > 1:
        error = float(gain.std(ddof=1) / np.sqrt(len(gain)))
    return mean, max(error, abs(mean)) if abs(gain.sum()) < _DECISIVE else error


def _refuse_inverted(found: Found, inverted: Found, particles: ParticleSet) -> None:
    mean, error = _difference(found, inverted)
    if mean < -_CLEARLY * error:
        raise InputError(
            particles.table.source,
            "contrast",
            f"images are dark where the reference has mass (by {-mean:.1f} nats per image)",
            "turn the contrast of one of them (in refine by --contrast): protein must be white in "
            "both",
        )


def _mirrored(reference: Reference) -> Iterator[Reference]:
    """The reference of the other hand: mirrored along z, y and x, and through its centre.

    They differ by half turns, and only one of them is in the frame of the given poses.
    """
    plain = reference.volume.coefficients
    mirrors: tuple[Callable[[Array], Array], ...] = (
        lambda c: c[::-1],
        lambda c: c[:, ::-1],
        lambda c: c[::-1, ::-1].conj(),
        lambda c: c.conj(),
    )
    for mirror in mirrors:
        yield reference._replace(volume=reference.volume._replace(coefficients=mirror(plain)))


def _calibrated(reference: Reference, gain: Float[np.ndarray, " shells"]) -> Reference:
    """The reference nearer to the units of the images."""
    return jax.jit(amplify)(reference, jnp.asarray(gain, jnp.float32))
