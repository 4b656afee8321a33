"""``demo``: a real transition, simulated, solved and scored, from data inside the package."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.trajectories import write_trajectory
from cryojax_graph.jobs.claim import read_manifest
from cryojax_graph.jobs.demo_data import CITATION, read_demo_molecule
from cryojax_graph.jobs.flex import FlexConfig, flex
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.jobs.validate import ValidateMotionConfig, validate_motion


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
    """
    with open_job(config, verb="demo", options=options, inputs={}) as job:
        _write_molecule(job)
        folder = job.folder
        step = _Steps(job, options)
        step.run(
            "simulate",
            simulate,
            SimulateConfig(
                input=str(folder / "transition.npz"),
                template=str(folder / "template.pdb"),
                images=config.images,
                box=config.box,
                pixel_size=96.0 / config.box,
                snr=config.snr,
            ),
        )
        step.run(
            "flex",
            flex,
            FlexConfig(
                particles=str(folder / "simulate/particles.star"),
                template=str(folder / "simulate/reference.cif"),
                preset=config.preset,
                epochs=config.epochs,
                truth=str(folder / "simulate/truth.npz"),
            ),
        )
        step.run(
            "validate",
            validate_motion,
            ValidateMotionConfig(
                flex_folder=str(folder / "flex"), truth=str(folder / "simulate/truth.npz")
            ),
        )
        job.write_text("report.html", _report(step.metrics, job), "this page")
    return job.folder


def plan_demo(config: DemoConfig, *, options: JobOptions) -> Plan:
    """Say what ``demo`` would do.

    Args:
        config: size of the case.
        options: of the job.

    Returns:
        the plan.
    """
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


class _Steps:
    """The steps, each a job of its own inside the demo's folder."""

    def __init__(self, job: Job, options: JobOptions) -> None:
        self._job, self._options = job, options
        self.metrics: dict[str, dict[str, Any]] = {}

    def run(self, name: str, verb: Callable[..., Path], config: Any) -> None:
        """Do a step, or find it done by an earlier run."""
        folder = self._job.folder / name
        manifest = read_manifest(folder)
        if manifest is None or manifest["status"] != "done":
            self._job.log(f"Step: {name}")
            verb(config, options=replace(self._options, output=str(folder), overwrite=False))
        self.metrics[name] = _read_metrics(folder)


def _read_metrics(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "metrics.json").read_text())


def _write_molecule(job: Job) -> None:
    template, transition = read_demo_molecule()
    with job.output("template.pdb", "the closed form, all heavy atoms") as path:
        write_atoms(path, template)
    with job.output("transition.npz", "the true motion, backbone atoms") as path:
        write_trajectory(path, transition)


def _report(metrics: dict[str, dict[str, Any]], job: Job) -> str:
    score = metrics["validate"]
    found, template = (
        score[name]
        for name in ("rmsd_superposed_mean_angstrom", "template_rmsd_superposed_mean_angstrom")
    )
    steps = [
        ("simulate", "noisy particle images of the true motion, all atoms"),
        ("flex", "one conformation per image, a path, maps, particle subsets"),
        ("validate", "the conformations against the truth"),
    ]
    links = "".join(
        f'<li><a href="{name}/report.html">{name}</a>: {what}, '
        f"{metrics[name]['wall_seconds']:.0f} s</li>"
        for name, what in steps
    )
    rows = [[name, score[name]] for name in sorted(score) if name != "units"]
    return job_page(
        job.manifest,
        title="Demo: adenylate kinase opens and closes",
        summary=(
            "Images of a molecule that moves between its closed and its open form, each in another "
            "conformation and under noise; only the closed form was given. For every image the "
            "conformation was recovered."
        ),
        highlights=[
            Highlight(f"{found:.2f} Å", "mean C-alpha RMSD to the truth of each image"),
            Highlight(f"{template:.2f} Å", "the same for the closed form"),
            Highlight(f"{metrics['flex']['wall_seconds']:.0f} s", "to recover the motion"),
        ],
        sections=[
            Section("Steps", (f"<ul>{links}</ul>", paragraph("Start with flex: watch it move."))),
            Section("Scores", (table(["figure", "value"], rows),)),
        ],
        citations=(CITATION,),
    )
