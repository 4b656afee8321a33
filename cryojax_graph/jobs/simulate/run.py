"""``simulate`` from end to end."""

from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float64

from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.simulate.config import SimulateConfig, check_config
from cryojax_graph.jobs.simulate.draws import draw_images, uniform_weights
from cryojax_graph.jobs.simulate.frame_weights import read_frame_weights
from cryojax_graph.jobs.simulate.images import images_per_part, make_images, remove_parts
from cryojax_graph.jobs.simulate.molecule import Molecule, check_fits, read_molecule
from cryojax_graph.jobs.simulate.outputs import (
    write_metrics,
    write_reference,
    write_table,
    write_truth,
)
from cryojax_graph.jobs.simulate.report import simulate_report

# Measured on one core: a Gaussian on its pixels, and a pixel of CTF and noise.
_SECONDS_PER_GAUSSIAN, _SECONDS_PER_PIXEL = 4e-7, 6e-8
_MEMORY = 450e6
_OUTPUTS = ("particles.star", "particles.mrcs", "truth.npz", "reference.cif", "report.html")


def simulate(config: SimulateConfig, *, options: JobOptions) -> Path:
    """Make particle images of a model or a trajectory, with the truth of every image.

    Args:
        config: what to make images of.
        options: where, and with which seed.

    Returns:
        the job folder.

    Raises:
        InputError: an input or a setting cannot be used.
    """
    check_config(config)
    inputs = {"input": config.input}
    if config.template is not None:
        inputs["template"] = config.template
    if config.sampling != "uniform":
        inputs["sampling"] = config.sampling
    for_images, for_noise = jax.random.split(jax.random.key(options.seed))
    # Read before the folder is claimed: a refused input leaves nothing that a corrected command
    # would have to overwrite.
    molecule = _molecule(config)
    weights = _weights(config, molecule)
    with open_job(config, verb="simulate", options=options, inputs=inputs, outputs=_OUTPUTS) as job:
        job.log(_described(molecule, config))
        for note in molecule.notes:
            job.warn(f"{config.input}: {note}")
        parameters = draw_images(for_images, config, weights)
        signal = make_images(for_noise, molecule, parameters, config, job)
        write_table(parameters, config, job)
        write_truth(molecule, parameters, signal, config, job)
        write_reference(molecule, job)
        write_metrics(molecule, signal, config, job)
        report = simulate_report(molecule, parameters, weights, signal, config, job)
        job.write_text("report.html", report, "this page")
        remove_parts(job)
    return job.folder


def plan_simulate(config: SimulateConfig, *, options: JobOptions) -> Plan:
    """Say what ``simulate`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for one core.

    Raises:
        InputError: an input or a setting cannot be used.
    """
    check_config(config)
    molecule = _molecule(config)
    _weights(config, molecule)
    pixels = config.images * config.box**2
    drawn_pixels = pixels * config.microscope.padding**2
    drawing = config.images * molecule.masses.size * _SECONDS_PER_GAUSSIAN
    return Plan(
        actions=(
            f"read {_described(molecule, config)}",
            "draw noise-free images and keep them until the noise is added",
            f"add {config.noise} noise" if config.noise != "none" else "scale the images",
        ),
        outputs=_OUTPUTS,
        seconds=5.0 + drawing + drawn_pixels * _SECONDS_PER_PIXEL,
        memory_bytes=int(_MEMORY + 6 * 4 * images_per_part(config.box) * config.box**2),
        disk_bytes=int(2 * 4 * pixels + 300 * config.images + 3e6),
    )


def _molecule(config: SimulateConfig) -> Molecule:
    molecule = read_molecule(config)
    check_fits(molecule, config)
    return molecule


def _weights(config: SimulateConfig, molecule: Molecule) -> Float64[np.ndarray, " frames"]:
    if config.sampling == "uniform":
        return uniform_weights(len(molecule.positions))
    return read_frame_weights(config.sampling, len(molecule.positions))


def _described(molecule: Molecule, config: SimulateConfig) -> str:
    frames, atoms = len(molecule.positions), len(molecule.atoms)
    what = "residues" if molecule.masses.shape[1] == 1 else "heavy atoms"
    return (
        f"{frames:,} frame{'s' if frames > 1 else ''} of {atoms:,} {what}; {config.images:,} "
        f"images of {config.box} px at {config.pixel_size:g} Å"
    )
