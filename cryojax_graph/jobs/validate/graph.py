"""``validate graph``: the peaks of a map against the atoms of a model."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.figures import Axis, Curve, curves_figure
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.frames import OTHER_FRAME, outside_of, require_one_frame
from cryojax_graph.jobs.graph_scores import (
    WITHIN_ATOMS,
    WITHIN_CALPHA,
    Atoms,
    GraphScores,
    atoms_of,
    note_scores,
    score_graph,
    score_highlights,
    score_section,
)
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.report import Section, job_page, paragraph
from cryojax_graph.jobs.validate.graph_input import (
    Nodes,
    far_from_nodes,
    graph_path,
    map_beside,
    read_nodes,
)
from cryojax_graph.metrics import CutScores, score_by_strength

# Of the map that is read for its box, and of the file that it is in.
_VOXEL_BYTES = 8
# Of the atoms: with more of them far from all nodes, that is told.
_MOST = 0.5


@dataclass(frozen=True)
class ValidateGraphConfig:
    """Settings of the verb.

    Args:
        locate_folder: Folder of a finished locate job, or its graph.npz.
        model: Model in the frame of the map: PDB or mmCIF.
        within_atoms: Distance of a peak and its heavy atom at most, Å.
        within_calpha: The same of a C-alpha atom.
    """

    locate_folder: tyro.conf.Positional[str]
    model: str
    within_atoms: float = WITHIN_ATOMS
    within_calpha: float = WITHIN_CALPHA

    def __post_init__(self) -> None:
        """Refuse distances that mean nothing."""
        for name in ("within_atoms", "within_calpha"):
            value = getattr(self, name)
            if not 0 < value < float("inf"):
                place = f"--{name.replace('_', '-')}"
                cause = f"{value} is not above 0"
                raise InputError("command line", place, cause, "choose another value")


class Cuts(NamedTuple):
    """Scores where weak nodes are left out.

    Attributes:
        atoms: against heavy atoms.
        c_alpha: against C-alpha atoms; None for a model without any.
    """

    atoms: CutScores
    c_alpha: CutScores | None


def validate_graph(config: ValidateGraphConfig, *, options: JobOptions) -> Path:
    """Score the peaks of a map against a model.

    Args:
        config: what to compare with what.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or the two are not of one frame.
    """
    path, nodes, atoms, density = _read(config)
    inputs = {"locate-folder": path, "model": config.model}
    with open_job(config, verb="validate graph", options=options, inputs=inputs) as job:
        job.log(f"{len(nodes.position):,} nodes, {len(atoms.position):,} heavy atoms")
        if density is None:
            _warn_far(nodes, atoms, job)
        scores = score_graph(
            nodes.position,
            atoms,
            within_atoms=config.within_atoms,
            within_calpha=config.within_calpha,
        )
        note_scores(scores, job)
        job.metric("nodes", len(nodes.position), "1")
        job.metric("heavy_atoms", len(atoms.position), "1")
        cuts = _cuts(nodes, atoms, config)
        job.write_text("cuts.csv", _table(cuts), "scores where weak nodes are left out")
        job.write_text("report.html", _report(nodes, atoms, scores, cuts, job), "this page")
        job.log("; ".join(f"{name} {value:.4g}" for name, value in scores.figures.items()))
    return job.folder


def plan_validate_graph(config: ValidateGraphConfig, *, options: JobOptions) -> Plan:
    """Say what ``validate graph`` would do.

    Args:
        config: what to compare with what.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file cannot be used, or the two are not of one frame.
    """
    _, nodes, atoms, density = _read(config)
    count, heavy = len(nodes.position), len(atoms.position)
    voxels = 0 if density is None else density.values.size
    return Plan(
        actions=(f"compare {count:,} nodes with {heavy:,} heavy atoms",),
        outputs=("cuts.csv", "metrics.json", "report.html"),
        seconds=3.0 + 4e-4 * (count + heavy),
        memory_bytes=int(4e8 + 1000 * (count + heavy) + _VOXEL_BYTES * voxels),
        disk_bytes=int(5e6),
    )


def _read(config: ValidateGraphConfig) -> tuple[Path, Nodes, Atoms, Map | None]:
    path = graph_path(config.locate_folder)
    nodes, atoms, density = read_nodes(path), atoms_of(config.model), map_beside(path)
    if density is not None:
        require_one_frame(outside_of(atoms.position, density), config.model)
    return path, nodes, atoms, density


def _warn_far(nodes: Nodes, atoms: Atoms, job: Job) -> None:
    """Peaks may cover but a part of a map that is not known: none of this is a reason to refuse."""
    far = far_from_nodes(atoms.position, nodes)
    if far.mean() > _MOST:
        job.warn(
            f"{int(far.sum()):,} of {len(far):,} atoms are far from all nodes: {OTHER_FRAME}, or "
            "the nodes are of a part of it"
        )


def _cuts(nodes: Nodes, atoms: Atoms, config: ValidateGraphConfig) -> Cuts:
    position, strength = nodes.position, nodes.strength
    c_alpha = None
    if atoms.c_alpha.any():
        alpha = atoms.position[atoms.c_alpha]
        c_alpha = score_by_strength(position, strength, alpha, within=config.within_calpha)
    heavy = score_by_strength(position, strength, atoms.position, within=config.within_atoms)
    return Cuts(heavy, c_alpha)


def _table(cuts: Cuts) -> str:
    head = ["cut", "nodes", "sensitivity_percent", "specificity_percent"]
    columns = [cuts.atoms.cut, cuts.atoms.points]
    columns += [100 * cuts.atoms.sensitivity, 100 * cuts.atoms.specificity]
    if cuts.c_alpha is not None:
        head += ["ca_recall_percent", "ca_precision_percent"]
        columns += [100 * cuts.c_alpha.sensitivity, 100 * cuts.c_alpha.specificity]
    rows = zip(*(column.tolist() for column in columns), strict=True)
    lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
    return "\n".join([",".join(head), *lines]) + "\n"


def _report(nodes: Nodes, atoms: Atoms, scores: GraphScores, cuts: Cuts, job: Job) -> str:
    curves = [
        Curve("atoms found", cuts.atoms.cut, 100 * cuts.atoms.sensitivity),
        Curve("peaks that are atoms", cuts.atoms.cut, 100 * cuts.atoms.specificity),
    ]
    if cuts.c_alpha is not None:
        cut, found, right = cuts.c_alpha.cut, cuts.c_alpha.sensitivity, cuts.c_alpha.specificity
        curves += [
            Curve("C-alpha found", cut, 100 * found, dashed=True),
            Curve("peaks that are C-alpha", cut, 100 * right, dashed=True),
        ]
    count = len(nodes.position)
    note = paragraph("Peaks that stand out by less than the cut are left out, then paired anew.")
    figure = curves_figure(curves, Axis(f"cut, {nodes.unit}"), Axis("%", range=(0, 100)))
    return job_page(
        job.manifest,
        title="Peaks against a model",
        summary=f"{count:,} peak{'s' * (count != 1)}, {len(atoms.position):,} heavy atoms of "
        f"{atoms.residues:,} residues.",
        sections=[score_section(scores), Section("Weak peaks left out", (note, figure))],
        highlights=score_highlights(scores),
    )
