"""Errors of recovered conformations when the truth of a simulation is at hand."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import superposed_rmsd
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.truth import read_truth


class Errors(NamedTuple):
    """C-alpha RMSD to the truth, image by image, after superposition.

    Attributes:
        recovered: of the recovered conformations, Å.
        template: of the template, Å.
        frame: true frame of each image.
    """

    recovered: Float[np.ndarray, " images"]
    template: Float[np.ndarray, " images"]
    frame: Float[np.ndarray, " images"]


def errors_against_truth(
    path: str | Path,
    c_alpha: Float[np.ndarray, "images n 3"],
    template: Float[np.ndarray, "n 3"],
    job: Job,
) -> Errors:
    """Compare with ``truth.npz`` of ``simulate``, and note the mean errors.

    Args:
        path: of the file.
        c_alpha: recovered conformations, Å.
        template: Å.
        job: takes the metrics.

    Returns:
        errors of every image.

    Raises:
        InputError: the file does not belong to these images or this template.
    """
    truth = read_truth(path)
    frames, frame = truth.c_alpha, truth.frame_index
    if len(frame) != len(c_alpha) or frames.shape[1:] != template.shape:
        raise InputError(
            path,
            "its arrays",
            f"{len(frame)} images of {frames.shape[1]} residues, the job has {len(c_alpha)} of "
            f"{len(template)}",
            "give the truth of the same images and a template of the same residues",
        )
    score = jax.jit(jax.vmap(superposed_rmsd))
    to_template = np.asarray(score(jnp.asarray(frames), jnp.broadcast_to(template, frames.shape)))
    recovered = np.concatenate(
        [
            np.asarray(score(jnp.asarray(c_alpha[part]), jnp.asarray(frames[frame[part]])))
            for part in np.array_split(np.arange(len(frame)), max(1, len(frame) // 2048))
        ]
    )
    job.metric("rmsd_superposed_mean_angstrom", recovered.mean())
    job.metric("rmsd_superposed_median_angstrom", np.median(recovered))
    job.metric("template_rmsd_superposed_mean_angstrom", to_template[frame].mean())
    return Errors(recovered, to_template[frame], frame.astype(float))
