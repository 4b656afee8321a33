"""What a search for atoms finds where there are none: in the map turned upside down.

Noise is as often above the solvent as below it, atoms are above. A peak of the map turned upside
down is false for certain, and the same fit and the same ascents find it as readily as a false one
of the map. What lies below the solvent beside atoms because the spectrum of the map ends is counted
with it, so that the share of false peaks is rather less than what is told.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import query, select_peaks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.fitting import fit_sharper
from cryojax_graph.jobs.locate.search import Located, climb_to_peaks
from cryojax_graph.jobs.map_noise import solvent_of
from cryojax_graph.jobs.parts import in_parts
from cryojax_graph.metrics import false_share

# Where fewer of the voxels that are not solvent are below it, the map was cut off there.
_CUT_OFF = 0.1
# Voxels that tell the noise of the field.
_SAMPLE = 1 << 14


class Decoys(NamedTuple):
    """Peaks of the map turned upside down.

    Attributes:
        height: of each, map units of the field that was searched.
        noise: standard deviation of that field where there are no atoms, map units.
    """

    height: Float[np.ndarray, " m"]
    noise: float


def find_decoys(
    density: Map,
    part: Map,
    threshold: float,
    config: LocateConfig,
    *,
    advance: Callable[[int], Any] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Decoys | None:
    """Search the map turned upside down as the map was searched.

    Args:
        density: the map.
        part: of it, that was searched.
        threshold: map units.
        config: of the job.
        advance: told how many ascents are over.
        check_abort: called between parts of the work.

    Returns:
        decoys; None of a map that hardly shows what is below its solvent.
    """
    solvent = solvent_of(density).level
    turned = turned_over(part, solvent)
    below = np.argwhere(turned.values > solvent)
    beside = int((part.values != solvent).sum())
    if len(below) < max(_CUT_OFF * beside, 1):
        return None
    field = fit_sharper(turned, density, config)
    found = climb_to_peaks(
        field,
        turned,
        threshold,
        config,
        solvent=solvent,
        advance=advance,
        check_abort=check_abort,
    )
    some = below[np.unique(np.linspace(0, len(below) - 1, _SAMPLE).astype(int))]
    places = turned.origin + some[:, ::-1] * turned.voxel_size
    there = in_parts(partial(jax.jit(query), field), places, check_abort=check_abort)
    return Decoys(found.peaks.value, float(np.sqrt(np.mean(there.astype(np.float64) ** 2))))


def turned_over(part: Map, solvent: float) -> Map:
    """A map upside down.

    Args:
        part: the map.
        solvent: density that stays as it is, map units.

    Returns:
        the map.
    """
    return Map(2.0 * np.float32(solvent) - part.values, part.voxel_size, part.origin)


def without_false(found: Located, decoys: Decoys, config: LocateConfig) -> Located:
    """The highest peaks, as many as the share of false ones allows.

    Args:
        found: peaks of the map.
        decoys: of the map turned upside down.
        config: of the job.

    Returns:
        those peaks, with the share of false ones among all that are as high.
    """
    share = false_share(found.peaks.value, decoys.height)
    kept = share <= config.false_share
    return found._replace(
        peaks=select_peaks(found.peaks, kept),
        density=found.density[kept],
        false_share=share[kept],
    )
