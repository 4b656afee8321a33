import re

import pytest

from cryojax_graph.jobs.verdict import SENTENCES, beside_one_structure, order_caption


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(0.9, 1.1, "better"), (1.9, 2.1, "no better"), (4.4, 4.8, "worse")],
)
def test_only_what_the_interval_excludes_is_claimed(low, high, verdict):
    figures = {
        "rmsd_superposed_mean_low_angstrom": low,
        "rmsd_superposed_mean_high_angstrom": high,
        "constant_structure_rmsd_superposed_mean_angstrom": 2.0,
    }
    assert beside_one_structure(figures) == verdict
    assert SENTENCES[verdict].startswith(verdict)


@pytest.mark.parametrize("correlation", [-0.465, 0.465])
def test_the_order_of_latents_is_told_by_its_figure(correlation):
    assert re.match("Rank correlation 0.4[67], sign apart", order_caption(correlation))
