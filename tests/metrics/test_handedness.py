"""The hand of helices, beside maps of known hand."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from cryojax_graph.metrics import handedness

BOX, VOXEL = 48, 1.25


def helix(residues: int, *, left: bool = False) -> np.ndarray:
    """Backbone of an ideal alpha helix: 100° and 1.5 Å a residue, N, CA, C and CB of each."""
    turn, rise = np.radians(100), 1.5
    atoms = []
    for radius, angle, height in (
        (1.55, -28, -0.9),
        (2.3, 0, 0.0),
        (1.7, 26, 1.1),
        (3.3, -18, -0.5),
    ):
        steps = np.arange(residues)
        phase = steps * turn + np.radians(angle)
        along = steps * rise + height
        atoms.append(np.stack([radius * np.cos(phase), radius * np.sin(phase), along], axis=1))
    positions = np.concatenate(atoms)
    positions -= positions.mean(axis=0)
    return positions * [-1, 1, 1] if left else positions


def density(positions: np.ndarray, width: float = 1.4) -> np.ndarray:
    axis = (np.arange(BOX) - BOX // 2) * VOXEL
    factors = [np.exp(-0.5 * ((axis - positions[:, i, None]) / width) ** 2) for i in range(3)]
    return np.einsum("nx,ny,nz->zyx", *factors).astype(np.float32)


def bundle(*, left: bool = False, seed: int = 0) -> np.ndarray:
    """Six helices side by side, each turned about its axis, up and down, together in any pose."""
    rng = np.random.default_rng(seed)
    places = []
    for number in range(6):
        one = helix(18, left=left)
        phase = rng.uniform(0, 2 * np.pi)
        spin = np.array(
            [[np.cos(phase), -np.sin(phase), 0], [np.sin(phase), np.cos(phase), 0], [0, 0, 1]]
        )
        one = one @ spin.T * ([1, -1, -1] if number % 2 else [1, 1, 1])
        places.append(one + np.array([10 * (number % 3) - 10, 10 * (number // 3) - 5, 0]))
    rotation, _ = np.linalg.qr(rng.standard_normal((3, 3)))
    return np.concatenate(places) @ (rotation * np.linalg.det(rotation)).T


@pytest.mark.parametrize("seed", range(3))
def test_right_handed_helices_are_told_and_their_mirror_image_is_the_opposite(seed):
    volume = density(bundle(seed=seed))
    found = handedness(volume, voxel_size=VOXEL)
    assert found.told
    assert found.excess > 0.4
    mirrored = handedness(volume[:, :, ::-1].copy(), voxel_size=VOXEL)
    assert mirrored.excess == pytest.approx(-found.excess, abs=0.02)


def test_left_handed_helices_are_told():
    found = handedness(density(bundle(left=True)), voxel_size=VOXEL)
    assert found.told
    assert found.excess < -0.4


def test_scale_and_voxels_that_are_not_cubic_boxes_do_not_matter():
    volume = density(bundle())
    found = handedness(volume, voxel_size=VOXEL)
    again = handedness(1e-3 * volume[4:, 6:, :-2], voxel_size=VOXEL)
    assert again.excess == pytest.approx(found.excess, abs=0.05)


def test_straight_rods_and_noise_tell_nothing():
    along = np.linspace(-14, 14, 57)
    rods = [
        np.stack([np.full(57, x), np.full(57, y), along], axis=1)
        for x in (-10, 0, 10)
        for y in (-5, 5)
    ]
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((BOX,) * 3).astype(np.float32)
    straight = density(np.concatenate(rods))
    for volume in (noise, straight + 0.3 * straight.max() * noise):
        assert not handedness(volume, voxel_size=VOXEL).told


def test_copies_by_symmetry_do_not_make_chance_sure():
    # Of eight maps of noise, five were told when each copy counted as a rod of its own.
    size = 63
    along = np.arange(size) - size // 2
    ball = along[:, None, None] ** 2 + along[:, None] ** 2 + along**2 < 28**2
    for seed in range(4):
        noise = np.random.default_rng(seed).standard_normal((size,) * 3)
        total = gaussian_filter(noise, 1.2)
        for axes in ((0, 1), (1, 2)):
            total = sum(np.rot90(total, quarter, axes) for quarter in range(4))
        total = sum(np.transpose(total, np.roll(range(3), shift)) for shift in range(3))
        found = handedness((total * ball).astype(np.float32), voxel_size=1.6)
        assert found.rods > 50
        assert not found.told


@pytest.mark.parametrize(
    "volume", [np.zeros((20, 20, 20), np.float32), np.ones((9, 8, 7), np.float32)]
)
def test_an_empty_map_has_no_rods(volume):
    found = handedness(volume, voxel_size=1.0)
    assert found.rods == 0
    assert np.isnan(found.excess)
    assert not found.told
