"""The page of ``fit``."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, histogram_figure
from cryojax_graph.jobs.fit.molecule import Molecule
from cryojax_graph.jobs.fit.scores import FitScores
from cryojax_graph.jobs.fit.search import Fitted
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table

_CITATIONS = (
    "Engh & Huber (1991), Accurate bond and angle parameters for X-ray protein structure "
    "refinement, Acta Cryst. A47, 392–400",
    "Kingma & Ba (2015), Adam: a method for stochastic optimization, ICLR",
)


def fit_report(molecule: Molecule, fitted: Fitted, scores: FitScores, job: Job) -> str:
    """Draw the page.

    Args:
        molecule: as given.
        fitted: the model in the map.
        scores: of the fit.
        job: at work.

    Returns:
        HTML.
    """
    before, after = scores.density
    geometry = scores.geometry[1]
    return job_page(
        job.manifest,
        title="A model in its map",
        summary=f"{len(molecule.masses):,} atoms moved by {scores.shift:.2f} Å (rms), one by "
        f"{scores.largest_shift:.2f} Å, the backbone by {scores.backbone_shift:.2f} Å; density at "
        f"atoms from {before:.2f} to {after:.2f} standard deviations above the mean.",
        sections=[
            _figures_of(scores, fitted),
            _residues(molecule, fitted),
            _shifts(molecule, fitted),
        ],
        highlights=[
            Highlight(f"{before:.2f} → {after:.2f} σ", "density at atoms"),
            Highlight("{:.3f} → {:.3f}".format(*scores.correlation), "correlation with the map"),
            Highlight(f"{scores.shift:.2f} Å", "moved, rms over atoms"),
            Highlight(f"{geometry.bonds:.3f} Å, {geometry.angles:.1f}°", "bonds and angles, rms"),
        ],
        citations=_CITATIONS,
    )


def _figures_of(scores: FitScores, fitted: Fitted) -> Section:
    first, second = scores.geometry
    rows = [
        ["density at heavy atoms, standard deviations", *scores.density],
        ["density at the backbone, standard deviations", *scores.backbone],
        ["correlation near the model", *scores.correlation],
        ["bonds, rms deviation, Å", first.bonds, second.bonds],
        ["angles, rms deviation, degrees", first.angles, second.angles],
        ["planes, rms deviation, Å", first.planes, second.planes],
        ["planes across peptide bonds, Å", first.peptides, second.peptides],
        ["chiral vertices of the wrong hand", first.hands, second.hands],
        ["pairs of atoms too close", *scores.clashes],
    ]
    note = paragraph(
        "Deviations are from ideal values in the twenty amino acids, elsewhere from the model as "
        f"given. The weight of the density was {fitted.weight:.4g}. Density and correlation grow "
        "with any fit, right or wrong: half-maps tell whether a map was fitted too closely."
    )
    return Section("Before and after", (table(["", "before", "after"], rows), note))


def _residues(molecule: Molecule, fitted: Fitted) -> Section:
    residue = molecule.labels.residue[molecule.heavy]
    number, where = np.unique(residue, return_inverse=True)

    def mean(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " residues"]:
        return np.bincount(where, values[molecule.heavy]) / np.bincount(where)

    figure = curves_figure(
        [
            Curve("before", number + 1, mean(fitted.before), dashed=True),
            Curve("after", number + 1, mean(fitted.after)),
        ],
        Axis("residue, in the order of the file"),
        Axis("mean density, σ"),
        caption="Density at the atoms of each residue, in standard deviations above the mean "
        "of the map. Residues that stay low are not in the map, or not at their places.",
    )
    return Section("Residue by residue", (figure,))


def _shifts(molecule: Molecule, fitted: Fitted) -> Section:
    shift = np.linalg.norm(fitted.positions - molecule.positions, axis=1)
    figure = histogram_figure({"shift": shift}, Axis("Å"), caption="How far each atom has moved.")
    return Section("Shifts", (figure,))
