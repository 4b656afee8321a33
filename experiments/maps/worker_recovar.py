"""The mean of particles by recovar, as its pipeline makes it; run by its own interpreter.

Halves, noise from the first of them, one pass over each, a prior from their FSC, and both filtered
by it: what its ``pipeline --mean-fn triangular_reg`` does before it goes on to heterogeneity.

    python worker_recovar.py PARTICLES.star MAP.mrc
"""

import sys
from pathlib import Path

import numpy as np
from recovar.data_io.halfsets import HalfsetDatasetSpec, load_halfset_dataset
from recovar.output.output import save_volume
from recovar.reconstruction.homogeneous import get_mean_conformation_relion
from recovar.reconstruction.noise import estimate_noise_variance

BATCH = 500


def main(particles: str, path: str) -> None:
    spec = HalfsetDatasetSpec(particles_file=particles)
    with Path(particles).open() as lines:
        count = sum("@" in line for line in lines)
    images = np.random.default_rng(0).permutation(count)
    middle = len(images) // 2
    halves = [np.sort(images[:middle]), np.sort(images[middle:])]
    dataset = load_halfset_dataset(spec, ind_split=halves)
    noise, _ = estimate_noise_variance(dataset.get_halfset_dataset(0, independent=False), BATCH)
    mean, _, _ = get_mean_conformation_relion(
        dataset,
        BATCH,
        noise_variance=noise,
        use_regularization=True,
        # Twice, its default, gave a map twice as large in the same box (version 1.0.5, processor).
        upsampling_factor=1,
    )
    save_volume(
        mean.combined,
        path.removesuffix(".mrc"),
        dataset.volume_shape,
        voxel_size=dataset.voxel_size,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
