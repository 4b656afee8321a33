from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.poses.symmetry import SelfLikeness, coarse_map, self_likeness

BOX, VOXEL, WIDTH = 36, 4.0, 5.0
RADII = jnp.linspace(1.0, 8.0, 12)
compare = jax.jit(partial(self_likeness, reach=BOX / 2 - 4))


def density(positions: np.ndarray, box: int = BOX, voxel: float = VOXEL) -> jax.Array:
    axis = (np.arange(box) - box // 2) * voxel
    x, y, z = (np.exp(-0.5 * ((axis - c[:, None]) / WIDTH) ** 2) for c in positions.T)
    return jnp.asarray(np.einsum("nz,ny,nx->zyx", z, y, x, optimize=True), jnp.float32)


def parts(group: str, count: int = 8) -> np.ndarray:
    """As many points as elements of a group, of each of some that have no symmetry."""
    own = np.random.default_rng(0).normal(size=(count, 3)) * [24.0, 14.0, 18.0] + [10.0, 6.0, 4.0]
    return np.concatenate([own @ element.T for element in symmetry_rotations(group)])


def agreement(found: SelfLikeness) -> np.ndarray:
    """Of each copy, shells by their amplitudes: some have nothing that differs by direction."""
    weight = np.sqrt(np.asarray(found.power, float))
    return np.asarray(found.correlation, float) @ weight / weight.sum()


@pytest.mark.parametrize("group", ["C3", "D2", "O", "I2"])
def test_a_map_is_like_itself_turned_by_its_own_group_and_by_no_other(group):
    points = parts(group)
    own = compare(density(points), jnp.asarray(symmetry_rotations(group), jnp.float32), RADII)
    assert agreement(own).min() > 0.95
    turned = Rotation.from_rotvec([[0.0, 0.0, 0.6], [0.8, 0.3, 0.0]]).as_matrix()
    other = compare(density(points), jnp.asarray(turned, jnp.float32), RADII)
    assert agreement(other).max() < 0.6


def test_the_correlation_is_that_of_the_turned_map_itself():
    """Beside a map of turned points, over coefficients on a grid instead of on spheres."""
    points, turn = parts("C1", 20), Rotation.from_rotvec([0.2, 0.3, 0.1]).as_matrix()
    found = compare(density(points), jnp.asarray(turn[None], jnp.float32), RADII)
    first, second = (np.fft.fftn(np.fft.ifftshift(density(p))) for p in (points, points @ turn))
    k = np.fft.fftfreq(BOX) * BOX
    frequency = np.stack(np.meshgrid(k, k, k, indexing="ij"), axis=-1)
    radius = np.linalg.norm(frequency, axis=-1)
    for number in (3, 6, 9):
        shell = abs(radius - float(RADII[number])) < 0.5
        # Of each map what is left of its shell when constant and slope are fitted.
        basis = np.concatenate([np.ones((shell.sum(), 1)), 1j * frequency[shell]], axis=1)
        left = []
        for spectrum in (first, second):
            values = spectrum[shell]
            left.append(values - basis @ np.linalg.lstsq(basis, values, rcond=None)[0])
        overlap = np.vdot(left[0], left[1]).real
        expected = overlap / np.sqrt(np.vdot(left[0], left[0]) * np.vdot(left[1], left[1])).real
        assert float(found.correlation[0, number]) == pytest.approx(expected, abs=0.12)


def test_a_small_shift_is_no_other_symmetry_and_a_large_one_is():
    points, elements = parts("D2"), jnp.asarray(symmetry_rotations("D2")[1:], jnp.float32)
    small = compare(density(points + np.array([1.5, 0, 0])), elements, RADII)
    large = compare(density(points + np.array([12.0, 0, 0])), elements, RADII)
    assert agreement(small).min() > 0.85
    assert agreement(large).min() < 0.5


def test_a_ball_does_not_differ_between_directions():
    axis = np.arange(BOX) - BOX // 2
    square = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    ball = jnp.asarray(np.exp(-square / 50), jnp.float32)
    nothing = compare(jnp.zeros_like(ball), jnp.eye(3)[None], RADII)
    assert float(compare(ball, jnp.eye(3)[None], RADII).share) < 1e-5
    assert float(compare(density(parts("O")), jnp.eye(3)[None], RADII).share) > 1e-3
    assert float(nothing.share) == 0.0
    assert float(jnp.abs(nothing.correlation).max()) == 0.0


@pytest.mark.parametrize("box", [35, 36, 60])
def test_a_map_on_other_voxels_is_the_same_map(box):
    """As long as both hold all of it: Gaussians of 5 Å end before 8 Å."""
    points = parts("C1")
    fine = density(points, box=48, voxel=3.0)
    found = coarse_map(fine, box=box)
    expected = density(points, box=box, voxel=48 * 3.0 / box)
    assert float(jnp.abs(found - expected).max()) < 0.01 * float(expected.max())
