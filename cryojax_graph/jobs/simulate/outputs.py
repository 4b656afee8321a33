"""Particle table, truth and starting model of a simulated set."""

import numpy as np

from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.npz import write_npz
from cryojax_graph.io.particles import new_particles, write_particles
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.drawing import noise_power_of
from cryojax_graph.jobs.simulate.draws import ImageParameters
from cryojax_graph.jobs.simulate.images import STACK, Signal
from cryojax_graph.jobs.simulate.molecule import Molecule, reach


def write_table(parameters: ImageParameters, config: SimulateConfig, job: Job) -> None:
    """Write ``particles.star``: RELION 3.1, with optics group and half-sets.

    Args:
        parameters: of every image.
        config: of the verb.
        job: in whose folder to write.
    """
    images = len(parameters.contrast)
    number = np.arange(images)
    fields = {
        "image_path": np.full(images, STACK),
        "image_index": number,
        "euler_degrees": parameters.euler_degrees,
        "shift_angstrom": parameters.shift_angstrom,
        "half_set": 1 + number % 2,
        "box": np.full(images, config.box),
        **_ctf_columns(parameters, config),
    }
    with job.output("particles.star", "poses and CTF of the images") as path:
        write_particles(new_particles(path, fields), path)


def write_truth(
    molecule: Molecule,
    parameters: ImageParameters,
    signal: Signal,
    config: SimulateConfig,
    job: Job,
) -> None:
    """Write ``truth.npz``: what ``validate`` compares with.

    Args:
        molecule: all its frames.
        parameters: of every image.
        signal: its scale.
        config: of the verb.
        job: in whose folder to write.
    """
    noise = config.noise != "none"
    alpha, atoms = molecule.alpha, molecule.atoms
    arrays = {
        "c_alpha": molecule.positions[:, alpha],
        "chain": atoms.chain[alpha],
        "residue_number": atoms.residue_number[alpha],
        "insertion_code": atoms.insertion_code[alpha],
        "residue_name": atoms.residue_name[alpha],
        **parameters._asdict(),
        "rotation": rotation_from_euler(parameters.euler_degrees),
        **_ctf_columns(parameters, config),
        "box": np.int64(config.box),
        "snr": np.float64(config.snr if noise else np.inf),
        "noise_sigma": np.float64(noise),
        "noise_power": noise_power_of(config),
        "signal_scale": np.float64(signal.scale),
        "moved_by": molecule.moved_by,
    }
    with job.output("truth.npz", "the truth of every image, for validate") as path:
        write_npz(path, arrays)


def write_reference(molecule: Molecule, job: Job) -> None:
    """Write ``reference.cif``: the atoms of the first frame, their zero at the image centre.

    Args:
        molecule: all its frames.
        job: in whose folder to write.
    """
    with job.output("reference.cif", "the first frame, centred as in the images") as path:
        write_atoms(path, molecule.atoms)


def write_metrics(molecule: Molecule, signal: Signal, config: SimulateConfig, job: Job) -> None:
    """Note how many images there are, and how strong their signal is.

    Args:
        molecule: all its frames.
        signal: its strength.
        config: of the verb.
        job: that keeps the figures.
    """
    job.metric("images", config.images, "1")
    job.metric("frames", len(molecule.positions), "1")
    job.metric("atoms", len(molecule.atoms), "1")
    job.metric("residues", len(molecule.alpha), "1")
    job.metric("particle_radius_angstrom", reach(molecule))
    job.metric("images_per_second", signal.images_per_second)
    if config.noise != "none":
        job.metric("snr", signal.variance, "1")
        job.metric("snr_times_pixels", signal.variance * config.box**2, "1")
        job.metric("snr_in_disc", signal.variance_in_disc, "1")


def _ctf_columns(parameters: ImageParameters, config: SimulateConfig) -> dict[str, np.ndarray]:
    microscope, images = config.microscope, len(parameters.contrast)
    same = {
        "phase_shift_degrees": 0.0,
        "voltage_kv": microscope.voltage,
        "spherical_aberration_mm": microscope.cs,
        "amplitude_contrast": microscope.amplitude_contrast,
        "b_factor": config.b_factor,
        "pixel_size": config.pixel_size,
    }
    return {
        "defocus_u": parameters.defocus_u,
        "defocus_v": parameters.defocus_v,
        "defocus_angle_degrees": parameters.defocus_angle_degrees,
        **{name: np.full(images, value) for name, value in same.items()},
    }
