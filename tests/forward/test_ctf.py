import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.ctf import CTF, contrast_transfer, electron_wavelength

transfer = jax.jit(contrast_transfer, static_argnames="box")


def oracle(ctf: CTF, box: int, pixel_size: float) -> np.ndarray:
    """RELION's formula as it stands, with angles, in float64."""
    u, v, angle, voltage, cs, w, phase, b = (np.float64(x) for x in ctf)
    ky, kx = np.fft.fftfreq(box, pixel_size)[:, None], np.fft.rfftfreq(box, pixel_size)
    k2, theta = kx**2 + ky**2, np.arctan2(ky, kx)
    volts = voltage * 1e3
    wavelength = 12.2643247 / np.sqrt(volts * (1 + volts * 0.978466e-6))
    defocus = (u + v) / 2 + (u - v) / 2 * np.cos(2 * (theta - angle))
    chi = np.pi * wavelength * defocus * k2
    chi += -np.pi / 2 * cs * 1e7 * wavelength**3 * k2**2 + phase
    return (np.sqrt(1 - w**2) * np.sin(chi) + w * np.cos(chi)) * np.exp(-b * k2 / 4)


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-30000, 30000),
    st.floats(-3000, 3000),
    st.floats(-4, 4),
    st.sampled_from([200.0, 300.0]),
    st.floats(0, 5),
    st.floats(0, 0.99),
    st.floats(0, 3.2),
    st.floats(0, 200),
)
def test_agrees_with_the_formula(u, astigmatism, angle, voltage, cs, w, phase, b):
    values = (u, u + astigmatism, angle, voltage, cs, w, phase, b)
    ctf = CTF(*(jnp.float32(value) for value in values))
    computed = transfer(ctf, box=32, pixel_size=jnp.float32(1.5))
    np.testing.assert_allclose(computed, oracle(ctf, 32, 1.5), atol=1e-4)


@pytest.mark.parametrize("box", [256, 255])
def test_large_phases_keep_their_accuracy(box):
    """The phase reaches 380 radians at 2 Å."""
    ctf = CTF(*(np.float32(value) for value in (25000.0, 23000.0, 0.5)))
    computed = transfer(ctf, box=box, pixel_size=np.float32(1.0))
    np.testing.assert_allclose(computed, oracle(ctf, box, 1.0), atol=1e-4)


def test_protein_is_white():
    """Underfocus makes the first lobe positive, and amplitude contrast lifts the origin."""
    values = np.asarray(
        transfer(CTF(15000.0, 15000.0, amplitude_contrast=0.1), box=64, pixel_size=2.0)
    )
    assert values[0, 0] == pytest.approx(0.1, abs=1e-6)
    assert (values[0, :5] > 0).all()


def test_wavelength_at_300_kv():
    assert float(electron_wavelength(300.0)) == pytest.approx(0.019687, abs=1e-6)


def test_defocus_u_lies_along_the_defocus_angle():
    ctf = CTF(20000.0, 10000.0, np.pi / 2, spherical_aberration=0.0)
    astigmatic = transfer(ctf, box=32, pixel_size=2.0)
    along_y = transfer(CTF(20000.0, 20000.0, spherical_aberration=0.0), box=32, pixel_size=2.0)
    along_x = transfer(CTF(10000.0, 10000.0, spherical_aberration=0.0), box=32, pixel_size=2.0)
    np.testing.assert_allclose(astigmatic[:, 0], along_y[:, 0], atol=1e-4)
    np.testing.assert_allclose(astigmatic[0], along_x[0], atol=1e-4)


def test_pure_amplitude_contrast_has_a_finite_gradient():
    def total(w):
        return contrast_transfer(CTF(1e4, 1e4, amplitude_contrast=w), box=8, pixel_size=2.0).sum()

    assert jnp.isfinite(jax.jit(jax.grad(total))(1.0))
