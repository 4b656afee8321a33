"""The page that ``flex`` leaves behind."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    backbone_figure,
    curves_figure,
    histogram_figure,
    image_grid,
    scatter_figure,
)
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.results import Motion
from cryojax_graph.jobs.flex.truth import Errors
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.training.history import read_history

_THUMBNAILS = 12
_POINTS_IN_SCATTER = 20_000
_CITATIONS = (
    "Krook, Janson, Andén, Weber & Öktem (2026). Protein Graph Neural Networks for Heterogeneous "
    "Cryo-EM Reconstruction. arXiv:2602.21915.",
    "Atilgan et al. (2001). Anisotropy of fluctuation dynamics of proteins with an elastic network "
    "model. Biophys. J. 80, 505-515.",
)


class FlexFindings(NamedTuple):
    """What the page shows beside the motion itself.

    Attributes:
        positions: points of the path on the leading latent axis.
        path: their C-alpha positions, Å.
        gain: evidence for motion in the held-out images, nats.
        errors: against the truth, when it is known.
    """

    positions: Float[np.ndarray, " points"]
    path: Float[np.ndarray, "points n 3"]
    gain: Float[np.ndarray, " held"] | None
    errors: Errors | None


def flex_report(
    problem: Problem, params: dict[str, Any], motion: Motion, findings: FlexFindings, job: Job
) -> str:
    """Write the page.

    Args:
        problem: what was fitted to what.
        params: of the fitted system.
        motion: conformation of every image.
        findings: what else was found.
        job: its folder holds the history.

    Returns:
        HTML.
    """
    ends = np.sqrt(((findings.path[-1] - findings.path[0]) ** 2).sum(-1).mean())
    highlights = [
        Highlight(f"{len(motion.latents):,}", "images"),
        Highlight(f"{ends:.1f} Å", "C-alpha RMSD between the ends of the motion"),
        Highlight(f"{np.median(motion.deviation):.2f} Å", "median uncertainty of a conformation"),
    ]
    if findings.gain is not None:
        highlights.append(
            Highlight(f"{findings.gain.mean():.2f} nats", "motion explains per held-out image")
        )
    if findings.errors:
        mean, template = findings.errors.recovered.mean(), findings.errors.template.mean()
        highlights.append(
            Highlight(f"{mean:.2f} Å", f"mean RMSD to the truth (template: {template:.2f} Å)")
        )
    sections = [
        _motion_section(problem, motion, findings),
        *([_truth_section(motion, findings.errors)] if findings.errors else []),
        _fit_section(problem, params, findings, job),
        _images_section(problem),
    ]
    return job_page(
        job.manifest,
        title=f"Motion of {Path(problem.particles.table.source).stem}",
        summary=(
            f"{len(motion.latents):,} particle images of {problem.particles.box} px, a template of "
            f"{len(problem.template.c_alpha):,} residues; every image has a conformation of its "
            "own, decoded from its latent."
        ),
        sections=sections,
        highlights=highlights,
        citations=_CITATIONS,
        commands={"motion.cif": "open motion.cif coordsets true; coordset #1 loop 0"},
    )


def _motion_section(problem: Problem, motion: Motion, findings: FlexFindings) -> Section:
    residues = problem.model.residues
    chosen = np.linspace(
        0, len(motion.latents) - 1, min(len(motion.latents), _POINTS_IN_SCATTER)
    ).astype(int)
    leading = motion.latents[chosen]
    second = leading[:, 1] if leading.shape[1] > 1 else np.zeros(len(chosen))
    shift = np.sqrt(((findings.path[-1] - findings.path[0]) ** 2).sum(-1))
    chains = list(dict.fromkeys(residues.chain.tolist()))
    blocks = (
        backbone_figure(
            findings.path.astype(np.float32),
            residues.chain_index,
            frame_labels=[f"{p:+.2f}" for p in findings.positions],
            values=shift,
            value_title="moves (Å)",
            chain_names=[str(name) for name in chains],
            caption="The path along the leading latent axis; colour: how far a residue moves from "
            "one end to the other. The thin line is the first conformation.",
        ),
        scatter_figure(
            leading[:, 0],
            second,
            Axis("leading latent"),
            Axis("second latent"),
            colour=motion.deviation[chosen],
            colour_title="uncertainty (Å)",
            caption="Each point is an image. Axes are ordered by how much they move the structure.",
        ),
        histogram_figure(
            {"images": motion.latents[:, 0]},
            Axis("leading latent"),
            caption="How images spread along the motion. The density of a fitted latent is no "
            "population: it holds the prior and the uncertainty of every image.",
        ),
        curves_figure(
            [Curve("end to end", np.arange(len(shift), dtype=float), shift)],
            Axis("residue, in the order of the template"),
            Axis("displacement (Å)"),
            caption="Which parts move.",
        ),
    )
    return Section("Motion", blocks)


def _truth_section(motion: Motion, errors: Errors) -> Section:
    blocks = (
        histogram_figure(
            {"recovered": errors.recovered, "template": errors.template},
            Axis("C-alpha RMSD to the truth (Å)"),
            marks={"mean recovered": float(errors.recovered.mean())},
            caption="Every image against its own true conformation, after superposition.",
        ),
        scatter_figure(
            errors.frame,
            motion.latents[:, 0],
            Axis("true frame"),
            Axis("leading latent"),
            colour=errors.recovered,
            colour_title="RMSD (Å)",
            caption="An ordered latent follows the true frame.",
        ),
    )
    return Section("Against the truth", blocks)


def _fit_section(
    problem: Problem, params: dict[str, Any], findings: FlexFindings, job: Job
) -> Section:
    history = read_history(job.working("fit.csv"))
    # One value per step is too many to draw: means over short runs of steps.
    length = max(1, len(history["step"]) // 400)
    usable = len(history["step"]) // length * length

    def smooth(values: np.ndarray) -> np.ndarray:
        return values[:usable].reshape(-1, length).mean(1)

    blocks = [
        curves_figure(
            [Curve(name.replace("_", " "), smooth(history["step"]), smooth(history[name]))],
            Axis("step"),
            Axis(name.replace("_", " ")),
            caption=caption,
        )
        for name, caption in (
            ("likelihood_gain", "What the model explains of an image, in nats above an empty one."),
            ("latent_information", "Information in the latent of an image, in nats."),
            ("restraint_energy", "Deviation from the template's geometry, in kT per image."),
            ("squared_error", "Squared error per pixel of standardised images."),
        )
        if name in history
    ]
    if "log_noise" in params["imaging"]:
        noise = np.exp(0.5 * np.asarray(params["imaging"]["log_noise"]))
        shells = np.arange(len(noise)) / (problem.particles.box * problem.particles.pixel_size)
        blocks.append(
            curves_figure(
                [Curve("noise", shells[1:], noise[1:])],
                Axis("frequency (1/Å)"),
                Axis("standard deviation per pixel"),
                caption="Noise as fitted, shell by shell; what the model cannot explain is in it.",
            )
        )
    if findings.gain is not None:
        error = findings.gain.std() / np.sqrt(len(findings.gain))
        blocks.append(
            table(
                ["held-out images", "motion gain (nats per image)", "standard error"],
                [[len(findings.gain), float(findings.gain.mean()), float(error)]],
                caption="How much better a conformation of its own explains an image that the "
                "decoder never saw, its latent paid for. Near 0: no motion is confirmed.",
            )
        )
    return Section("Fit", tuple(blocks))


def _images_section(problem: Problem) -> Section:
    count = len(problem.particles.table)
    chosen = np.unique(np.linspace(0, count - 1, _THUMBNAILS).astype(int))
    images = problem.particles.images.read(chosen)
    return Section(
        "Images",
        (
            image_grid(images, captions=[f"{i + 1}" for i in chosen], width=96),
            paragraph("Protein must be brighter than its surroundings."),
        ),
    )
