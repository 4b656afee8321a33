"""Random conical tilt from end to end: a map of each class of tilt pairs."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.forward.reconstruct import SpectrumSums, shell_weights
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality.assess import resolution_of
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import look_through
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.jobs.reconstruct.artefacts import (
    FILE,
    check_enough,
    find_artefacts,
    write_deviation,
)
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.contrast import DARK, are_dark
from cryojax_graph.jobs.reconstruct.insertion import Source, Views, bytes_of_sums, insert_views
from cryojax_graph.jobs.reconstruct.maps import (
    EDGE,
    added,
    completed,
    confined_map,
    precision_of,
)
from cryojax_graph.jobs.reconstruct.pairs import TiltPairs, read_pairs
from cryojax_graph.jobs.reconstruct.rct_report import ClassMap, curves_text, rct_report
from cryojax_graph.jobs.reconstruct.source import (
    Halves,
    check_apart,
    kept_together,
    note_draw,
    source_of,
)
from cryojax_graph.metrics.missing_cone import measured_correlation
from cryojax_graph.training.splits import half_sets

MAPS = ("half1.mrc", "half2.mrc", "map.mrc")
_THRESHOLD = 0.143


class _Solved(NamedTuple):
    first: Float[np.ndarray, "box box box"]
    second: Float[np.ndarray, "box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]
    both: SpectrumSums
    precision: Float[jax.Array, " shells"]


def rct_reconstruct(config: ReconstructConfig, *, options: JobOptions) -> Path:
    """Reconstruct a map of each class of tilt pairs.

    Args:
        config: of what and how; names the untilted images.
        options: where, and the seed that draws halves where no table names them.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    pairs = read_pairs(config)
    particles = pairs.particles
    check_enough(particles, config.bootstrap)
    halves = _halves(pairs, options.seed, config.halves.by)
    half = halves.number
    classes, left = _usable(pairs, half)
    assert config.tilt_pairs is not None
    files = {"particles": config.particles, "untilted": config.tilt_pairs}
    outputs = _outputs(config, pairs, classes)
    with open_job(
        config, verb="reconstruct", options=options, inputs=files, outputs=outputs
    ) as job:
        job.log(_described(config, pairs))
        job.require_unchanged("images", particles.images.fingerprint())
        if left:
            job.warn(f"Too few pairs for two halves, no map: class {', '.join(map(str, left))}")
        if pairs.unpaired:
            job.log(f"{pairs.unpaired:,} untilted images have no tilted partner")
        note_draw(halves, job)
        look_through(particles.table, particles.images, job)
        source = source_of(particles, config.padding)
        found: list[ClassMap] = []
        for number in classes:
            found.append(_class_map(config, source, pairs, half, number, found, job))
        _write_table(pairs, half, job)
        _measure(pairs, found, job)
        job.write_text("fsc.csv", curves_text(found, particles), "agreement outside the cone")
        page = rct_report(found, pairs, symmetry_rotations(config.symmetry), job)
        job.write_text("report.html", page, "this page")
        job.discard_working()
    return job.folder


def plan_rct(config: ReconstructConfig, *, options: JobOptions) -> Plan:
    """Say what ``reconstruct --tilt-pairs`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.

    Raises:
        InputError: an input cannot be used.
    """
    assert config.tilt_pairs is not None
    pairs = read_pairs(config)
    check_enough(pairs.particles, config.bootstrap)
    classes, _ = _usable(pairs, _halves(pairs, options.seed, config.halves.by).number)
    box, images = pairs.particles.box, len(pairs.tilt)
    voxels, parts = (config.padding * box) ** 3 / 2, config.bootstrap or 0
    sums = bytes_of_sums(box, padding=config.padding)
    outputs = _outputs(config, pairs, classes)
    maps = sum(name.endswith(".mrc") for name in outputs)
    return Plan(
        actions=(
            _described(config, pairs),
            f"make a map of each of {len(classes)} classes, and compare its halves",
        ),
        outputs=outputs,
        seconds=8
        + 6e-8 * images * box**2 * (2 if parts else 1)
        + 3e-7 * voxels * (3 + parts) * len(classes),
        # While maps are solved, or while images are inserted.
        memory_bytes=int(
            5e8
            + (76 if parts else 36) * voxels
            + max(24 * voxels, sums)
            + bytes_of_table(config.particles)
            + bytes_of_table(config.tilt_pairs)
        ),
        disk_bytes=int(5e6 + 4 * maps * box**3 + 300 * images),
    )


