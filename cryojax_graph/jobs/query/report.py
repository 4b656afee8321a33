"""The page of ``query``."""

import numpy as np
from jaxtyping import Float32

from cryojax_graph.jobs.figures import Axis, heat_map_figure, histogram_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.query.evaluate import Values
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph
from cryojax_graph.jobs.stored_field import (
    Grid,
    StoredField,
    StoredVoxels,
    describe_field,
    grid_of,
)

# More pixels than a page needs.
_PIXELS = 400


def points_report(stored: StoredField, values: Values, outside: int, job: Job) -> str:
    """Draw the page of points.

    Args:
        stored: what was asked.
        values: at the points.
        outside: points outside of the box.
        job: at work.

    Returns:
        HTML.
    """
    steepness = np.linalg.norm(values.gradient, axis=1)
    figures = (
        histogram_figure({"density": values.density}, Axis("density, map units")),
        histogram_figure({"gradient": steepness}, Axis("length of the gradient, map units per Å")),
    )
    count = len(values.density)
    return job_page(
        job.manifest,
        title="A field at points",
        summary=f"{count:,} points, {outside:,} of them outside of the box. "
        f"Field: {describe_field(stored)}.",
        sections=[Section("Values", figures)],
        highlights=[
            Highlight(f"{count:,}", "points"),
            Highlight(f"{values.density.mean():.4g}", "mean density"),
        ],
    )


def map_report(
    stored: StoredField, values: Float32[np.ndarray, "z y x"], grid: Grid, job: Job
) -> str:
    """Draw the page of a map.

    Args:
        stored: what was asked.
        values: density on the grid.
        grid: of the map.
        job: at work.

    Returns:
        HTML.
    """
    figures = [_section(values, grid, "density")]
    if isinstance(stored, StoredVoxels) and grid.same_as(grid_of(stored)):
        left = stored.density.values - values
        if left.any():
            figures += [
                paragraph("What of the source is not in it; it should look like noise."),
                _section(left, grid, "difference"),
            ]
    extent = " × ".join(str(n) for n in values.shape[::-1])
    return job_page(
        job.manifest,
        title="A map of a field",
        summary=f"{extent} voxels. Field: {describe_field(stored)}.",
        sections=[Section("The middle section", (paragraph("As in map.mrc."), *figures))],
        highlights=[Highlight(extent, "voxels")],
    )


def _section(values: Float32[np.ndarray, "z y x"], grid: Grid, title: str) -> str:
    middle = len(values) // 2
    every = max(1, -(-max(values.shape[1:]) // _PIXELS))
    shown = values[middle, ::every, ::every]
    first = grid.origin
    last = first[:2] + grid.voxel_size[:2] * every * (np.array(shown.shape)[::-1] - 1)
    height = grid.origin[2] + middle * grid.voxel_size[2]
    return heat_map_figure(
        shown,
        Axis("x, Å"),
        Axis("y, Å"),
        extent=(first[0], last[0], first[1], last[1]),
        value_title=title,
        caption=f"Section at z = {height:.1f} Å.",
        equal_scale=True,
    )
