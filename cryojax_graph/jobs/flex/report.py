"""The page that ``flex`` leaves behind."""

import shlex
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
    motion_range,
    scatter_figure,
)
from cryojax_graph.jobs.flex.fitting import Fitted
from cryojax_graph.jobs.flex.poses import FittedPoses, poses_section
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.results import Found, Motion
from cryojax_graph.jobs.flex.truth import Errors
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.thumbnails import image_grid
from cryojax_graph.jobs.verdict import order_caption
from cryojax_graph.metrics import spearman
from cryojax_graph.training.history import read_history

_THUMBNAILS = 12
_POINTS_IN_SCATTER = 20_000
_PUBLISHED = (
    "Krook, Janson, Andén, Weber & Öktem (2026). Protein Graph Neural Networks for Heterogeneous "
    "Cryo-EM Reconstruction. arXiv:2602.21915."
)
_ELASTIC = (
    "Atilgan et al. (2001). Anisotropy of fluctuation dynamics of proteins with an elastic network "
    "model. Biophys. J. 80, 505-515."
)


class MotionPath(NamedTuple):
    """Conformations along the leading latent axis.

    Attributes:
        positions: points on the axis.
        c_alpha: their C-alpha positions, Å.
    """

    positions: Float[np.ndarray, " points"]
    c_alpha: Float[np.ndarray, "points n 3"]


def flex_report(
    problem: Problem,
    found: Found,
    path: MotionPath,
    errors: Errors | None,
    poses: FittedPoses | None,
    job: Job,
) -> str:
    """Write the page.

    Args:
        problem: what was fitted to what.
        found: what came of it.
        path: through the conformations.
        errors: against the truth, when it is known.
        poses: what became of them, when they were fitted.
        job: its folder holds the history.

    Returns:
        HTML.
    """
    motion = found.motion
    ends = np.sqrt(((path.c_alpha[-1] - path.c_alpha[0]) ** 2).sum(-1).mean())
    highlights = [
        Highlight(f"{len(motion.latents):,}", "images"),
        Highlight(f"{ends:.1f} Å", "C-alpha RMSD between the ends of the motion"),
    ]
    if motion.deviation is not None:
        highlights.append(
            Highlight(
                f"{np.median(motion.deviation):.2f} Å",
                "median of what an image leaves open (not the decoder's own error)",
            )
        )
    if found.gain is not None:
        highlights.append(
            Highlight(f"{found.gain.mean():.2f} nats", "motion explains per unseen image")
        )
    if errors:
        mean, template = errors.recovered.mean(), errors.template.mean()
        highlights.append(
            Highlight(f"{mean:.2f} Å", f"mean RMSD to the truth (template: {template:.2f} Å)")
        )
    sections = [
        _motion_section(problem, found, path),
        *([_truth_section(motion, errors)] if errors else []),
        _evidence_section(problem, found),
        *([poses_section(problem, poses)] if poses else []),
        *([_fit_section(problem, found.fitted.params, job)] if problem.saved is None else []),
        _images_section(problem),
    ]
    return job_page(
        job.manifest,
        title=f"Motion of {Path(problem.particles.table.source).stem}",
        summary=(
            f"{len(motion.latents):,} particle images of {problem.particles.box} px, a template of "
            f"{len(problem.template.c_alpha):,} residues; {_of_images(found.fitted)}."
        ),
        sections=sections,
        highlights=highlights,
        citations=_citations(problem),
        commands={
            "motion.cif": "open motion.cif coordsets true; coordset #1 loop 0",
            **_table_commands(problem, job),
        },
    )


def _citations(problem: Problem) -> tuple[str, ...]:
    elastic = problem.config.decoder.kind == "elastic"
    return (_PUBLISHED, _ELASTIC) if elastic else (_PUBLISHED,)


def _table_commands(problem: Problem, job: Job) -> dict[str, str]:
    """How to go on with the tables, which name their images as the table that was read does."""
    root = shlex.quote(str(problem.particles.image_root))
    with_poses = f"particles.{problem.particles.table.kind}"
    commands = {
        name: f"cryojax-graph check {name} --image-root {root}"
        for name in job.manifest["outputs"]
        if name.startswith("subsets/")
    }
    if with_poses in job.manifest["outputs"]:
        commands[with_poses] = f"cryojax-graph reconstruct {with_poses} --image-root {root} -o map"
    return commands


