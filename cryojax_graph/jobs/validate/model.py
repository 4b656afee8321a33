"""``validate model``: an atomic model against another in the same frame."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tyro

from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.figures import Axis, Curve, backbone_figure, curves_figure
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.validate.model_scores import (
    NEAR,
    Backbone,
    Figures,
    ModelScores,
    backbone_of,
    score_model,
)

_HARDLY_PERCENT = 10.0
_LABELS = {
    "residues": "residues of the model",
    "true_residues": "residues of the truth",
    "ca_recall_3A_percent": "C-alpha recall: true ones paired with one of the model within 3 Å, %",
    "ca_precision_3A_percent": "C-alpha precision: the model's that are so paired, %",
    "ca_matched_rms_angstrom": "rms distance of the pairs, Å",
    "sequence_recall_percent": "sequence recall: recalled and of the same type, %",
    "residues_of_same_name": "residues of one chain and number in both",
    "rmsd_in_frame_angstrom": "their C-alpha RMSD as they stand, Å",
    "rmsd_superposed_angstrom": "their C-alpha RMSD after superposition, Å",
    "lddt_ca": "their lDDT of C-alpha",
    "c_alpha_step_deviation_rms_angstrom": "their C-alpha steps, rms change from the truth, Å",
    "clashes": "C-alpha clashes of the model (pairs below 3.5 Å)",
    "true_clashes": "C-alpha clashes of the truth",
}


@dataclass(frozen=True)
class ValidateModelConfig:
    """Settings of the verb.

    Args:
        model: Model to be scored: PDB or mmCIF.
        truth: Model taken as right, in the same frame.
    """

    model: tyro.conf.Positional[str]
    truth: str


def validate_model(config: ValidateModelConfig, *, options: JobOptions) -> Path:
    """Score an atomic model against another.

    Args:
        config: what to compare with what.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used.
    """
    inputs = {"model": config.model, "truth": config.truth}
    model, truth = read_backbone(config.model), read_backbone(config.truth)
    try:
        scores = score_model(model, truth)
    except ValueError as error:
        remedy = "number the residues of each chain without repetition"
        raise InputError(config.model, "its residues", str(error), remedy) from None
    with open_job(config, verb="validate model", options=options, inputs=inputs) as job:
        for name, value in scores.figures.items():
            job.metric(name, value, None if name.endswith(("angstrom", "percent")) else "1")
        if len(scores.rows) < 3:
            job.warn("The models share no chains and numbers: they are compared by place only")
        for doubt in doubts(scores.figures):
            job.warn(doubt)
        _write_distances(model, scores, job)
        job.write_text("report.html", _report(model, truth, scores, job), "this page")
        job.log(_in_a_line(scores.figures))
    return job.folder


def plan_validate_model(config: ValidateModelConfig, *, options: JobOptions) -> Plan:
    """Say what ``validate model`` would do.

    Args:
        config: what to compare with what.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file cannot be used.
    """
    sizes = [len(read_backbone(path).c_alpha) for path in (config.model, config.truth)]
    return Plan(
        actions=(f"compare {sizes[0]:,} residues with {sizes[1]:,}",),
        outputs=("distances.csv", "metrics.json", "report.html"),
        seconds=5.0,
        memory_bytes=int(5e8 + 40 * max(sizes) ** 2),
        disk_bytes=int(3e6),
    )


def read_backbone(path: str) -> Backbone:
    """C-alpha atoms of the amino acids of a file.

    Args:
        path: PDB or mmCIF file with one model.

    Returns:
        the backbone.

    Raises:
        InputError: the file cannot be used, or holds no C-alpha atoms.
    """
    backbone = backbone_of(read_atoms(path))
    if not len(backbone.c_alpha):
        cause = "it holds no amino acid with a C-alpha atom"
        raise InputError(path, "its residues", cause, "name a model of a protein")
    return backbone


def doubts(figures: Figures) -> list[str]:
    """Signs that two models do not stand in one frame or are not of one protein.

    Args:
        figures: scores of one model against the other.

    Returns:
        one sentence for each sign.
    """
    found = []
    here = figures.get("rmsd_in_frame_angstrom", 0.0)
    after = figures.get("rmsd_superposed_angstrom", 0.0)
    # One rigid motion of the whole takes away three quarters of the squared distance, and without
    # it residues miss their namesakes in what is counted by place.
    if here > NEAR and after < here / 2:
        found.append(
            f"The models seem to stand in different frames: the C-alpha RMSD is {here:.2f} Å, and "
            f"{after:.2f} Å after superposition. Recall and precision are of the models as they "
            "stand: superpose one on the other first if that is not meant"
        )
    if max(figures["ca_recall_3A_percent"], figures["ca_precision_3A_percent"]) < _HARDLY_PERCENT:
        found.append(
            "Hardly anything matches: the models may be of different proteins or stand in "
            "different frames"
        )
    return found


def _in_a_line(figures: Figures) -> str:
    line = (
        f"{figures['ca_recall_3A_percent']:.1f} % of the true C-alpha atoms are found, "
        f"{figures['ca_precision_3A_percent']:.1f} % of the model's are right (3 Å)"
    )
    if "rmsd_superposed_angstrom" not in figures:
        return line
    return (
        f"{line}; RMSD of {figures['residues_of_same_name']:,} residues of the same name: "
        f"{figures['rmsd_in_frame_angstrom']:.2f} Å as they stand, "
        f"{figures['rmsd_superposed_angstrom']:.2f} Å superposed"
    )


def _write_distances(model: Backbone, scores: ModelScores, job: Job) -> None:
    names = (part[scores.rows].tolist() for part in (*model.names, model.residue_name))
    rows = [
        f"{chain},{number}{code},{residue},{distance:.3f}"
        for chain, number, code, residue, distance in zip(
            *names, scores.distance.tolist(), strict=True
        )
    ]
    text = "\n".join(["chain,residue,name,distance_angstrom", *rows]) + "\n"
    job.write_text("distances.csv", text, "C-alpha distance of residues of one name")


def _report(model: Backbone, truth: Backbone, scores: ModelScores, job: Job) -> str:
    f = scores.figures
    rows = [[label, f[name]] for name, label in _LABELS.items() if name in f]
    sections = [Section("Figures", (table(["", "value"], rows),))]
    highlights = [
        Highlight(f"{f['ca_recall_3A_percent']:.1f} %", "C-alpha recall, 3 Å"),
        Highlight(f"{f['ca_precision_3A_percent']:.1f} %", "C-alpha precision, 3 Å"),
        Highlight(f"{f['sequence_recall_percent']:.1f} %", "sequence recall"),
    ]
    if "rmsd_superposed_angstrom" in f:
        highlights.append(
            Highlight(f"{f['rmsd_superposed_angstrom']:.2f} Å", "C-alpha RMSD, superposed")
        )
        sections.append(_along_the_chain(truth, scores))
    return job_page(
        job.manifest,
        title="Model against model",
        summary=f"{f['residues']:,} residues against {f['true_residues']:,}: "
        f"{f['ca_recall_3A_percent']:.1f} % of the true C-alpha atoms have one of the model of "
        "their own within 3 Å.",
        sections=sections,
        highlights=highlights,
    )


def _along_the_chain(truth: Backbone, scores: ModelScores) -> Section:
    true = truth.c_alpha[scores.true_rows]
    after = np.linalg.norm(scores.moved - true, axis=1)
    place = np.arange(len(after), dtype=float)
    curve = curves_figure(
        [Curve("as they stand", place, scores.distance), Curve("superposed", place, after)],
        Axis("residue, in the order of the model"),
        Axis("distance of C-alpha, Å"),
    )
    chains, index = np.unique(truth.names.chain[scores.true_rows], return_inverse=True)
    backbone = backbone_figure(
        np.stack([true, scores.moved]),
        index.reshape(-1),
        frame_labels=["truth", "model, superposed"],
        values=after,
        value_title="distance, Å",
        chain_names=[f"chain {name}" for name in chains.tolist()],
        caption="Coloured by the distance after superposition.",
    )
    note = paragraph("Residues of one chain and number in both models.")
    return Section("Residue by residue", (note, curve, backbone))
