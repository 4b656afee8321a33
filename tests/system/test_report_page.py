"""The report's own script, run by a browser where there is one."""

import re
import shutil
import subprocess

import numpy as np
import pytest

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    backbone_figure,
    curves_figure,
    heat_map_figure,
    histogram_figure,
    sphere_figure,
)
from cryojax_graph.jobs.report import Section, page

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
MOVE_THE_SLIDER = """
<script>setTimeout(() => {
  const slider = document.querySelector(".controls input");
  slider.value = 2;
  slider.dispatchEvent(new Event("input"));
  const tube = document.querySelector(".scene").data[0];
  document.body.dataset.vertices = tube.x.length;
  document.body.dataset.lowest = Math.min(...tube.z);
  const scale = document.querySelector(".scene").layout.coloraxis;
  document.body.dataset.scale = [scale.cmin, scale.cmax];
}, 3000);</script></body>"""


@pytest.mark.external
@pytest.mark.skipif(BROWSER is None, reason="no Chromium here to draw the page")
def test_a_browser_draws_every_figure_without_a_network(tmp_path):
    x = np.linspace(1.0, 2.0, 20)
    helix = np.stack([2.3 * np.cos(1.7 * x), 2.3 * np.sin(1.7 * x), 30 * x], axis=-1)
    frames = np.stack([helix, helix, helix + np.array([0.0, 0.0, 100.0])])
    band = (x - 0.1, x + 0.1)
    figures = (
        curves_figure(
            [Curve("a", x, x, band=band)], Axis("x", log=True), Axis("y"), levels={"l": 1}
        ),
        histogram_figure({"a": x, "b": x}, Axis("x"), marks={"mean": 1.5}),
        heat_map_figure(np.eye(3), Axis("x"), Axis("y"), symmetric=True),
        sphere_figure(np.eye(3), np.arange(3.0)),
        backbone_figure(
            frames,
            np.repeat([0, 1], 10),
            frame_labels=["one", "two", "three"],
            values=x,
            value_range=(0, 8),
        ),
    )
    text = page("t", "s", [Section("all", figures)])
    path = tmp_path / "report.html"
    path.write_text(text.replace("</body>", MOVE_THE_SLIDER), encoding="utf-8")

    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu"]
    command += ["--enable-unsafe-swiftshader", "--virtual-time-budget=8000", "--dump-dom"]
    command += [f"--user-data-dir={tmp_path / 'profile'}", path.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    assert len(re.findall(r'<div class="plot js-plotly-plot"', dom)) == 4
    assert len(re.findall(r'class="scene js-plotly-plot"', dom)) == 1
    assert "three</output>" in dom
    # Two chains of 10: 37 rings of 8 vertices each; the last frame lies 100 Å above the first.
    assert re.search(r'data-vertices="(\d+)"', dom)[1] == "296"
    assert float(re.search(r'data-lowest="([-\d.]+)"', dom)[1]) == pytest.approx(130, abs=1.5)
    assert 'data-scale="0,8"' in dom
