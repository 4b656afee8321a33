"""Products of fields, which accelerators round unless they are told not to."""

from functools import partial

import jax
import jax.numpy as jnp
import pytest

from cryojax_graph.fields import climb, fit_positive, fit_spline, voxel_grid
from cryojax_graph.fields.siren import init_siren
from cryojax_graph.models.atom_graph.network_error import slope_error

GRID = voxel_grid(jnp.zeros(3), jnp.ones(3))
VOLUME = jnp.zeros((8, 9, 10))
POINTS = jnp.zeros((5, 3))


def climb_to_peaks():
    return climb(fit_spline(VOLUME, GRID), POINTS, longest=0.5)


def train():
    layers = init_siren(jax.random.key(0), width=8, hidden=1, omega=30.0)
    values, slopes, voxel = POINTS[:, 0], POINTS, jnp.ones(3)
    error = partial(slope_error, omega=30.0, voxel=voxel, weight=1.0)
    return jax.grad(error)(layers, POINTS, values, slopes)


def fit():
    return fit_positive(VOLUME, GRID, noise=0.1)


@pytest.mark.parametrize("work", [climb_to_peaks, train, fit])
def test_no_product_is_left_to_the_precision_of_an_accelerator(work):
    program = str(jax.make_jaxpr(work)())
    assert program.count("dot_general[") >= 3
    assert program.count("precision=(Precision.HIGHEST") == program.count("dot_general[")
