"""Figures of a report: data in, HTML out; drawn by Plotly in the reader's browser.

Arrays travel as base64 of float32, so a figure of 100,000 points costs about 1 MB.
"""

import base64
import html
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Num

Number = float | int

_MANY_POINTS = 3000
_LEAST_MOTION = 1.0
_DIVERGING = ((0, "#2b59c3"), (0.5, "#ffffff"), (1, "#c8423f"))


class Curve(NamedTuple):
    """A line in a figure.

    Attributes:
        name: for the legend.
        x: positions.
        y: values; gaps where not finite.
        band: lower and upper bound, drawn as a shaded area.
        dashed: draw the line dashed.
    """

    name: str
    x: Num[np.ndarray, " n"]
    y: Num[np.ndarray, " n"]
    band: tuple[Num[np.ndarray, " n"], Num[np.ndarray, " n"]] | None = None
    dashed: bool = False


class Axis(NamedTuple):
    """What an axis shows.

    Attributes:
        title: with the unit.
        log: logarithmic.
        range: ends of the axis; all data when not given.
    """

    title: str
    log: bool = False
    range: tuple[Number, Number] | None = None


def curves_figure(
    curves: Sequence[Curve],
    x: Axis,
    y: Axis,
    *,
    caption: str = "",
    levels: Mapping[str, Number] | None = None,
) -> str:
    """Lines over one pair of axes: losses, Fourier shell correlation, calibration.

    Args:
        curves: in the order of the legend.
        x: horizontal axis.
        y: vertical axis.
        caption: what the reader should see in it.
        levels: dotted horizontal lines by label, such as FSC thresholds.

    Returns:
        HTML.
    """
    traces = []
    for number, curve in enumerate(curves):
        colour = {"color": f"colour{number}"}
        if curve.band is not None:
            edge = {"mode": "lines", "line": {"width": 0}, "hoverinfo": "skip", "showlegend": False}
            lower, upper = curve.band
            traces.append({"x": _typed(curve.x), "y": _typed(lower), **edge})
            fill = {"fill": "tonexty", "fillcolor": f"faint{number}"}
            traces.append({"x": _typed(curve.x), "y": _typed(upper), **edge, **fill})
        dash = {"dash": "dash"} if curve.dashed else {}
        traces.append(
            {
                "name": curve.name,
                "x": _typed(curve.x),
                "y": _typed(curve.y),
                "mode": "lines",
                "line": {**colour, **dash},
            }
        )
    layout = {"xaxis": _axis(x), "yaxis": _axis(y), **_levels(levels or {}, "h", y.log)}
    return _figure(traces, layout, caption)


def histogram_figure(
    groups: Mapping[str, Num[np.ndarray, " n"]],
    x: Axis,
    *,
    bins: int = 60,
    caption: str = "",
    marks: Mapping[str, Number] | None = None,
) -> str:
    """Histograms on common bins, one over the other.

    Args:
        groups: values by name; those that are not finite are left out and counted in the name.
        x: axis of the values.
        bins: number of bins over the range of all values.
        caption: what the reader should see in it.
        marks: dotted vertical lines by label, such as a mean or a baseline.

    Returns:
        HTML.
    """
    finite = {name: values[np.isfinite(values)] for name, values in groups.items()}
    everything = np.concatenate([*finite.values(), list((marks or {}).values())])
    edges = np.histogram_bin_edges(everything, bins)
    traces = []
    for number, (name, values) in enumerate(finite.items()):
        missing = len(groups[name]) - len(values)
        traces.append(
            {
                "type": "bar",
                "name": f"{name} ({missing} not finite)" if missing else name,
                "x": _typed(0.5 * (edges[1:] + edges[:-1])),
                "y": _typed(np.histogram(values, edges)[0]),
                "width": float(edges[1] - edges[0]),
                "marker": {"color": f"colour{number}", "line": {"width": 0}},
                "opacity": 0.75 if len(groups) > 1 else 1.0,
            }
        )
    layout = {
        "xaxis": _axis(x),
        "yaxis": _axis(Axis("count")),
        "barmode": "overlay",
        "bargap": 0,
        **_levels(marks or {}, "v", x.log),
    }
    return _figure(traces, layout, caption)


