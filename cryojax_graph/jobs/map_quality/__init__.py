"""How good two maps are: curves, B-factor, mask, local and directional resolution.

A job that has two half-maps calls ``find_mask``, ``assess`` and ``local_resolution``, which take
and return arrays, then ``write_quality`` for its folder and ``quality_sections`` for its page.
"""

from cryojax_graph.jobs.map_quality.assess import (
    Quality,
    assess,
    find_mask,
    sharpened_map,
)
from cryojax_graph.jobs.map_quality.doubts import doubts
from cryojax_graph.jobs.map_quality.judge import Judged, judge, measure_local
from cryojax_graph.jobs.map_quality.local import LocalResolution, local_resolution
from cryojax_graph.jobs.map_quality.outputs import write_quality
from cryojax_graph.jobs.map_quality.report import in_words, quality_highlights, quality_sections
from cryojax_graph.jobs.map_quality.settings import QualitySettings

__all__ = [
    "Judged",
    "LocalResolution",
    "Quality",
    "QualitySettings",
    "assess",
    "doubts",
    "find_mask",
    "in_words",
    "judge",
    "local_resolution",
    "measure_local",
    "quality_highlights",
    "quality_sections",
    "sharpened_map",
    "write_quality",
]
