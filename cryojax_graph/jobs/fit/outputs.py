"""What ``fit`` writes."""

from cryojax_graph.io.atoms import write_records
from cryojax_graph.jobs.fit.molecule import Molecule, moved
from cryojax_graph.jobs.fit.scores import FitScores
from cryojax_graph.jobs.fit.search import Fitted
from cryojax_graph.jobs.job import Job

_SIGMA = "standard deviations of the map above its mean"


def write_outputs(molecule: Molecule, fitted: Fitted, job: Job) -> None:
    """Write the model.

    Args:
        molecule: as given.
        fitted: the model in the map.
        job: at work.
    """
    description = "the model; only coordinates differ from the one given"
    with job.output("model.cif", description) as path:
        write_records(path, moved(molecule.records, fitted.positions))


def note_metrics(scores: FitScores, fitted: Fitted, job: Job) -> None:
    """Note every figure.

    Args:
        scores: of the fit.
        fitted: the model in the map.
        job: at work.
    """
    for k, when in enumerate(("before", "after")):
        geometry = scores.geometry[k]
        job.metric(f"density_at_atoms_{when}", scores.density[k], _SIGMA)
        job.metric(f"density_at_backbone_{when}", scores.backbone[k], _SIGMA)
        job.metric(f"correlation_{when}", scores.correlation[k], "1")
        job.metric(f"bond_deviation_{when}_angstrom", geometry.bonds)
        job.metric(f"angle_deviation_{when}_degrees", geometry.angles)
        job.metric(f"plane_deviation_{when}_angstrom", geometry.planes)
        job.metric(f"peptide_deviation_{when}_angstrom", geometry.peptides)
        job.metric(f"chirality_errors_{when}", geometry.hands, "1")
        job.metric(f"clashes_{when}", scores.clashes[k], "1")
    job.metric("shift_angstrom", scores.shift)
    job.metric("largest_shift_angstrom", scores.largest_shift)
    job.metric("backbone_shift_angstrom", scores.backbone_shift)
    job.metric("atom_width_angstrom", fitted.width)
    job.metric("weight", fitted.weight, "kT per standard deviation of the map at a carbon atom")
