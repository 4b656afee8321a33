import base64
import json
import re
import zlib

import numpy as np
import pytest

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    backbone_figure,
    curves_figure,
    heat_map_figure,
    histogram_figure,
    motion_range,
    scatter_figure,
    sphere_figure,
)
from cryojax_graph.jobs.thumbnails import image_grid

X, Y = Axis("step"), Axis("loss", log=True, range=(0.1, 10.0))


def spec_of(figure: str) -> dict:
    (text,) = re.findall(r'<script type="application/json">(.*?)</script>', figure)
    return json.loads(text)


def array(typed: dict) -> np.ndarray:
    values = np.frombuffer(base64.b64decode(typed["bdata"]), "<f4")
    shape = typed.get("shape", str(len(values)))
    return values.reshape([int(n) for n in shape.split(",")])


def test_curves_carry_their_values_gaps_and_bands():
    x = np.arange(4.0)
    y = np.array([1.0, np.nan, 3.0, 4.0])
    spec = spec_of(
        curves_figure([Curve("a", x, y, band=(y - 1, y + 1)), Curve("b", x, x, dashed=True)], X, Y)
    )
    lower, upper, first, second = spec["data"]
    np.testing.assert_array_equal(array(first["y"]), y.astype(np.float32))
    np.testing.assert_array_equal(array(lower["y"]), (y - 1).astype(np.float32))
    np.testing.assert_array_equal(array(upper["y"]), (y + 1).astype(np.float32))
    assert (first["name"], second["name"]) == ("a", "b")
    assert second["line"] == {"color": "colour1", "dash": "dash"}
    assert upper["fill"] == "tonexty"
    assert spec["layout"]["yaxis"] == {
        "title": {"text": "loss"},
        "type": "log",
        "range": [-1.0, 1.0],
    }


@pytest.mark.parametrize(("log", "at"), [(False, 0.143), (True, np.log10(0.143))])
def test_a_level_is_a_line_with_its_label(log, at):
    x = np.arange(3.0)
    layout = spec_of(
        curves_figure([Curve("a", x, x)], X, Axis("y", log=log), levels={"0.143": 0.143})
    )["layout"]
    (shape,), (note,) = layout["shapes"], layout["annotations"]
    assert (shape["y0"], shape["y1"], shape["x0"], shape["x1"]) == (0.143, 0.143, 0, 1)
    assert (note["text"], note["y"]) == ("0.143", pytest.approx(at))


