"""Masks hold the particle, are soft, and leave loose noise out."""

import numpy as np
import pytest

from cryojax_graph.forward import automatic_mask, blur_map, soften

BOX, VOXEL = 48, 3.0


def blob(centre: tuple[float, float, float], radius: float) -> np.ndarray:
    """1 inside a ball; centre (z, y, x) and radius in voxels."""
    z, y, x = (np.arange(BOX) - c for c in centre)
    return (np.sqrt(z[:, None, None] ** 2 + y[:, None] ** 2 + x**2) <= radius).astype(np.float32)


def noisy(clean: np.ndarray, level: float) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(clean.shape).astype(np.float32)
    return clean + level * noise


@pytest.mark.parametrize("level", [0.0, 0.5])
def test_a_mask_holds_the_particle_and_little_else(level):
    particle = blob((24, 22, 26), 8)
    mask = automatic_mask(noisy(particle, level), voxel_size=VOXEL)
    assert mask.dtype == np.float32
    assert mask.min() == 0.0
    assert mask.max() == 1.0
    assert mask[particle > 0].min() > 0.99
    # Extended by three voxels and half of an edge of six, and by what the blur adds.
    assert not mask[blob((24, 22, 26), 8 + 3 + 6 + 4) == 0].any()


def test_a_second_domain_stays_and_a_speck_does_not():
    volume = blob((24, 24, 14), 7) + blob((24, 24, 32), 5)
    speck = np.zeros_like(volume)
    speck[4, 4, 4] = 15.0
    mask = automatic_mask(volume + speck, voxel_size=VOXEL)
    assert mask[24, 24, 14] == 1.0
    assert mask[24, 24, 32] == 1.0
    assert mask[4, 4, 4] == 0.0


def test_noise_raises_the_threshold():
    volume = blob((24, 24, 24), 8) + 0.4 * blob((24, 24, 36), 4)
    plain, strict = (automatic_mask(volume, voxel_size=VOXEL, noise=n) for n in (0.0, 0.1))
    assert strict.sum() < plain.sum()


def test_nothing_to_be_masked_is_refused():
    with pytest.raises(ValueError, match="stands out of the noise"):
        automatic_mask(np.zeros((BOX,) * 3, np.float32), voxel_size=VOXEL)
    with pytest.raises(ValueError, match="stands out of the noise"):
        automatic_mask(blob((24, 24, 24), 8), voxel_size=VOXEL, noise=1.0)
    with pytest.raises(ValueError, match="of the box stands out"):
        automatic_mask(1.0 + blob((24, 24, 24), 8), voxel_size=VOXEL)


def test_the_edge_is_a_cosine_of_the_distance():
    core = np.zeros((31, 31, 31), bool)
    core[15, 15, 15] = True
    mask = soften(core, extend=3.0, edge=8.0)
    expected = 0.5 + 0.5 * np.cos(np.pi * np.clip((np.arange(16) - 3) / 8, 0, 1))
    np.testing.assert_allclose(mask[15, 15, 15:], expected, atol=1e-6)
    np.testing.assert_array_equal(mask, mask[::-1])


def test_a_core_at_the_wall_of_the_box_has_its_edge_inside():
    core = np.zeros((16, 16, 16), bool)
    core[0] = True
    mask = soften(core, extend=1.0, edge=4.0)
    np.testing.assert_allclose(mask[:, 8, 8], mask[:, 0, 15])
    assert mask[3, 8, 8] == pytest.approx(0.5, abs=1e-6)
    assert not mask[6:].any()


@pytest.mark.parametrize("box", [24, 25])
def test_blurring_halves_a_wave_of_the_resolution(box):
    periods = 3
    wave = np.cos(2 * np.pi * periods * np.arange(box) / box)
    volume = np.broadcast_to(wave, (box,) * 3).astype(np.float32)
    found = blur_map(volume, box * VOXEL / periods, voxel_size=VOXEL)
    np.testing.assert_allclose(found, 0.5 * volume, atol=1e-5)
