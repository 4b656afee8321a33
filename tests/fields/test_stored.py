"""Recipes by name, and what of a file is refused before it is fitted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.fields import (
    RECIPES,
    check_recipe,
    fit_recipe,
    query,
    usual_constants,
)

ORIGIN, VOXEL = np.array([3.0, -2.0, 5.0]), np.array([0.7, 1.1, 0.9])
VALUES = np.random.default_rng(0).normal(size=(6, 8, 7)).astype(np.float32)
# Degree of the splines, and how much finer than the map they are.
KNOWN = {
    "positive": (3, 2),
    "denoised": (3, 2),
    "spline": (3, 1),
    "quintic": (5, 1),
    "fourier": (5, 2),
    "trilinear": (1, 1),
}


def test_every_recipe_makes_its_own_splines():
    assert RECIPES.keys() == KNOWN.keys()
    for name, (degree, finer) in KNOWN.items():

        def coefficients(name=name, degree=degree):
            field = fit_recipe(VALUES, ORIGIN, VOXEL, name, usual_constants(name))
            assert field.degree == degree
            return field.coefficients

        margin = 2 * (degree // 2 + 1)
        expected = tuple(finer * n + margin for n in VALUES.shape)
        assert jax.eval_shape(coefficients).shape == expected


def test_the_field_lies_where_the_map_does():
    index = np.stack(np.indices(VALUES.shape), -1).reshape(-1, 3)
    points = jnp.asarray(ORIGIN + index[:, ::-1] * VOXEL, jnp.float32)
    found = jax.jit(query)(fit_recipe(VALUES, ORIGIN, VOXEL, "spline", {}), points)
    np.testing.assert_allclose(found, VALUES.ravel(), atol=1e-4)


@pytest.mark.parametrize("name", RECIPES)
def test_usual_constants_are_accepted(name):
    check_recipe(name, usual_constants(name))


@pytest.mark.parametrize(
    ("recipe", "changes", "words"),
    [
        ("magic", {}, "no fit is called 'magic'"),
        ("spline", {"degree": 3}, "not so 'degree'"),
        ("positive", {"finer": 10**9}, "finer is 1000000000, not a whole number from 1 to 4"),
        ("positive", {"finer": 2.5}, "not a whole number"),
        ("positive", {"steps": 0}, "steps is 0"),
        ("positive", {"width": 1e6}, "not a number from"),
        ("denoised", {"noise": float("nan")}, "noise is nan, not a number from"),
    ],
)
def test_what_cannot_be_followed_is_refused(recipe, changes, words):
    usual = usual_constants(recipe) if recipe in RECIPES else {}
    with pytest.raises(ValueError, match=words):
        fit_recipe(VALUES, ORIGIN, VOXEL, recipe, usual | changes)


def test_a_missing_constant_is_refused():
    with pytest.raises(ValueError, match="not so 'finer'"):
        check_recipe("positive", {})
    with pytest.raises(ValueError, match="not so 'level'"):
        check_recipe("denoised", {"width": 0.55, "finer": 2, "steps": 30, "noise": 1.0})


def test_files_of_before_there_was_a_level_mean_none():
    usual = usual_constants("positive")
    assert usual["level"] == 0.0
    before = {name: value for name, value in usual.items() if name != "level"}
    check_recipe("positive", before)
    now, then = (fit_recipe(VALUES, ORIGIN, VOXEL, "positive", c) for c in (usual, before))
    np.testing.assert_allclose(now.coefficients, then.coefficients, atol=1e-5)
