"""``locate`` from file to files."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryojax_graph.graphs import build_density_graph
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import write_field
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.graph_scores import note_scores, score_graph
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.decoys import Decoys, find_decoys, turned_over, without_false
from cryojax_graph.jobs.locate.fitting import Fitted, fit_field
from cryojax_graph.jobs.locate.outputs import OUTPUTS, node_features, write_outputs
from cryojax_graph.jobs.locate.report import locate_report
from cryojax_graph.jobs.locate.search import (
    Located,
    check_settings,
    climb_to_peaks,
    threshold_of,
    walk_to_peaks,
)
from cryojax_graph.jobs.locate.source import read_source
from cryojax_graph.jobs.map_noise import Solvent, solvent_of
from cryojax_graph.jobs.map_parts import crop
from cryojax_graph.jobs.map_resolution import working_resolution
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.stored_field import FIELD, describe_field
from cryojax_graph.jobs.stored_networks import build_networks, voxels_of

# Of the peaks: where no more stand out from noise, the threshold lies in it.
_FEW = 0.5


def locate(config: LocateConfig, *, options: JobOptions) -> Path:
    """Find the peaks of a map and join them to a graph.

    Args:
        config: the map, or what an earlier job stored of it, and how.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or nothing lies above the threshold.
    """
    source = read_source(config)
    inputs = {"map": source.path} | ({"model": Path(config.model)} if config.model else {})
    with open_job(config, verb="locate", options=options, inputs=inputs, outputs=OUTPUTS) as job:
        networks = source.of if isinstance(source.of, StoredNetworks) else None
        density = source.of if isinstance(source.of, Map) else _asked_for(source.of, job)
        threshold = threshold_of(density, config, file=config.map)
        check_settings(density, config)
        starts = int((density.values > threshold).sum())
        job.log(f"{starts:,} voxels lie above {threshold:.4g}; field: {config.field}")
        resolution = working_resolution(density, config.resolution)
        job.metric("resolution", resolution, "angstrom")
        if config.resolution is None:
            job.log(
                f"Resolution taken for three voxels, {resolution:.2f} Å; --resolution states it"
            )
        part = crop(density, density.values > threshold)
        around = _solvent_of(density, networks is not None, job)
        if networks is None:
            fitted = fit_field(density, part, config, around=around, job=job)
        else:
            fitted = Fitted(build_networks(networks), networks)
        if isinstance(fitted.stored, StoredNetworks):
            # What took hours to train can be searched again where this search ends in nothing.
            _write_field(fitted, job)
        found = _searched(fitted, part, threshold, around.level, config, job)
        decoys, of_field = None, around.noise
        if config.field == "atoms":
            decoys = _decoys(density, part, threshold, around.level, config, job)
            of_field = 0.0 if decoys is None else decoys.noise
        if decoys is not None:
            found = _without_false(found, decoys, config, job)
        if of_field == 0:
            _warn_unknown(networks is not None, config, job)
        graph = build_density_graph(
            found.peaks.position,
            node_features(found, _significance(found, of_field, config)),
            cutoff=2.0 * resolution,
        )
        scores = None if source.atoms is None else score_graph(found.peaks.position, source.atoms)
        if scores is not None:
            note_scores(scores, job)
        edges = len(np.asarray(graph.senders)) // 2
        _note_metrics(found, starts, edges, around, job)
        job.metric("field_noise", of_field, "map units")
        write_outputs(graph, source.shown, threshold, around.level, job)
        if not isinstance(fitted.stored, StoredNetworks):
            # Where nothing is lost, a failed search leaves the folder free for other options.
            _write_field(fitted, job)
        page = locate_report(density, found, decoys, scores, resolution, fitted.stored, config, job)
        job.write_text("report.html", page, "this page")
        job.log(f"{len(found.peaks):,} peak{'s' * (len(found.peaks) != 1)}, {edges:,} edges")
    return job.folder


def _write_field(fitted: Fitted, job: Job) -> None:
    with job.output(FIELD, f"the field: {describe_field(fitted.stored)}") as path:
        write_field(path, fitted.stored)


def _asked_for(networks: StoredNetworks, job: Job) -> Map:
    """What networks say of the voxels that they know, which is all that is left of their map."""
    with job.progress("asking the networks", int(np.prod(networks.shape))) as advance:
        return voxels_of(networks, advance=advance, check_abort=job.check_abort)


def _solvent_of(density: Map, of_networks: bool, job: Job) -> Solvent:
    around = solvent_of(density)
    if of_networks:
        # They learn the noise of a map in part only.
        return around._replace(noise=0.0)
    if not around.found:
        job.warn(
            f"No density stands out of what lies around {around.level:.4g}, which was taken for "
            "solvent: where density fills the box, level, noise and false peaks are not those of "
            "solvent; give a map in a larger box"
        )
    return around


def _warn_unknown(of_networks: bool, config: LocateConfig, job: Job) -> None:
    kept = "; --false-share leaves no peak out" if config.field == "atoms" else ""
    cause = (
        "Networks tell nothing of what is below the solvent of their map"
        if of_networks
        else "The map is of one value around its mask, or shows nothing below its solvent"
    )
    job.warn(f"{cause}: its noise is not known, and no peak has a significance{kept}")


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
    if found.at_faces:
        job.log(
            f"{found.at_faces:,} peaks on the faces of the map are left out: density rises there "
            "to where the map ends"
        )
    if not len(found.peaks):
        cause = f"of {found.maxima:,} maxima none is above {threshold:.4g} and stands out enough"
        remedy = "lower --threshold or --prominence"
        if isinstance(fitted.stored, StoredNetworks):
            remedy += (
                f" in a search of the trained networks: cryojax-graph locate {job.folder / FIELD} "
                f"--field {config.field} --threshold … -o ANOTHER_FOLDER; or train longer with "
                "--steps"
            )
        raise InputError(config.map, "its values", cause, remedy)
    return found


def _decoys(
    density: Map, part: Map, threshold: float, solvent: float, config: LocateConfig, job: Job
) -> Decoys | None:
    below = int((turned_over(part, solvent).values > threshold).sum())
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


def _note_metrics(found: Located, voxels: int, edges: int, around: Solvent, job: Job) -> None:
    job.metric("threshold", found.threshold, "map units")
    job.metric("solvent", around.level, "map units")
    job.metric("noise", around.noise, "map units")
    if found.false_share is not None:
        job.metric("least_height", float(found.peaks.value.min()), "map units")
        job.metric("false_peaks_percent", 100 * float(found.false_share.max()))
    job.metric("voxels_above", voxels, "1")
    if found.of_starts == "seeds":
        job.metric("seeds_above", found.starts, "1")
    job.metric("ascents_lost", found.lost, "1")
    job.metric("peaks_at_faces", found.at_faces, "1")
    job.metric("peaks", len(found.peaks), "1")
    job.metric("edges", edges, "1")
    if found.lost > 0.05 * found.starts:
        job.warn(
            f"{found.lost:,} of {found.starts:,} ascents ended at no peak: the field is flat "
            "there, or the threshold lies in the noise"
        )
