import base64
import gzip
import re
from html.parser import HTMLParser
from importlib import resources

import numpy as np
import pytest

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure
from cryojax_graph.jobs.report import (
    Highlight,
    Section,
    command_block,
    job_page,
    page,
    paragraph,
    table,
)

FIGURE = curves_figure([Curve("a", np.arange(2.0), np.arange(2.0))], Axis("x"), Axis("y"))
VOID = {"meta", "img", "input", "br", "link"}
MANIFEST = {
    "program": "cryojax-graph",
    "version": "0.1.0",
    "command": "cryojax-graph flex 'a b.star' -o <out>",
    "versions": {"jax": "0.10.2"},
    "request": {"verb": "flex", "seed": 3, "config": {}},
    "attempts": [
        {"started": "then", "seconds": 65.0, "host": "h", "cores": 2, "system": "s", "devices": []},
        {"started": "later", "host": "h", "cores": 2, "system": "s", "devices": ["H200"]},
    ],
    "inputs": {
        "particles": {"path": "/data/a b.star", "bytes": 2048, "sha256": "0123456789abcdef" * 4},
        "template": {"path": "/data/x.pdb", "bytes": 10},
    },
    "outputs": {
        "motion.cif": {"description": "the path", "bytes": 1},
        "odd name.mrc": {"description": "", "bytes": 1},
        "odd arrays.npz": {"description": "", "bytes": 1},
        "other.xyz": {"description": "", "bytes": 1},
    },
    "warnings": ["42 images are <odd>"],
}


class Balanced(HTMLParser):
    """Fails where an element is closed that is not the innermost open one."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["script"]:
            self.words.append(data)


def parse(text):
    parser = Balanced()
    parser.feed(text)
    assert parser.open == []
    return parser


def test_a_page_is_well_formed_and_needs_no_network():
    text = page(
        "Title & more",
        "What came out.",
        [Section("First", (paragraph("a < b"), FIGURE, FIGURE)), Section("Second", ())],
        highlights=[Highlight("0.9 Å", "mean RMSD")],
        warnings=["careful"],
    )
    parser = parse(text)
    assert {"Title & more", "a < b", "0.9 Å", "careful", "First"} <= set(parser.words)
    assert all(link.startswith(("#", "data:")) for link in parser.links)
    assert len(re.findall(r'id="s\d+"', text)) == 2


def test_plotly_is_inside_once_and_whole_when_a_figure_needs_it():
    with_figures = page("t", "s", [Section("a", (FIGURE, FIGURE))])
    (packed,) = re.findall(r'<script type="text/plain" id="plotly">(.*?)</script>', with_figures)
    source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    assert gzip.decompress(base64.b64decode(packed)) == source
    assert len(with_figures) < 2.5 * 2**20
    without = page("t", "s", [Section("a", (paragraph("words"),))])
    assert len(without) < 20_000
    assert "<script" not in without


def test_the_same_data_make_the_same_page():
    assert page("t", "s", [Section("a", (FIGURE,))]) == page("t", "s", [Section("a", (FIGURE,))])


def test_a_table_aligns_numbers_and_escapes_text():
    text = table(["name", "Å"], [["<a>", 1.23456], ["b", 51234]], caption="c & d")
    parse(text)
    assert '<td class="number">1.235</td>' in text
    assert '<td class="number">51,234</td>' in text
    assert "&lt;a&gt;" in text
    assert "<th class=number>Å</th>" in text
    assert "<thead>" not in table(["", ""], [["a", "b"]])
    parse(table(["empty"], []))


def test_a_job_page_tells_inputs_outputs_what_ran_and_how_to_cite():
    text = job_page(
        MANIFEST,
        title="t",
        summary="s",
        sections=[Section("Result", (paragraph("here"),))],
        citations=["A. Author: a paper."],
        commands={"other.xyz": "open-it other.xyz"},
    )
    parser = parse(text)
    words = set(parser.words)
    assert {"chimerax motion.cif", "chimerax 'odd name.mrc'", "open-it other.xyz"} <= words
    assert "cryojax-graph check 'odd arrays.npz'" in words
    assert {"2.0\u00a0KiB", "0123456789abcdef", "the path", "A. Author: a paper."} <= words
    assert {"cryojax-graph flex 'a b.star' -o <out>", "H200", "1 min 05 s"} <= words
    assert '<td class="quantity">2.0\u00a0KiB</td>' in text
    assert "42 images are <odd>" in words
    titles = re.findall(r"<h2>(.*?)</h2>", text)
    assert titles == ["Result", "Inputs", "Outputs", "What ran", "How to cite"]


@pytest.mark.parametrize("name", ["report.css", "report.js"])
def test_style_and_script_name_no_other_host(name):
    text = (resources.files("cryojax_graph") / "data" / name).read_text()
    assert "http" not in text
    assert "</script" not in text
    assert "@import" not in text


def test_a_command_is_shown_as_it_is():
    assert command_block("a > b") == "<pre><code>a &gt; b</code></pre>"
