"""Contrast and noise of groups of images."""

from dataclasses import replace

import numpy as np
import pytest

from cryojax_graph.io import new_particles
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.jobs.refine.contrast import contrast_groups, group_contrast

TEXT = np.dtypes.StringDType()


def found_of(scale: np.ndarray, variance: np.ndarray) -> Found:
    empty = np.zeros(len(scale))
    values = dict.fromkeys(Found._fields, empty) | {"scale": scale, "scale_variance": variance}
    return Found(**values)


def test_the_mean_of_each_group_is_found_although_every_image_was_drawn_to_one():
    rng = np.random.default_rng(0)
    true, precision, data = np.array([0.8, 1.0, 1.25]), 25.0, 100.0
    group = rng.integers(0, 3, 3000)
    told = true[group] + rng.standard_normal(3000) / np.sqrt(data)
    # What is most probable under data of this precision and a prior about 1.
    scale = (data * told + precision) / (data + precision)
    found = found_of(scale, np.full(3000, 1 / (data + precision)))
    contrast = group_contrast(np.ones(3000), found, group, precision=precision)
    expected = true[group] / np.exp(np.log(true[group]).mean())
    np.testing.assert_allclose(contrast, expected, rtol=0.02)
    assert np.log(contrast).mean() == pytest.approx(0.0, abs=1e-9)


def test_an_image_alone_changes_its_group_only_as_far_as_it_is_sure():
    group, scale = np.arange(4), np.array([1.0, 1.0, 1.0, 2.0])
    unsure = group_contrast(np.ones(4), found_of(scale, np.full(4, 0.999)), group, precision=1.0)
    sure = group_contrast(np.ones(4), found_of(scale, np.full(4, 1e-4)), group, precision=1.0)
    assert 1.0 < unsure[3] / unsure[0] < 1.05
    assert sure[3] / sure[0] == pytest.approx(2.0, rel=0.01)


def test_contrast_of_rounds_multiplies():
    group = np.repeat([0, 1], 50)
    found = found_of(np.where(group == 0, 0.9, 1.1), np.full(100, 1e-4))
    before = np.where(group == 0, 0.8, 1.25)
    contrast = group_contrast(before, found, group, precision=4.0)
    assert contrast[0] / contrast[-1] == pytest.approx(0.9 / 1.1 * 0.8 / 1.25, rel=0.01)


def test_contrast_stays_within_bounds():
    group = np.array([0, 1])
    found = found_of(np.array([-5.0, 60.0]), np.full(2, 1e-6))
    contrast = group_contrast(np.ones(2), found, group, precision=4.0)
    assert (contrast >= 0.25).all()
    assert (contrast <= 4.0).all()


def test_groups_come_from_the_finest_column_there_is(tmp_path):
    names = np.array(["b", "a", "b", "c"], TEXT)
    fields = {
        "image_path": np.full(4, "s.mrcs", TEXT),
        "image_index": np.arange(4),
        "pixel_size": np.ones(4),
        "box": np.full(4, 8),
    }
    table = new_particles(tmp_path / "p.star", fields)
    assert len(np.unique(contrast_groups(table))) == 1
    optics = replace(table, optics_group=np.array([1, 1, 2, 2]))
    np.testing.assert_array_equal(contrast_groups(optics), [0, 0, 1, 1])
    micrographs = replace(optics, columns=table.columns | {"rlnMicrographName": names})
    np.testing.assert_array_equal(contrast_groups(micrographs), [1, 0, 1, 2])
    grouped = replace(
        micrographs, columns=micrographs.columns | {"rlnGroupName": np.full(4, "g", TEXT)}
    )
    assert not contrast_groups(grouped).any()