def scatter_figure(
    x_values: Num[np.ndarray, " n"],
    y_values: Num[np.ndarray, " n"],
    x: Axis,
    y: Axis,
    *,
    colour: Num[np.ndarray, " n"] | None = None,
    colour_title: str = "",
    labels: Sequence[str] | None = None,
    caption: str = "",
    equal_scale: bool = False,
) -> str:
    """Points, coloured by a value.

    Args:
        x_values: horizontal positions.
        y_values: vertical positions.
        x: horizontal axis.
        y: vertical axis.
        colour: value of each point.
        colour_title: name and unit of that value.
        labels: shown when the pointer is over a point.
        caption: what the reader should see in it.
        equal_scale: one unit is as long on both axes.

    Returns:
        HTML.
    """
    many = len(x_values) > _MANY_POINTS
    marker: dict[str, Any] = {"size": 3 if many else 6, "opacity": 0.6 if many else 0.85}
    if colour is not None:
        marker |= {"color": _typed(colour), "colorscale": "Viridis"}
        marker["colorbar"] = _colour_bar(colour_title)
    trace = {
        "type": "scattergl" if many else "scatter",
        "mode": "markers",
        "x": _typed(x_values),
        "y": _typed(y_values),
        "marker": marker,
    }
    if labels is not None:
        trace |= {"text": list(labels), "hovertemplate": "%{text}<extra></extra>"}
    # The axes end where the values do, and not where the figure does.
    fit = {"constrain": "domain"} if equal_scale else {}
    scale = {"scaleanchor": "x", "scaleratio": 1} | fit if equal_scale else {}
    return _figure([trace], {"xaxis": _axis(x) | fit, "yaxis": _axis(y) | scale}, caption)


def heat_map_figure(
    values: Num[np.ndarray, "rows columns"],
    x: Axis,
    y: Axis,
    *,
    extent: tuple[Number, Number, Number, Number] | None = None,
    value_title: str = "",
    value_range: tuple[Number, Number] | None = None,
    symmetric: bool = False,
    caption: str = "",
    equal_scale: bool = False,
) -> str:
    """A matrix as colours.

    Args:
        values: row 0 is at the bottom.
        x: horizontal axis, along columns.
        y: vertical axis, along rows.
        extent: x and y of the centres of the first and the last column and row (x0, x1, y0, y1);
            indices when not given.
        value_title: name and unit of the values.
        value_range: ends of the scale of colours; those of the values when not given.
        symmetric: colours diverge from 0, for correlations and differences.
        caption: what the reader should see in it.
        equal_scale: one unit is as long on both axes.

    Returns:
        HTML.
    """
    rows, columns = values.shape
    x0, x1, y0, y1 = extent or (0, columns - 1, 0, rows - 1)
    trace = {
        "type": "heatmap",
        "z": _typed(values),
        "x": _typed(np.linspace(x0, x1, columns)),
        "y": _typed(np.linspace(y0, y1, rows)),
        "colorscale": _DIVERGING if symmetric else "Viridis",
        "colorbar": {"title": {"text": value_title, "side": "right"}, "outlinewidth": 0},
    }
    if symmetric:
        trace["zmid"] = 0
    if value_range is not None:
        trace["zmin"], trace["zmax"] = (float(end) for end in value_range)
    # The axes end where the values do, and not where the figure does.
    fit = {"constrain": "domain"} if equal_scale else {}
    scale = {"scaleanchor": "x", "scaleratio": 1} | fit if equal_scale else {}
    return _figure([trace], {"xaxis": _axis(x) | fit, "yaxis": _axis(y) | scale}, caption)


