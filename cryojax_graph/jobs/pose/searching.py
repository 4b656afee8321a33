"""Many images, part by part, so that an interrupted search goes on."""

from pathlib import Path

import numpy as np
from jaxtyping import Int

from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.pose.searcher import Found, Searcher
from cryojax_graph.poses.search import Search

_PER_PART = 512


def search_all(
    searcher: Searcher,
    search: Search,
    contrast_precision: float,
    images: Int[np.ndarray, " n"],
    job: Job,
    *,
    name: str = "poses",
    label: str = "Searching",
) -> Found:
    """Poses of many images; parts that an interrupted run finished are taken as they are.

    Args:
        searcher: of the set.
        search: the calibrated reference.
        contrast_precision: of the prior of the contrast.
        images: which.
        job: in whose folder to work.
        name: of what is kept for resuming.
        label: of the progress.

    Returns:
        the poses.

    Raises:
        Aborted: on request, between two parts.
    """
    folder = job.working(name)
    folder.mkdir(exist_ok=True)
    parts = [images[first : first + _PER_PART] for first in range(0, len(images), _PER_PART)]
    done = sum(_part(folder, number).exists() for number in range(len(parts)))
    if done:
        job.log(f"{done} of {len(parts)} parts were searched before")
    results = []
    with job.progress(label, len(images)) as advance:
        for number, part in enumerate(parts):
            job.check_abort()
            if not _part(folder, number).exists():
                found = searcher.find(search, part, contrast_precision, how=searcher.how)
                write_npz(_part(folder, number), found._asdict())
            results.append(Found(**read_npz(_part(folder, number), limits=OWN_LIMITS)))
            advance(min((number + 1) * _PER_PART, len(images)))
    return Found(*(np.concatenate(values) for values in zip(*results, strict=True)))


def _part(folder: Path, number: int) -> Path:
    return folder / f"part_{number:06d}.npz"
