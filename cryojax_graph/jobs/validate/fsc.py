"""``validate fsc``: half-maps against each other, or a map against a model or another map."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
from jaxtyping import Float

from cryojax_graph.forward import automatic_mask
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import (
    LocalResolution,
    Quality,
    QualitySettings,
    assess,
    doubts,
    find_mask,
    in_words,
    measure_local,
    quality_highlights,
    quality_sections,
    sharpened_map,
    write_quality,
)
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.ranges import check_ranges
from cryojax_graph.jobs.report import job_page
from cryojax_graph.jobs.validate.fsc_input import MapPair, is_model, read_mask, read_pair

_HALF_MAPS, _TRUTH = 0.143, 0.5
_MOST_B_FACTOR = 1e4
# Natural logarithm of the most that detail is amplified by: maps hold single precision.
_MOST_GAIN = 60.0
_CITATIONS = (
    "Harauz G, van Heel M (1986) Optik 73, 146: Fourier shell correlation.",
    "Rosenthal PB, Henderson R (2003) J Mol Biol 333, 721: threshold 0.143, weights, B-factor.",
    "Chen S et al. (2013) Ultramicroscopy 135, 24: correction by random phases.",
)


@dataclass(frozen=True)
class ValidateFscConfig:
    """Settings of the verb.

    Args:
        first: Map: MRC, unfiltered and without a mask.
        second: The other half-map; or with --kind maps a map taken as right; or a model, PDB or
            mmCIF, in the frame of the map.
        kind: Two half-maps of one set, or maps (a model always is one).
        mask: auto, none, or an MRC file with values from 0 to 1.
        threshold: FSC that tells the resolution; 0.143 for half-maps, 0.5 for maps.
        b_factor: To be undone in map.mrc, Å²; positive sharpens. Fitted when not given.
        local_resolution: Whether it is measured, sphere by sphere.
        voxel_size: Å, in place of the headers'.
        quality: How all this is measured.
    """

    first: tyro.conf.Positional[str]
    second: tyro.conf.Positional[str]
    kind: Literal["half-maps", "maps"] = "half-maps"
    mask: str = "auto"
    threshold: float | None = None
    b_factor: float | None = None
    local_resolution: bool = True
    voxel_size: float | None = None
    quality: QualitySettings = field(default_factory=QualitySettings)

    def __post_init__(self) -> None:
        """Refuse a threshold that no curve crosses."""
        if self.threshold is not None and not 0 < self.threshold < 1:
            cause = f"{self.threshold} is not between 0 and 1"
            raise InputError("command line", "--threshold", cause, "try 0.143 or 0.5")


def validate_fsc(config: ValidateFscConfig, *, options: JobOptions) -> Path:
    """Measure how well two maps agree.

    Args:
        config: what to compare.
        options: where, and the seed of the random phases.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, the two do not fit together, or no mask is found.
    """
    _check_b_factor(config)
    pair = read_pair(config.first, config.second, voxel_size=config.voxel_size)
    half_maps = _are_half_maps(config)
    given = None if config.mask in ("auto", "none") else read_mask(config.mask, pair)
    inputs = {"first": config.first, "second": config.second}
    inputs |= {} if given is None else {"mask": config.mask}
    threshold = _threshold(config)
    with open_job(
        config, verb="validate fsc", options=options, inputs=inputs, outputs=_outputs(config)
    ) as job:
        job.log(pair.description)
        if pair.padded_from is not None:
            extent = " × ".join(str(n) for n in pair.padded_from[::-1])
            job.warn(f"The box of {extent} voxels is padded with zeros to a cube, as are outputs")
        mask = _automatic(pair, config) if config.mask == "auto" else given
        keys = jax.random.split(jax.random.key(options.seed))
        quality = assess(
            keys[0],
            pair.first,
            pair.second,
            mask,
            voxel_size=pair.voxel_size,
            threshold=threshold,
            half_maps=half_maps,
            settings=config.quality,
        )
        _check_gain(config, quality)
        for doubt in doubts(pair.first, pair.second, quality):
            job.warn(doubt)
        local = None
        if config.local_resolution:
            local = measure_local(keys[1], pair.first, pair.second, quality, job)
        sharpened = sharpened_map(quality, b_factor=config.b_factor) if half_maps else None
        write_quality(job, quality, local, origin=pair.origin, sharpened=sharpened)
        job.log(in_words(quality))
        job.write_text("report.html", _page(job, config, quality, local, sharpened), "this page")
    return job.folder


def plan_validate_fsc(config: ValidateFscConfig, *, options: JobOptions) -> Plan:
    """Say what ``validate fsc`` would do.

    Args:
        config: what to compare.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for one core.

    Raises:
        InputError: a file cannot be used, or the two do not fit together.
    """
    _check_b_factor(config)
    pair = read_pair(config.first, config.second, voxel_size=config.voxel_size)
    outputs, voxels = _outputs(config), pair.first.size
    maps = sum(name.endswith(".mrc") for name in outputs)
    return Plan(
        actions=(f"compare {pair.description}", f"mask: {config.mask}"),
        outputs=(*outputs, "metrics.json"),
        seconds=5.0 + voxels * (4e-7 + 2e-7 * config.local_resolution),
        memory_bytes=int(4.7e8 + 40 * voxels),
        disk_bytes=int(3.5e6 + 4 * voxels * maps),
    )


def _outputs(config: ValidateFscConfig) -> tuple[str, ...]:
    maps = ["mask.mrc"] * (config.mask != "none") + ["map.mrc"] * _are_half_maps(config)
    maps += ["local_resolution.mrc"] * config.local_resolution
    return ("fsc.csv", *maps, "report.html")


def _check_b_factor(config: ValidateFscConfig) -> None:
    check_ranges({"b-factor": (config.b_factor, -_MOST_B_FACTOR, _MOST_B_FACTOR)})
    if config.b_factor is not None and not _are_half_maps(config):
        cause = "it sharpens the map of two half-maps, and these are none"
        raise InputError("command line", "--b-factor", cause, "leave it out")


def _check_gain(config: ValidateFscConfig, quality: Quality) -> None:
    """Refuse a B-factor that no map could hold at the resolution that was found."""
    most = 4 * _MOST_GAIN * quality.resolution**2
    if config.b_factor is not None and abs(config.b_factor) > most:
        cause = f"{config.b_factor:g} Å² is too much for detail of {quality.resolution:.1f} Å"
        raise InputError("command line", "--b-factor", cause, f"give {most:.0f} Å² at most")


def _are_half_maps(config: ValidateFscConfig) -> bool:
    return config.kind == "half-maps" and not is_model(config.second)


def _threshold(config: ValidateFscConfig) -> float:
    if config.threshold is not None:
        return config.threshold
    return _HALF_MAPS if _are_half_maps(config) else _TRUTH


def _automatic(pair: MapPair, config: ValidateFscConfig) -> Float[np.ndarray, "box box box"]:
    settings = config.quality
    try:
        if _are_half_maps(config):
            return find_mask(pair.first, pair.second, voxel_size=pair.voxel_size, settings=settings)
        return automatic_mask(
            pair.second,
            voxel_size=pair.voxel_size,
            low_pass=settings.mask_low_pass,
            extend=settings.mask_extend,
            edge=settings.mask_edge,
        )
    except ValueError as error:
        remedy = "give --mask FILE or --mask none; protein must be positive"
        raise InputError(config.first, "automatic mask", str(error), remedy) from None


def _page(
    job: Job,
    config: ValidateFscConfig,
    quality: Quality,
    local: LocalResolution | None,
    sharpened: Float[np.ndarray, "box box box"] | None,
) -> str:
    second = "the other half-map" if _are_half_maps(config) else Path(config.second).name
    return job_page(
        job.manifest,
        title=f"Resolution of {Path(config.first).name}",
        summary=f"Against {second}. {in_words(quality)}",
        sections=quality_sections(quality, local, sharpened=sharpened),
        highlights=quality_highlights(quality, local),
        citations=_CITATIONS,
    )
