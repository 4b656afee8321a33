"""The page of ``demo``."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Float32

from cryojax_graph.jobs.demo_data import CITATION
from cryojax_graph.jobs.figures import Axis, backbone_figure, histogram_figure, motion_range
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.plan import readable_time
from cryojax_graph.jobs.report import Highlight, Section, job_page, table
from cryojax_graph.jobs.verdict import SENTENCES, Verdict, beside_one_structure

_STEPS = {
    "simulate": "noisy particle images of the true motion, all atoms",
    "flex": "one conformation per image, a path, maps, particle subsets",
    "validate": "the conformations against the truth",
}
_TITLES: dict[Verdict, str] = {
    "better": "Demo: adenylate kinase opens and closes",
    "no better": "Demo: the motion of adenylate kinase was not recovered",
    "worse": "Demo: the motion of adenylate kinase was not recovered",
}


class Solved(NamedTuple):
    """What came out of the steps.

    Attributes:
        figures: metrics of the demo by name.
        seconds: that each step took.
        path: C-alpha positions along the recovered path, Å.
        recovered: C-alpha RMSD of every image's conformation to its truth, Å.
        template: the same for the template, Å.
    """

    figures: dict[str, float]
    seconds: dict[str, float]
    path: Float32[np.ndarray, "points n 3"]
    recovered: Float[np.ndarray, " images"]
    template: Float[np.ndarray, " images"]


def demo_report(solved: Solved, job: Job) -> str:
    """Write the page.

    Args:
        solved: what came out of the steps.
        job: the demo.

    Returns:
        HTML.
    """
    found, constant, template = _means(solved.figures)
    return job_page(
        job.manifest,
        title=_TITLES[beside_one_structure(solved.figures)],
        summary=_summary(solved.figures),
        highlights=[
            Highlight(f"{found:.2f} Å", "mean C-alpha RMSD to the truth of each image"),
            Highlight(f"{constant:.2f} Å", "the same for the best constant structure"),
            Highlight(f"{template:.2f} Å", "the same for the closed form, the template"),
            Highlight(readable_time(solved.seconds["flex"]), "to fit the motion to the images"),
        ],
        sections=[
            Section("Motion", (_motion(solved),)),
            Section("Against the truth", (_errors(solved), _table(solved.figures))),
            Section("Steps", (_links(solved.seconds),)),
        ],
        citations=(CITATION,),
    )


def _means(figures: dict[str, float]) -> tuple[float, float, float]:
    found, constant, template = (
        figures[f"{name}rmsd_superposed_mean_angstrom"]
        for name in ("", "constant_structure_", "template_")
    )
    return found, constant, template


def _summary(figures: dict[str, float]) -> str:
    found, constant, template = _means(figures)
    verdict = SENTENCES[beside_one_structure(figures)]
    return (
        f"{figures['images']:,} noisy images of a molecule that moves between its closed and its "
        "open form, each in another conformation; only the closed form was given. The "
        f"conformations recovered from the images are {found:.2f} Å from the truth on average: "
        f"{verdict} ({constant:.2f} Å). The closed form is {template:.2f} Å from it."
    )


def _motion(solved: Solved) -> str:
    path = solved.path
    shift = np.linalg.norm(path[-1] - path[0], axis=-1)
    return backbone_figure(
        path,
        np.zeros(path.shape[1], int),
        frame_labels=[f"point {i} of {len(path)}" for i in range(1, len(path) + 1)],
        values=shift,
        value_title="moves (Å)",
        value_range=motion_range(shift),
        caption="The path along the leading latent axis, "
        f"{solved.figures['path_ends_rmsd_angstrom']:.2f} Å (C-alpha RMSD) from end to end; press "
        "play. Colour: how far a residue moves from one end to the other. The thin "
        "line is the first conformation.",
    )


def _errors(solved: Solved) -> str:
    _, constant, _ = _means(solved.figures)
    return histogram_figure(
        {"recovered": solved.recovered, "template, the closed form": solved.template},
        Axis("C-alpha RMSD to the truth (Å)"),
        marks={"best constant structure": constant},
        caption="Every image against its own true conformation, after superposition. The dotted "
        "line is the mean of the one structure that fits the truth best: a method blind to motion "
        "ends there at best.",
    )


def _table(figures: dict[str, float]) -> str:
    found, constant, template = _means(figures)
    low, high = (figures[f"rmsd_superposed_mean_{end}_angstrom"] for end in ("low", "high"))
    floor = figures["pca_rank8_rmsd_superposed_mean_angstrom"]
    rows = [
        [
            "mean RMSD of recovered conformations",
            f"{found:.2f} Å (95 % interval {low:.2f} to {high:.2f} Å)",
        ],
        ["nine images of ten are within", f"{figures['rmsd_superposed_p90_angstrom']:.2f} Å"],
        ["mean RMSD of the best constant structure", f"{constant:.2f} Å"],
        ["mean RMSD of the template, the closed form", f"{template:.2f} Å"],
        ["mean RMSD of the best 8 linear coordinates, fitted to the truth", f"{floor:.2f} Å"],
        ["RMSD between the ends of the path", f"{figures['path_ends_rmsd_angstrom']:.2f} Å"],
    ]
    if "latent_spearman_abs" in figures:
        correlation = f"{figures['latent_spearman_abs']:.3f}"
        rows.append(["rank correlation of leading latent and true frame", correlation])
    if "held_out_motion_gain_mean_nats" in figures:
        gain, error = (
            figures[f"held_out_motion_gain_{name}_nats"] for name in ("mean", "standard_error")
        )
        rows.append(
            ["motion explains per unseen image", f"{gain:.2f} ± {error:.2f} nats (standard error)"]
        )
    return table(["", ""], rows, caption="RMSD is of C-alpha atoms, to the truth of each image.")


def _links(seconds: dict[str, float]) -> str:
    items = "".join(
        f'<li><a href="{name}/report.html">{name}</a>: {what}; {readable_time(seconds[name])}</li>'
        for name, what in _STEPS.items()
    )
    return f"<ul>{items}</ul>"
