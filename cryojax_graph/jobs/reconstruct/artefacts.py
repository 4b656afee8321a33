"""Cone bootstrap of a reconstruction, image by image from disk."""

import time
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.bootstrap import (
    Replicates,
    add_replicate,
    deal_into_parts,
    jackknife_variance,
    no_replicates,
    without_part,
)
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.reconstruct import SpectrumSums
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.insertion import Source, Views, insert_views
from cryojax_graph.jobs.reconstruct.maps import completed, confined_map

FILE = "artefact_deviation.mrc"


class Artefacts(NamedTuple):
    """How far a map would differ had other images been taken.

    Attributes:
        deviation: standard deviation of each voxel, in the unit of the map.
        variance: of each coefficient of its half spectrum.
        parts: into which the images were dealt.
    """

    deviation: Float[np.ndarray, "box box box"]
    variance: Float[np.ndarray, "box box columns"]
    parts: int


def check_enough(particles: ParticleSet, parts: int | None) -> None:
    """Refuse to deal images into more parts than there are images.

    Args:
        particles: all of them.
        parts: asked for; None where no bootstrap is.

    Raises:
        InputError: there are fewer images than parts.
    """
    images = len(np.unique(particles.table.image_of_row()))
    if parts is not None and images < parts:
        cause = f"{images} images cannot be dealt into {parts} parts"
        remedy = "give more images, or fewer parts"
        raise InputError(particles.table.source, "--bootstrap", cause, remedy)


def find_artefacts(
    source: Source,
    views: Views,
    total: SpectrumSums,
    precision: Float[Array, " shells"],
    operators: Float[np.ndarray, "n 3 3"],
    *,
    parts: int,
    radius: Scalar,
    job: Job,
    name: str = "bootstrap",
) -> Artefacts:
    """Deviation of the filtered map of all views.

    Args:
        source: of the images.
        views: all that are in the map.
        total: complete sums over the views.
        precision: of the map's Wiener filter.
        operators: of the point group.
        parts: into which the images are dealt.
        radius: of the sphere to which the map is confined, voxels.
        job: for progress, the seed, and to keep what is done.
        name: of what is kept.

    Returns:
        the deviations.

    Raises:
        Aborted: on request, between two blocks of images.
    """
    key = jax.random.fold_in(jax.random.key(job.seed), 1)
    image = source.particles.table.image_of_row()[views.image]
    part = deal_into_parts(key, views.rotation, image, parts=parts)
    box = source.particles.box
    kept = job.working(f"{name}.npz")
    maps, spectra = _resume(kept, box)
    inserted = int(np.sum(part < int(maps.count)))
    saved = time.monotonic()
    with job.progress("Bootstrap", len(part), start=inserted) as advance:
        for number in range(int(maps.count), parts):
            chosen = Views(*(values[part == number] for values in views))
            sums = insert_views(
                source,
                chosen,
                job=job,
                advance=lambda done, before=inserted: advance(before + done),
            )
            rest = without_part(total, completed(sums, operators))
            replicate = confined_map(rest, precision, box=box, radius=radius)
            maps, spectra = _added(maps, spectra, replicate)
            inserted += len(chosen.image)
            if time.monotonic() - saved > job.save_seconds:
                _keep(kept, maps, spectra)
                saved = time.monotonic()
    deviation, variance = jnp.sqrt(jackknife_variance(maps)), jackknife_variance(spectra)
    return Artefacts(np.asarray(deviation), np.asarray(variance), parts)


def write_deviation(artefacts: Artefacts, *, voxel_size: float, job: Job, folder: str = "") -> None:
    """Write the map of deviations.

    Args:
        artefacts: of the map.
        voxel_size: Å.
        job: in whose folder.
        folder: inside that, ending in a slash; none when not given.
    """
    described = "deviation of the Wiener-filtered map had other images been taken"
    with job.output(f"{folder}{FILE}", described) as path:
        write_map(path, Map(artefacts.deviation, np.full(3, voxel_size), np.zeros(3)))


@jax.jit
def _added(
    maps: Replicates, spectra: Replicates, replicate: Float[Array, "box box box"]
) -> tuple[Replicates, Replicates]:
    return add_replicate(maps, replicate), add_replicate(spectra, jnp.fft.rfftn(replicate))


def _resume(kept: Path, box: int) -> tuple[Replicates, Replicates]:
    empty = jnp.zeros((box, box, box))
    maps, spectra = no_replicates(empty), no_replicates(jnp.fft.rfftn(empty))
    if not kept.exists():
        return maps, spectra
    found = {
        name: jnp.asarray(values) for name, values in read_npz(kept, limits=OWN_LIMITS).items()
    }
    mean = jax.lax.complex(found["real"], found["imaginary"])
    return (
        Replicates(found["count"], found["mean"], found["scatter"]),
        Replicates(found["count"], mean, found["variance"]),
    )


def _keep(kept: Path, maps: Replicates, spectra: Replicates) -> None:
    # Archives that are read without trust hold no complex numbers.
    arrays = {
        **maps._asdict(),
        "real": spectra.mean.real,
        "imaginary": spectra.mean.imag,
        "variance": spectra.scatter,
    }
    write_npz(kept, {name: np.asarray(values) for name, values in arrays.items()})
