"""Contrast of groups of images, such as those of one micrograph, beside that of the set."""

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.jobs.pose.searcher import Found

# What tells which images were taken together, the finest first.
_COLUMNS = (
    "rlnGroupName",
    "rlnGroupNumber",
    "rlnMicrographName",
    "location/micrograph_uid",
    "location/micrograph_path",
)
# By how much contrasts of groups are expected to differ, and what they may not exceed.
_SPREAD, _MOST = 0.2, 4.0


def contrast_groups(table: ParticleTable) -> Int[np.ndarray, " images"]:
    """The group of each image.

    Args:
        table: of the particles.

    Returns:
        numbers from 0: groups of the table, else micrographs, else optics groups, else one.
    """
    for name in _COLUMNS:
        if name in table.columns:
            return np.unique(np.asarray(table.columns[name]), return_inverse=True)[1].ravel()
    if table.optics_group is not None:
        return np.unique(table.optics_group, return_inverse=True)[1].ravel()
    return np.zeros(len(table), int)


def group_contrast(
    before: Float[np.ndarray, " images"],
    found: Found,
    group: Int[np.ndarray, " images"],
    *,
    precision: float,
) -> Float[np.ndarray, " images"]:
    """Contrast of the group of each image after a search.

    A group's is the mean of what its images say, each by its precision, under a prior about no
    change; that the contrast of each image had a prior of its own is undone.

    Args:
        before: contrast that the images were divided by in the search.
        found: contrast of each image beside that.
        group: of each image, from 0.
        precision: of the prior that the search had for the contrast of an image about 1.

    Returns:
        contrasts whose geometric mean over the images is 1, unless one reaches a bound of 4.
    """
    certainty = 1.0 / np.maximum(found.scale_variance.astype(float), 1e-12)
    pull = np.bincount(group, certainty * (found.scale - 1.0))
    weight = np.bincount(group, np.maximum(certainty - precision, 0.0))
    change = np.maximum(1.0 + pull / (weight + _SPREAD**-2), 1.0 / _MOST)
    contrast = before * change[group]
    contrast = contrast / np.exp(np.log(contrast).mean())
    return np.clip(contrast, 1.0 / _MOST, _MOST)