def _motion_section(problem: Problem, found: Found, path: MotionPath) -> Section:
    motion, frequencies = found.motion, found.fitted.frequencies
    gathered = ""
    if frequencies is not None:
        gathered = (
            f" Images are a mixture of {len(frequencies)} conformations and gather at these: gaps "
            "and peaks do not tell states apart."
        )
    residues = problem.model.residues
    chosen = np.linspace(
        0, len(motion.latents) - 1, min(len(motion.latents), _POINTS_IN_SCATTER)
    ).astype(int)
    leading = motion.latents[chosen]
    second = leading[:, 1] if leading.shape[1] > 1 else np.zeros(len(chosen))
    shift = np.sqrt(((path.c_alpha[-1] - path.c_alpha[0]) ** 2).sum(-1))
    chains = [str(name) for name in dict.fromkeys(residues.chain.tolist())]
    blocks = (
        backbone_figure(
            path.c_alpha.astype(np.float32),
            residues.chain_index,
            frame_labels=[
                f"point {number} of {len(path.positions)}, leading latent {position:+.2f}"
                for number, position in enumerate(path.positions, start=1)
            ],
            values=shift,
            value_title="moves (Å)",
            value_range=motion_range(shift),
            chain_names=chains,
            caption="The path along the leading latent axis; colour: how far a residue moves from "
            "one end to the other. The thin line is the first conformation.",
        ),
        scatter_figure(
            leading[:, 0],
            second,
            Axis("leading latent"),
            Axis("second latent"),
            colour=None if motion.deviation is None else motion.deviation[chosen],
            colour_title="uncertainty (Å)",
            caption="Each point is an image. Axes are ordered by how much they move the structure."
            + gathered,
        ),
        histogram_figure(
            {"images": motion.latents[:, 0]},
            Axis("leading latent"),
            caption="How images spread along the motion. The density of a fitted latent is no "
            "population: it holds the prior and the uncertainty of every image." + gathered,
        ),
        curves_figure(
            [
                Curve(f"chain {name}", residues.number[own].astype(float), shift[own])
                for number, name in enumerate(chains)
                for own in [residues.chain_index == number]
            ],
            Axis("residue number"),
            Axis("displacement from end to end (Å)", range=motion_range(1.05 * shift)),
            caption="Which parts move.",
        ),
    )
    return Section("Motion", blocks)


def _truth_section(motion: Motion, errors: Errors) -> Section:
    blocks = (
        histogram_figure(
            {"recovered": errors.recovered, "template": errors.template},
            Axis("C-alpha RMSD to the truth (Å)"),
            marks={
                "mean recovered": float(errors.recovered.mean()),
                "best single structure": errors.constant,
                "best of 8 linear coordinates": errors.floor,
            },
            caption="Every image against its own true conformation, after superposition. A "
            "method blind to motion ends at the best single structure at best; a linear model that "
            "knows the truth, at the best of 8 linear coordinates.",
        ),
        scatter_figure(
            errors.frame,
            motion.latents[:, 0],
            Axis("true frame"),
            Axis("leading latent"),
            colour=errors.recovered,
            colour_title="RMSD (Å)",
            caption=order_caption(spearman(motion.latents[:, 0].astype(float), errors.frame)),
        ),
    )
    return Section("Against the truth", blocks)


def _of_images(fitted: Fitted) -> str:
    if fitted.frequencies is None:
        return "every image has a conformation of its own, decoded from its latent"
    return f"every image is placed among {len(fitted.candidates)} conformations of all images"


def _evidence_section(problem: Problem, found: Found) -> Section:
    blocks = []
    if found.gain is not None:
        error = "unknown" if found.gain_error is None else found.gain_error
        blocks.append(
            table(
                ["unseen images", "motion gain (nats per image)", "standard error"],
                [[len(found.gain), float(found.gain.mean()), error]],
                caption="How much better an image that the decoder never saw is explained when it "
                "may show any of the fitted conformations than when all show the same one, the "
                "choice paid for. Not above 0: no motion is confirmed.",
            )
        )
    if found.halves is not None:
        blocks.append(
            histogram_figure(
                {"same image": found.halves.agreement, "another image": found.halves.by_chance},
                Axis("C-alpha RMSD between two models (Å)"),
                caption="Two models fitted to two halves of the images, shown the same held-out "
                "images. What both tell of an image, the images say; where two models of the same "
                "image agree no better than those of different images, the motion is not to be "
                "believed. Errors that both make alike do not show." + _shared_poses(problem),
            )
        )
    if not blocks:
        blocks.append(paragraph("No image was held out: nothing says whether the motion is real."))
    agreement = problem.placement.agreement
    blocks.append(
        curves_figure(
            [
                Curve("template and images", agreement.frequency[1:], agreement.correlation[1:]),
                Curve("chance", agreement.frequency[1:], agreement.chance[1:], dashed=True),
            ],
            Axis("frequency (1/Å)"),
            Axis("correlation"),
            caption="Projections of the template, before any fit, beside the images in their "
            "poses. The wrong protein in the right outline agrees at low frequencies only.",
        )
    )
    return Section("Is it real?", tuple(blocks))


def _shared_poses(problem: Problem) -> str:
    if problem.doubt is None:
        return ""
    return (
        " Here both halves have poses that were found with conformations fitted to all images: the "
        "models are not independent, and what those conformations had wrong may be in both."
    )


def _fit_section(problem: Problem, params: dict[str, Any], job: Job) -> Section:
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
            (
                "likelihood_gain",
                "What the model explains of an image, in nats above an empty one. It grows with "
                "the band of frequencies, which is full halfway through the run.",
            ),
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
