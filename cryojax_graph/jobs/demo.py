"""``demo``: a real transition, simulated, solved and scored, from data inside the package."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from cryojax_graph.configs import to_dict
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.trajectories import read_trajectory, rmsd_to_first, write_trajectory
from cryojax_graph.jobs.claim import read_manifest, remove_job
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.demo_report import Solved, demo_report
from cryojax_graph.jobs.flex import FlexConfig, flex
from cryojax_graph.jobs.flex.inputs import FEWEST_IMAGES
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.ranges import check_ranges
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.jobs.validate import ValidateMotionConfig, validate_motion

_TEMPLATE, _TRANSITION = "template.pdb", "transition.npz"
_FIGURES = {
    "flex": (
        "path_ends_rmsd_angstrom",
        "held_out_motion_gain_mean_nats",
        "held_out_motion_gain_standard_error_nats",
    ),
    "validate": (
        "images",
        "residues",
        "rmsd_superposed_mean_angstrom",
        "rmsd_superposed_mean_low_angstrom",
        "rmsd_superposed_mean_high_angstrom",
        "rmsd_superposed_p90_angstrom",
        "template_rmsd_superposed_mean_angstrom",
        "constant_structure_rmsd_superposed_mean_angstrom",
        "pca_rank8_rmsd_superposed_mean_angstrom",
        "explained_fraction",
        "latent_spearman_abs",
    ),
}


@dataclass(frozen=True)
class DemoConfig:
    """Settings of the verb.

    Args:
        images: Particle images to make.
        box: Edge of the images, pixels; they span 96 Å.
        snr: Variance of the noise-free images / variance of the noise.
        preset: Settings of flex.
        epochs: Passes over the images.
    """

    images: int = 3000
    box: int = 64
    snr: float = 0.1
    preset: Literal["default", "small"] = "default"
    epochs: int = 25


def demo(config: DemoConfig, *, options: JobOptions) -> Path:
    """Recover the motion of adenylate kinase from simulated images, and compare with the truth.

    Args:
        config: size of the case.
        options: where, and with which seed.

    Returns:
        the job folder, with a job folder of each step inside.

    Raises:
        InputError: the case is too small, or a number out of its range.
    """
    _check(config)
    with open_job(config, verb="demo", options=options, inputs={}) as job:
        # Of its full path, a step that is continued from another working folder is still the same.
        folder = job.folder.absolute()
        steps = _steps(config, folder)
        if options.overwrite:
            _remove_steps(steps, folder)
        _write_molecule(job)
        metrics = {}
        for step in steps:
            _run(step, job, options)
            metrics[step.name] = json.loads((folder / step.name / "metrics.json").read_text())
        figures = _measure(metrics, job)
        solved = _solved(figures, metrics, folder)
        job.write_text("report.html", demo_report(solved, job), "this page")
    return job.folder


def plan_demo(config: DemoConfig, *, options: JobOptions) -> Plan:
    """Say what ``demo`` would do.

    Args:
        config: size of the case.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: the case is too small, or a number out of its range.
    """
    _check(config)
    pixels = config.images * config.box**2
    return Plan(
        actions=(
            f"simulate {config.images:,} images of {config.box} px of adenylate kinase",
            "recover the motion from the images and the closed form",
            "compare with the truth",
        ),
        outputs=("simulate/", "flex/", "validate/", "report.html"),
        seconds=40 + 1.2e-6 * pixels * config.epochs / 2,
        memory_bytes=int(1.2e9 + 30 * pixels),
        disk_bytes=int(30e6 + 4 * pixels + 2600 * config.images),
    )


def _check(config: DemoConfig) -> None:
    check_ranges(
        {
            "images": (config.images, FEWEST_IMAGES, math.inf),
            "box": (config.box, 48, math.inf),
            "epochs": (config.epochs, 1, math.inf),
            "snr": (config.snr, 1e-8, 1e8),
        }
    )


class _Step(NamedTuple):
    """A job of its own inside the demo's folder.

    Attributes:
        name: of its folder.
        verb: its name.
        function: that does it.
        config: of the verb.
    """

    name: str
    verb: str
    function: Callable[..., Path]
    config: Any


def _steps(config: DemoConfig, folder: Path) -> tuple[_Step, ...]:
    truth = str(folder / "simulate/truth.npz")
    images = SimulateConfig(
        input=str(folder / _TRANSITION),
        template=str(folder / _TEMPLATE),
        images=config.images,
        box=config.box,
        pixel_size=96.0 / config.box,
        snr=config.snr,
    )
    motion = FlexConfig(
        particles=str(folder / "simulate/particles.star"),
        template=str(folder / "simulate/reference.cif"),
        preset=config.preset,
        epochs=config.epochs,
        truth=truth,
    )
    score = ValidateMotionConfig(flex_folder=str(folder / "flex"), truth=truth)
    return (
        _Step("simulate", "simulate", simulate, images),
        _Step("flex", "flex", flex, motion),
        _Step("validate", "validate motion", validate_motion, score),
    )


def _remove_steps(steps: Sequence[_Step], folder: Path) -> None:
    """Remove the steps of an earlier demo, all before the first begins.

    Replaced one after the other, an interruption would leave later ones that look finished but are
    of other images.
    """
    for step in steps:
        if manifest := read_manifest(folder / step.name):
            remove_job(folder / step.name, manifest)


def _run(step: _Step, job: Job, options: JobOptions) -> None:
    """Do a step, go on with it, or find it done before the demo was interrupted."""
    folder = job.folder.absolute() / step.name
    request = {"verb": step.verb, "seed": job.seed, "config": to_dict(step.config)}
    earlier = read_manifest(folder) if job.resumed else None
    if earlier is None or (earlier["status"], earlier["request"]) != ("done", request):
        job.log(f"Step: {step.name}")
        step.function(step.config, options=replace(options, output=str(folder), overwrite=False))
    manifest = json.loads((folder / "manifest.json").read_text())
    for warning in manifest["warnings"]:
        job.warn(f"{step.name}: {warning}")


def _write_molecule(job: Job) -> None:
    # Written once: a step that is continued must find the files with which it began.
    written = [name for name in job.manifest["outputs"] if (job.folder / name).exists()]
    if {_TEMPLATE, _TRANSITION} <= set(written):
        return
    template, transition = read_demo_molecule()
    with job.output(_TEMPLATE, "the closed form, all heavy atoms") as path:
        write_atoms(path, template)
    with job.output(_TRANSITION, "the true motion, backbone atoms") as path:
        write_trajectory(path, transition)


def _measure(metrics: Mapping[str, dict[str, Any]], job: Job) -> dict[str, float]:
    """Note the main figures of the steps as the demo's own."""
    figures = {}
    for step, names in _FIGURES.items():
        for name in names:
            # Without held-out images, or with a single frame, some figures do not exist.
            if name in metrics[step]:
                figures[name] = metrics[step][name]
                job.metric(name, figures[name], metrics[step]["units"].get(name))
    return figures


def _solved(
    figures: dict[str, float], metrics: Mapping[str, dict[str, Any]], folder: Path
) -> Solved:
    """Gather what the page shows from the files of the steps."""
    frame = read_npz(folder / "simulate/truth.npz")["frame_index"]
    errors = np.genfromtxt(folder / "validate/errors.csv", delimiter=",", names=True)
    motion = read_trajectory(folder / "flex/motion.cif")
    return Solved(
        figures=figures,
        seconds={name: values["wall_seconds"] for name, values in metrics.items()},
        path=motion.positions[:, motion.atoms.name == "CA"],
        recovered=errors["rmsd_superposed_angstrom"],
        # The template is the first frame of the transition.
        template=rmsd_to_first(read_trajectory(folder / _TRANSITION))[frame],
    )
