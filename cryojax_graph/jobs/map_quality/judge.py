"""Two half-maps that a job has made, judged as ``validate fsc`` would."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality.assess import Quality, assess, find_mask, sharpened_map
from cryojax_graph.jobs.map_quality.doubts import doubts
from cryojax_graph.jobs.map_quality.local import LocalResolution, local_resolution
from cryojax_graph.jobs.map_quality.outputs import write_quality
from cryojax_graph.jobs.map_quality.report import in_words, quality_sections
from cryojax_graph.jobs.report import Section


class Judged(NamedTuple):
    """What is known of two half-maps.

    Attributes:
        quality: curves, mask, fall-off of amplitudes, directions.
        local: resolution from place to place; None where it cannot be told.
        sharpened: map of all images, weighted by the correlation of the halves and sharpened.
    """

    quality: Quality
    local: LocalResolution | None
    sharpened: Float[np.ndarray, "box box box"]

    def sections(self) -> list[Section]:
        """For the page of the job."""
        return quality_sections(self.quality, self.local, sharpened=self.sharpened)


def judge(
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    whole: Float[np.ndarray, "box box box"],
    *,
    voxel_size: float,
    job: Job,
    shared: int | None = None,
) -> Judged:
    """Judge two half-maps, write what was found into the folder of the job, and say it.

    Args:
        first: half-map, protein positive.
        second: the other one.
        whole: map of all images, not filtered.
        voxel_size: Å.
        job: whose maps they are; without a mask where none can be found, which it is warned of.
        shared: shells that are the same in both halves, which agree in no others: these count as
            nothing. None where halves share nothing, or agree beyond it.

    Returns:
        what was found.
    """
    of_phases, of_spheres = jax.random.split(jax.random.key(job.seed))
    mask = _mask(first, second, voxel_size, job)
    quality = assess(of_phases, first, second, mask, whole, voxel_size=voxel_size, shared=shared)
    local = measure_local(of_spheres, first, second, quality, job)
    for doubt in doubts(first, second, quality, confined=True):
        job.warn(doubt)
    judged = Judged(quality, local, sharpened_map(quality))
    write_quality(job, quality, local, origin=np.zeros(3), sharpened=judged.sharpened)
    job.log(in_words(quality))
    return judged


def measure_local(
    key: Key[Array, ""],
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    quality: Quality,
    job: Job,
) -> LocalResolution | None:
    """Local resolution within the mask, or in the whole box without one, with progress.

    Args:
        key: of the random phases.
        first: map.
        second: the other map.
        quality: of both.
        job: for progress and messages.

    Returns:
        local resolution; None, with a warning, where no sphere fits into the mask.

    Raises:
        Aborted: on request, between two spheres.
    """
    mask = np.ones_like(first) if quality.mask is None else quality.mask
    voxel, settings = quality.voxel_size, quality.settings
    with job.progress("Local resolution, percent", 100) as advance:

        def each(done: int, total: int) -> None:
            job.check_abort()
            advance(100 * done // total)

        try:
            return local_resolution(
                key,
                first,
                second,
                mask,
                voxel_size=voxel,
                threshold=quality.threshold,
                settings=settings,
                each=each,
            )
        except ValueError as error:
            job.warn(f"No local resolution: {error}")
            return None


def _mask(
    first: Float[np.ndarray, "n n n"], second: Float[np.ndarray, "n n n"], voxel: float, job: Job
) -> Float[np.ndarray, "n n n"] | None:
    try:
        return find_mask(first, second, voxel_size=voxel)
    except ValueError as error:
        job.warn(f"No mask was found ({error}): resolution is that of the whole box")
        return None