def _outputs(config: ReconstructConfig, pairs: TiltPairs, classes: list[int]) -> tuple[str, ...]:
    maps = (*MAPS, *([FILE] if config.bootstrap else []))
    return (
        *(f"class{number}/{name}" for number in classes for name in maps),
        f"particles.{pairs.particles.table.kind}",
        "fsc.csv",
        "report.html",
    )


def _described(config: ReconstructConfig, pairs: TiltPairs) -> str:
    low, high = pairs.tilt.min(), pairs.tilt.max()
    tilt = f"{low:.1f}°" if high - low < 0.05 else f"{low:.1f}° to {high:.1f}°"
    particles = pairs.particles
    return (
        f"random conical tilt: {len(pairs.tilt):,} tilt pairs of {particles.box} px at "
        f"{particles.pixel_size:g} Å, tilted by {tilt}, symmetry {config.symmetry}"
    )


def _halves(pairs: TiltPairs, seed: int, by: str | None) -> Halves:
    """Those of the tables, or drawn in each class."""
    table = pairs.particles.table
    group, reason = kept_together(table, by)
    if table.half_set is not None:
        check_apart(table)
        return Halves(table.half_set, True, group, reason)
    number = pairs.number
    half = np.full(len(table), 2)
    for name in np.unique(number):
        # Tables may mark images without a class by a negative number.
        key = jax.random.fold_in(jax.random.key(seed), int(name) % 2**32)
        first, _ = half_sets(key, np.flatnonzero(number == name), group=group)
        half[first] = 1
    return Halves(half, False, group, reason)


def _usable(pairs: TiltPairs, half: Int[np.ndarray, " n"]) -> tuple[list[int], list[int]]:
    """Classes with images in both halves, the largest first, and the others."""
    number = pairs.number
    names, count = np.unique(number, return_counts=True)
    ordered = [int(name) for name in names[np.argsort(-count, kind="stable")]]
    counted = {
        name: [np.sum(pairs.weight[(number == name) & (half == h)] > 0) for h in (1, 2)]
        for name in ordered
    }
    usable = [name for name in ordered if min(counted[name]) > 0]
    if not usable:
        cause = "no class has images in both halves"
        remedy = "give more pairs, or remove the column of half-sets to draw new ones"
        raise InputError(pairs.particles.table.source, "classes", cause, remedy)
    return usable, sorted(set(ordered) - set(usable))


def _class_map(
    config: ReconstructConfig,
    source: Source,
    pairs: TiltPairs,
    half: Int[np.ndarray, " n"],
    number: int,
    before: list[ClassMap],
    job: Job,
) -> ClassMap:
    """Solve for the maps of one class and write them."""
    rows = np.flatnonzero(pairs.number == number)
    views = _views(pairs, rows)
    # Half of the images or more leave this out.
    cone = 90.0 - float(np.median(pairs.tilt[rows]))
    solved = _solve(config, source, views, half[rows], number, cone, job)
    voxel, folder = source.particles.pixel_size, f"class{number}/"
    # The class with most images decides for all.
    dark = before[0].inverted if before else _is_dark(config, solved.combined, voxel, job)
    sign = np.float32(-1.0 if dark else 1.0)
    described = ("first half, not filtered", "second half, not filtered", "all, Wiener-filtered")
    for name, values, text in zip(MAPS, solved[:3], described, strict=True):
        with job.output(folder + name, f"class {number}: {text}") as path:
            write_map(path, Map(sign * values, np.full(3, voxel), np.zeros(3)))
    deviation = _deviation(config, source, views, solved, number, job)
    middle = len(solved.combined) // 2
    slices = np.stack([sign * solved.combined[middle], sign * solved.combined[:, middle]])
    box_angstrom = len(solved.combined) * voxel
    resolution = resolution_of(solved.fsc, _THRESHOLD, box_angstrom)
    return ClassMap(number, len(rows), cone, solved.fsc, resolution, slices, dark, deviation)