def test_histograms_share_bins_and_say_what_they_left_out():
    groups = {"a": np.array([0.0, 1.0, 1.0, np.nan]), "b": np.array([4.0, 3.9])}
    spec = spec_of(histogram_figure(groups, X, bins=4, marks={"mean": 2.0}))
    first, second = spec["data"]
    np.testing.assert_array_equal(array(first["x"]), [0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(array(first["y"]), [1, 2, 0, 0])
    np.testing.assert_array_equal(array(second["y"]), [0, 0, 0, 2])
    assert first["name"] == "a (1 not finite)"
    assert spec["layout"]["shapes"][0]["x0"] == 2.0


@pytest.mark.parametrize(("count", "kind"), [(10, "scatter"), (5000, "scattergl")])
def test_many_points_are_drawn_by_the_graphics_card(count, kind):
    values = np.linspace(0, 1, count)
    figure = scatter_figure(values, values**2, X, X, colour=-values, colour_title="frame")
    (trace,) = spec_of(figure)["data"]
    assert trace["type"] == kind
    np.testing.assert_allclose(array(trace["marker"]["color"]), -values, rtol=1e-6)


def test_scatter_labels_and_equal_scale():
    two = np.arange(2.0)
    spec = spec_of(scatter_figure(two, two, X, X, labels=["<b>", "c"], equal_scale=True))
    assert spec["data"][0]["text"] == ["<b>", "c"]
    assert spec["layout"]["yaxis"]["scaleanchor"] == "x"


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_heat_map_keeps_rows_and_columns(symmetric):
    values = np.arange(6.0).reshape(2, 3)
    figure = heat_map_figure(values, X, X, extent=(0, 4, 10, 11), symmetric=symmetric)
    (trace,) = spec_of(figure)["data"]
    np.testing.assert_array_equal(array(trace["z"]), values)
    np.testing.assert_array_equal(array(trace["x"]), [0, 2, 4])
    np.testing.assert_array_equal(array(trace["y"]), [10, 11])
    assert ("zmid" in trace) == symmetric


def test_a_heat_map_of_equal_scale():
    spec = spec_of(heat_map_figure(np.eye(3), X, X, equal_scale=True))
    assert spec["layout"]["yaxis"]["scaleanchor"] == "x"
    ends = spec_of(heat_map_figure(np.eye(3), X, X, value_range=(-1, 2.5)))["data"][0]
    assert (ends["zmin"], ends["zmax"]) == (-1, 2.5)
    assert "scaleanchor" not in spec_of(heat_map_figure(np.eye(3), X, X))["layout"]["yaxis"]


def test_outlines_are_drawn_in_colour_over_grey():
    image = np.linspace(0, 1, 16).reshape(1, 4, 4)
    outline = np.zeros((1, 4, 4), bool)
    outline[0, 1, 2] = True
    png = base64.b64decode(re.findall(r"base64,([^\"]+)", image_grid(image, outlines=outline))[0])
    start = png.index(b"IDAT") + 4
    rows = np.frombuffer(zlib.decompressobj().decompress(png[start:]), np.uint8).reshape(4, 1 + 12)
    pixels = rows[:, 1:].reshape(4, 4, 3)
    coloured = np.ptp(pixels, axis=-1) > 0
    np.testing.assert_array_equal(coloured, outline[0])


def test_a_sphere_has_its_poles_its_front_and_its_sides_where_maps_have_them():
    directions = np.array([[0, 0, 1], [0, 0, -1], [1, 0, 0], [0, 1, 0], [0, -1, 0]], float)
    spec = spec_of(sphere_figure(directions, np.arange(5.0), value_range=(0, 8)))
    _, points = spec["data"]
    np.testing.assert_allclose(array(points["x"]), [0, 0, 0, 0.5, -0.5], atol=1e-6)
    np.testing.assert_allclose(array(points["y"]), [0.5, -0.5, 0, 0, 0], atol=1e-6)
    assert (points["marker"]["cmin"], points["marker"]["cmax"]) == (0, 8)


def test_equal_areas_of_a_sphere_are_equal_areas_of_its_map():
    # Slices of equal height of a sphere have equal areas, and those of the map are of an ellipse.
    height = np.linspace(-1, 1, 21)
    directions = np.stack([np.sqrt(1 - height**2), np.zeros(21), height], axis=1)
    _, points = spec_of(sphere_figure(directions, height))["data"]
    y = 2 * array(points["y"]).astype(float).clip(-0.5, 0.5)
    below = 0.5 + (y * np.sqrt(1 - y**2) + np.arcsin(y)) / np.pi
    np.testing.assert_allclose(below, np.linspace(0, 1, 21), atol=1e-4)
    assert points["marker"]["cmin"] == -1


def test_a_map_of_many_directions_is_drawn_by_the_graphics_card():
    directions = np.tile([[0.0, 0.0, 1.0]], (5000, 1))
    assert spec_of(sphere_figure(directions, np.zeros(5000)))["data"][1]["type"] == "scattergl"


def test_a_backbone_is_cut_at_chain_ends_and_gaps():
    residues = np.arange(7)
    frames = np.zeros((2, 7, 3))
    frames[:, :, 0] = 3.8 * residues + np.array([0, 0, 9, 9, 9, 9, 9])
    frames[1, :, 1] = 1.0
    chains = np.array([0, 0, 0, 0, 1, 1, 1])
    spec = spec_of(backbone_figure(frames, chains, frame_labels=["open", "closed"]))
    assert spec["stretches"] == [0, 2, 4, 7]
    assert spec["labels"] == ["open", "closed"]
    assert spec["chain_names"] == ["chain 1", "chain 2"]
    assert spec["values"] is None
    np.testing.assert_allclose(array(spec["frames"]).reshape(2, 7, 3), frames, rtol=1e-6)


def test_a_single_chain_is_coloured_along_its_length_unless_values_are_given():
    frames = 3.8 * np.arange(12.0).reshape(1, 4, 3) / 6
    chain = np.zeros(4, int)
    assert array(spec_of(backbone_figure(frames, chain))["values"]).tolist() == [0, 1, 2, 3]
    spec = spec_of(backbone_figure(frames, chain, values=np.full(4, 2.5), value_title="Å"))
    assert array(spec["values"]).tolist() == [2.5] * 4
    assert spec["value_title"] == "Å"
    assert spec["value_range"] is None


@pytest.mark.parametrize(("largest", "end"), [(0.0, 1.0), (0.1, 1.0), (6.5, 6.5)])
def test_nothing_is_coloured_as_moving_when_nothing_moves(largest, end):
    moves = np.array([0.0, largest, 0.5 * largest, 0.0])
    frames = 3.8 * np.arange(12.0).reshape(1, 4, 3) / 6
    figure = backbone_figure(
        frames, np.zeros(4, int), values=moves, value_range=motion_range(moves)
    )
    assert spec_of(figure)["value_range"] == [0.0, end]


def test_thumbnails_have_captions_that_cannot_break_the_page():
    grid = image_grid(
        np.eye(4)[None].repeat(2, 0), captions=["<script>", "b"], caption="all & sundry"
    )
    assert grid.count("data:image/png;base64,") == 2
    assert "<script>" not in grid
    assert "all &amp; sundry" in grid


def test_text_inside_a_figure_cannot_end_its_script():
    x = np.arange(2.0)
    figure = curves_figure(
        [Curve("</script><script>alert(1)<!--", x, x)], X, Y, caption="</figure>"
    )
    assert spec_of(figure)["data"][0]["name"] == "</script><script>alert(1)<!--"
    assert figure.count("</script>") == 1
    assert figure.count("</figure>") == 1
