"""Files that ChimeraX opens: command scripts, residue attributes, and graphs as shapes."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.io.errors import InputError, quote

Color = tuple[float, float, float]


def write_cxc(
    path: str | Path,
    *,
    models: Sequence[str] = (),
    maps: Mapping[str, float] | None = None,
    commands: Sequence[str] = (),
) -> None:
    """Write a ChimeraX script that opens files and then runs commands.

    Models are numbered from 1 in the order given, maps follow.

    Args:
        path: script to write, ``.cxc``.
        models: names of model and shape files, relative to the script.
        maps: contour level of each map file by its name.
        commands: ChimeraX commands to run after opening.

    Raises:
        InputError: a name or command cannot stand in a script, or the disk refuses.
    """
    lines = [f"open {_file_name(name, path)}" for name in models]
    for number, (name, level) in enumerate((maps or {}).items(), len(models) + 1):
        lines += [
            f"open {_file_name(name, path)}",
            f"volume #{number} level {level:.6g} style surface transparency 0.5",
        ]
    for command in commands:
        if not command.isprintable():
            cause = f"{quote(command)} is not one line"
            raise InputError(path, "writing it", cause, "give each command by itself")
        lines.append(command)
    lines.append("view")
    write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8"))


def _file_name(name: str, path: str | Path) -> str:
    # ChimeraX has no escape for a quote inside quotes, and ; would begin another command.
    if not name.isprintable() or '"' in name:
        cause = f"the file name {quote(name)} cannot stand in a ChimeraX script"
        raise InputError(path, "writing it", cause, "rename the file")
    return f'"{name}"'


def write_defattr(
    path: str | Path, attribute: str, values: Mapping[str, float], *, recipient: str = "residues"
) -> None:
    """Write an attribute file, e.g. the uncertainty of every residue.

    Args:
        path: file to write, ``.defattr``.
        attribute: name of the attribute: a letter, then letters, digits and underscores.
        values: value by atom specifier, e.g. ``/A:25``; values that are not finite are left out.
        recipient: ``residues`` or ``atoms``.

    Raises:
        InputError: the name is no attribute name, or the disk refuses.
    """
    if not attribute.isidentifier() or not attribute.isascii() or attribute.startswith("_"):
        cause = f"{quote(attribute)} is no attribute name"
        raise InputError(path, "writing it", cause, "use letters, digits and underscores")
    lines = [f"attribute: {attribute}", "match mode: any", f"recipient: {recipient}"]
    lines += [f"\t{spec}\t{value:.6g}" for spec, value in values.items() if np.isfinite(value)]
    write_atomically(path, ("\n".join(lines) + "\n").encode("utf-8"))


def write_bild(
    path: str | Path,
    nodes: Float[np.ndarray, "n 3"],
    edges: Int[np.ndarray, "e 2"],
    *,
    node_radius: float = 0.5,
    edge_radius: float = 0.15,
    node_color: Color = (0.2, 0.4, 0.8),
    edge_colors: Mapping[str, Color] | None = None,
    edge_kinds: Sequence[str] = (),
) -> None:
    """Write a graph as spheres and cylinders.

    Args:
        path: file to write, ``.bild``.
        nodes: positions x, y, z in Å.
        edges: pairs of node numbers from 0; an edge between two nodes in one place is left out.
        node_radius: Å.
        edge_radius: Å.
        node_color: red, green, blue between 0 and 1.
        edge_colors: colour of each kind of edge; grey where none is given.
        edge_kinds: kind of each edge.

    Raises:
        InputError: the disk refuses.
    """
    lines = [f".color {_color(node_color)}"]
    lines += [f".sphere {_point(node)} {node_radius:g}" for node in nodes]
    kinds = edge_kinds or [""] * len(edges)
    for kind in dict.fromkeys(kinds):
        lines.append(f".color {_color((edge_colors or {}).get(kind, (0.5, 0.5, 0.5)))}")
        for (first, second), of_kind in zip(edges.tolist(), kinds, strict=True):
            # ChimeraX refuses a cylinder without length.
            if of_kind == kind and not np.allclose(nodes[first], nodes[second], atol=1e-3):
                ends = f"{_point(nodes[first])} {_point(nodes[second])}"
                lines.append(f".cylinder {ends} {edge_radius:g}")
    write_atomically(path, ("\n".join(lines) + "\n").encode("ascii"))


def write_views_bild(
    path: str | Path,
    directions: Float[np.ndarray, "n 3"],
    counts: Int[np.ndarray, " n"],
    *,
    centre: Float[np.ndarray, "3"],
    radius: float,
) -> None:
    """Write how often a particle was seen from each direction, as rods around it.

    Args:
        path: file to write, ``.bild``.
        directions: unit vectors in the frame of the map.
        counts: views along each; none of where there are none.
        centre: of the particle, x, y, z in Å.
        radius: of the sphere on which the rods stand, Å; the longest are a third of it.

    Raises:
        InputError: the disk refuses.
    """
    most = max(int(counts.max(initial=0)), 1)
    width = radius * np.sqrt(np.pi / max(len(directions), 1))
    lines = []
    for direction, count in zip(directions, counts.tolist(), strict=True):
        if count:
            share = count / most
            foot, top = (centre + direction * radius * r for r in (1.0, 1.0 + share / 3))
            # From blue, seldom, to red, often.
            lines.append(f".color {_color((share, 0.0, 1.0 - share))}")
            lines.append(f".cylinder {_point(foot)} {_point(top)} {0.7 * width:.3f}")
    write_atomically(path, ("\n".join(lines) + "\n").encode("ascii"))


def _color(color: Color) -> str:
    return " ".join(f"{channel:g}" for channel in color)


def _point(point: Float[np.ndarray, "3"]) -> str:
    x, y, z = point.tolist()
    return f"{x:.3f} {y:.3f} {z:.3f}"
