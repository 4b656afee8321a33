from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import filter_image
from cryojax_graph.forward.noise import noise_power, sample_noise
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.calibration import ShellSums, calibrate, shell_sums
from cryojax_graph.poses.refine import Pose

IMAGES, SHELLS = 200, np.arange(17)
GAIN = 2.0 * np.exp(-((SHELLS / 12) ** 2)) + 0.3
NOISE = 2e-4 * (1 + 3 / (1 + SHELLS))


def poses(seed: int) -> Pose:
    rng = np.random.default_rng(seed)
    return Pose(
        jnp.asarray(Rotation.random(IMAGES, random_state=seed).as_matrix(), jnp.float32),
        jnp.asarray(rng.normal(size=(IMAGES, 2)) * 2, jnp.float32),
        jnp.asarray(rng.uniform(0.5, 2.0, IMAGES), jnp.float32),
    )


@pytest.fixture(scope="module")
def sums(particle) -> ShellSums:
    """Of images whose amplitudes and noise differ from shell to shell, at known poses."""
    band = fourier_band(particle.box, 2, 14)
    defocus = jnp.asarray(np.random.default_rng(1).uniform(8e3, 2e4, IMAGES), jnp.float32)
    gain = noise_power(jnp.asarray(GAIN, jnp.float32), box=32)
    power = noise_power(jnp.asarray(NOISE, jnp.float32), box=32)

    @jax.jit
    def total(poses, defocus, keys):
        def one(pose, defocus, key):
            ctf = CTF(defocus, 0.9 * defocus, 0.3)
            clean = filter_image(particle.image(pose.rotation, pose.shift, ctf), gain)
            image = clean + sample_noise(key, power, box=32)
            seen = observe(image, ctf, jnp.ones(17), band, pixel_size=particle.pixel_size)
            project = particle.project(band)
            return shell_sums(project, seen, pose, band, box=32, field=particle.field)

        return jax.tree.map(lambda a: a.sum(0), jax.vmap(one)(poses, defocus, keys))

    return total(poses(2), defocus, jax.random.split(jax.random.key(3), IMAGES))


def test_gain_and_noise_are_those_of_the_simulation(sums):
    found = calibrate(sums, box=32)
    np.testing.assert_allclose(found.gain[3:7], GAIN[3:7], rtol=0.05)
    deviation = np.sqrt(NOISE * 32**2 / np.maximum(np.asarray(sums.predicted), 1e-12))
    seen = found.gain > 0
    np.testing.assert_array_equal(np.flatnonzero(seen), np.arange(2, seen.sum() + 2))
    assert (abs(found.gain - GAIN) < 4 * deviation)[seen].all()
    assert (found.gain[13:] == 0).all()
    np.testing.assert_allclose(found.noise[2:15], NOISE[2:15], rtol=0.06)


def test_shells_beyond_the_band_repeat_its_last(sums):
    found = calibrate(sums, box=32)
    np.testing.assert_array_equal(found.gain[[0, 1, 15, 16]], 0)
    np.testing.assert_array_equal(found.noise[:2], found.noise[2])
    np.testing.assert_array_equal(found.noise[15:], found.noise[14])


def test_sums_are_those_of_the_shells(particle, ctf):
    """One image against the definition, coefficient by coefficient of the whole plane."""
    band = fourier_band(32, 1, 10)
    pose = jax.tree.map(lambda a: a[0], poses(4))
    image = jax.random.normal(jax.random.key(5), (32, 32))
    see = jax.jit(partial(observe, band=band, pixel_size=particle.pixel_size))
    total = jax.jit(
        partial(shell_sums, particle.project(band), band=band, box=32, field=particle.field)
    )
    found = total(see(image, ctf, jnp.ones(17)), pose=pose)
    spectrum = np.fft.fft2(np.fft.ifftshift(np.asarray(image, float)))
    predicted = np.fft.fft2(
        np.fft.ifftshift(np.asarray(particle.image(pose.rotation, pose.shift, ctf), float))
    )
    k = np.rint(np.fft.fftfreq(32) * 32)
    radius = np.hypot(k[:, None], k)
    for shell in range(17):
        inside = (np.rint(radius) == shell) & (radius >= 1) & (radius <= 10)
        assert float(found.numbers[shell]) == inside.sum()
        power = (abs(spectrum) ** 2)[inside].sum()
        assert float(found.observed[shell]) == pytest.approx(power, rel=1e-4)
        expected = (abs(predicted) ** 2)[inside].sum()
        assert float(found.predicted[shell]) == pytest.approx(expected, rel=1e-2, abs=1e-4)
        overlap = (predicted * spectrum.conj()).real[inside].sum()
        tolerance = 1e-2 * np.sqrt(expected * power) + 1e-4
        assert float(found.overlap[shell]) == pytest.approx(overlap, abs=tolerance)


def test_what_the_images_do_not_show_has_no_gain():
    """A shell of noise, one that disagrees, one without prediction, among good ones."""
    numbers = np.full(9, 1e4)
    predicted = np.array([1, 1, 1, 1, 1, 1, 0, 1, 1]) * 1e4
    overlap = np.array([0.5, 0.5, 0.5, 2e-3, -0.5, 0.5, 0.0, 0.5, 0.04]) * 1e4
    observed = np.full(9, 1.25e4)
    arrays = (jnp.asarray(a, jnp.float32) for a in (overlap, predicted, observed, numbers))
    found = calibrate(ShellSums(*arrays), box=16)
    # Four standard deviations are seen, a fifth of one is not.
    np.testing.assert_allclose(found.gain, [0.5, 0.5, 0.5, 0, 0, 0.5, 0, 0.5, 0.04], rtol=1e-5)
    left = np.array([1, 1, 1, 1.25, 1.25, 1, 1.25, 1, 1.2484])
    np.testing.assert_allclose(found.noise * 256, left, rtol=1e-4)


def test_images_without_noise_leave_noise_above_zero():
    numbers = jnp.full(9, 100.0)
    found = calibrate(ShellSums(4 * numbers, 2 * numbers, 8 * numbers, numbers), box=16)
    np.testing.assert_allclose(found.gain, 2)
    assert (found.noise > 0).all()
    assert found.noise.max() < 1e-9
