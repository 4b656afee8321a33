"""The page of ``validate motion``."""

import numpy as np

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    curves_figure,
    histogram_figure,
    scatter_figure,
)
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.validate.motion_scores import RANKS, Motion, MotionScores
from cryojax_graph.jobs.validate.residues import ResidueNames
from cryojax_graph.jobs.verdict import SENTENCES, beside_one_structure, order_caption

_POINTS = 10_000
_LABELS = {
    "template_rmsd_superposed_mean_angstrom": "template, superposed, Å",
    "template_rmsd_in_frame_mean_angstrom": "template, in frame, Å",
    "constant_structure_rmsd_superposed_mean_angstrom": "best constant structure, Å",
    **{f"pca_rank{r}_rmsd_superposed_mean_angstrom": f"rank-{r} floor, Å" for r in RANKS},
    "explained_fraction": "share of the template's squared deviation removed",
    "constant_distortion_angstrom": "distortion that is the same in all images, Å",
    "c_alpha_step_deviation_rms_angstrom": "C-alpha steps, rms change from the template, Å",
    "clashes_per_conformation": "clashes per conformation (pairs below 3.5 Å)",
    "true_clashes_per_conformation": "clashes per true conformation",
    "lddt_ca_mean": "lDDT of C-alpha",
    "latent_spearman_abs": "leading latent and frame, Spearman",
    "latents_distance_correlation": "all latents and frame, distance correlation",
    "structure_spearman_abs": "leading structural direction and frame, Spearman",
    "structure_distance_correlation": "the same, distance correlation",
}
_CITATIONS = (
    "lDDT: Mariani, Biasini, Barbato & Schwede (2013) Bioinformatics 29, 2722–2728.",
    "Distance correlation: Székely, Rizzo & Bakirov (2007) Ann. Stat. 35, 2769–2794.",
)


def motion_report(motion: Motion, names: ResidueNames, scores: MotionScores, job: Job) -> str:
    """The page.

    Args:
        motion: recovered and true conformations.
        names: of the residues compared.
        scores: what came out.
        job: whose page it is.

    Returns:
        HTML.
    """
    f = scores.figures
    mean, template = (
        f["rmsd_superposed_mean_angstrom"],
        f["template_rmsd_superposed_mean_angstrom"],
    )
    constant = f["constant_structure_rmsd_superposed_mean_angstrom"]
    sections = [_errors(scores), _figures(scores), _residues(names, scores)]
    if len(motion.frames) > 1:
        sections.insert(1, _order(motion, scores))
    highlights = [
        Highlight(f"{mean:.2f} Å", "mean C-alpha RMSD, superposed"),
        Highlight(f"{template:.2f} Å", "of the template"),
        Highlight(f"{constant:.2f} Å", "of the best constant structure"),
    ]
    if "latent_spearman_abs" in f:
        highlights.append(
            Highlight(f"{f['latent_spearman_abs']:.3f}", "Spearman, leading latent and frame")
        )
    return job_page(
        job.manifest,
        title="Recovered motion against the truth",
        summary=f"{len(motion.recovered):,} conformations of {len(names.chain):,} residues are "
        f"{mean:.2f} Å from the truth on average, {SENTENCES[beside_one_structure(f)]} "
        f"({constant:.2f} Å).",
        sections=sections,
        highlights=highlights,
        citations=_CITATIONS,
    )


def _errors(scores: MotionScores) -> Section:
    f = scores.figures
    marks = {
        "template": f["template_rmsd_superposed_mean_angstrom"],
        "constant": f["constant_structure_rmsd_superposed_mean_angstrom"],
        "rank-8 floor": f["pca_rank8_rmsd_superposed_mean_angstrom"],
    }
    caption = (
        "Every image's conformation against its own truth. Dotted lines are means: of the template "
        "for every image, of the one structure that fits the truth best, and of the best linear "
        "model of eight coordinates fitted to the truth itself."
    )
    histogram = histogram_figure(
        {"recovered": scores.superposed},
        Axis("C-alpha RMSD after superposition, Å"),
        marks=marks,
        caption=caption,
    )
    return Section("Errors", (histogram,))


def _order(motion: Motion, scores: MotionScores) -> Section:
    shown = scores.sample[:: -(-len(scores.sample) // _POINTS)]
    frame = motion.frame_index[shown].astype(float)
    latent = scatter_figure(
        frame,
        motion.latents[shown, 0].astype(float),
        Axis("true frame"),
        Axis("leading latent"),
        colour=scores.superposed[shown],
        colour_title="RMSD, Å",
        caption=order_caption(scores.figures["latent_spearman_abs"]),
    )
    structure = scatter_figure(
        motion.frame_index[scores.sample].astype(float),
        scores.direction,
        Axis("true frame"),
        Axis("leading structural direction, Å"),
        colour=scores.superposed[scores.sample],
        colour_title="RMSD, Å",
        caption="The same for the direction in which the recovered structures differ most. "
        + order_caption(scores.figures["structure_spearman_abs"]),
    )
    numbers = np.unique(motion.frame_index)
    means = [
        np.array([values[motion.frame_index == number].mean() for number in numbers])
        for values in (scores.superposed, scores.template)
    ]
    by_frame = curves_figure(
        [
            Curve("recovered", numbers.astype(float), means[0]),
            Curve("template", numbers.astype(float), means[1], dashed=True),
        ],
        Axis("true frame"),
        Axis("mean C-alpha RMSD, Å"),
        caption="Where along the motion the errors are.",
    )
    return Section("Order", (latent, structure, by_frame))


def _figures(scores: MotionScores) -> Section:
    f = scores.figures

    def interval(name: str) -> str:
        low, high = (f[f"{name}_mean_{end}_angstrom"] for end in ("low", "high"))
        return f"{f[f'{name}_mean_angstrom']:.3f} ({low:.3f} to {high:.3f})"

    rows = [
        [
            label,
            interval(name),
            f"{f[f'{name}_median_angstrom']:.3f}",
            f"{f[f'{name}_p90_angstrom']:.3f}",
        ]
        for name, label in (
            ("rmsd_superposed", "after superposition"),
            ("rmsd_in_frame", "in the frame of the images"),
        )
    ]
    errors = table(["C-alpha RMSD, Å", "mean (95 % interval)", "median", "90th percentile"], rows)
    others = table(["", "value"], [[label, f[n]] for n, label in _LABELS.items() if n in f])
    blocks = [errors, others]
    if f["images_of_costly_figures"] < f["images"]:
        note = f"Floors, geometry and correlations are of {f['images_of_costly_figures']:,} images."
        blocks.append(paragraph(note))
    return Section("Figures", tuple(blocks))


def _residues(names: ResidueNames, scores: MotionScores) -> Section:
    place = np.arange(len(names.chain), dtype=float)
    first = f"{names.chain[0]} {names.number[0]}"
    last = f"{names.chain[-1]} {names.number[-1]}"
    figure = curves_figure(
        [
            Curve("error after superposition", place, scores.residue_error),
            Curve("true motion", place, scores.residue_motion, dashed=True),
        ],
        Axis(f"residue, counted from {first} to {last}"),
        Axis("rms, Å"),
        caption="Errors of each residue beside how much it really moves.",
    )
    return Section("Along the chain", (figure,))
