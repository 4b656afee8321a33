import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.metrics.ensembles import (
    best_constant_structure,
    constant_distortion,
    explained_fraction,
    principal_floor,
    rmsd_per_image,
    superposed_rmsd_per_image,
)

RNG = np.random.default_rng(0)
# More images than are superposed at one time, and not a multiple of them.
SCORES = RNG.normal(size=(300, 2)) * [0.8, 0.3]
SHAPE = RNG.normal(0, 8, (20, 3))
MODES = RNG.normal(size=(2, 20, 3))
TRUTH = (SHAPE + np.einsum("ik,knd->ind", SCORES, MODES)).astype(np.float32)


def kabsch_rmsd(mobile: np.ndarray, target: np.ndarray) -> float:
    x, y = (p - p.mean(0, dtype=float) for p in (mobile, target))
    u, s, vt = np.linalg.svd(x.T @ y)
    s[2] *= np.sign(np.linalg.det(u @ vt))
    return np.sqrt(max(((x**2).sum() + (y**2).sum() - 2 * s.sum()) / len(x), 0))


def turned(conformations: np.ndarray) -> np.ndarray:
    rotations = Rotation.random(len(conformations), rng=np.random.default_rng(1)).as_matrix()
    shifts = np.random.default_rng(2).normal(0, 20, (len(conformations), 1, 3))
    return (conformations @ rotations + shifts).astype(np.float32)


def test_rmsd_of_every_image_in_frame():
    moved = TRUTH + np.float32(2) * np.eye(3, dtype=np.float32)[0]
    np.testing.assert_allclose(rmsd_per_image(moved, TRUTH), 2, rtol=1e-5)


def test_superposed_rmsd_agrees_with_kabsch_for_every_image():
    other = turned(TRUTH[::-1])
    expected = [kabsch_rmsd(a, b) for a, b in zip(other, TRUTH, strict=True)]
    np.testing.assert_allclose(superposed_rmsd_per_image(other, TRUTH), expected, atol=1e-4)


def test_constant_distortion_is_what_all_images_share():
    bend = RNG.normal(size=(20, 3)).astype(np.float32)
    noise = RNG.normal(size=TRUTH.shape).astype(np.float32)
    shared = constant_distortion(turned(TRUTH + bend), TRUTH)
    alone = superposed_rmsd_per_image(
        (SHAPE + bend)[None].astype(np.float32), SHAPE[None].astype(np.float32)
    )
    np.testing.assert_allclose(shared, alone[0], rtol=0.05)
    assert constant_distortion(turned(TRUTH), TRUTH) < 1e-4
    assert constant_distortion(TRUTH + noise, TRUTH) < 3 * np.sqrt(3 / 300)


def test_best_constant_structure_is_better_than_any_conformation_and_any_change():
    def mean_square(structure):
        repeated = np.broadcast_to(structure.astype(np.float32), TRUTH.shape)
        return (superposed_rmsd_per_image(repeated, TRUTH).astype(float) ** 2).mean()

    best = best_constant_structure(turned(TRUTH))
    assert mean_square(best) < min(mean_square(TRUTH[i]) for i in range(0, 300, 60))
    for seed in range(5):
        change = np.random.default_rng(seed).normal(0, 0.1, best.shape)
        assert mean_square(best) < mean_square(best + change)


def test_floor_falls_with_the_rank_and_vanishes_at_the_true_one():
    still = [principal_floor(TRUTH, rank=rank).mean() for rank in (0, 1, 2)]
    assert still[0] > still[1] > still[2]
    linear = (SHAPE + 0.02 * np.einsum("ik,knd->ind", SCORES, MODES)).astype(np.float32)
    assert principal_floor(linear, rank=2).mean() < 0.03 * principal_floor(linear, rank=0).mean()


def test_rank_zero_is_the_best_constant_structure():
    constant = np.broadcast_to(best_constant_structure(TRUTH), TRUTH.shape)
    expected = superposed_rmsd_per_image(constant, TRUTH)
    np.testing.assert_allclose(principal_floor(TRUTH, rank=0), expected, atol=1e-3)


@pytest.mark.parametrize(("error", "expected"), [(0.0, 1.0), (1.0, 0.75), (2.0, 0.0), (4.0, -3.0)])
def test_explained_fraction_of_squared_deviation(error, expected):
    assert explained_fraction(np.full(3, error), np.full(3, 2.0)) == expected


def test_floors_of_adenylate_kinase_are_the_published_ones(shared_data):
    """Means over the frames; the anchors are given for images that draw the frames at random."""
    with np.load(shared_data / "trajectories" / "adk_dims.npz") as file:
        frames = file["coords"][:, file["atom_names"] == "CA"]
        expected = file["ca_rmsd_to_first"]
    template = superposed_rmsd_per_image(np.broadcast_to(frames[0], frames.shape), frames)
    np.testing.assert_allclose(template, expected, atol=2e-3)
    figures = [principal_floor(frames, rank=rank).mean() for rank in (0, 1, 2, 8)]
    np.testing.assert_allclose(figures, [2.14, 0.70, 0.49, 0.31], atol=0.03)
