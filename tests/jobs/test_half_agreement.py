"""Two halves of noise agree in nothing but what they share."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.jobs.reconstruct.maps import (
    agree_beyond,
    agreed_shells,
    chance_fsc,
    precision_of,
    within_volume,
)
from cryojax_graph.metrics import half_spectrum, shell_sums

BOX, RADIUS = 48, 14.0


def correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return shell_sums(half_spectrum(first), half_spectrum(second)).correlation()


def test_correlation_without_the_noise_outside_of_the_particle_is_that_within_it():
    rng = np.random.default_rng(0)
    ball = np.asarray(soft_sphere(BOX, radius=RADIUS, edge=3.0))
    signal = 0.7 * rng.standard_normal((BOX,) * 3) * (ball == 1)
    halves = [(signal + rng.standard_normal((BOX,) * 3)) for _ in range(2)]
    # White signal and noise: the ball mixes shells of the same correlation, and their mean is that
    # of many voxels.
    outside = np.array([correlation(*halves)[16:].mean()])
    inside = correlation(*(half * ball for half in halves))[16:].mean()
    assert inside > 4 * outside[0]
    assert within_volume(outside, float((ball**2).mean()))[0] == pytest.approx(inside, rel=0.1)


@given(st.floats(-1, 1), st.floats(0.05, 1))
def test_less_noise_never_turns_the_sign_and_never_exceeds_one(fsc, share):
    (found,) = within_volume(np.array([fsc]), share)
    assert np.sign(found) == np.sign(fsc)
    assert abs(fsc) - 1e-9 <= abs(found) <= 1 + 1e-9


@pytest.mark.parametrize("copies", [1, 4])
def test_noise_seldom_agrees_by_more_than_chance(copies):
    rng = np.random.default_rng(1)
    curves = []
    for _ in range(24):
        halves = rng.standard_normal((2, BOX, BOX, BOX))
        if copies == 4:
            # D2 about the centre voxel: half turns about the axes.
            turned = [halves]
            for axes in ((1, 2), (1, 3), (2, 3)):
                turned.append(np.roll(np.flip(halves, axes), 1, axes))
            halves = np.sum(turned, axis=0)
        curves.append(correlation(*halves))
    in_threes = np.array(curves)[:, 4:] / chance_fsc(BOX, copies=copies)[4:]
    assert 3 * in_threes.std() == pytest.approx(1.0, abs=0.1)


def test_shells_count_until_the_first_that_falls():
    fsc = jnp.array([0.0, 1.0, 0.9, 0.3, 0.5, 0.1, 0.9])
    assert agreed_shells(fsc).tolist() == [True] * 5 + [False] * 2


def test_the_shells_next_to_the_shared_ones_are_no_witness():
    fsc = np.zeros(BOX // 2 + 1)
    fsc[:7] = 0.9
    assert not agree_beyond(fsc, 5, volume=0.4, copies=1)
    fsc[7] = 0.9
    assert agree_beyond(fsc, 5, volume=0.4, copies=1)
    # Where no shells are left, nothing was shown.
    assert not agree_beyond(np.ones_like(fsc), len(fsc) - 1, volume=0.4, copies=1)
    # Chance alone reaches that far where every coefficient is there forty times.
    assert not agree_beyond(np.full_like(fsc, 0.8), 5, volume=0.4, copies=40)


def test_what_falls_is_filtered_away():
    found = precision_of(jnp.ones(5), jnp.array([1.0, 0.9, 0.3, 0.1, 0.9]), images=1)
    np.testing.assert_allclose(found[1:3], [1 / 9, 7 / 3], rtol=1e-5)
    assert (found[3:] > 900).all()
