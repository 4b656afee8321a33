"""``locate`` from file to files."""

from pathlib import Path

import numpy as np

from cryojax_graph.graphs import build_density_graph
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.graph_scores import atoms_of, note_scores, score_graph
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.fitting import (
    amplification_of,
    fit_field,
    recipe_of,
    resolution_of,
)
from cryojax_graph.jobs.locate.outputs import node_features, write_outputs
from cryojax_graph.jobs.locate.report import locate_report
from cryojax_graph.jobs.locate.search import (
    Located,
    climb_to_peaks,
    crop,
    threshold_of,
    walk_to_peaks,
)
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.stored_field import FIELD, accuracy_of, save_field

_OUTPUTS = (
    FIELD,
    "graph.json",
    "graph.npz",
    "graph.bild",
    "peaks.cif",
    "view.cxc",
    "metrics.json",
    "report.html",
)
# Processor time per voxel of the fit and per voxel climbed from, and bytes of each.
_FIT_SECONDS, _CLIMB_SECONDS = 1.5e-5, 3e-4
_FIT_BYTES, _CLIMB_BYTES = 250, 1500
# A share of voxels that a masked map keeps outside its mask.
_MASKED = 0.02


def locate(config: LocateConfig, *, options: JobOptions) -> Path:
    """Find the peaks of a map and join them to a graph.

    Args:
        config: the map, and how.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or nothing lies above the threshold.
    """
    density = read_map(config.map)
    threshold = threshold_of(density, config, file=config.map)
    atoms = None if config.model is None else atoms_of(config.model)
    inputs = {"map": config.map} | ({"model": config.model} if config.model else {})
    with open_job(config, verb="locate", options=options, inputs=inputs) as job:
        starts = int((density.values > threshold).sum())
        job.log(f"{starts:,} voxels lie above {threshold:.4g}; field: {config.field}")
        part = crop(density, density.values > threshold)
        field = fit_field(part, config, job)
        search = walk_to_peaks if config.field == "paper" else climb_to_peaks
        with job.progress("climbing to the peaks", starts) as advance:
            found = search(
                field, part, threshold, config, advance=advance, check_abort=job.check_abort
            )
        if not len(found.peaks):
            cause = f"no peak is left above {threshold:.4g}"
            raise InputError(config.map, "its values", cause, "lower --threshold or --prominence")
        noise = noise_of(density, threshold)
        if noise == 0:
            job.warn(
                "The map is 0 outside its mask, or has no voxels outside: its noise is not known, "
                "and no peak has a significance"
            )
        resolution = resolution_of(density, config)
        graph = build_density_graph(
            found.peaks.position,
            node_features(found.peaks, noise * amplification_of(config)),
            cutoff=2.0 * resolution,
        )
        scores = None if atoms is None else score_graph(found.peaks.position, atoms)
        if scores is not None:
            note_scores(scores, job)
        edges = len(np.asarray(graph.senders)) // 2
        _note_metrics(found, edges, noise, job)
        write_outputs(graph, str(Path(config.map).resolve()), threshold, job)
        accuracy = accuracy_of(density, noise)
        with job.output(FIELD, f"the map as a field, voxels within {accuracy:.2g}") as path:
            save_field(path, density, recipe_of(config), accuracy=accuracy)
        page = locate_report(density, found, scores, resolution, job)
        job.write_text("report.html", page, "this page")
        job.log(f"{len(found.peaks):,} peaks, {edges:,} edges")
    return job.folder


def plan_locate(config: LocateConfig, *, options: JobOptions) -> Plan:
    """Say what ``locate`` would do.

    Args:
        config: the map, and how.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file cannot be used, or nothing lies above the threshold.
    """
    density = read_map(config.map)
    threshold = threshold_of(density, config, file=config.map)
    above = density.values > threshold
    part, starts = crop(density, above).values.size, int(above.sum())
    if config.model is not None:
        atoms_of(config.model)
    return Plan(
        actions=(
            f"fit a field ({config.field}) to {part:,} voxels",
            f"climb to its peaks from {starts:,} voxels above {threshold:.4g}",
            "join them to a graph",
            "store the field",
        ),
        outputs=_OUTPUTS,
        seconds=10.0 + part * _FIT_SECONDS + starts * _CLIMB_SECONDS,
        memory_bytes=int(6e8 + part * _FIT_BYTES + min(starts, 1 << 15) * _CLIMB_BYTES),
        disk_bytes=int(5e6 + 100 * starts + density.values.size),
    )


def noise_of(density: Map, threshold: float) -> float:
    """Standard deviation of a map where there is no density.

    Args:
        density: the map.
        threshold: above which there is, map units.

    Returns:
        from the median deviation of voxels below that are not exactly 0, so that the rim of the
        density hardly matters; 0 where hardly any voxel is left.
    """
    outside = density.values[(density.values <= threshold) & (density.values != 0)]
    if len(outside) < _MASKED * density.values.size:
        return 0.0
    return float(1.4826 * np.median(np.abs(outside - np.median(outside))))


def _note_metrics(found: Located, edges: int, noise: float, job: Job) -> None:
    job.metric("threshold", found.threshold, "map units")
    job.metric("noise", noise, "map units")
    job.metric("voxels_above", found.starts, "1")
    job.metric("ascents_lost", found.lost, "1")
    job.metric("peaks", len(found.peaks), "1")
    job.metric("edges", edges, "1")
    if found.lost > 0.05 * found.starts:
        job.warn(
            f"{found.lost:,} of {found.starts:,} ascents ended at no peak: the field is flat or "
            "kinked there (trilinear), or the threshold lies in the noise"
        )
