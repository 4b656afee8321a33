"""Whether fitted conformations account for all that the images show."""

from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.results import conformations
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import noise_of_spectra
from cryojax_graph.models.backbone_graph.agreement import ShellAgreement, shell_agreement
from cryojax_graph.models.backbone_graph.imaging import extra_variance

_IMAGES = 512
_FEWEST_UNSEEN = 64
_COMPLETE = 0.75
# By what factor strength or noise of new images may differ from those of the fit.
_ALIKE = 1.5


def check_completeness(problem: Problem, params: dict[str, Any], job: Job) -> None:
    """Warn where even the fitted conformations leave much of the images unexplained.

    Before the fit a template of which a part is missing looks like one whose conformation is
    another; after it, what is still unexplained was never in the template. Of masked images,
    which do not tell their noise, nothing is said.

    Args:
        problem: what was fitted, with the poses that came of it.
        params: of the fitted system.
        job: for the figure and the warning.
    """
    # Images that the decoder has not seen, where there are enough.
    enough = len(problem.held) >= _FEWEST_UNSEEN or not len(problem.fitted)
    from_these = problem.held if enough else problem.fitted
    last = len(from_these) - 1
    some = from_these[np.unique(np.linspace(0, last, min(_IMAGES, last + 1)).astype(int))]
    parts = conformations(params, some, config=problem.config, template=problem.template)
    # The reader has the poses of the start.
    views = problem.particles.views
    images = problem.reader.spectra(some)
    images |= {"rotation": views.rotation[some], "shift": views.shift[some]}
    noise = noise_of_spectra(images["spectrum"])
    if noise is None:
        return
    agreement = shell_agreement(
        jax.numpy.asarray(np.concatenate(list(parts))),
        images,
        template=problem.template,
        pixel_size=problem.particles.pixel_size,
        extra_variance=float(extra_variance(params["imaging"])),
    )
    if problem.saved is not None:
        _compare_with_fit(agreement, noise, params["imaging"], job)
    explained = agreement.explained(noise)
    job.metric("conformations_explain_percent", 100 * explained)
    if explained < _COMPLETE:
        job.warn(
            f"The conformations found explain {100 * explained:.0f} % of the images' signal "
            "coarser than 15 Å: parts of the molecule seem to be missing from the template, poses "
            "to be wrong, or the motion to be more than the fit could follow."
        )


def _compare_with_fit(
    agreement: ShellAgreement,
    noise: Float[np.ndarray, " shells"],
    imaging: dict[str, Any],
    job: Job,
) -> None:
    """Warn where strength and noise that came with a decoder are not those of the new images."""
    strength = agreement.strength / np.exp(float(imaging["log_scale"]))
    log_ratio = np.log(np.maximum(noise, 1e-30)) - np.asarray(imaging["log_noise"], np.float64)
    louder = np.exp(0.5 * log_ratio[1:].mean())
    job.metric("strength_beside_fit", strength, "1")
    job.metric("noise_beside_fit", louder, "1")
    off = max(abs(np.log(max(strength, 1e-6))), abs(np.log(louder)))
    if off > np.log(_ALIKE):
        job.warn(
            f"Molecules in these images are {strength:.2g} times as strong, and their noise "
            f"{louder:.2g} times, as in those that the model was fitted to; both are taken from "
            "the fit, so that conformations come out wrong. Normalise the images in the same way; "
            "where only the molecules are weaker, poses may be wrong."
        )
