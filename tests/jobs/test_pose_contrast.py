"""Spread of contrasts that a prior has drawn together."""

import numpy as np
import pytest

from cryojax_graph.jobs.pose.contrast import contrast_precision
from cryojax_graph.jobs.pose.searcher import Found


def found_with(spread: float, data: np.ndarray, prior: float) -> Found:
    """What is most probable of contrasts under data of some precisions and a prior about 1."""
    rng = np.random.default_rng(0)
    true = 1 + spread * rng.standard_normal(len(data))
    told = true + rng.standard_normal(len(data)) / np.sqrt(data)
    empty = np.zeros(len(data))
    drawn = {
        "scale": (data * told + prior) / (data + prior),
        "scale_variance": 1 / (data + prior),
    }
    return Found(**(dict.fromkeys(Found._fields, empty) | drawn))


@pytest.mark.parametrize("prior", [0.0, 4.0, 25.0, 400.0])
@pytest.mark.parametrize("spread", [0.1, 0.3])
def test_the_spread_is_found_whatever_the_prior_was(spread, prior):
    data = np.random.default_rng(1).uniform(20, 400, 20000)
    precision = contrast_precision(found_with(spread, data, prior), prior)
    assert precision == pytest.approx(spread**-2, rel=0.1)


def test_equal_contrasts_are_no_nearer_to_each_other_than_the_bound():
    data = np.full(5000, 100.0)
    assert contrast_precision(found_with(0.0, data, 4.0), 4.0) == pytest.approx(400)


def test_images_that_the_prior_alone_tells_say_nothing():
    data = np.r_[np.full(5000, 100.0), np.full(5000, 1e-9)]
    precision = contrast_precision(found_with(0.2, data, 25.0), 25.0)
    assert precision == pytest.approx(25, rel=0.15)
