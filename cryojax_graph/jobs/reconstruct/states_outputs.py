"""What ``reconstruct`` leaves behind of the states of a motion: a folder for each."""

import csv
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cryojax_graph.io.crossing import to_relion
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import Quality
from cryojax_graph.jobs.map_quality.assess import resolution_of
from cryojax_graph.jobs.map_quality.outputs import curves_table
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.maps import HalfMaps
from cryojax_graph.jobs.reconstruct.source import Halves

STATE_FILES = (
    "half1.mrc",
    "half2.mrc",
    "map.mrc",
    "map_unsharpened.mrc",
    "mask.mrc",
    "fsc.csv",
    "particles.star",
)
"""What the folder of a state holds."""

FIGURE_OF_MERIT = "rlnParticleFigureOfMerit"
"""Column of the weights of a state."""
_DIGITS = 6


class States(NamedTuple):
    """Where states lie on the leading axis, and which images are in them.

    Attributes:
        edges: between neighbouring states.
        place: mean of the images of each.
        model: of ``motion.cif`` that is nearest to each, from 1.
        probability: of each state for every image.
        told_apart: number of states that one image tells apart.
    """

    edges: Float[np.ndarray, " edges"]
    place: Float[np.ndarray, " states"]
    model: list[int]
    probability: Float[np.ndarray, "images states"]
    told_apart: float


class SolvedState(NamedTuple):
    """Maps of one state, and how good they are.

    Attributes:
        number: from 1.
        maps: of the halves and of all images.
        quality: of the halves.
        sharpened: of all images, weighted by the correlation of the halves and sharpened.
        effective: number of images of weight 1 that would average noise as well.
    """

    number: int
    maps: HalfMaps
    quality: Quality
    sharpened: Float[np.ndarray, "box box box"]
    effective: float


class StateInShort(NamedTuple):
    """What the page shows of a state; maps of all states may not fit into memory together.

    Attributes:
        number: from 1.
        effective: number of images of weight 1 that would average noise as well.
        fsc: corrected Fourier shell correlation of the halves.
        frequency: of its shells, 1/Å.
        resolution: at FSC = 0.143 and at 0.5, Å.
        slices: central ones across z, y and x of the Wiener-filtered map.
        inside: whether their pixels are inside the mask.
    """

    number: int
    effective: float
    fsc: Float[np.ndarray, " shells"]
    frequency: Float[np.ndarray, " shells"]
    resolution: tuple[float, float]
    slices: Float[np.ndarray, "3 box box"]
    inside: Bool[np.ndarray, "3 box box"]


def in_short(state: SolvedState) -> StateInShort:
    """Leave the maps of a state behind.

    Args:
        state: with them.

    Returns:
        what the page shows.
    """
    quality = state.quality
    curve, edge = quality.curves.corrected, quality.box_angstrom
    density = state.maps.combined
    mask = np.zeros_like(density) if quality.mask is None else quality.mask
    return StateInShort(
        number=state.number,
        effective=state.effective,
        fsc=curve,
        frequency=np.arange(len(curve)) / edge,
        resolution=(resolution_of(curve, 0.143, edge), resolution_of(curve, 0.5, edge)),
        slices=_central(density),
        inside=_central(mask) > 0.5,
    )


def write_state(state: SolvedState, *, origin: Float[np.ndarray, "3"], job: Job) -> None:
    """Write maps, mask and curves of a state.

    Args:
        state: with its maps.
        origin: of voxel [0, 0, 0], (x, y, z) in Å; where the conformations of ``flex`` have it.
        job: in whose folder.
    """
    quality, of_state = state.quality, f"of state {state.number}"
    for name, values, description in (
        ("half1.mrc", state.maps.first, f"first half {of_state}, not filtered"),
        ("half2.mrc", state.maps.second, f"second half {of_state}, not filtered"),
        ("map.mrc", state.sharpened, f"map {of_state}, by the FSC of the halves, sharpened"),
        ("map_unsharpened.mrc", state.maps.combined, f"map {of_state}, Wiener-filtered"),
        ("mask.mrc", quality.mask, f"mask of the curves {of_state}"),
    ):
        if values is not None:
            with job.output(f"{_folder(state.number)}/{name}", description) as path:
                size = np.full(3, quality.voxel_size)
                write_map(path, Map(values.astype(np.float32), size, origin))
    name = f"{_folder(state.number)}/fsc.csv"
    job.write_text(name, curves_table(quality), f"Fourier shell correlation {of_state}")


def write_weighed(
    number: int,
    weights: Float[np.ndarray, " images"],
    particles: ParticleSet,
    halves: Halves,
    job: Job,
) -> None:
    """Write the particles of a state with their weights, as RELION's tools take them.

    Args:
        number: of the state.
        weights: of every row; those that round to 0 are left out.
        particles: as they were read.
        halves: of every row.
        job: in whose folder.
    """
    table, rounded = particles.table, weights.round(_DIGITS)
    # First, since cryoSPARC has no column for the merit.
    table = to_relion(table) if table.kind == "cs" else table
    changes = {FIGURE_OF_MERIT: rounded}
    changes |= {} if halves.given else {"half_set": halves.number}
    table = subset(with_columns(table, changes), np.flatnonzero(rounded))
    with job.output(
        f"{_folder(number)}/particles.star", f"particles of state {number} with their weights"
    ) as path:
        write_particles(table, path)


def measure_state(state: SolvedState, job: Job) -> None:
    """Note the figures of a state.

    Args:
        state: with its maps.
        job: for the figures.
    """
    quality, name = state.quality, _folder(state.number)
    job.metric(f"{name}_effective_images", state.effective, "1")
    for label, threshold in (("fsc0143", 0.143), ("fsc05", 0.5)):
        reached = resolution_of(quality.curves.corrected, threshold, quality.box_angstrom)
        job.metric(f"{name}_resolution_{label}_angstrom", reached)


def measure_states(states: States, job: Job) -> None:
    """Note the figures of all states.

    Args:
        states: along the motion.
        job: for the figures.
    """
    job.metric("images", len(states.probability), "1")
    job.metric("states", len(states.place), "1")
    job.metric("states_told_apart", states.told_apart, "1")


def write_states(shown: list[StateInShort], states: States, job: Job) -> None:
    """Write the list of states.

    Args:
        shown: what came of each.
        states: along the motion.
        job: in whose folder.
    """
    bounds = ["-inf", *(f"{edge:.5f}" for edge in states.edges), "inf"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "state",
            "latent_from",
            "latent_to",
            "latent_mean",
            "nearest_model",
            "effective_images",
            "resolution_fsc0143_angstrom",
            "resolution_fsc05_angstrom",
        ]
    )
    for low, high, state, place, model in zip(
        bounds, bounds[1:], shown, states.place, states.model, strict=False
    ):
        figures = (state.effective, *state.resolution)
        row = [state.number, low, high, f"{place:.5f}", model]
        writer.writerow([*row, *(f"{value:.3f}" for value in figures)])
    job.write_text("states.csv", text.getvalue(), "states along the leading latent")


def _folder(number: int) -> str:
    return f"state_{number}"


def _central(values: Float[np.ndarray, "box box box"]) -> Float[np.ndarray, "3 box box"]:
    """Central slices across z, y and x, the first axis up."""
    half = len(values) // 2
    return np.stack([s[::-1] for s in (values[half], values[:, half], values[:, :, half])])
