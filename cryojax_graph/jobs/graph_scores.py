"""Nodes of a density graph against the atoms of a model; for ``locate`` and ``validate graph``."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cryojax_graph.io.atom_table import residue_starts, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.frames import OTHER_FRAME, outside_of, require_one_frame
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, paragraph, table
from cryojax_graph.metrics import NearestScores, NodeScores, score_nearest, score_nodes

WITHIN_ATOMS, WITHIN_CALPHA = 1.0, 3.0
_HARDLY = 0.02


class Atoms(NamedTuple):
    """What nodes are scored against.

    Attributes:
        position: of heavy atoms, (x, y, z) in Å.
        c_alpha: which of them are C-alpha atoms.
        residues: that these atoms belong to.
    """

    position: Float[np.ndarray, "n 3"]
    c_alpha: Bool[np.ndarray, " n"]
    residues: int


class GraphScores(NamedTuple):
    """How well nodes stand for the atoms of a model.

    Attributes:
        atoms: all heavy atoms.
        c_alpha: C-alpha atoms; None for a model without any.
        near_calpha: the same where nodes and atoms are not paired; None likewise.
        nodes_per_residue: number.
        within_atoms: distance of a node and its atom at most, Å.
        within_calpha: the same of a C-alpha atom.
    """

    atoms: NodeScores
    c_alpha: NodeScores | None
    near_calpha: NearestScores | None
    nodes_per_residue: float
    within_atoms: float
    within_calpha: float

    @property
    def figures(self) -> dict[str, float]:
        """By the names of ``metrics.json``; distances are left out where nothing is paired."""
        near, far = f"{self.within_atoms:g}A", f"{self.within_calpha:g}A"
        figures = {
            f"sensitivity_{near}_percent": 100 * self.atoms.sensitivity,
            f"specificity_{near}_percent": 100 * self.atoms.specificity,
            f"f1_{near}_percent": 100 * self.atoms.f1,
            f"rmsd_{near}_angstrom": self.atoms.rmsd,
            "nodes_per_residue": self.nodes_per_residue,
        }
        if self.c_alpha is not None:
            figures |= {
                f"ca_recall_{far}_percent": 100 * self.c_alpha.sensitivity,
                f"ca_precision_{far}_percent": 100 * self.c_alpha.specificity,
                f"ca_rmsd_{far}_angstrom": self.c_alpha.rmsd,
            }
        if self.near_calpha is not None:
            figures |= {
                f"ca_with_node_{far}_percent": 100 * self.near_calpha.with_point,
                f"nodes_near_ca_{far}_percent": 100 * self.near_calpha.near_atom,
                f"ca_nearest_node_rmsd_{far}_angstrom": self.near_calpha.rmsd,
            }
        return {name: value for name, value in figures.items() if np.isfinite(value)}

    @property
    def named(self) -> dict[str, NodeScores]:
        """The scores by what the nodes were held against, in words."""
        named = {f"heavy atoms, within {self.within_atoms:g} Å": self.atoms}
        if self.c_alpha is not None:
            named[f"C-alpha atoms, within {self.within_calpha:g} Å"] = self.c_alpha
        return named


def atoms_of(path: str) -> Atoms:
    """Heavy atoms of a model, without water, one location each.

    Args:
        path: PDB or mmCIF file.

    Returns:
        the atoms.

    Raises:
        InputError: the file cannot be used, or holds no such atoms.
    """
    atoms = read_atoms(path)
    heavy = ~np.isin(atoms.element, ("H", "D")) & ~np.isin(atoms.residue_name, ("HOH", "WAT"))
    if not heavy.any():
        raise InputError(path, "its atoms", "it holds no heavy atoms", "name a model of the map")
    atoms = select_atoms(atoms, heavy)
    # Calcium ions are named like C-alpha atoms.
    c_alpha = (atoms.name == "CA") & (atoms.element == "C")
    return Atoms(atoms.positions.astype(float), c_alpha, len(residue_starts(atoms)))


def atoms_within(path: str, density: Map) -> Atoms:
    """The same of a model that has to stand in a map.

    Args:
        path: PDB or mmCIF file.
        density: the map.

    Returns:
        the atoms.

    Raises:
        InputError: the file cannot be used, or most of its atoms lie outside of the map.
    """
    atoms = atoms_of(path)
    require_one_frame(outside_of(atoms.position, density), path)
    return atoms


def score_graph(
    position: Float[np.ndarray, "n 3"],
    atoms: Atoms,
    *,
    within_atoms: float = WITHIN_ATOMS,
    within_calpha: float = WITHIN_CALPHA,
) -> GraphScores:
    """Score nodes against a model.

    Args:
        position: of the nodes, (x, y, z) in Å.
        atoms: of the model.
        within_atoms: distance of a node and its atom at most, Å.
        within_calpha: the same of a C-alpha atom.

    Returns:
        the scores.
    """
    c_alpha = near_calpha = None
    if atoms.c_alpha.any():
        trace = atoms.position[atoms.c_alpha]
        c_alpha = score_nodes(position, trace, within=within_calpha)
        near_calpha = score_nearest(position, trace, within=within_calpha)
    return GraphScores(
        score_nodes(position, atoms.position, within=within_atoms),
        c_alpha,
        near_calpha,
        len(position) / atoms.residues,
        within_atoms,
        within_calpha,
    )


def note_scores(scores: GraphScores, job: Job) -> None:
    """Note the figures of a job, and warn where the model seems to stand elsewhere.

    Args:
        scores: of the nodes.
        job: at work.
    """
    for name, value in scores.figures.items():
        job.metric(name, value, "1" if name == "nodes_per_residue" else None)
    if scores.atoms.sensitivity < _HARDLY:
        job.warn(f"Hardly any atom has a peak: {OTHER_FRAME}")


def score_highlights(scores: GraphScores) -> list[Highlight]:
    """Figures that the reader of a report should see first.

    Args:
        scores: of the nodes.

    Returns:
        one for each kind of atom.
    """
    return [
        Highlight(f"{100 * s.sensitivity:.0f} / {100 * s.specificity:.0f} %", name)
        for name, s in scores.named.items()
    ]


def score_section(scores: GraphScores) -> Section:
    """Scores as a table.

    Args:
        scores: of the nodes.

    Returns:
        a part of a report.
    """
    head = [
        "each paired at most once",
        "found, %",
        "peaks that are one, %",
        "rms distance, Å",
        "F1, %",
    ]
    rows = [
        [name, 100 * s.sensitivity, 100 * s.specificity, s.rmsd, 100 * s.f1]
        for name, s in scores.named.items()
    ]
    note = paragraph(
        f"{scores.nodes_per_residue:.2f} peaks per residue. Where a map was masked around its "
        "model, peaks elsewhere are missing and the second figure is flattered."
    )
    parts = [table(head, rows), note]
    if scores.near_calpha is not None:
        near = scores.near_calpha
        head = [
            "any peak counts, however many",
            "with a peak, %",
            "peaks near one, %",
            "nearest, Å",
        ]
        name = f"C-alpha atoms, within {scores.within_calpha:g} Å"
        rows = [[name, 100 * near.with_point, 100 * near.near_atom, near.rmsd]]
        told = "As Ranno & Si (2022) count in their figure 6; each figure grows with more peaks."
        parts += [table(head, rows), paragraph(told)]
    return Section("Against the model", tuple(parts))
