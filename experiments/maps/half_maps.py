"""Half-maps of known structures: density, a B-factor, and white noise of its own in each half."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.forward import sharpen
from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.jobs.pose.reference import density_of_model


class Case(NamedTuple):
    """A pair of half-maps to be made; noise is in units of the map's standard deviation."""

    entry: str
    box: int
    voxel_size: float
    b_factor: float
    noise: float


CASES = {
    "heterodimer, 1.4 Å voxels": Case("1a9x", 128, 1.4, 100.0, 3.0),
    "tetramer, 1.2 Å voxels": Case("1n7g", 128, 1.2, 60.0, 6.0),
    "lysozyme, 1.0 Å voxels": Case("154l", 96, 1.0, 120.0, 1.0),
}


def true_map(atoms: AtomTable, case: Case) -> Float[np.ndarray, "box box box"]:
    """Density with the B-factor of the case; its standard deviation is 1."""
    density = density_of_model(atoms, case.entry, box=case.box, voxel_size=case.voxel_size)
    blurred = np.asarray(
        sharpen(
            density,
            jnp.ones(case.box // 2 + 1),
            b_factor=-case.b_factor,
            resolution=2 * case.voxel_size,
            voxel_size=case.voxel_size,
        )
    )
    return blurred / blurred.std()


def half_maps(truth: Float[np.ndarray, "box box box"], noise: float, seed: int) -> np.ndarray:
    """Two halves with independent white noise."""
    drawn = np.random.default_rng(seed).standard_normal((2, *truth.shape), np.float32)
    return truth.astype(np.float32) + np.float32(noise) * drawn
