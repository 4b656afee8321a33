"""What ``locate`` would do, and what it would take."""

from typing import NamedTuple

import jax
import numpy as np

from cryojax_graph.fields import lay_patches
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.decoys import turned_over
from cryojax_graph.jobs.locate.fitting import network_of
from cryojax_graph.jobs.locate.outputs import OUTPUTS
from cryojax_graph.jobs.locate.search import seeds_of, threshold_of
from cryojax_graph.jobs.locate.source import read_source
from cryojax_graph.jobs.map_noise import solvent_of
from cryojax_graph.jobs.map_parts import WHOLE_BYTES, crop
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan, readable_time
from cryojax_graph.jobs.stored_field import describe_field, known_from
from cryojax_graph.jobs.stored_networks import (
    GRADIENT_SECONDS,
    HESSIAN_SECONDS,
    VALUE_SECONDS,
    weights_of,
)
from cryojax_graph.models.atom_graph.config import NeuralMapConfig

# Processor time per voxel of the fit and per voxel climbed from, and bytes of each.
_FIT_SECONDS, _CLIMB_SECONDS = 1.5e-5, 3e-4
_FIT_BYTES, _CLIMB_BYTES = 250, 1500
# Processor time per weight and point of one step: of values, and of values and slopes. Of values,
# 0.7e-10 (experiments/benchmarks/expected.json) to 2e-10 was measured, by processor.
_STEP_SECONDS, _SLOPE_SECONDS = 1.5e-10, 7e-10
# Times that an ascent asks for the field; and walks, which go on together until the last arrives.
_ASCENT, _WALK, _TOGETHER = 12, 120, 4096
# Programs of networks are compiled longer.
_COMPILE_SECONDS = 15.0
# Bytes of a network in training per weight, of a question per sine, and of a seed.
_WEIGHT_BYTES, _SINE_BYTES, _SEED_BYTES = 40, 1.5e6, 60
_LONG = 3600.0


class _Search(NamedTuple):
    """What a search of networks takes.

    Attributes:
        seconds: of one core for each weight of a network.
        memory_bytes: beside the program.
    """

    seconds: float
    memory_bytes: float


class _Cost(NamedTuple):
    """What a field takes.

    Attributes:
        action: what is done.
        seconds: of one core.
        memory_bytes: beside the program.
        disk_bytes: of the stored field.
    """

    action: str
    seconds: float
    memory_bytes: float
    disk_bytes: float


def plan_locate(config: LocateConfig, *, options: JobOptions) -> Plan:
    """Say what ``locate`` would do.

    Args:
        config: the map, and how.
        options: of the job.

    Returns:
        the plan; that of networks is for processors.

    Raises:
        InputError: a file cannot be used, or nothing lies above the threshold.
    """
    density = read_source(config).of
    if isinstance(density, StoredNetworks):
        return _of_search(density, config)
    threshold = threshold_of(density, config, file=config.map)
    above = density.values > threshold
    part, starts = crop(density, above), int(above.sum())
    network = network_of(config)
    if network is None:
        cost = _of_voxels(density, part, starts, threshold, config)
    else:
        cost = _of_networks(part, starts, config, network)
    return Plan(
        actions=(
            cost.action,
            f"climb to its peaks from {starts:,} voxels above {threshold:.4g}",
            "join them to a graph",
            "store the field",
        ),
        outputs=OUTPUTS,
        seconds=10.0 + cost.seconds,
        memory_bytes=int(6e8 + density.values.size * WHOLE_BYTES + cost.memory_bytes),
        disk_bytes=int(5e6 + 100 * starts + cost.disk_bytes),
    )


def _of_voxels(
    density: Map, part: Map, starts: int, threshold: float, config: LocateConfig
) -> _Cost:
    voxels, turned = part.values.size, 0
    if config.field != "atoms":
        voxels = known_from(density, part, config.field).values.size
    else:
        above = turned_over(part, solvent_of(density).level).values > threshold
        turned = voxels * _FIT_SECONDS + int(above.sum()) * _CLIMB_SECONDS
    return _Cost(
        f"fit a field ({config.field}) to {voxels:,} voxels",
        voxels * _FIT_SECONDS + starts * _CLIMB_SECONDS + turned,
        voxels * _FIT_BYTES + min(starts, 1 << 15) * _CLIMB_BYTES,
        density.values.size,
    )


def _of_networks(part: Map, starts: int, config: LocateConfig, network: NeuralMapConfig) -> _Cost:
    patches = lay_patches(part.values.shape, size=network.patch, overlap=network.overlap)
    width, boxes = network.width, patches.count
    weights = 4 * width + network.hidden * width * (width + 1) + width + 1
    points = network.points or int(np.prod(patches.size))
    step = points * weights * (_SLOPE_SECONDS if network.points else _STEP_SECONDS)
    # Devices take equal numbers of networks.
    training = -(-boxes // jax.device_count()) * network.steps * step
    search = _search_of(part, starts, config)
    action = (
        f"train at most {boxes:,} network{'s' * (boxes > 1)} of {network.hidden + 1} sine layers "
        f"of {width}, at most {network.steps:,} steps of {readable_time(step)} each on one core: "
        f"{readable_time(training)} on this machine's processor"
    )
    if training > _LONG:
        action += "; use an accelerator, or fewer --steps"
    return _Cost(
        action,
        _COMPILE_SECONDS + training + search.seconds * weights,
        part.values.size * (_FIT_BYTES if network.points else 20)
        + boxes * (weights * _WEIGHT_BYTES + 8 * int(np.prod(patches.size)))
        + width * (network.hidden + 1) * _SINE_BYTES
        + search.memory_bytes,
        2 * boxes * weights + 3 * 16 * boxes * weights,
    )


def _search_of(part: Map, starts: int, config: LocateConfig) -> _Search:
    if config.field != "paper":
        return _Search(starts * _ASCENT * HESSIAN_SECONDS, 0.0)
    spacing, shape = seeds_of(part)
    seeds = int(np.prod(shape))
    walks = starts * float(np.prod(part.voxel_size / spacing))
    rounds = _WALK * np.ceil(walks / _TOGETHER) * _TOGETHER
    return _Search(seeds * VALUE_SECONDS + rounds * GRADIENT_SECONDS, seeds * _SEED_BYTES)


def _of_search(stored: StoredNetworks, config: LocateConfig) -> Plan:
    """Of networks that are trained: how much lies above the threshold is told by asking them."""
    part = Map(np.zeros(stored.shape, np.float32), stored.voxel_size, stored.origin)
    voxels = part.values.size
    search = _search_of(part, voxels, config)
    seconds = (voxels * VALUE_SECONDS + search.seconds) * weights_of(stored)
    sines = stored.kernels[0].shape[2] * (len(stored.kernels) - 1)
    return Plan(
        actions=(
            f"take a field ({describe_field(stored)})",
            f"climb to its peaks from at most {voxels:,} voxels above {config.threshold:.4g}",
            "join them to a graph",
        ),
        outputs=OUTPUTS,
        seconds=10.0 + _COMPILE_SECONDS + seconds,
        memory_bytes=int(6e8 + voxels * WHOLE_BYTES + sines * _SINE_BYTES + search.memory_bytes),
        disk_bytes=int(5e6 + 100 * voxels),
    )
