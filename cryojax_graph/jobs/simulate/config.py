"""Settings of ``simulate``."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.ranges import check_ranges

SMALLEST_BOX = 16


@dataclass(frozen=True)
class Microscope:
    """What is the same for all images.

    Args:
        voltage: Acceleration voltage, kV.
        cs: Spherical aberration, mm.
        amplitude_contrast: Fraction of amplitude contrast.
        astigmatism: Largest difference of the two defoci of an image, Å; evenly drawn from 0.
        padding: Draw a field this many times as wide and cut out its middle. The CTF then spreads
            signal over the edge of the box, as in a microscope; with 1 it comes in again opposite.
        model_b_factors: Blur each atom by the B-factor in the file; predicted models have
            confidences there.
    """

    voltage: float = 300.0
    cs: float = 2.7
    amplitude_contrast: float = 0.1
    astigmatism: float = 200.0
    padding: int = 1
    model_b_factors: bool = False


@dataclass(frozen=True)
class SimulateConfig:
    """Settings of the verb.

    Args:
        input: Model or trajectory: PDB or mmCIF with one or many models, or .npz; with the extra md
            also DCD, XTC and others, whose frames are superposed.
        template: Model with all atoms of a trajectory that holds only some; the missing ones are
            carried rigidly by N, CA and C of their residue. For DCD, XTC and others the topology.
        images: How many to make.
        box: Edge of the images, pixels.
        pixel_size: Å.
        snr: Variance of the noise-free images over the whole box / variance of the noise.
        noise: white; coloured, stronger at low frequencies; or none.
        defocus_range: Smallest and largest defocus, µm.
        shift_sigma: Spread of the particles around the image centre, along x and y, Å; cut off at
            three times this.
        contrast_sigma: Spread of the contrast of the images around 1; cut off at three times this.
        b_factor: Decay of the signal with resolution, Å².
        sampling: uniform, or a CSV file with columns frame (from 0) and weight.
        microscope: What is the same for all images.
    """

    input: tyro.conf.Positional[str]
    template: str | None = None
    images: int = 1000
    box: int = 128
    pixel_size: float = 1.5
    snr: float = 0.1
    noise: Literal["white", "coloured", "none"] = "white"
    defocus_range: tuple[float, float] = (0.8, 2.5)
    shift_sigma: float = 2.0
    contrast_sigma: float = 0.1
    b_factor: float = 50.0
    sampling: str = "uniform"
    microscope: Annotated[Microscope, tyro.conf.arg(name="")] = field(default_factory=Microscope)


def check_config(config: SimulateConfig) -> None:
    """Refuse settings that no microscope has, before anything is read.

    Args:
        config: of the verb.

    Raises:
        InputError: the first such setting.
    """
    microscope, (low, high) = config.microscope, config.defocus_range
    # Contrast is cut off at three sigma and must stay positive.
    ranges = {
        "images": (config.images, 1, 10**8),
        "box": (config.box, SMALLEST_BOX, 4096),
        "pixel-size": (config.pixel_size, 0.05, 100.0),
        "snr": (config.snr, 1e-8, 1e8),
        "shift-sigma": (config.shift_sigma, 0.0, 1e4),
        "contrast-sigma": (config.contrast_sigma, 0.0, 0.3),
        "b-factor": (config.b_factor, 0.0, 1e4),
        "voltage": (microscope.voltage, 10.0, 3000.0),
        "cs": (microscope.cs, 0.0, 100.0),
        "amplitude-contrast": (microscope.amplitude_contrast, 0.0, 0.99),
        "astigmatism": (microscope.astigmatism, 0.0, 1e5),
        "padding": (microscope.padding, 1, 8),
        "defocus-range": (low, -20.0, 20.0),
    }
    check_ranges(ranges)
    if not low <= high <= 20.0:
        cause = f"it goes from {low:g} to {high:g} µm"
        raise InputError("command line", "--defocus-range", cause, "give the smaller one first")
