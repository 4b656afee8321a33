"""How well an atomic model agrees with another."""

from typing import NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Float32, Int, Shaped

from cryojax_graph.geometry import apply, rmsd, superpose
from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.residues import find_residues
from cryojax_graph.jobs.validate.residues import ResidueNames, bonded_pairs, match_residues
from cryojax_graph.metrics import clash_count, lddt_ca, match_points, step_deviation

NEAR = 3.0
Figures: TypeAlias = dict[str, int | float]
_ALPHA = 1


class Backbone(NamedTuple):
    """C-alpha atoms of the amino acids of a model.

    Attributes:
        names: which residues they are.
        residue_name: types of the residues.
        c_alpha: positions in Å.
    """

    names: ResidueNames
    residue_name: Shaped[np.ndarray, " n"]
    c_alpha: Float32[np.ndarray, "n 3"]


class ModelScores(NamedTuple):
    """Figures and what their pictures need.

    Attributes:
        figures: by name; those whose name says no unit are numbers or ratios.
        rows: residues of the model that have a namesake in the truth.
        true_rows: these namesakes.
        distance: of each pair of namesakes in the common frame, Å.
        moved: C-alpha atoms of the namesakes, superposed on the truth, Å.
    """

    figures: Figures
    rows: Int[np.ndarray, " matched"]
    true_rows: Int[np.ndarray, " matched"]
    distance: Float[np.ndarray, " matched"]
    moved: Float32[np.ndarray, "matched 3"]


def backbone_of(atoms: AtomTable) -> Backbone:
    """C-alpha atoms of a model.

    Args:
        atoms: one model.

    Returns:
        its amino acids that have a C-alpha atom.
    """
    residues = find_residues(atoms)
    use = (residues.kind == "protein") & residues.backbone_mask[:, _ALPHA]
    names = ResidueNames(residues.chain[use], residues.number[use], residues.insertion_code[use])
    return Backbone(names, residues.name[use], residues.backbone[use, _ALPHA])


def score_model(model: Backbone, truth: Backbone) -> ModelScores:
    """Score a model against another in the same frame.

    By place: C-alpha atoms of both are paired, each at most once and the nearest first, whatever
    their names. By name: residues of one chain and number, if there are at least three.

    Args:
        model: to be scored.
        truth: taken as right.

    Returns:
        the scores.

    Raises:
        ValueError: a model names two residues alike.
    """
    rows, true_rows = match_residues(model.names, truth.names)
    figures: Figures = {
        "residues": len(model.c_alpha),
        "true_residues": len(truth.c_alpha),
        **_by_place(model, truth),
        **_geometry("", model),
        **_geometry("true_", truth),
        "residues_of_same_name": len(rows),
    }
    one, other = model.c_alpha[rows], truth.c_alpha[true_rows]
    distance = np.linalg.norm(one - other, axis=1)
    moved = one
    if len(rows) >= 3:
        first, second = jnp.asarray(one), jnp.asarray(other)
        moved = np.asarray(apply(superpose(first, second), first))
        bonded = bonded_pairs(other, truth.names.chain[true_rows])
        figures |= {
            "rmsd_in_frame_angstrom": float(rmsd(first, second)),
            "rmsd_superposed_angstrom": float(rmsd(jnp.asarray(moved), second)),
            "lddt_ca": float(lddt_ca(first, second)),
        }
        if len(bonded):
            deviation = step_deviation(first, second, jnp.asarray(bonded))
            figures["c_alpha_step_deviation_rms_angstrom"] = float(deviation)
    return ModelScores(figures, rows, true_rows, distance, moved)


def _by_place(model: Backbone, truth: Backbone) -> Figures:
    rows, true_rows, distance = match_points(model.c_alpha, truth.c_alpha, within=NEAR)
    same = model.residue_name[rows] == truth.residue_name[true_rows]
    figures: Figures = {
        "ca_recall_3A_percent": 100.0 * len(rows) / len(truth.c_alpha),
        "ca_precision_3A_percent": 100.0 * len(rows) / len(model.c_alpha),
        "sequence_recall_percent": 100.0 * int(same.sum()) / len(truth.c_alpha),
    }
    if len(rows):
        figures["ca_matched_rms_angstrom"] = float(np.sqrt(np.mean(distance**2)))
    return figures


def _geometry(prefix: str, model: Backbone) -> Figures:
    bonded = bonded_pairs(model.c_alpha, model.names.chain)
    clashes = clash_count(jnp.asarray(model.c_alpha), jnp.asarray(bonded))
    return {f"{prefix}clashes": int(clashes)}
