import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.density import density_of_atoms, density_of_gaussians


def atoms(count: int, reach: float):
    rng = np.random.default_rng(0)
    positions = rng.uniform(-reach, reach, (count, 3)).astype(np.float32)
    kind = rng.integers(0, 2, count)
    return jnp.asarray(positions), jnp.asarray(kind)


MASSES = jnp.array([[2.0, 1.0], [0.5, 3.0]])
WIDTHS = jnp.array([[1.6, 2.4], [1.8, 2.0]])


@pytest.mark.parametrize(("box", "voxel"), [(24, 1.5), (25, 1.5), (20, 2.0)])
def test_atoms_are_the_sum_of_their_gaussians(box, voxel):
    """Broad Gaussians have nothing beyond Nyquist: their samples are the band-limited map."""
    positions, kind = atoms(30, 8.0)
    broad = WIDTHS * voxel / 1.5
    found = density_of_atoms(positions, kind, MASSES, broad, box=box, voxel_size=voxel)
    expected = density_of_gaussians(
        jnp.repeat(positions, 2, axis=0),
        MASSES[kind].ravel(),
        broad[kind].ravel(),
        box=box,
        voxel_size=voxel,
    )
    assert np.abs(found - expected).max() < 4e-3 * np.abs(expected).max()


def test_sharp_atoms_keep_their_mass_and_place():
    positions, kind = atoms(40, 9.0)
    sharp = 0.2 * WIDTHS
    box, voxel = 32, 1.2
    found = np.asarray(density_of_atoms(positions, kind, MASSES, sharp, box=box, voxel_size=voxel))
    mass = np.asarray(MASSES).sum(1)[np.asarray(kind)]
    assert found.sum() * voxel**3 == pytest.approx(mass.sum(), rel=1e-4)
    axis = (np.arange(box) - box // 2) * voxel
    centre = [
        (found.sum(axis=others) * axis).sum() / found.sum() for others in ((0, 1), (0, 2), (1, 2))
    ]
    expected = (mass[:, None] * np.asarray(positions)).sum(0) / mass.sum()
    # What is cut off at Nyquist rings to the edge of the box.
    np.testing.assert_allclose(centre, expected, atol=0.15)


def test_the_map_moves_with_its_atoms():
    positions, kind = atoms(10, 6.0)
    box, voxel = 20, 2.0

    def score(p):
        weight = jnp.asarray(np.random.default_rng(1).normal(size=(box,) * 3), jnp.float32)
        density = density_of_atoms(p, kind, MASSES, WIDTHS, box=box, voxel_size=voxel)
        return jnp.sum(weight * density)

    gradient = jax.grad(score)(positions)
    step = np.zeros_like(positions)
    step[3, 1] = 1e-2
    slope = (score(positions + step) - score(positions - step)) / 2e-2
    assert gradient[3, 1] == pytest.approx(float(slope), rel=2e-2)
