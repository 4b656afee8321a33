"""The page of a simulated set."""

import numpy as np
from jaxtyping import Float64

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    backbone_figure,
    curves_figure,
    histogram_figure,
    scatter_figure,
)
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.drawing import noise_power_of
from cryojax_graph.jobs.simulate.draws import ImageParameters
from cryojax_graph.jobs.simulate.images import Signal
from cryojax_graph.jobs.simulate.molecule import Molecule, reach
from cryojax_graph.jobs.thumbnails import image_grid

_FRAMES_SHOWN = 25
_CITATIONS = (
    "Electron scattering factors: Peng, Ren, Dudarev & Whelan (1996) Acta Cryst. A52, 257–276.",
)


def simulate_report(
    molecule: Molecule,
    parameters: ImageParameters,
    weights: Float64[np.ndarray, " frames"],
    signal: Signal,
    config: SimulateConfig,
    job: Job,
) -> str:
    """The page.

    Args:
        molecule: all its frames.
        parameters: of every image.
        weights: probability of each frame.
        signal: its strength, and the first images.
        config: of the verb.
        job: whose page it is.

    Returns:
        HTML.
    """
    frames = len(molecule.positions)
    noisy = config.noise != "none"
    strength = f"SNR {signal.variance:.3g}" if noisy else "no noise"
    sections = [_images(signal, parameters, noisy), _signal(molecule, signal, config)]
    if len(molecule.alpha) > 1:
        sections.append(_conformations(molecule, parameters, weights))
    sections.append(_conditions(parameters, config))
    return job_page(
        job.manifest,
        title="Simulated particle images",
        summary=f"{config.images:,} images of {config.box} px at {config.pixel_size:g} Å, "
        f"{strength}, from {frames:,} conformation{'s' if frames > 1 else ''} of a molecule of "
        f"{len(molecule.atoms):,} heavy atoms. Poses, CTF and conformations of all images are "
        "known exactly.",
        sections=sections,
        highlights=[
            Highlight(f"{config.images:,}", "images"),
            Highlight(f"{signal.variance:.3g}" if noisy else "∞", "SNR over the box"),
            Highlight(
                f"{signal.variance * config.box**2:.4g}" if noisy else "∞", "E = SNR × pixels"
            ),
            Highlight(f"{signal.images_per_second:.0f}", "images per second"),
        ],
        citations=_CITATIONS,
        commands={
            "particles.star": "cryojax-graph flex particles.star --template reference.cif -o flex"
        },
    )


def _images(signal: Signal, parameters: ImageParameters, noisy: bool) -> Section:
    captions = [
        f"frame {parameters.frame_index[i]}, {parameters.defocus_u[i] / 1e4:.1f} µm"
        for i in range(len(signal.clean))
    ]
    clean = image_grid(signal.clean, captions=captions, caption="The first images without noise.")
    if not noisy:
        return Section("Images", (clean,))
    return Section(
        "Images", (image_grid(signal.noisy, caption="The first images as they are."), clean)
    )


def _signal(molecule: Molecule, signal: Signal, config: SimulateConfig) -> Section:
    rows: list[list[str | float]] = [
        ["radius of the particle, Å", reach(molecule)],
        ["contrast, spread", config.contrast_sigma],
        ["decay of the signal (B-factor), Å²", config.b_factor],
    ]
    if config.noise == "none":
        note = paragraph("There is no noise; the images have a mean variance of 1.")
        return Section("Signal and noise", (table(["", ""], rows), note))
    rows[:0] = [
        ["SNR: variance of the signal over the whole box / of the noise", signal.variance],
        ["E: SNR × number of pixels", signal.variance * config.box**2],
        ["SNR inside the disc of the particle", signal.variance_in_disc],
    ]
    note = paragraph(
        "Images are in units of the noise, whose standard deviation is 1 in every image. Papers "
        "mean different things by SNR; E does not depend on the size of the box."
    )
    blocks = [table(["", ""], rows), note]
    if config.noise == "coloured":
        power = noise_power_of(config)
        frequency = np.arange(len(power)) / (config.box * config.pixel_size)
        blocks.append(
            curves_figure(
                [Curve("noise", frequency, power)],
                Axis("frequency, 1/Å"),
                Axis("variance per pixel"),
                caption="Power of the noise.",
            )
        )
    return Section("Signal and noise", tuple(blocks))


def _conformations(
    molecule: Molecule, parameters: ImageParameters, weights: Float64[np.ndarray, " frames"]
) -> Section:
    frames = len(molecule.positions)
    chosen = np.unique(np.linspace(0, frames - 1, _FRAMES_SHOWN).round().astype(int))
    chains, index = np.unique(molecule.atoms.chain[molecule.alpha], return_inverse=True)
    backbone = backbone_figure(
        molecule.positions[chosen][:, molecule.alpha],
        index.reshape(-1),
        frame_labels=[f"frame {number}" for number in chosen],
        chain_names=[f"chain {name}" for name in chains.tolist()],
        caption="C-alpha atoms of the conformations.",
    )
    if frames == 1:
        return Section("Molecule", (backbone,))
    counts = np.bincount(parameters.frame_index, minlength=frames)
    numbers = np.arange(frames, dtype=float)
    bars = curves_figure(
        [
            Curve("drawn", numbers, counts.astype(float)),
            Curve("expected", numbers, weights * counts.sum(), dashed=True),
        ],
        Axis("frame"),
        Axis("images"),
        caption="How many images show each frame.",
    )
    return Section("Conformations", (backbone, bars))


def _conditions(parameters: ImageParameters, config: SimulateConfig) -> Section:
    microscope = config.microscope
    defocus = 0.5e-4 * (parameters.defocus_u + parameters.defocus_v)
    directions = scatter_figure(
        parameters.euler_degrees[:, 0],
        np.cos(np.deg2rad(parameters.euler_degrees[:, 1])),
        Axis("rot, degrees"),
        Axis("cosine of tilt"),
        caption="Viewing directions; an even spread is uniform.",
    )
    described = (
        f"{microscope.voltage:g} kV, Cs {microscope.cs:g} mm, amplitude contrast "
        f"{microscope.amplitude_contrast:g}, astigmatism up to {microscope.astigmatism:g} Å; "
        f"shifts of {config.shift_sigma:g} Å (standard deviation along x and y)."
    )
    histogram = histogram_figure(
        {"images": defocus}, Axis("mean defocus, µm"), bins=40, caption="Defocus of the images."
    )
    return Section("Microscope and poses", (paragraph(described), histogram, directions))
