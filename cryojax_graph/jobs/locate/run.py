"""``locate`` from file to files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryojax_graph.graphs import build_density_graph
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import write_field
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.graph_scores import atoms_within, note_scores, score_graph
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.decoys import Decoys, find_decoys, turned_over, without_false
from cryojax_graph.jobs.locate.fitting import Fitted, fit_field, solvent_of
from cryojax_graph.jobs.locate.outputs import OUTPUTS, node_features, write_outputs
from cryojax_graph.jobs.locate.report import locate_report
from cryojax_graph.jobs.locate.search import (
    Located,
    check_settings,
    climb_to_peaks,
    threshold_of,
    walk_to_peaks,
)
from cryojax_graph.jobs.map_noise import noise_of
from cryojax_graph.jobs.map_parts import crop
from cryojax_graph.jobs.map_resolution import working_resolution
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.stored_field import FIELD, accuracy_of, describe_field

# Of the peaks: where no more stand out from noise, the threshold lies in it.
_FEW = 0.5


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
    check_settings(density, config)
    atoms = None if config.model is None else atoms_within(config.model, density)
    inputs = {"map": config.map} | ({"model": config.model} if config.model else {})
    with open_job(config, verb="locate", options=options, inputs=inputs, outputs=OUTPUTS) as job:
        starts = int((density.values > threshold).sum())
        job.log(f"{starts:,} voxels lie above {threshold:.4g}; field: {config.field}")
        resolution = working_resolution(density, config.resolution)
        job.metric("resolution", resolution, "angstrom")
        if config.resolution is None:
            job.log(
                f"Resolution taken for three voxels, {resolution:.2f} Å; --resolution states it"
            )
        part = crop(density, density.values > threshold)
        noise = noise_of(density, threshold)
        fitted = fit_field(density, part, config, accuracy=accuracy_of(density, noise), job=job)
        found = _searched(fitted, part, threshold, solvent_of(density), config, job)
        decoys, of_field = None, noise
        if config.field == "atoms":
            decoys = _decoys(density, part, threshold, config, job)
            of_field = 0.0 if decoys is None else decoys.noise
        if decoys is not None:
            found = _without_false(found, decoys, config, job)
        if of_field == 0:
            kept = "; --false-share leaves no peak out" if config.field == "atoms" else ""
            job.warn(
                "The map is 0 outside its mask, or shows nothing below its solvent: its noise is "
                f"not known, and no peak has a significance{kept}"
            )
        graph = build_density_graph(
            found.peaks.position,
            node_features(found, _significance(found, of_field, config)),
            cutoff=2.0 * resolution,
        )
        scores = None if atoms is None else score_graph(found.peaks.position, atoms)
        if scores is not None:
            note_scores(scores, job)
        edges = len(np.asarray(graph.senders)) // 2
        _note_metrics(found, edges, noise, job)
        job.metric("field_noise", of_field, "map units")
        write_outputs(graph, str(Path(config.map).resolve()), threshold, job)
        with job.output(FIELD, f"the field: {describe_field(fitted.stored)}") as path:
            write_field(path, fitted.stored)
        page = locate_report(density, found, decoys, scores, resolution, fitted.stored, job)
        job.write_text("report.html", page, "this page")
        job.log(f"{len(found.peaks):,} peak{'s' * (len(found.peaks) != 1)}, {edges:,} edges")
    return job.folder


def _searched(
    fitted: Fitted, part: Map, threshold: float, solvent: float, config: LocateConfig, job: Job
) -> Located:
    search = walk_to_peaks if config.field == "paper" else climb_to_peaks
    with job.progress("climbing to the peaks", int((part.values > threshold).sum())) as advance:
        found = search(
            fitted.field,
            part,
            threshold,
            config,
            solvent=solvent,
            advance=advance,
            check_abort=job.check_abort,
        )
    if not len(found.peaks):
        cause = f"of {found.maxima:,} maxima none is above {threshold:.4g} and stands out enough"
        remedy = "lower --threshold or --prominence"
        if isinstance(fitted.stored, StoredNetworks):
            remedy += ", or train the networks longer with --steps"
        raise InputError(config.map, "its values", cause, remedy)
    return found


def _decoys(
    density: Map, part: Map, threshold: float, config: LocateConfig, job: Job
) -> Decoys | None:
    below = int((turned_over(part, solvent_of(density)).values > threshold).sum())
    with job.progress("the same in the map turned upside down", max(below, 1)) as advance:
        return find_decoys(
            density, part, threshold, config, advance=advance, check_abort=job.check_abort
        )


def _without_false(found: Located, decoys: Decoys, config: LocateConfig, job: Job) -> Located:
    kept = without_false(found, decoys, config)
    if not len(kept.peaks):
        cause = (
            f"its {len(found.peaks):,} peaks are no higher than the {len(decoys.height):,} of the "
            "map turned upside down"
        )
        remedy = "turn a map whose molecule is dark; --false-share 1 keeps peaks of noise"
        raise InputError(config.map, "its values", cause, remedy)
    assert kept.false_share is not None
    job.log(
        f"{len(kept.peaks):,} of {len(found.peaks):,} peaks are kept, of which "
        f"{100 * kept.false_share.max():.3g} % at most are expected to be noise: the map turned "
        f"upside down has {int((decoys.height >= kept.peaks.value.min()).sum()):,} as high"
    )
    if len(kept.peaks) < _FEW * len(found.peaks):
        job.warn(
            f"Only {len(kept.peaks):,} of {len(found.peaks):,} peaks stand out from those of the "
            "map turned upside down: it is mostly noise at this threshold"
        )
    return kept


def _significance(found: Located, noise: float, config: LocateConfig) -> Float[np.ndarray, " n"]:
    """In standard deviations of the noise of the field, 0 where that is not known."""
    # Of atoms, the height alone tells: where two have merged, the lower one hardly stands out.
    strength = found.peaks.value if config.field == "atoms" else found.peaks.prominence
    return strength / noise if noise > 0 else np.zeros(len(strength))


def _note_metrics(found: Located, edges: int, noise: float, job: Job) -> None:
    job.metric("threshold", found.threshold, "map units")
    job.metric("noise", noise, "map units")
    if found.false_share is not None:
        job.metric("least_height", float(found.peaks.value.min()), "map units")
        job.metric("false_peaks_percent", 100 * float(found.false_share.max()))
    job.metric("voxels_above", found.starts, "1")
    job.metric("ascents_lost", found.lost, "1")
    job.metric("peaks", len(found.peaks), "1")
    job.metric("edges", edges, "1")
    if found.lost > 0.05 * found.starts:
        job.warn(
            f"{found.lost:,} of {found.starts:,} ascents ended at no peak: the field is flat "
            "there, or the threshold lies in the noise"
        )