def sphere_figure(
    directions: Num[np.ndarray, "n 3"],
    values: Num[np.ndarray, " n"],
    *,
    value_title: str = "",
    value_range: tuple[Number, Number] | None = None,
    caption: str = "",
) -> str:
    """Directions on the whole sphere, coloured by a value, in Mollweide's map of equal areas.

    Args:
        directions: unit vectors; +z is at the top, +x in the middle.
        values: of each direction.
        value_title: name and unit of the values.
        value_range: ends of the scale of colours; those of the values when not given.
        caption: what the reader should see in it.

    Returns:
        HTML; the graticule has a line every 30° from the top and every 60° around.
    """
    x, y = _mollweide(np.arctan2(directions[:, 1], directions[:, 0]), directions[:, 2])
    along = np.linspace(-1.0, 1.0, 61)
    lines = [
        *(_mollweide(np.pi * along, np.full(61, h)) for h in np.sin(np.pi * np.arange(-2, 3) / 6)),
        *(_mollweide(np.full(61, t), np.sin(np.pi * along / 2)) for t in np.pi * along[::10]),
    ]
    gap = np.full((2, 1), np.nan)
    places = np.hstack([part for line in lines for part in (np.stack(line), gap)])
    grid = {
        "x": _typed(places[0]),
        "y": _typed(places[1]),
        "mode": "lines",
        "line": {"color": "#c9ced6", "width": 1},
        "hoverinfo": "skip",
        "showlegend": False,
    }
    many = len(x) > _MANY_POINTS
    low, high = value_range or (float(values.min()), float(values.max()))
    points = {
        "type": "scattergl" if many else "scatter",
        "mode": "markers",
        "x": _typed(x),
        "y": _typed(y),
        "marker": {
            "size": 3 if many else 6,
            "opacity": 0.7 if many else 0.85,
            "color": _typed(values),
            "colorscale": "Viridis",
            "cmin": low,
            "cmax": high,
            "colorbar": _colour_bar(value_title),
        },
        "hovertemplate": "%{marker.color:.3g}<extra></extra>",
        "showlegend": False,
    }
    layout = {
        "xaxis": {"visible": False, "range": [-1.02, 1.02]},
        "yaxis": {"visible": False, "range": [-0.51, 0.51], "scaleanchor": "x"},
    }
    return _figure([grid, points], layout, caption)


def _mollweide(
    turn: Num[np.ndarray, " n"], height: Num[np.ndarray, " n"]
) -> tuple[Num[np.ndarray, " n"], Num[np.ndarray, " n"]]:
    """Place on a map 2 wide and 1 high of longitude (radians) and sine of latitude."""
    # 2 a + sin 2 a = π sin(latitude) has no closed form for the auxiliary angle a.
    auxiliary = np.linspace(-np.pi / 2, np.pi / 2, 2001)
    angle = np.interp(height, (2 * auxiliary + np.sin(2 * auxiliary)) / np.pi, auxiliary)
    return turn / np.pi * np.cos(angle), np.sin(angle) / 2


def backbone_figure(
    frames: Num[np.ndarray, "frames n 3"],
    chains: Int[np.ndarray, " n"],
    *,
    frame_labels: Sequence[str] | None = None,
    values: Num[np.ndarray, " n"] | None = None,
    value_title: str = "",
    value_range: tuple[Number, Number] | None = None,
    chain_names: Sequence[str] | None = None,
    caption: str = "",
) -> str:
    """A moving backbone in three dimensions, with a slider and a play button.

    Each unbroken stretch is a smooth tube through its C-alpha atoms; the first frame stays behind
    as a thin grey line. Bonds longer than 5.5 Å in the first frame are gaps.

    Args:
        frames: C-alpha coordinates, Å.
        chains: number of the chain of each residue, from 0, in the order of the residues.
        frame_labels: of each frame.
        values: of each residue, shown as colours; without them chains have a colour each, and a
            single chain runs from blue at its start to red at its end.
        value_title: name and unit of the values.
        value_range: ends of the scale of colours; those of the values when not given.
        chain_names: for the legend.
        caption: what the reader should see in it.

    Returns:
        HTML.
    """
    count = int(chains.max()) + 1
    bond = np.linalg.norm(np.diff(frames[0], axis=0), axis=-1)
    starts = np.flatnonzero((np.diff(chains) != 0) | (bond > 5.5)) + 1
    if values is None and count == 1:
        values, value_title = np.arange(len(chains), dtype=np.float32), "residue"
    spec = {
        "frames": _typed(frames.reshape(-1)),
        "frame_count": len(frames),
        "stretches": [0, *starts.tolist(), len(chains)],
        "chains": chains.tolist(),
        "chain_names": list(chain_names or (f"chain {number + 1}" for number in range(count))),
        "labels": list(frame_labels or (f"{i + 1} of {len(frames)}" for i in range(len(frames)))),
        "values": None if values is None else _typed(values),
        "value_title": value_title,
        "value_range": None if value_range is None else [float(end) for end in value_range],
    }
    return (
        f'<figure><div class="backbone"><div class="scene"></div><div class="controls">'
        f'<button type="button" aria-label="play">▶</button><input type="range" min="0" '
        f'max="{len(frames) - 1}" value="0" aria-label="frame"><output></output></div>'
        f"{_json_script(spec)}</div>{caption_below(caption)}</figure>"
    )