def _views(pairs: TiltPairs, rows: Int[np.ndarray, " n"]) -> Views:
    table = pairs.particles.table
    assert table.euler_degrees is not None
    assert table.shift_angstrom is not None
    rotation = rotation_from_euler(table.euler_degrees[rows])
    return Views(rows, rotation, table.shift_angstrom[rows], pairs.weight[rows])


def _solve(
    config: ReconstructConfig,
    source: Source,
    views: Views,
    half: Int[np.ndarray, " n"],
    number: int,
    cone: float,
    job: Job,
) -> _Solved:
    box = source.particles.box
    operators, radius = symmetry_rotations(config.symmetry), box / 2 - EDGE
    sums, before = [], 0
    with job.progress(f"Class {number}, inserting images", len(half)) as advance:
        for which in (1, 2):
            part = Views(*(values[half == which] for values in views))
            inserted = insert_views(
                source,
                part,
                job=job,
                name=f"class{number}_half{which}_sums",
                advance=lambda done, before=before: advance(before + done),
            )
            before += len(part.image)
            sums.append(completed(inserted, operators))
    first, second = (np.asarray(confined_map(s, box=box, radius=radius)) for s in sums)
    fsc = measured_correlation(first, second, half_angle_degrees=cone)
    both = added(*sums)
    # Weights are means over whole shells, of which the measured part is this share.
    share = np.cos(np.radians(cone))
    weights = shell_weights(both, box=box) / share
    precision = precision_of(weights, jnp.asarray(fsc, jnp.float32), images=2)
    combined = np.asarray(confined_map(both, precision, box=box, radius=radius))
    return _Solved(first, second, combined, fsc, both, precision)


def _is_dark(
    config: ReconstructConfig, combined: Float[np.ndarray, "n n n"], voxel: float, job: Job
) -> bool:
    if config.contrast != "auto":
        return config.contrast == "dark"
    dark = are_dark(combined, voxel)
    if dark:
        job.warn(DARK)
    return dark


def _deviation(
    config: ReconstructConfig,
    source: Source,
    views: Views,
    solved: _Solved,
    number: int,
    job: Job,
) -> float | None:
    """Root mean square of the deviation beside that of the map; None without a bootstrap."""
    if config.bootstrap is None:
        return None
    if len(np.unique(source.particles.table.image_of_row()[views.image])) < config.bootstrap:
        job.warn(f"Class {number} has fewer images than --bootstrap parts: no {FILE}")
        return None
    box = source.particles.box
    artefacts = find_artefacts(
        source,
        views,
        solved.both,
        solved.precision,
        symmetry_rotations(config.symmetry),
        parts=config.bootstrap,
        radius=box / 2 - EDGE,
        job=job,
        name=f"class{number}_bootstrap",
    )
    voxel = source.particles.pixel_size
    write_deviation(artefacts, voxel_size=voxel, job=job, folder=f"class{number}/")
    return float(np.linalg.norm(artefacts.deviation) / np.linalg.norm(solved.combined))


def _write_table(pairs: TiltPairs, half: Int[np.ndarray, " n"], job: Job) -> None:
    table = with_columns(pairs.particles.table, {"half_set": half})
    with job.output(
        f"particles.{table.kind}", "the tilted particles with their poses, classes and halves"
    ) as path:
        write_particles(table, path)


def _measure(pairs: TiltPairs, found: list[ClassMap], job: Job) -> None:
    job.metric("tilt_pairs", len(pairs.tilt), "1")
    job.metric("untilted_without_partner", pairs.unpaired, "1")
    job.metric("classes", len(found), "1")
    job.metric("tilt_median_degrees", float(np.median(pairs.tilt)))
    job.metric("inverted", int(found[0].inverted), "1")
    for each in found:
        name = f"class{each.number}"
        job.metric(f"{name}_images", each.images, "1")
        job.metric(f"{name}_missing_cone_half_angle_degrees", each.cone)
        job.metric(f"{name}_resolution_fsc0143_angstrom", each.resolution)
        if each.deviation is not None:
            job.metric(f"{name}_artefact_percent", 100 * each.deviation)
