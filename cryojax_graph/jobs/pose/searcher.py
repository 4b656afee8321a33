"""Images of a set through one compiled search."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import shift_image
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.noise import GroupNoise
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.settings import REFINED, How, Settings
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.calibration import Calibration, ShellSums, calibrate, shell_sums
from cryojax_graph.poses.defocus import DefocusEstimate, refine_defocus
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.reducers import reduce_grid
from cryojax_graph.poses.reference import Reference, project
from cryojax_graph.poses.refine import Pose, Prior
from cryojax_graph.poses.search import (
    Search,
    SearchConfig,
    moved,
    prepare_search,
    search_pose,
    search_pose_near,
)
from cryojax_graph.training.mesh import data_mesh

# Images searched by one call: one shape for samples and parts alike, so one compilation.
_BLOCK = 64
# Copies of the scores of a grid that are alive at a time, and what they may take.
_COPIES, _SCORE_BYTES = 8, 2**26


class _Read(NamedTuple):
    """Images at the contrast of the set, and what is known of them."""

    image: Float[Array, "*images box box"]
    ctf: CTF
    noise: Float[Array, "*images shells"]
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
        defocus_offset: added to both defocus values, Å; 0 where defocus is not refined.
        defocus_deviation: of that, Å.
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
    defocus_offset: Float[np.ndarray, " images"]
    defocus_deviation: Float[np.ndarray, " images"]

    @property
    def pose(self) -> Pose:
        """Rotations, shifts and contrasts, for functions of poses."""
        return Pose(*(jnp.asarray(a) for a in (self.rotation, self.shift, self.scale)))


class Start(NamedTuple):
    """Poses around which others are sought, of all images of a table.

    Attributes:
        rotation: matrices.
        shift: Å.
    """

    rotation: Float[np.ndarray, "images 3 3"]
    shift: Float[np.ndarray, "images 2"]


def _start_of(table: ParticleTable) -> Start:
    euler, shift = table.euler_degrees, table.shift_angstrom
    assert euler is not None
    assert shift is not None
    return Start(rotation_from_euler(euler), shift)


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


class Searcher:
    """Images of a set, searched for a reference with the same settings."""

    def __init__(
        self,
        particles: ParticleSet,
        settings: Settings,
        start: Start | None = None,
        *,
        noise: GroupNoise | None = None,
        contrast: Float[np.ndarray, " images"] | None = None,
        block: int = _BLOCK,
    ) -> None:
        """Take images and grids.

        Args:
            particles: all images.
            settings: grids and priors.
            start: poses around which to search, where the settings say so; those of the table when
                not given. A search everywhere takes the shifts of given ones as its centres.
            noise: of the groups beside that of the set; equal when not given.
            contrast: of the group of each image beside that of the set; 1 when not given.
            block: images of one call at most; fewer where calls are to be for few images.
        """
        self._block = min(block, len(particles.table))
        self._particles, self._settings = particles, settings
        # Made once: blocks are small, and the table may hold a million poses.
        self._start = _start_of(particles.table) if start is None and self.starts_given else start
        self._noise, self._contrast = noise, contrast
        self._mesh = data_mesh()

    @property
    def starts_given(self) -> bool:
        """Whether poses are sought around given ones."""
        return self._settings.around is not None

    @property
    def how(self) -> How:
        """How the poses of all images are to be estimated."""
        return self._settings.how

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
            jnp.asarray(settings.operators),
            config=settings.config,
        )

    def find(
        self,
        search: Search,
        images: Int[np.ndarray, " n"],
        contrast_precision: float,
        *,
        how: How = REFINED,
    ) -> Found:
        """Poses of some images.

        Args:
            search: from ``prepare``.
            images: which.
            contrast_precision: of the prior of the contrast about 1.
            how: they are estimated.

        Returns:
            their poses.
        """
        devices = self._mesh.size
        block = -(-self._block // devices) * devices
        parts = [
            self._find_block(search, images[start : start + block], block, contrast_precision, how)
            for start in range(0, len(images), block)
        ]
        return Found(*(np.concatenate(values) for values in zip(*parts, strict=True)))

    def _find_block(
        self,
        search: Search,
        images: Int[np.ndarray, " n"],
        block: int,
        contrast_precision: float,
        how: How,
    ) -> Found:
        settings = self._settings
        estimate = _find(
            search,
            self._read(np.resize(images, block)),
            None if settings.around is None else jnp.asarray(settings.around),
            Prior(jnp.float32(settings.prior.shift), jnp.float32(contrast_precision)),
            config=settings.config,
            pixel_size=self._particles.pixel_size,
            chunk=self._chunk(),
            mesh=self._mesh,
            how=how,
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
        sums = _sums(
            search,
            self._read(images),
            found.pose,
            config=self._settings.config,
            pixel_size=self._particles.pixel_size,
        )
        total = ShellSums(*(np.asarray(v, np.float64).sum(axis=0) for v in sums))
        return calibrate(total, box=self._particles.box)

    def _read(self, images: Int[np.ndarray, " n"]) -> _Read:
        fields = (jnp.asarray(np.asarray(f)[images], jnp.float32) for f in self._particles.ctf)
        start = None
        if self._start is not None:
            rotation, shift = (jnp.asarray(v[images], jnp.float32) for v in self._start)
            start = Pose(rotation, shift, jnp.ones(len(images)))
        values = self._particles.images.read(images)
        noise = np.ones((len(images), self._particles.box // 2 + 1))
        if self._noise is not None:
            noise = self._noise.ratio[self._noise.group[images]]
        if self._contrast is not None:
            values = values / self._contrast[images][:, None, None]
            noise = noise / self._contrast[images][:, None] ** 2
        values, noise = (jnp.asarray(a, jnp.float32) for a in (values, noise))
        return _Read(values, CTF(*fields), noise, start)

    def _chunk(self) -> int:
        """Images whose scores fit together into what they may take."""
        settings = self._settings
        scores = 4 * _COPIES * len(settings.shifts) * settings.cells
        return int(np.clip(_SCORE_BYTES // scores, 1, 16))


@partial(jax.jit, static_argnames="config")
def _prepare(
    reference: Reference,
    views: Float[Array, "views 3 3"],
    shifts: Float[Array, "shifts 2"],
    noise: Float[Array, " shells"],
    operators: Float[Array, "operators 3 3"],
    *,
    config: SearchConfig,
) -> Search:
    return prepare_search(reference, views, shifts, noise, config, operators=operators)


@partial(jax.jit, static_argnames=("config", "pixel_size", "chunk", "mesh", "how"))
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
    how: How,
) -> DefocusEstimate:
    common = {"pixel_size": pixel_size, "prior": prior}

    def pose_of(read: _Read, search: Search) -> PoseEstimate:
        if how.method != "grid":
            return reduce_grid(read.image, read.ctf, search, config, **common, reducer=how.method)
        if around is None or read.start is None:
            shift = None if read.start is None else read.start.shift
            return search_pose(read.image, read.ctf, search, config, **common, start=shift)
        return search_pose_near(read.image, read.ctf, read.start, around, search, config, **common)

    def one(read: _Read) -> DefocusEstimate:
        of_its_noise = search._replace(noise=search.noise * read.noise)
        found = pose_of(read, of_its_noise)
        if how.defocus_deviation is None:
            return DefocusEstimate(found, jnp.zeros(()), jnp.zeros(()))
        # Priors are about the given shift, if there is one.
        centre = jnp.zeros(2) if read.start is None else read.start.shift
        refined = refine_defocus(
            shift_image(read.image, centre, pixel_size=pixel_size),
            read.ctf,
            moved(found, -centre),
            of_its_noise,
            config,
            **common,
            deviation=how.defocus_deviation,
        )
        return refined._replace(estimate=moved(refined.estimate, centre))

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
        sums = shell_sums(onto_band, observed, pose, band, box=box, field=box * pixel_size)
        # Each image counts by its noise beside that of the set, which is what they sum up to.
        overlap, predicted, power = (values / read.noise for values in sums[:-1])
        return ShellSums(overlap, predicted, power, sums.numbers)

    return map_images(one, read, poses)


def _as_found(optics: DefocusEstimate, count: int) -> Found:
    """Of the first images, on the host."""
    estimate = optics.estimate

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
        defocus_offset=host(optics.offset),
        defocus_deviation=host(optics.deviation),
    )
