"""What a map tells of its noise, and recipes that need it."""

import numpy as np
import pytest

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.map_noise import constants_of, masked, noise_of

NOISE = 0.3


def a_map(*, masked_out: float = 0.0) -> Map:
    """A blob of density in noise, all but a ball of it cut away where asked for."""
    rng = np.random.default_rng(0)
    square = sum(k**2 for k in np.meshgrid(*[np.arange(40) - 20] * 3))
    values = 4.0 * np.exp(-square / 40) + NOISE * rng.normal(size=square.shape)
    if masked_out:
        values[square > np.quantile(square, 1.0 - masked_out)] = 0.0
    return Map(values.astype(np.float32), np.ones(3), np.zeros(3))


def test_the_noise_is_that_of_what_is_around_the_density():
    assert noise_of(a_map()) == pytest.approx(NOISE, rel=0.1)
    assert noise_of(a_map(), threshold=1.0) == pytest.approx(NOISE, rel=0.05)


def test_the_rim_of_the_density_is_no_noise_in_a_tight_box():
    wide = a_map()
    tight = Map(wide.values[(slice(6, 34),) * 3], wide.voxel_size, wide.origin)
    assert noise_of(tight) == pytest.approx(NOISE, rel=0.15)


def test_nothing_is_known_where_nothing_is_left_around_the_density():
    density = a_map(masked_out=0.97)
    assert noise_of(density, threshold=0.0) == 0.0
    assert masked(density)
    assert not masked(a_map())


def test_a_recipe_gets_the_noise_that_it_needs():
    density = a_map()
    assert constants_of(density, "denoised", file="map.mrc")["noise"] == noise_of(density)
    assert "noise" not in constants_of(density, "positive", file="map.mrc")


def test_a_recipe_gets_the_level_of_the_solvent():
    density = a_map()
    level = constants_of(density, "denoised", file="map.mrc")["level"]
    assert abs(level) < 0.3 * NOISE
    raised = Map(density.values + np.float32(7.0), density.voxel_size, density.origin)
    assert constants_of(raised, "denoised", file="map.mrc")["level"] == pytest.approx(level + 7.0)


def test_a_masked_map_is_refused_where_its_noise_is_needed():
    density = a_map(masked_out=0.9)
    with pytest.raises(InputError, match=r"map.mrc: its values: .* shows no noise.*positive"):
        constants_of(density, "denoised", file="map.mrc")
    assert constants_of(density, "spline", file="map.mrc") == {}
    # Solvent that was flattened to another value than 0.
    density.values[density.values == 0] = -0.5
    with pytest.raises(InputError, match="shows no noise"):
        constants_of(density, "denoised", file="map.mrc")


def test_the_rim_of_a_masked_map_is_no_noise():
    density = a_map(masked_out=0.6)
    assert (density.values != 0).mean() > 0.3
    assert noise_of(density, threshold=1.0) == 0.0
