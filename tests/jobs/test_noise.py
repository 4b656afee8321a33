"""Noise of the optics groups of a set."""

from pathlib import Path

import numpy as np
import pytest

from cryojax_graph.io import new_particles, write_particles
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.noise import corner_noise, noise_of_groups, noise_of_spectra
from cryojax_graph.jobs.particles import ParticleSet, read_particle_set

BOX, IMAGES = 16, 400


def particles_of(folder: Path, values: np.ndarray, group: np.ndarray | None) -> ParticleSet:
    write_stack(folder / "s.mrcs", values, pixel_size=3.0, half=values.dtype == np.float16)
    ones = np.ones(IMAGES)
    fields = {
        "image_path": np.full(IMAGES, "s.mrcs", np.dtypes.StringDType()),
        "image_index": np.arange(IMAGES),
        "pixel_size": 3.0 * ones,
        "box": np.full(IMAGES, BOX),
        "defocus_u": 1e4 * ones,
        "defocus_v": 1e4 * ones,
        "defocus_angle_degrees": 0 * ones,
        "voltage_kv": 300 * ones,
        "spherical_aberration_mm": 2.7 * ones,
        "amplitude_contrast": 0.1 * ones,
    }
    if group is not None:
        fields["optics_group"] = group
    write_particles(new_particles(folder / "p.star", fields), folder / "p.star")
    return read_particle_set(folder / "p.star", image_root=None)


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_groups_differ_by_their_variance_in_every_shell(tmp_path, dtype):
    group = np.where(np.arange(IMAGES) % 4 == 0, 7, 3)
    noise = np.random.default_rng(0).standard_normal((IMAGES, BOX, BOX))
    values = (noise * np.where(group == 7, 2.0, 1.0)[:, None, None]).astype(dtype)
    found = noise_of_groups(particles_of(tmp_path, values, group))
    np.testing.assert_array_equal(found.group, np.where(group == 7, 1, 0))
    np.testing.assert_allclose(found.ratio[0, 1:], 4**-0.25, rtol=0.25)
    np.testing.assert_allclose(found.ratio[1, 1:], 4**0.75, rtol=0.25)
    # The mean is that over the images.
    np.testing.assert_allclose(np.prod(found.ratio[found.group], axis=0), 1.0, rtol=1e-6)


def test_few_images_do_not_make_a_group_quiet_by_chance(tmp_path):
    group = np.where(np.arange(IMAGES) < 60, np.arange(IMAGES), 100)
    values = np.random.default_rng(1).standard_normal((IMAGES, BOX, BOX)).astype(np.float32)
    found = noise_of_groups(particles_of(tmp_path, values, group))
    assert len(found.ratio) == 61
    assert np.abs(np.log(found.ratio)).max() < 0.6
    # Where a group is large it is believed, however far it is from the others.
    values[group == 100] *= 3
    found = noise_of_groups(particles_of(tmp_path, values, group))
    usual = np.log(found.ratio[:60, 4:]).mean()
    assert np.log(found.ratio[60, 4:]).mean() - usual == pytest.approx(np.log(9), rel=0.5)


def test_images_without_groups_are_one_and_those_without_noise_have_finite_ratios(tmp_path):
    values = np.zeros((IMAGES, BOX, BOX), np.float32)
    found = noise_of_groups(particles_of(tmp_path, values, None))
    np.testing.assert_allclose(found.ratio, 1.0)
    values[::2] = np.random.default_rng(0).standard_normal((BOX, BOX))
    found = noise_of_groups(particles_of(tmp_path, values, np.arange(IMAGES) % 2))
    assert np.isfinite(np.float32(found.ratio)).all()
    assert (np.float32(found.ratio) > 0).all()
    assert np.isfinite(np.float32(1 / found.ratio)).all()


def test_corners_tell_the_noise_unless_they_are_empty():
    noise = np.random.default_rng(0).standard_normal((IMAGES, BOX, BOX)).astype(np.float32)
    np.testing.assert_allclose(corner_noise(3 * noise)[1:], 9.0, rtol=0.3)
    found = noise_of_spectra(np.fft.rfft2(3 * noise))
    np.testing.assert_allclose(found, corner_noise(3 * noise), rtol=1e-4)
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    assert corner_noise(noise * (np.hypot(x, y) < 0.4 * BOX)) is None
