"""Contrast transfer function of the microscope."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, frequency_indices

_SINE_COEFFICIENTS = (39.760722, -76.581285, 81.602481, -41.341681, 6.2831853)


class CTF(NamedTuple):
    """Parameters of the contrast transfer function of one image; angles in radians.

    Attributes:
        defocus_u: defocus along the major axis, Å, positive for underfocus.
        defocus_v: defocus perpendicular to it, Å.
        defocus_angle: angle from the x axis to the axis of ``defocus_u``, radians.
        voltage: acceleration voltage, kV.
        spherical_aberration: mm.
        amplitude_contrast: fraction of amplitude contrast, in [0, 1).
        phase_shift: of a phase plate, radians.
        b_factor: of the envelope exp(-B k² / 4), Å².
    """

    defocus_u: Scalar
    defocus_v: Scalar
    defocus_angle: Scalar = 0.0
    voltage: Scalar = 300.0
    spherical_aberration: Scalar = 2.7
    amplitude_contrast: Scalar = 0.1
    phase_shift: Scalar = 0.0
    b_factor: Scalar = 0.0


def electron_wavelength(voltage: Scalar) -> Float[Array, ""]:
    """Relativistic wavelength of an electron.

    Args:
        voltage: acceleration voltage, kV.

    Returns:
        wavelength in Å.
    """
    volts = jnp.asarray(voltage, float) * 1e3
    return 12.2643247 / jnp.sqrt(volts * (1.0 + volts * 0.978466e-6))


def contrast_transfer(ctf: CTF, *, box: int, pixel_size: Scalar) -> Float[Array, "y x"]:
    """Contrast transfer function in RELION's convention: protein white, positive near k = 0.

    CTF = sqrt(1 - w²) sin χ + w cos χ = sin(χ + arcsin w), with
    χ = π λ df(θ) k² - π/2 Cs λ³ k⁴ + phase shift and
    df(θ) = (u + v) / 2 + (u - v) / 2 cos(2 (θ - θ₀))
    (Rohou & Grigorieff 2015, eqs. 1-3, with the sign reversed).

    Args:
        ctf: parameters of one image.
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        factors of the coefficients of a half spectrum, shape (box, box // 2 + 1).
    """
    ky, kx = frequency_indices(box)
    return transfer_at(ctf, kx, ky[:, None], box=box, pixel_size=pixel_size)


def transfer_at(
    ctf: CTF,
    kx: Float[Array, "*#points"],
    ky: Float[Array, "*#points"],
    *,
    box: int,
    pixel_size: Scalar,
) -> Float[Array, "*points"]:
    """Contrast transfer function at any frequencies; as ``contrast_transfer``.

    Args:
        ctf: parameters of one image.
        kx: periods per box along x.
        ky: periods per box along y.
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        factors of the spectrum.
    """
    # Whole numbers are exact, and a phase of hundreds of radians needs every bit.
    y2, x2, xy = ky**2, kx**2, ky * kx
    step = 1.0 / (box * jnp.asarray(pixel_size, float))
    wavelength = electron_wavelength(ctf.voltage)
    mean = 0.5 * (jnp.asarray(ctf.defocus_u) + ctf.defocus_v)
    half_difference = 0.5 * (jnp.asarray(ctf.defocus_u) - ctf.defocus_v)
    axis = 2.0 * jnp.asarray(ctf.defocus_angle)
    # cos(2 (θ - θ₀)) k² is a quadratic form: no angle, hence no singularity at k = 0.
    astigmatism = jnp.cos(axis) * (x2 - y2) + jnp.sin(axis) * (2.0 * xy)
    aberration = 0.25e7 * jnp.asarray(ctf.spherical_aberration) * wavelength**3 * step**4
    turns = 0.5 * wavelength * step**2 * (mean * (x2 + y2) + half_difference * astigmatism)
    turns -= aberration * (x2 + y2) ** 2
    # Close to w = 1 the slope of arcsin is infinite.
    amplitude = jnp.arcsin(jnp.clip(jnp.asarray(ctf.amplitude_contrast), -0.999999, 0.999999))
    turns += (jnp.asarray(ctf.phase_shift) + amplitude) / (2.0 * jnp.pi)
    envelope = jnp.exp((-0.25 * jnp.asarray(ctf.b_factor) * step**2) * (x2 + y2))
    return _sine_of_turns(turns) * envelope


def _sine_of_turns(turns: Float[Array, "..."]) -> Float[Array, "..."]:
    """Sine of 2π times the argument, to 2e-7.

    The library's sine is not vectorised on a processor, where it would cost as much as the rest of
    an image. Counting in turns also keeps the reduction to one period exact.
    """
    turns = turns - jnp.round(turns)
    turns = jnp.where(jnp.abs(turns) > 0.25, jnp.copysign(0.5, turns) - turns, turns)
    # Chebyshev fit of sin(2πt) / t in t² on [0, 1/16].
    polynomial = jnp.asarray(_SINE_COEFFICIENTS, turns.dtype)
    return turns * jnp.polyval(polynomial, turns**2)
