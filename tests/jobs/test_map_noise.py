"""What a map tells of its noise, and recipes that need it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryojax_graph.fields import fit_recipe, query, usual_constants
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.map_noise import constants_of, masked, noise_of, solvent_of

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


def test_the_rim_of_the_density_is_no_noise_in_a_tight_box():
    wide = a_map()
    tight = Map(wide.values[(slice(6, 34),) * 3], wide.voxel_size, wide.origin)
    assert noise_of(tight) == pytest.approx(NOISE, rel=0.15)


def test_nothing_is_known_where_nothing_is_left_around_the_density():
    density = a_map(masked_out=0.97)
    assert noise_of(density) == 0.0
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
    assert noise_of(density) == 0.0


def test_a_map_cropped_to_a_round_mask_is_masked():
    """Most of its box is inside of the mask."""
    density = a_map(masked_out=0.476)
    assert (density.values == 0).mean() < 0.5
    assert masked(density)
    assert solvent_of(density) == (0.0, 0.0, True)
    with pytest.raises(InputError, match="shows no noise"):
        constants_of(density, "denoised", file="map.mrc")


def of_values(values: np.ndarray) -> Map:
    return Map(values.astype(np.float32), np.ones(3), np.zeros(3))


@pytest.mark.parametrize("level", [0.0, 128.0])
def test_noise_in_whole_numbers_is_no_mask(level):
    density = of_values(np.rint(10.0 * a_map().values + level))
    assert (density.values == level).mean() > 0.05
    assert not masked(density)
    around = solvent_of(density)
    assert around.level == pytest.approx(level, abs=1.0)
    assert around.noise == pytest.approx(10.0 * NOISE, rel=0.15)


def test_padding_around_the_box_is_no_mask():
    density = a_map()
    padded = np.zeros((60, 50, 44), np.float32)
    padded[15:55, 5:45, 2:42] = density.values
    assert not masked(of_values(padded))
    assert solvent_of(of_values(padded)) == solvent_of(density)


def filled(share: float) -> Map:
    """Density of random atoms, well above a solvent of 5, in a share of a box with noise."""
    rng = np.random.default_rng(3)
    values = gaussian_filter((rng.random((40, 40, 40)) < 0.02).astype(float), 1.2)
    values = 1.0 + values / values.std()
    values[: round(40 * (1.0 - share))] = 0.0
    return of_values(5.0 + values + 0.2 * rng.normal(size=values.shape))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.6, 0.7])
def test_the_solvent_is_found_where_density_fills_most_of_the_box(share):
    around = solvent_of(filled(share))
    assert around.found
    assert around.level == pytest.approx(5.0, abs=0.03)
    assert around.noise == pytest.approx(0.2, rel=0.1)


def test_a_box_of_density_alone_shows_no_solvent():
    rng = np.random.default_rng(0)
    values = gaussian_filter(rng.normal(size=(30, 30, 30)), 1.5)
    assert not solvent_of(of_values(values)).found
    assert constants_of(of_values(7.0 + values), "positive", file="map.mrc")["level"] == 0.0


def test_a_map_without_noise_has_none():
    square = sum(k**2 for k in np.meshgrid(*[np.arange(40.0) - 20] * 3))
    around = solvent_of(of_values(np.exp(-square / 20) + 3.0))
    assert around == (pytest.approx(3.0, abs=1e-3), 0.0, True)


def test_an_offset_of_the_map_is_one_of_the_field_and_no_more():
    """Positivity binds above the solvent, wherever that is."""
    density = a_map()
    points = np.random.default_rng(1).uniform(10, 30, (300, 3))
    ask, at = jax.jit(query), jnp.asarray(points, jnp.float32)

    def field(offset: float, constants: dict) -> np.ndarray:
        values = density.values + np.float32(offset)
        return np.asarray(
            ask(fit_recipe(values, np.zeros(3), np.ones(3), "positive", constants), at)
        )

    def constants(offset: float) -> dict:
        raised = Map(density.values + np.float32(offset), density.voxel_size, density.origin)
        return constants_of(raised, "positive", file="map.mrc")

    plain = field(0.0, constants(0.0))
    np.testing.assert_allclose(field(128.0, constants(128.0)) - 128.0, plain, atol=2e-3)
    # The level is that of noise about 0: it changes next to nothing there.
    usual = usual_constants("positive")
    assert np.abs(plain - field(0.0, usual)).max() < 0.02
    assert np.abs(field(128.0, usual) - 128.0 - plain).max() > 0.05
