"""Images through the search: a sample to calibrate on, then all of them, part by part."""

from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.noise import outside_disc, radial_noise_power
from cryojax_graph.geometry import (
    asymmetric_unit,
    matrix_from_euler_degrees,
    orientations_at,
)
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.calibration import Calibration, ShellSums, calibrate, shell_sums
from cryojax_graph.poses.matching import rotations_within, shift_grid
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.reference import Reference, amplify, project
from cryojax_graph.poses.refine import Pose, Prior
from cryojax_graph.poses.search import (
    Search,
    SearchConfig,
    prepare_search,
    search_pose,
    search_pose_near,
)
from cryojax_graph.training.mesh import data_mesh

_PER_PART = 512
_PARTICLE_RADIUS = 0.46
# Copies of the scores of a grid that are alive at a time, and what they may take.
_COPIES, _SCORE_BYTES = 8, 2**27


class Settings(NamedTuple):
    """What the search needs beside reference and images.

    Attributes:
        config: of the search.
        views: one rotation for each viewing direction.
        shifts: to try, Å.
        around: rotations to try on a given pose; None to search everywhere.
        prior: of the shift; the contrast's is set by calibration.
    """

    config: SearchConfig
    views: Float[np.ndarray, "views 3 3"]
    shifts: Float[np.ndarray, "shifts 2"]
    around: Float[np.ndarray, "cells 3 3"] | None
    prior: Prior


class _Read(NamedTuple):
    """Images as they are stored, and what the table says of them."""

    image: Float[Array, "*images box box"]
    ctf: CTF
    start: Pose | None


class Found(NamedTuple):
    """Poses of images, as numpy arrays of shape (images, …).

    Attributes:
        rotation: matrices.
        shift: Å.
        scale: contrast.
        scale_variance: its variance.
        log_likelihood: above that of an image without particle.
        probability: of the mode.
        rotation_deviation: radians.
        shift_deviation: Å, along one axis.
        evidence: nats.
    """

    rotation: Float[np.ndarray, "images 3 3"]
    shift: Float[np.ndarray, "images 2"]
    scale: Float[np.ndarray, " images"]
    scale_variance: Float[np.ndarray, " images"]
    log_likelihood: Float[np.ndarray, " images"]
    probability: Float[np.ndarray, " images"]
    rotation_deviation: Float[np.ndarray, " images"]
    shift_deviation: Float[np.ndarray, " images"]
    evidence: Float[np.ndarray, " images"]


def settings_for(
    config: SearchConfig,
    *,
    field: float,
    shift_range: float,
    within_degrees: float | None,
    symmetry: str,
) -> Settings:
    """Grids of a search.

    Args:
        config: of the search.
        field: edge of the images, Å.
        shift_range: largest shift, Å.
        within_degrees: largest rotation from a given pose; None to search everywhere.
        symmetry: point group; views outside one of its asymmetric units are left out.

    Returns:
        the settings.
    """
    count = 12 * 4**config.order
    angles = orientations_at(np.arange(count) * 6 * 2**config.order, config.order)
    angles[:, 2] = 0.0
    views = np.asarray(
        jax.vmap(matrix_from_euler_degrees)(jnp.asarray(angles, jnp.float32)), np.float32
    )
    inside = asymmetric_unit(views[:, 2].astype(np.float64), symmetry)
    views = views[inside] if inside.any() else views
    shifts = shift_grid(shift_range, field / config.coarse / 4).astype(np.float32)
    around = None
    if within_degrees is not None:
        spacing = min(0.5 * config.spacing, np.radians(within_degrees) / 2)
        around = rotations_within(np.radians(within_degrees), spacing)
    # Almost flat within the range.
    prior = Prior(shift=4.0 / max(shift_range, 1e-3) ** 2)
    return Settings(config, views, shifts, around, prior)


def sample_of(particles: ParticleSet, most: int) -> Int[np.ndarray, " sample"]:
    """Images spread over the set.

    Args:
        particles: all of them.
        most: how many, or all where there are fewer.

    Returns:
        their numbers.
    """
    count = len(particles.table)
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(int))


