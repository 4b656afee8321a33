"""Errors of recovered conformations when the truth of a simulation is at hand."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import superposed_rmsd
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.truth import Truth, read_truth
from cryojax_graph.metrics import principal_floor

_RANK = 8
_IMAGES_FOR_FLOORS = 500


class Errors(NamedTuple):
    """C-alpha RMSD to the truth, image by image, after superposition.

    Attributes:
        recovered: of the recovered conformations, Å.
        template: of the template, Å.
        frame: true frame of each image.
        constant: mean of the best single structure, Å.
        floor: mean of the best linear model with eight coordinates, Å.
    """

    recovered: Float[np.ndarray, " images"]
    template: Float[np.ndarray, " images"]
    frame: Float[np.ndarray, " images"]
    constant: float
    floor: float


def read_truth_of(
    path: str | Path,
    *,
    images: int,
    residues: int,
    euler_degrees: Float[np.ndarray, "images 3"] | None,
) -> Truth:
    """Read ``truth.npz`` of ``simulate``, for these images and this template.

    Args:
        path: of the file.
        images: in the particle table.
        residues: of the template.
        euler_degrees: poses of the particles, where they must be those of the truth.

    Returns:
        the truth.

    Raises:
        InputError: the file does not belong to these images or this template.
    """
    truth = read_truth(path)
    known = len(truth.frame_index), truth.c_alpha.shape[1]
    if known != (images, residues):
        raise InputError(
            path,
            "its arrays",
            f"the truth of {known[0]} images of {known[1]} residues, the job has {images} of "
            f"{residues}",
            "give the truth of the same images and a template of the same residues",
        )
    if euler_degrees is not None:
        truth.require_poses(euler_degrees)
    return truth


def errors_against_truth(
    truth: Truth,
    c_alpha: Iterable[Float[np.ndarray, "part n 3"]],
    template: Float[np.ndarray, "n 3"],
    job: Job,
) -> Errors:
    """Compare with the truth, and note the mean errors.

    Args:
        truth: of the same images and residues.
        c_alpha: recovered conformations, part by part, Å.
        template: Å.
        job: takes the metrics.

    Returns:
        errors of every image.
    """
    frames, frame = truth.c_alpha, truth.frame_index
    score = jax.jit(jax.vmap(superposed_rmsd))
    to_template = np.asarray(score(jnp.asarray(frames), jnp.broadcast_to(template, frames.shape)))
    found: list[np.ndarray] = []
    for part in c_alpha:
        start = sum(map(len, found))
        true = frames[frame[start : start + len(part)]]
        found.append(np.asarray(score(jnp.asarray(part), jnp.asarray(true))))
    recovered = np.concatenate(found)
    job.metric("rmsd_superposed_mean_angstrom", recovered.mean())
    job.metric("rmsd_superposed_median_angstrom", np.median(recovered))
    job.metric("template_rmsd_superposed_mean_angstrom", to_template[frame].mean())
    some = frame[np.unique(np.linspace(0, len(frame) - 1, _IMAGES_FOR_FLOORS).astype(int))]
    constant, floor = (
        float(principal_floor(frames[some].astype(np.float32), rank=rank).mean())
        for rank in (0, _RANK)
    )
    job.metric("constant_structure_rmsd_superposed_mean_angstrom", constant)
    job.metric(f"pca_rank{_RANK}_rmsd_superposed_mean_angstrom", floor)
    return Errors(recovered, to_template[frame], frame.astype(float), constant, floor)
