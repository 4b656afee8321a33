"""Quality of two maps as a job has it: arrays in, arrays out."""

from dataclasses import replace
from importlib import import_module

import jax
import numpy as np
import pytest

from cryojax_graph.io import InputError
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.jobs.map_quality import (
    QualitySettings,
    assess,
    find_mask,
    local_resolution,
    sharpened_map,
)
from cryojax_graph.jobs.pose.reference import density_of_model
from cryojax_graph.metrics import half_spectrum, real_map, spectral_radius

BOX, VOXEL = 64, 2.0
KEY = jax.random.key(0)


def ball(radius: float, edge: float = 4.0) -> np.ndarray:
    axis = (np.arange(BOX) - BOX // 2) ** 2
    distance = np.sqrt(axis[:, None, None] + axis[:, None] + axis)
    return (1 / (1 + np.exp((distance - radius) / edge * 4))).astype(np.float32)


def halves(b_factor: float = 100.0, noise: float = 1.0, seed: int = 0) -> np.ndarray:
    """A lump of density with detail that fades by a B-factor, and noise apart in each half."""
    random = np.random.default_rng(seed)
    detail, *drawn = random.standard_normal((3, BOX, BOX, BOX)).astype(np.float32)
    square = (spectral_radius(BOX) / (BOX * VOXEL)) ** 2
    inside = ball(16) * (1 + detail)
    signal = real_map(half_spectrum(inside) * np.exp(-b_factor / 4 * square))
    return (4 * signal + noise * np.stack(drawn)).astype(np.float32)


def test_the_mask_of_half_maps_lies_around_what_they_share():
    mask = find_mask(*halves(noise=3.0), voxel_size=VOXEL)
    assert mask[ball(14) > 0.5].min() > 0.9
    assert not mask[ball(29) < 0.5].any()


@pytest.mark.parametrize("name", ["adk_dims", "fab_elbow", "barstar"])
def test_the_mask_of_a_real_molecule_holds_its_atoms(shared_data, name):
    atoms = read_atoms(shared_data / f"trajectories/{name}_template.pdb")
    placed = (atoms.positions - atoms.positions.mean(axis=0)).astype(np.float32)
    element = np.where(atoms.element == "", "C", atoms.element)
    density = density_of_model(
        replace(atoms, positions=placed, element=element), name, box=BOX, voxel_size=VOXEL
    )
    signal = np.asarray(density) / float(np.std(density))
    noise = np.random.default_rng(0).standard_normal((2, BOX, BOX, BOX)).astype(np.float32)
    mask = find_mask(*(signal + 3 * noise), voxel_size=VOXEL)
    voxel = np.rint(placed[:, ::-1] / VOXEL).astype(int) + BOX // 2
    assert (mask[tuple(voxel.T)] > 0.99).mean() > 0.99
    # Volume of the molecule: 1.2 Å³ for each of its daltons, about 14 for each heavy atom. The mask
    # reaches 12 Å further, which is much beside a small protein.
    assert (mask > 0.5).sum() * VOXEL**3 < 9 * 1.2 * 14 * len(atoms)


def test_the_noise_of_confined_maps_is_that_inside(monkeypatch):
    told = []

    def record(density, *, noise, **more):
        told.append(noise)
        return density

    # The package has a function of the module's name.
    module = import_module("cryojax_graph.jobs.map_quality.assess")
    monkeypatch.setattr(module, "automatic_mask", record)
    free = halves(noise=3.0)
    confined = free * (ball(20) > 0.5)
    find_mask(*free, voxel_size=VOXEL)
    find_mask(*confined, voxel_size=VOXEL)
    # Blurring takes some of the edge away.
    assert 0.85 < told[1] / told[0] < 1.02
    find_mask(*np.zeros_like(free), voxel_size=VOXEL)
    assert told[2] == 0.0


def test_noise_has_no_mask():
    noise = np.random.default_rng(0).standard_normal((2, BOX, BOX, BOX)).astype(np.float32)
    with pytest.raises(ValueError, match="stands out of the noise"):
        find_mask(*noise, voxel_size=VOXEL)


def test_noise_alone_has_no_resolution():
    noise = np.random.default_rng(1).standard_normal((2, BOX, BOX, BOX)).astype(np.float32)
    quality = assess(KEY, *noise, ball(18), voxel_size=VOXEL)
    assert quality.resolution > 16.0
    assert abs(quality.curves.corrected[12:].mean()) < 0.1
    assert quality.b_factor is None


def test_less_noise_gives_higher_resolution_and_a_b_factor_near_that_put_in():
    found = [assess(KEY, *halves(noise=n), ball(22), voxel_size=VOXEL) for n in (0.02, 0.5, 3.0)]
    resolutions = [quality.resolution for quality in found]
    assert resolutions == sorted(resolutions)
    assert resolutions[0] < 4.3
    # 5.6 to 6.3 Å by ten draws of the random phases.
    assert resolutions[2] > 5.4
    assert found[0].b_factor == pytest.approx(100.0, abs=10.0)


def test_sharpening_brings_amplitudes_back():
    quality = assess(KEY, *halves(noise=0.02), ball(22), voxel_size=VOXEL)
    sharpened = sharpened_map(quality)
    before, after = (abs(half_spectrum(m)) for m in (quality.density, sharpened))
    radius = spectral_radius(BOX)
    ends = [abs(radius - shell) < 0.5 for shell in (15, 28)]
    assert before[ends[1]].mean() < 0.6 * before[ends[0]].mean()
    assert after[ends[1]].mean() == pytest.approx(after[ends[0]].mean(), rel=0.2)
    untouched = sharpened_map(quality, b_factor=0.0)
    assert abs(half_spectrum(untouched))[ends[1]].mean() < after[ends[1]].mean()


def test_a_map_against_the_truth_has_no_b_factor():
    quality = assess(KEY, *halves(), ball(22), voxel_size=VOXEL, threshold=0.5, half_maps=False)
    assert quality.guinier is None
    assert quality.b_factor is None


def test_local_resolution_finds_the_side_that_is_blurred():
    first, second = halves(b_factor=20.0, noise=1.0)
    left = (np.arange(BOX) < BOX // 2)[:, None, None]
    coarse = spectral_radius(BOX) < BOX * VOXEL / 12.0
    drawn = np.random.default_rng(5).standard_normal((2, BOX, BOX, BOX)).astype(np.float32)
    maps = [
        np.where(left, real_map(half_spectrum(m) * coarse) + n, m).astype(np.float32)
        for m, n in zip((first, second), drawn, strict=True)
    ]
    told = []
    found = local_resolution(
        KEY,
        *maps,
        ball(20),
        voxel_size=VOXEL,
        settings=QualitySettings(local_sampling=16.0),
        each=lambda done, total: told.append((done, total)),
    )
    assert found.values.shape == (BOX,) * 3
    blurred, sharp = found.values[16, 32, 32], found.values[44, 32, 32]
    assert blurred > 9.0
    assert sharp < 5.5
    assert told[-1] == (len(found.spheres), len(found.spheres))
    assert found.values[0, 0, 0] == QualitySettings().local_lowest


def test_what_the_edge_of_a_sphere_correlates_is_no_local_resolution():
    """Detail ends at 27 Å; a window of 25 Å carries it on into the shells next to that."""
    box, voxel = 96, 4.0
    random = np.random.default_rng(0)
    detail, *noise = random.standard_normal((3, box, box, box)).astype(np.float32)
    coarse = real_map(half_spectrum(detail) * (spectral_radius(box) < box * voxel / 27.0))
    maps = coarse / coarse.std() + 0.05 * np.stack(noise)
    mask = np.zeros((box,) * 3, np.float32)
    mask[34:63, 34:63, 34:63] = 1.0
    found = local_resolution(KEY, *maps.astype(np.float32), mask, voxel_size=voxel)
    assert len(found.spheres) >= 27
    assert np.median(found.spheres) > 20.0


def test_a_mask_without_a_place_for_a_sphere_is_refused():
    first, second = halves()
    empty = np.zeros_like(first)
    with pytest.raises(ValueError, match="no place"):
        local_resolution(KEY, first, second, empty, voxel_size=VOXEL)


@pytest.mark.parametrize(
    "wrong", [{"randomise_below": 1.0}, {"cone_half_angle": 91.0}, {"local_sampling": 0.0}]
)
def test_settings_that_mean_nothing_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong)).replace("_", "-")):
        QualitySettings(**wrong)


def test_beyond_what_halves_are_known_to_share_nothing_counts():
    maps = halves(noise=0.02)
    free, held = (assess(KEY, *maps, ball(22), voxel_size=VOXEL, shared=n) for n in (None, 6))
    assert free.resolution < 4.3
    np.testing.assert_array_equal(held.curves.corrected[:6], free.curves.corrected[:6])
    assert not held.curves.corrected[6:].any()
    assert held.resolution > BOX * VOXEL / 7


@pytest.mark.parametrize("axes", [1, 2])
def test_too_few_cones_are_refused(axes):
    with pytest.raises(InputError, match="cone-axes"):
        QualitySettings(cone_axes=axes)
