"""``validate motion``: conformations that ``flex`` recovered against the truth of a simulation."""

from dataclasses import dataclass
from pathlib import Path

import jax
import tyro

from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.validate.motion_input import read_motion
from cryojax_graph.jobs.validate.motion_report import motion_report
from cryojax_graph.jobs.validate.motion_scores import Motion, MotionScores, score_motion

_CONFORMATIONS = "conformations.npz"
# All other figures are numbers and ratios.
_UNIT = "angstrom"


@dataclass(frozen=True)
class ValidateMotionConfig:
    """Settings of the verb.

    Args:
        flex_folder: Folder of a finished flex job, or its conformations.npz.
        truth: truth.npz of the simulation that made the images.
    """

    flex_folder: tyro.conf.Positional[str]
    truth: str


def validate_motion(config: ValidateMotionConfig, *, options: JobOptions) -> Path:
    """Score a recovered motion against the truth.

    Args:
        config: what to compare with what.
        options: where, and the seed of the bootstrap.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or the two do not belong together.
    """
    path = _conformations(config)
    inputs = {"flex-folder": path, "truth": config.truth}
    motion, names, warnings = read_motion(path, config.truth)
    with open_job(config, verb="validate motion", options=options, inputs=inputs) as job:
        job.log(
            f"{len(motion.recovered):,} conformations of {len(names.chain):,} residues, "
            f"{len(motion.frames):,} true ones"
        )
        for warning in warnings:
            job.warn(warning)
        scores = score_motion(jax.random.key(options.seed), motion)
        for name, value in scores.figures.items():
            job.metric(name, value, None if name.endswith(_UNIT) else "1")
        job.log(_in_words(scores))
        _write_errors(motion, scores, job)
        report = motion_report(motion, names, scores, job)
        job.write_text("report.html", report, "this page")
    return job.folder


def plan_validate_motion(config: ValidateMotionConfig, *, options: JobOptions) -> Plan:
    """Say what ``validate motion`` would do.

    Args:
        config: what to compare with what.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for one core.

    Raises:
        InputError: a file cannot be used, or the two do not belong together.
    """
    motion, names, _ = read_motion(_conformations(config), config.truth)
    images, residues = motion.recovered.shape[:2]
    return Plan(
        actions=(f"compare {images:,} conformations of {len(names.chain):,} residues",),
        outputs=("errors.csv", "metrics.json", "report.html"),
        seconds=20.0 + 5e-6 * images * residues,
        memory_bytes=int(7e8 + 4 * motion.recovered.nbytes),
        disk_bytes=int(3e6),
    )


def _conformations(config: ValidateMotionConfig) -> Path:
    path = Path(config.flex_folder)
    return path / _CONFORMATIONS if path.is_dir() else path


def _write_errors(motion: Motion, scores: MotionScores, job: Job) -> None:
    header = "image,frame,rmsd_in_frame_angstrom,rmsd_superposed_angstrom"
    columns = motion.frame_index.tolist(), scores.in_frame.tolist(), scores.superposed.tolist()
    rows = [f"{i},{f},{a:.4f},{b:.4f}" for i, (f, a, b) in enumerate(zip(*columns, strict=True), 1)]
    job.write_text("errors.csv", "\n".join([header, *rows]) + "\n", "errors of every image")


def _in_words(scores: MotionScores) -> str:
    f = scores.figures
    return (
        f"C-alpha RMSD after superposition {f['rmsd_superposed_mean_angstrom']:.2f} Å "
        f"({f['rmsd_superposed_mean_low_angstrom']:.2f} to "
        f"{f['rmsd_superposed_mean_high_angstrom']:.2f}); template "
        f"{f['template_rmsd_superposed_mean_angstrom']:.2f}, best constant structure "
        f"{f['constant_structure_rmsd_superposed_mean_angstrom']:.2f}, rank-8 floor "
        f"{f['pca_rank8_rmsd_superposed_mean_angstrom']:.2f} Å"
    )
