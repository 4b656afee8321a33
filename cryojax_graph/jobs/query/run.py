"""``query`` from file to files."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Float32

from cryojax_graph.fields import RECIPES, usual_constants
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import StoredVoxels
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.limits import DEFAULT_LIMITS
from cryojax_graph.io.mrc import Map, read_map, write_map
from cryojax_graph.io.npz import write_npz
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.frames import require_one_frame
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.query.coarser import for_voxels_of, is_coarser
from cryojax_graph.jobs.query.config import QueryConfig
from cryojax_graph.jobs.query.evaluate import Values, at_points, inside, on_grid, sides_inside
from cryojax_graph.jobs.query.points import is_model, read_points
from cryojax_graph.jobs.query.report import map_report, points_report
from cryojax_graph.jobs.stored_field import (
    Grid,
    StoredField,
    build_field,
    describe_field,
    grid_of,
    read_source,
    source_path,
)
from cryojax_graph.jobs.stored_networks import (
    GRADIENT_SECONDS,
    HESSIAN_SECONDS,
    VALUE_SECONDS,
    weights_of,
)

_HEADER = ("x", "y", "z", "density", "gradient_x", "gradient_y", "gradient_z")
_INSIDE = "inside"
_SECOND = ("xx", "xy", "xz", "yy", "yz", "zz")
_UPPER = np.triu_indices(3)
_TABLE, _ARRAYS, _MAP, _PAGE = "values.csv", "values.npz", "map.mrc", "report.html"
# Processor time and bytes per voxel of the fit, and per point.
_FIT_SECONDS, _POINT_SECONDS = 1.5e-5, 1e-5
_FIT_BYTES, _POINT_BYTES = 250, 200
# Fewer larger voxels along an edge show nothing.
_FEWEST = 8
_NETWORK_BYTES = 1.5e9


def query(config: QueryConfig, *, options: JobOptions) -> Path:
    """Ask a field for its values at points, or on a grid.

    Args:
        config: what field, and where.
        options: of the job.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used.
    """
    stored, path = read_source(config.source, recipe=config.field), source_path(config.source)
    inputs: dict[str, str | Path] = {"source": path}
    if config.points is not None:
        points = _points(stored, config.points)
        inputs["points"] = config.points
        outputs = (_TABLE, _ARRAYS, _PAGE)
        with open_job(config, verb="query", options=options, inputs=inputs, outputs=outputs) as job:
            job.log(f"{len(points):,} points; field: {describe_field(stored)}")
            _at_points(stored, points, config.hessian, job)
        return job.folder
    grid = _wanted_grid(stored, config)
    if config.like is not None:
        inputs["like"] = config.like
    with open_job(
        config, verb="query", options=options, inputs=inputs, outputs=(_MAP, _PAGE)
    ) as job:
        _on_grid(stored, grid, job)
    return job.folder


def plan_query(config: QueryConfig, *, options: JobOptions) -> Plan:
    """Say what ``query`` would do.

    Args:
        config: what field, and where.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file cannot be used.
    """
    stored = read_source(config.source, recipe=config.field)
    if config.points is not None:
        count = len(_points(stored, config.points))
        asked, outputs = f"{count:,} points", (_TABLE, _ARRAYS)
        disk = count * (150 + 100 * config.hessian)
    else:
        grid = _wanted_grid(stored, config)
        count = int(np.prod(grid.shape))
        asked, outputs = f"a map of {_extent(grid.shape)} voxels", (_MAP,)
        disk = 4 * count
    if isinstance(stored, StoredNetworks):
        begin, fit_seconds, fit_bytes = "take", 0.0, _NETWORK_BYTES
        ask = GRADIENT_SECONDS if config.points else VALUE_SECONDS
        seconds = weights_of(stored) * (HESSIAN_SECONDS if config.hessian else ask)
    else:
        voxels = int(np.prod(grid_of(stored).shape))
        begin = f"fit to at most {voxels:,} voxels"
        fit_seconds, fit_bytes, seconds = voxels * _FIT_SECONDS, voxels * _FIT_BYTES, _POINT_SECONDS
    return Plan(
        actions=(f"{begin} a field ({describe_field(stored)})", f"ask for {asked}"),
        outputs=(*outputs, "metrics.json", _PAGE),
        seconds=10.0 + fit_seconds + count * seconds,
        memory_bytes=int(6e8 + fit_bytes + count * _POINT_BYTES),
        disk_bytes=int(5e6 + disk),
    )


def _points(stored: StoredField, path: str) -> Float[np.ndarray, "n 3"]:
    points = read_points(path)
    # Of networks the part alone is known, and a model of the map may lie around it.
    if is_model(path) and not isinstance(stored, StoredNetworks):
        require_one_frame(~inside(points, grid_of(stored)), path)
    return points


def _wanted_grid(stored: StoredField, config: QueryConfig) -> Grid:
    own = grid_of(stored)
    if config.like is not None:
        other = read_map(config.like)
        return Grid(other.values.shape, other.voxel_size, other.origin)
    if config.voxel is None:
        return own
    edges = (np.array(own.shape) - 1) * own.voxel_size[::-1]
    # A whole number of voxels must not fall short by rounding.
    shape = tuple((np.floor(edges / config.voxel + 1e-6).astype(np.int64) + 1).tolist())
    if 4 * np.prod(np.array(shape, float)) > DEFAULT_LIMITS.map_bytes:
        cause = f"{config.voxel} Å makes a map of {_extent(shape)} voxels"
        raise InputError("command line", "--voxel", cause, "choose larger voxels")
    few = min(shape) < min(_FEWEST, *own.shape)
    if few and is_coarser(np.full(3, config.voxel), own.voxel_size):
        cause = f"{config.voxel:g} Å leaves a map of {_extent(shape)} voxels"
        remedy = f"choose smaller voxels, so that {_FEWEST} are left along each edge"
        raise InputError("command line", "--voxel", cause, remedy)
    return Grid(shape, np.full(3, config.voxel), own.origin)


def _at_points(
    stored: StoredField, points: Float[np.ndarray, "n 3"], hessian: bool, job: Job
) -> None:
    within = inside(points, grid_of(stored))
    outside = int((~within).sum())
    if outside:
        job.warn(
            f"{outside:,} of {len(points):,} points lie outside of {_known(stored)}: their density "
            f"is written as 0 and column {_INSIDE} says 0; they may be of another frame"
        )
    field = build_field(stored, near=points[within]) if within.any() else None
    began = time.monotonic()
    with job.progress("asking the field", len(points)) as advance:
        parts = at_points(
            field, points, within, hessian=hessian, advance=advance, check_abort=job.check_abort
        )
        with job.output(_TABLE, "values at the points") as path:
            values = _written(parts, points, within, hessian, path)
    job.metric("query_seconds", time.monotonic() - began)
    job.metric("points", len(points), "1")
    job.metric("points_outside", outside, "1")
    with job.output(_ARRAYS, "the same as arrays") as path:
        arrays = {
            "position": points,
            "density": values.density,
            "gradient": values.gradient,
            _INSIDE: within,
        }
        if values.hessian is not None:
            arrays["hessian"] = values.hessian
        write_npz(path, arrays, compress=False)
    job.write_text(_PAGE, points_report(stored, values, outside, job), "this page")


def _written(
    parts: Iterator[Values],
    points: Float[np.ndarray, "n 3"],
    within: Bool[np.ndarray, " n"],
    hessian: bool,
    path: Path,
) -> Values:
    """Write each part as soon as it is there, and give back all."""
    names = [*_HEADER, *(f"hessian_{axes}" for axes in _SECOND if hessian), _INSIDE]
    line = ",".join(["%.10g"] * 3 + ["%.7g"] * (len(names) - 4) + ["%d"]) + "\n"
    kept: list[Values] = []
    done = 0
    with path.open("w", encoding="utf-8") as file:
        file.write(",".join(names) + "\n")
        for part in parts:
            rows_here = slice(done, done + len(part.density))
            columns = [points[rows_here], part.density[:, None], part.gradient]
            if part.hessian is not None:
                columns.append(part.hessian[:, *_UPPER])
            columns.append(within[rows_here, None])
            rows = np.concatenate(columns, axis=1)
            file.write((line * len(rows)) % tuple(rows.ravel().tolist()))
            kept.append(part)
            done += len(rows)
    density, gradient, bend = zip(*kept, strict=True)
    return Values(
        np.concatenate(density), np.concatenate(gradient), np.concatenate(bend) if hessian else None
    )


def _on_grid(stored: StoredField, grid: Grid, job: Job) -> None:
    same = grid.same_as(grid_of(stored))
    if same and isinstance(stored, StoredVoxels) and RECIPES[stored.recipe].exact:
        job.log(f"The grid is that of the source: its own voxels, within {stored.accuracy:.3g}")
        values = stored.density.values
    else:
        values = _resampled(stored, grid, job)
    with job.output(_MAP, "the map") as path:
        write_map(path, Map(values, grid.voxel_size, grid.origin))
    job.metric("voxels", values.size, "1")
    job.write_text(_PAGE, map_report(stored, values, grid, job), "this page")


def _resampled(stored: StoredField, grid: Grid, job: Job) -> Float32[np.ndarray, "z y x"]:
    job.log(f"A map of {_extent(grid.shape)} voxels; field: {describe_field(stored)}")
    total = int(np.prod(grid.shape))
    outside = total - int(np.prod([side.sum() for side in sides_inside(grid, grid_of(stored))]))
    if outside:
        job.warn(
            f"{outside:,} of {total:,} voxels lie outside of the source, where density is taken "
            "as 0"
        )
    job.metric("voxels_outside", outside, "1")
    began = time.monotonic()
    if is_coarser(grid.voxel_size, grid_of(stored).voxel_size):
        finest = 2.0 * float(grid.voxel_size.max())
        job.log(f"Voxels are larger than those of the source: details below {finest:.3g} Å go")
        stored = _for_larger_voxels(stored, grid, job)
    with job.progress("asking the field, sections", grid.shape[0]) as advance:
        values = on_grid(stored, grid, advance=advance, check_abort=job.check_abort)
    job.metric("query_seconds", time.monotonic() - began)
    return values


def _for_larger_voxels(stored: StoredField, grid: Grid, job: Job) -> StoredVoxels:
    if isinstance(stored, StoredNetworks) or not RECIPES[stored.recipe].exact:
        own = grid_of(stored)
        values = on_grid(stored, own, check_abort=job.check_abort)
        density = Map(values, own.voxel_size, own.origin)
        stored = StoredVoxels(density, "spline", usual_constants("spline"))
    return replace(stored, density=for_voxels_of(stored.density, grid.voxel_size))


def _known(stored: StoredField) -> str:
    if not isinstance(stored, StoredNetworks):
        return "the map"
    place = ", ".join(f"{c:.4g}" for c in stored.origin)
    return (
        f"the part of the map that the networks were trained on ({_extent(stored.shape)} voxels "
        f"from x, y, z = {place} Å)"
    )


def _extent(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape[::-1])
