"""Two fits to two halves of the images: what of the motion is found twice."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.jobs.flex.embedding import embed
from cryojax_graph.jobs.flex.fitting import fit_images
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.predict import decode
from cryojax_graph.training.splits import half_sets

_SHARED_POSES = (
    "The two halves are not independent: both have poses that were found with conformations fitted "
    "to all images, and where the two fits agree, it may be on what these conformations had wrong."
)


class HalfSets(NamedTuple):
    """Held-out images as two models see them that were fitted to different images.

    Attributes:
        agreement: RMSD between the two conformations of each image, Å.
        by_chance: the same with the images of the second model shuffled.
    """

    agreement: Float[np.ndarray, " held"]
    by_chance: Float[np.ndarray, " held"]


def fit_half_sets(problem: Problem, key: Key[Array, ""], job: Job) -> HalfSets:
    """Fit two models that share no image, and give both the same held-out images.

    They are independent where poses were given. Poses that were searched for were found with
    conformations fitted to images of both halves, and what these have wrong both models may learn
    from them.

    Args:
        problem: whose fitted images are divided, by the half-sets of the table where it has them.
        key: randomness.
        job: for checkpoints and messages.

    Returns:
        how far the two agree.
    """
    if problem.doubt is not None:
        job.warn(_SHARED_POSES)
    for_halves, for_shuffle, *keys = jax.random.split(key, 4)
    seen = []
    for number, (images, own) in enumerate(zip(_halves(problem, for_halves), keys, strict=True), 1):
        for_fit, for_embedding = jax.random.split(own)
        name = f"half_{number}"
        fitted = fit_images(
            problem, images, key=for_fit, job=job, name=name, label=f"Fitting half {number}"
        )
        embedded = embed(
            fitted,
            problem,
            problem.held,
            fitted_images=len(images),
            key=for_embedding,
            job=job,
            name=f"{name}_embedding",
        )
        latents = embedded.fitted.params["latents"]["mean"][problem.held]
        conformations = decode(
            fitted.params["decoder"], latents, config=problem.config, template=problem.template
        )
        seen.append(np.asarray(conformations))
    first, second = seen
    # A shift by some images leaves none with its own.
    by = int(jax.random.randint(for_shuffle, (), 1, len(second)))
    return HalfSets(_rmsd(first, second), _rmsd(first, np.roll(second, by, axis=0)))


def _halves(
    problem: Problem, key: Key[Array, ""]
) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " second"]]:
    given = problem.particles.table.half_set
    if given is not None:
        first, second = (problem.fitted[given[problem.fitted] == half] for half in (1, 2))
        if min(len(first), len(second)) > 0.25 * len(problem.fitted):
            return first, second
    return half_sets(key, problem.fitted, group=problem.particles.table.image_of_row())


def _rmsd(
    first: Float[np.ndarray, "images n 3"], second: Float[np.ndarray, "images n 3"]
) -> Float[np.ndarray, " images"]:
    return np.sqrt(((first - second) ** 2).sum(-1).mean(-1))
