import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import shift_image, to_spectrum
from cryojax_graph.forward.grouping import plan_groups
from cryojax_graph.forward.image import (
    gaussian_image,
    inner_product,
    log_likelihood,
    map_image,
    optimal_scale,
    view,
)
from cryojax_graph.forward.slices import volume_spectrum

BOX, PIXEL = 32, 2.0
RNG = np.random.default_rng(0)
POSITIONS = jnp.asarray(RNG.normal(size=(20, 3)) * 6, jnp.float32)
MASSES = jnp.asarray(RNG.uniform(5, 10, 20), jnp.float32)
WIDTHS = jnp.asarray(RNG.uniform(1.5, 2.5, 20), jnp.float32)
ROTATION = jnp.asarray(np.linalg.qr(RNG.normal(size=(3, 3)))[0], jnp.float32)
CTF_1 = CTF(*(np.float32(v) for v in (12000.0, 11000.0, 0.4, 300.0, 2.7, 0.07, 0.2, 30.0)))
SHIFT = jnp.array([3.0, -5.0])

render = jax.jit(gaussian_image, static_argnames=("box", "integrate"))
likelihood = jax.jit(log_likelihood)
spectrum_of = jax.jit(to_spectrum)


def oracle(scale: float) -> np.ndarray:
    """The whole model, written out in float64."""
    x, y = (np.asarray(POSITIONS, float) @ np.asarray(ROTATION[:2], float).T - SHIFT).T
    u = (np.arange(BOX) - BOX // 2) * PIXEL
    image = sum(
        m / (2 * np.pi * w**2) * np.exp(-((u[:, None] - b) ** 2 + (u - a) ** 2) / (2 * w**2))
        for a, b, m, w in zip(
            x, y, np.asarray(MASSES, float), np.asarray(WIDTHS, float), strict=True
        )
    )
    ky, kx = np.fft.fftfreq(BOX, PIXEL)[:, None], np.fft.rfftfreq(BOX, PIXEL)
    k2, theta = kx**2 + ky**2, np.arctan2(ky, kx)
    u1, v1, angle, kv, cs, w, phase, b = (float(value) for value in CTF_1)
    volts = kv * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    defocus = (u1 + v1) / 2 + (u1 - v1) / 2 * np.cos(2 * (theta - angle))
    chi = np.pi * wavelength * defocus * k2 - np.pi / 2 * cs * 1e7 * wavelength**3 * k2**2 + phase
    ctf = (np.sqrt(1 - w**2) * np.sin(chi) + w * np.cos(chi)) * np.exp(-b * k2 / 4)
    return scale * np.fft.irfft2(np.fft.rfft2(image) * ctf)


def test_agrees_with_the_model_written_out():
    image = render(
        POSITIONS, MASSES, WIDTHS, ROTATION, SHIFT, CTF_1, 1.3, box=BOX, pixel_size=PIXEL
    )
    expected = oracle(1.3)
    np.testing.assert_allclose(image, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("windowed", [False, True])
def test_no_product_is_left_to_the_precision_of_an_accelerator(windowed):
    plan = plan_groups(np.asarray(POSITIONS), np.asarray(WIDTHS), pixel_size=PIXEL, size=8)

    def total(positions):
        pose = ROTATION, SHIFT, CTF_1
        drawn = plan if windowed else None
        return gaussian_image(
            positions, MASSES, WIDTHS, *pose, box=BOX, pixel_size=PIXEL, plan=drawn
        ).sum()

    program = str(jax.make_jaxpr(jax.value_and_grad(total))(POSITIONS))
    assert program.count("dot_general[") >= 3
    assert program.count("precision=(Precision.HIGHEST") == program.count("dot_general[")


def test_windows_change_nothing():
    plan = plan_groups(
        np.asarray(POSITIONS), np.asarray(WIDTHS), pixel_size=PIXEL, size=8, reach=5.5
    )
    arguments = POSITIONS, MASSES, WIDTHS, ROTATION, SHIFT, CTF_1
    grouped = render(*arguments, box=BOX, pixel_size=PIXEL, plan=plan)
    dense = render(*arguments, box=BOX, pixel_size=PIXEL)
    np.testing.assert_allclose(grouped, dense, atol=2e-5 * float(jnp.abs(dense).max()))


def test_moving_the_image_by_its_shift_centres_the_particle():
    # Wide enough to be sampled without aliasing, which a shift by phases would move.
    arguments = POSITIONS, MASSES, 2.0 * WIDTHS, ROTATION
    displaced = render(*arguments, SHIFT, CTF_1, box=BOX, pixel_size=PIXEL)
    centred = render(*arguments, jnp.zeros(2), CTF_1, box=BOX, pixel_size=PIXEL)
    moved = shift_image(displaced, SHIFT, pixel_size=PIXEL)
    tolerance = 1e-3 * float(jnp.abs(centred).max())
    np.testing.assert_allclose(moved[6:-6, 6:-6], centred[6:-6, 6:-6], atol=tolerance)


def test_a_point_at_the_origin_appears_opposite_to_the_shift():
    np.testing.assert_allclose(view(jnp.zeros((1, 3)), jnp.eye(3), SHIFT), -SHIFT[None])


def test_a_map_and_its_atoms_give_the_same_image():
    """Atoms drawn into a map by its own definition, then sliced."""
    u = (np.arange(BOX) - BOX // 2) * PIXEL
    width = 4.0
    volume = (
        sum(
            m
            * np.exp(
                -((u[:, None, None] - z) ** 2 + (u[:, None] - y) ** 2 + (u - x) ** 2)
                / (2 * width**2)
            )
            for (x, y, z), m in zip(np.asarray(POSITIONS), np.asarray(MASSES), strict=True)
        )
        / (2 * np.pi * width**2) ** 1.5
    )
    prepared = jax.jit(volume_spectrum)(jnp.asarray(volume, jnp.float32), voxel_size=PIXEL)
    pose = ROTATION, SHIFT, CTF_1
    sliced = jax.jit(map_image, static_argnames="box")(
        prepared, *pose, 2.0, box=BOX, pixel_size=PIXEL
    )
    widths = jnp.full(len(MASSES), width)
    drawn = render(POSITIONS, MASSES, widths, *pose, 2.0, box=BOX, pixel_size=PIXEL)
    error = jnp.abs(sliced - drawn).max() / jnp.abs(drawn).max()
    assert float(error) < 0.02


@pytest.mark.parametrize("box", [12, 13])
def test_white_likelihood_is_that_of_the_pixels(box):
    predicted, observed = jax.random.normal(jax.random.key(0), (2, box, box))
    computed = likelihood(spectrum_of(predicted), spectrum_of(observed), 2.5, 0.7)
    expected = (
        -0.5 * np.sum((np.asarray(observed, float) - 0.7 * np.asarray(predicted, float)) ** 2) / 2.5
    )
    np.testing.assert_allclose(computed, expected, rtol=1e-5)


def test_coloured_likelihood_is_that_of_the_whole_spectrum():
    box = 12
    predicted, observed = np.asarray(jax.random.normal(jax.random.key(1), (2, box, box)), float)
    k = np.hypot(np.fft.fftfreq(box)[:, None], np.fft.fftfreq(box))
    power = 1.0 + 5.0 * np.exp(-10 * k)
    residual = np.fft.fft2(observed - predicted)
    expected = -0.5 * (np.abs(residual) ** 2 / power).sum() / box**2
    half = jnp.asarray(power[:, : box // 2 + 1], jnp.float32)
    spectra = (spectrum_of(jnp.asarray(image, jnp.float32)) for image in (predicted, observed))
    np.testing.assert_allclose(likelihood(*spectra, half, 1.0), expected, rtol=1e-5)


def test_the_optimal_scale_is_the_most_likely_one():
    predicted, noise = jax.random.normal(jax.random.key(2), (2, 12, 12))
    model, data = spectrum_of(predicted), spectrum_of(1.7 * predicted + noise)
    best = jax.jit(optimal_scale)(model, data, 1.0)
    values = [float(likelihood(model, data, 1.0, best + d)) for d in (-0.01, 0.0, 0.01)]
    assert values[1] == max(values)
    np.testing.assert_allclose(likelihood(model, data, 1.0), values[1], rtol=1e-6)
    assert float(best) == pytest.approx(1.7, abs=0.3)


def test_an_empty_prediction_has_no_scale_and_a_finite_gradient():
    empty, data = jnp.zeros((8, 5), complex), spectrum_of(jnp.ones((8, 8)))
    assert jax.jit(optimal_scale)(empty, data, 1.0) == 0.0
    gradient = jax.jit(jax.grad(lambda real: likelihood(real + 0j, data, 1.0)))(jnp.zeros((8, 5)))
    assert jnp.isfinite(gradient).all()


def test_inner_product_of_an_image_with_itself_is_its_energy():
    image = jax.random.normal(jax.random.key(3), (9, 9))
    np.testing.assert_allclose(
        inner_product(spectrum_of(image), spectrum_of(image), 1.0), (image**2).sum(), rtol=1e-5
    )


def test_drawn_in_windows_it_is_differentiated_in_reverse_mode_only():
    plan = plan_groups(np.asarray(POSITIONS), np.asarray(WIDTHS), pixel_size=PIXEL)

    def power(positions):
        image = gaussian_image(
            positions, MASSES, WIDTHS, ROTATION, SHIFT, CTF_1, box=BOX, pixel_size=PIXEL, plan=plan
        )
        return jnp.sum(image**2)

    assert jnp.isfinite(jax.grad(power)(POSITIONS)).all()
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(power, (POSITIONS,), (POSITIONS,))


@pytest.mark.parametrize("integrate", [False, True])
def test_a_width_of_0_has_no_gradient(integrate):
    def power(widths):
        image = gaussian_image(
            POSITIONS,
            MASSES,
            widths,
            ROTATION,
            SHIFT,
            CTF_1,
            box=BOX,
            pixel_size=PIXEL,
            integrate=integrate,
        )
        return jnp.sum(image**2)

    value, gradient = jax.value_and_grad(power)(WIDTHS.at[0].set(0.0))
    assert bool(jnp.isfinite(value)) == integrate
    assert not jnp.isfinite(gradient).all()