def noise_outside(
    particles: ParticleSet, images: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " shells"]:
    """Mean noise power from the corners of images.

    Args:
        particles: all of them.
        images: which to read.

    Returns:
        variance per pixel in shells 0 … box // 2.
    """
    box = particles.box
    mask = outside_disc(_PARTICLE_RADIUS * box, box=box)
    power = jax.jit(jax.vmap(lambda image: radial_noise_power(image, mask)))
    return np.asarray(power(particles.images.read(images)), np.float64).mean(axis=0)


class Searcher:
    """Images of a set, searched for a reference with the same settings."""

    def __init__(self, particles: ParticleSet, settings: Settings) -> None:
        """Take images and grids."""
        self._particles, self._settings = particles, settings
        self._mesh = data_mesh()

    @property
    def starts_given(self) -> bool:
        """Whether poses are sought around given ones."""
        return self._settings.around is not None

    def prepare(self, reference: Reference, noise: Float[np.ndarray, " shells"]) -> Search:
        """Project a reference along all views.

        Args:
            reference: to search for.
            noise: power in shells, variance per pixel.

        Returns:
            what ``find`` needs.
        """
        settings = self._settings
        return _prepare(
            reference,
            jnp.asarray(settings.views),
            jnp.asarray(settings.shifts),
            jnp.asarray(noise, jnp.float32),
            config=settings.config,
        )

    def find(
        self, search: Search, images: Int[np.ndarray, " n"], contrast_precision: float
    ) -> Found:
        """Poses of some images.

        Args:
            search: from ``prepare``.
            images: which.
            contrast_precision: of the prior of the contrast about 1.

        Returns:
            their poses.
        """
        settings, devices = self._settings, self._mesh.size
        padded = np.resize(images, -(-len(images) // devices) * devices)
        around = None if settings.around is None else jnp.asarray(settings.around)
        estimate = _find(
            search,
            self._read(padded),
            around,
            Prior(jnp.float32(settings.prior.shift), jnp.float32(contrast_precision)),
            config=settings.config,
            pixel_size=self._particles.pixel_size,
            chunk=self._chunk(),
            mesh=self._mesh,
        )
        return _as_found(estimate, len(images))

    def calibration(
        self, search: Search, images: Int[np.ndarray, " n"], found: Found
    ) -> Calibration:
        """Gain of the reference and power of the noise, from images with poses.

        Args:
            search: whose reference is calibrated.
            images: which.
            found: their poses.

        Returns:
            the calibration.
        """
        poses = Pose(*(jnp.asarray(a) for a in (found.rotation, found.shift, found.scale)))
        sums = _sums(
            search,
            self._read(images),
            poses,
            config=self._settings.config,
            pixel_size=self._particles.pixel_size,
        )
        total = ShellSums(*(np.asarray(v, np.float64).sum(axis=0) for v in sums))
        return calibrate(total, box=self._particles.box)

    def _read(self, images: Int[np.ndarray, " n"]) -> _Read:
        table = self._particles.table
        fields = (jnp.asarray(f, jnp.float32)[images] for f in self._particles.ctf)
        start = None
        if self.starts_given:
            euler, shift = table.euler_degrees, table.shift_angstrom
            assert euler is not None
            assert shift is not None
            rotation = jax.vmap(matrix_from_euler_degrees)(jnp.asarray(euler[images], jnp.float32))
            start = Pose(rotation, jnp.asarray(shift[images], jnp.float32), jnp.ones(len(images)))
        return _Read(jnp.asarray(self._particles.images.read(images)), CTF(*fields), start)

    def _chunk(self) -> int:
        """Images whose scores fit together into what they may take."""
        settings = self._settings
        cells = len(settings.views) * settings.config.grid.turns
        if settings.around is not None:
            cells = len(settings.around)
        scores = 4 * _COPIES * len(settings.shifts) * cells
        return int(np.clip(_SCORE_BYTES // scores, 1, 16))


@partial(jax.jit, static_argnames="config")
def _prepare(
    reference: Reference,
    views: Float[Array, "views 3 3"],
    shifts: Float[Array, "shifts 2"],
    noise: Float[Array, " shells"],
    *,
    config: SearchConfig,
) -> Search:
    return prepare_search(reference, views, shifts, noise, config)


@partial(jax.jit, static_argnames=("config", "pixel_size", "chunk", "mesh"))
def _find(
    search: Search,
    read: _Read,
    around: Float[Array, "cells 3 3"] | None,
    prior: Prior,
    *,
    config: SearchConfig,
    pixel_size: float,
    chunk: int,
    mesh: Mesh,
) -> PoseEstimate:
    common = {"pixel_size": pixel_size, "prior": prior}

    def one(read: _Read) -> PoseEstimate:
        if around is None or read.start is None:
            return search_pose(read.image, read.ctf, search, config, **common)
        return search_pose_near(read.image, read.ctf, read.start, around, search, config, **common)

    return map_images(one, read, chunk=chunk, mesh=mesh)


@partial(jax.jit, static_argnames=("config", "pixel_size"))
def _sums(
    search: Search, read: _Read, poses: Pose, *, config: SearchConfig, pixel_size: float
) -> ShellSums:
    box = read.image.shape[1]
    band = fourier_band(box, config.inner, config.radii[-1])
    kx, ky = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)
    onto_band = partial(project, search.reference, kx=kx, ky=ky)

    def one(read: _Read, pose: Pose) -> ShellSums:
        observed = observe(read.image, read.ctf, search.noise, band, pixel_size=pixel_size)
        return shell_sums(onto_band, observed, pose, band, box=box, field=box * pixel_size)

    return map_images(one, read, poses)


def search_all(
    searcher: Searcher, search: Search, contrast_precision: float, count: int, job: Job
) -> Found:
    """Poses of all images; parts that an interrupted run finished are taken as they are.

    Args:
        searcher: of the set.
        search: the calibrated reference.
        contrast_precision: of the prior of the contrast.
        count: number of images.
        job: in whose folder to work.

    Returns:
        the poses.

    Raises:
        Aborted: on request, between two parts.
    """
    folder = job.working("poses")
    folder.mkdir(exist_ok=True)
    parts = [
        np.arange(first, min(first + _PER_PART, count)) for first in range(0, count, _PER_PART)
    ]
    done = sum(_part(folder, number).exists() for number in range(len(parts)))
    if done:
        job.log(f"{done} of {len(parts)} parts were searched before")
    results = []
    with job.progress("Searching", count) as advance:
        for number, part in enumerate(parts):
            job.check_abort()
            if not _part(folder, number).exists():
                # One shape for all parts: nothing is compiled twice.
                same = np.resize(part, len(parts[0]))
                found = searcher.find(search, same, contrast_precision)
                kept = Found(*(values[: len(part)] for values in found))
                write_npz(_part(folder, number), kept._asdict())
            results.append(Found(**read_npz(_part(folder, number))))
            advance(int(part[-1]) + 1)
    return Found(*(np.concatenate(values) for values in zip(*results, strict=True)))


def mirrored(reference: Reference) -> Reference:
    """The reference of the other hand.

    Args:
        reference: a map.

    Returns:
        the map with z turned round.
    """
    volume = reference.volume._replace(coefficients=reference.volume.coefficients[::-1])
    return reference._replace(volume=volume)


def calibrated(reference: Reference, calibration: Calibration) -> Reference:
    """The reference in the units of the images.

    Args:
        reference: as it was searched for.
        calibration: from images.

    Returns:
        the changed reference.
    """
    return jax.jit(amplify)(reference, jnp.asarray(calibration.gain, jnp.float32))


def contrast_precision(found: Found) -> float:
    """Prior of the contrast from poses of a sample, whose mean contrast is about 1.

    Args:
        found: poses of the sample.

    Returns:
        inverse variance; contrasts vary by 5 % at least.
    """
    spread = np.var(found.scale) - np.mean(found.scale_variance)
    return float(1.0 / max(spread, 0.05**2))


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:06d}.npz"


def _as_found(estimate: PoseEstimate, count: int) -> Found:
    """Of the first images, on the host."""

    def host(values: Array) -> np.ndarray:
        return np.asarray(values)[:count]

    covariance = host(estimate.covariance)
    shift = 0.5 * np.trace(covariance[:, 3:5, 3:5], axis1=1, axis2=2)
    return Found(
        rotation=host(estimate.pose.rotation),
        shift=host(estimate.pose.shift),
        scale=host(estimate.pose.scale),
        scale_variance=covariance[:, 5, 5],
        log_likelihood=host(estimate.log_likelihood),
        probability=host(estimate.probability),
        rotation_deviation=host(estimate.rotation_deviation),
        shift_deviation=np.sqrt(np.maximum(shift, 0.0)),
        evidence=host(estimate.evidence),
    )
