"""Pictures of what a file holds, for the page of ``check``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from cryojax_graph.io.images import open_images
from cryojax_graph.io.mrc import read_map
from cryojax_graph.io.passthrough import read_completed
from cryojax_graph.io.sequences import read_sequences
from cryojax_graph.io.stacks import open_stack
from cryojax_graph.io.trajectories import read_trajectory
from cryojax_graph.jobs.check.findings import Finding
from cryojax_graph.jobs.figures import (
    Axis,
    backbone_figure,
    histogram_figure,
    scatter_figure,
)
from cryojax_graph.jobs.thumbnails import image_grid

_IMAGES, _FRAMES = 14, 25
# A page shows no more points than this.
_POINTS = 20_000


def pictures(finding: Finding, *, image_root: str | None) -> list[str]:
    """Figures of a usable file.

    Args:
        finding: of the file.
        image_root: folder under which the image names of a table are looked up first.

    Returns:
        HTML, one piece for each figure.

    Raises:
        InputError: the file cannot be read any more.
    """
    draw: dict[str, Callable[[str], list[str]]] = {
        "density map": _map,
        "stack of images": _stack,
        "atomic model": _model,
        "trajectory": _model,
        "sequences": _sequences,
        "arrays": lambda path: [],
    }
    if finding.kind in draw:
        return draw[finding.kind](finding.path)
    return _particles(finding.path, image_root)


def _map(path: str) -> list[str]:
    values = read_map(path).values
    z, y, x = (extent // 2 for extent in values.shape)
    flat = {
        "slice across z": values[z],
        "slice across y": values[:, y],
        "slice across x": values[:, :, x],
        **{f"sum along {axis}": values.sum(axis=i) for i, axis in enumerate("zyx")},
    }
    grid = image_grid(
        np.stack([_squared(image, max(values.shape)) for image in flat.values()]),
        captions=list(flat),
        width=150,
    )
    caption = "Voxels that are not exactly zero."
    density = values[values != 0]
    return [grid, histogram_figure({"voxels": density}, Axis("density"), bins=100, caption=caption)]


def _squared(image: Float32[np.ndarray, "y x"], edge: int) -> Float32[np.ndarray, "edge edge"]:
    """The image in the middle of a square as dark as its darkest pixel."""
    before = [(edge - extent) // 2 for extent in image.shape]
    margins = [(b, edge - extent - b) for b, extent in zip(before, image.shape, strict=True)]
    return np.pad(image, margins, constant_values=image.min())


def _stack(path: str) -> list[str]:
    stack = open_stack(path)
    chosen = np.unique(np.linspace(0, len(stack) - 1, _IMAGES).astype(int))
    return [image_grid(stack.read(chosen), captions=[f"image {i + 1}" for i in chosen])]


def _particles(path: str, image_root: str | None) -> list[str]:
    table = read_completed(path, "poses", "ctf").table
    images = open_images(table, image_root=image_root)
    chosen = np.unique(np.linspace(0, len(table) - 1, _IMAGES).astype(int))
    figures = [image_grid(images.read(chosen), captions=[f"row {i + 1}" for i in chosen])]
    if table.defocus_u is not None and table.defocus_v is not None:
        defocus = 0.5e-4 * (table.defocus_u + table.defocus_v)
        figures.append(histogram_figure({"particles": defocus}, Axis("mean defocus, µm")))
    if table.euler_degrees is not None:
        rows = np.unique(np.linspace(0, len(table) - 1, _POINTS).astype(int))
        rot, tilt, _ = table.euler_degrees[rows].T
        figures.append(
            scatter_figure(
                (rot + 180.0) % 360.0 - 180.0,
                np.cos(np.deg2rad(tilt)),
                Axis("rot, degrees"),
                Axis("cosine of tilt"),
                caption="Viewing directions; an even spread is uniform.",
            )
        )
    return figures


def _model(path: str) -> list[str]:
    trajectory = read_trajectory(path)
    atoms = trajectory.atoms
    alpha = np.flatnonzero((atoms.name == "CA") & (atoms.element == "C"))
    if len(alpha) < 2:
        return []
    frames = np.unique(np.linspace(0, len(trajectory) - 1, _FRAMES).round().astype(int))
    chains, index = np.unique(atoms.chain[alpha], return_inverse=True)
    return [
        backbone_figure(
            trajectory.positions[frames][:, alpha],
            index.reshape(-1),
            frame_labels=[f"model {frame + 1}" for frame in frames],
            chain_names=[f"chain {name}" for name in chains.tolist()],
            caption=f"C-alpha atoms of {Path(path).name}.",
        )
    ]


def _sequences(path: str) -> list[str]:
    lengths = np.array([len(record.letters) for record in read_sequences(path, kind="any")], float)
    return [histogram_figure({"sequences": lengths}, Axis("letters"), bins=40)] * (len(lengths) > 1)