def motion_range(displacement: Num[np.ndarray, " n"]) -> tuple[float, float]:
    """Ends of a scale on which nothing looks moving when nothing moves.

    Args:
        displacement: how far each residue moves, Å.

    Returns:
        0 and the largest displacement, at least 1 Å.
    """
    return 0.0, max(_LEAST_MOTION, float(displacement.max()))


def _figure(traces: list[dict[str, Any]], layout: dict[str, Any], caption: str) -> str:
    spec = _json_script({"data": traces, "layout": layout})
    return f'<figure><div class="plot">{spec}</div>{caption_below(caption)}</figure>'


def caption_below(text: str) -> str:
    """A caption, or nothing where there is no text.

    Args:
        text: plain.

    Returns:
        HTML.
    """
    return f"<figcaption>{html.escape(text)}</figcaption>" if text else ""


def _json_script(spec: dict[str, Any]) -> str:
    # A "<" could end the script element early.
    text = json.dumps(spec, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    return f'<script type="application/json">{text}</script>'


def _typed(values: np.ndarray) -> dict[str, str]:
    """Plotly's form of an array: base64 of its bytes, little-endian."""
    values = np.ascontiguousarray(values, "<f4")
    typed = {"dtype": "f4", "bdata": base64.b64encode(values.tobytes()).decode()}
    return typed | ({"shape": f"{values.shape[0]},{values.shape[1]}"} if values.ndim == 2 else {})


def _colour_bar(title: str) -> dict[str, Any]:
    return {"title": {"text": title, "side": "right"}, "thickness": 12, "outlinewidth": 0}


def _axis(axis: Axis) -> dict[str, Any]:
    described: dict[str, Any] = {"title": {"text": axis.title}}
    if axis.log:
        described["type"] = "log"
    if axis.range is not None:
        described["range"] = [float(np.log10(end)) if axis.log else end for end in axis.range]
    return described


def _levels(levels: Mapping[str, Number], direction: str, log: bool) -> dict[str, Any]:
    """Dotted lines across the figure, horizontal (h) or vertical (v), with their labels."""
    across, along = ("x", "y") if direction == "h" else ("y", "x")
    shapes, notes = [], []
    for number, (label, value) in enumerate(levels.items()):
        ends = {f"{across}0": 0, f"{across}1": 1, f"{across}ref": "paper"}
        place = {f"{along}0": value, f"{along}1": value, f"{along}ref": along}
        shapes.append({"type": "line", **ends, **place, "line": {"dash": "dot", "width": 1.2}})
        at = float(np.log10(value)) if log else value
        anchor = (
            {"xanchor": "right", "yanchor": "bottom"}
            if direction == "h"
            else {"xanchor": "left", "yanchor": "top"}
        )
        # Lines that stand close together would have their labels on top of each other.
        height = 1 if direction == "h" else 1 - 0.07 * number
        position = {across: height, f"{across}ref": "paper", along: at, f"{along}ref": along}
        notes.append({"text": label, "showarrow": False, **position, **anchor})
    return {"shapes": shapes, "annotations": notes}
