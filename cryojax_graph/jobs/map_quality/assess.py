"""From two maps to what is known of their quality; arrays in, arrays out."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.forward import automatic_mask, blur_map, sharpen
from cryojax_graph.jobs.map_quality.settings import QualitySettings
from cryojax_graph.metrics import (
    ConicalFsc,
    FscCurves,
    GuinierFit,
    Handedness,
    conical_correlation,
    first_crossing,
    fit_b_factor,
    fsc_curves,
    half_spectrum,
    handedness,
    mean_amplitudes,
    shell_weights,
)

_DEFAULT = QualitySettings()
_sharpen = jax.jit(sharpen)
# At worse resolution, Å, helices do not show their turns.
_HAND_FROM = 8.0


class Quality(NamedTuple):
    """What two maps say of each other.

    Attributes:
        curves: Fourier shell correlation.
        cones: the same in cones around axes, of the masked maps.
        guinier: fall-off of the amplitudes of the density; None unless the maps are half-maps.
        density: of all images, or the mean of two half-maps; the first map where they are none.
        mask: factors from 0 to 1; None where none was used.
        voxel_size: Å.
        threshold: that ``resolution`` was read at.
        resolution: Å, of the corrected curve.
        hand: what helices say of the hand; None where resolution does not show their turns.
        settings: that all this was measured with.
    """

    curves: FscCurves
    cones: ConicalFsc
    guinier: GuinierFit | None
    density: Float[np.ndarray, "box box box"]
    mask: Float[np.ndarray, "box box box"] | None
    voxel_size: float
    threshold: float
    resolution: float
    hand: Handedness | None
    settings: QualitySettings

    @property
    def box_angstrom(self) -> float:
        """Edge of the maps, Å."""
        return len(self.density) * self.voxel_size

    @property
    def b_factor(self) -> float | None:
        """By which amplitudes fall, Å²; None where it was not fitted."""
        return None if self.guinier is None else self.guinier.b_factor


def find_mask(
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    *,
    voxel_size: float,
    settings: QualitySettings = _DEFAULT,
) -> Float[np.ndarray, "box box box"]:
    """A soft mask around what two half-maps have in common.

    Args:
        first: half-map, protein positive.
        second: the other one.
        voxel_size: Å.
        settings: of the mask.

    Returns:
        factors from 0 to 1.

    Raises:
        ValueError: nothing stands out of the noise, or what does fills the box.
    """
    difference = blur_map(first - second, settings.mask_low_pass, voxel_size=voxel_size)
    # Maps that are confined to a ball have no noise outside of it.
    held = difference[(first != 0) | (second != 0)]
    noise = 0.5 * float(held.std(dtype=np.float64)) if held.size else 0.0
    return automatic_mask(
        0.5 * (first + second),
        voxel_size=voxel_size,
        noise=noise,
        low_pass=settings.mask_low_pass,
        extend=settings.mask_extend,
        edge=settings.mask_edge,
    )


def assess(
    key: Key[Array, ""],
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    mask: Float[np.ndarray, "box box box"] | None,
    whole: Float[np.ndarray, "box box box"] | None = None,
    *,
    voxel_size: float,
    threshold: float = 0.143,
    half_maps: bool = True,
    shared: int | None = None,
    settings: QualitySettings = _DEFAULT,
) -> Quality:
    """Curves, cones and Guinier fit of two maps.

    Args:
        key: of the random phases.
        first: map.
        second: the other map.
        mask: factors from 0 to 1; None for none.
        whole: map of all images; the mean of half-maps when not given.
        voxel_size: Å.
        threshold: of the corrected curve, where resolution is read.
        half_maps: whether the maps are halves of one set; else the first is held against the
            second, and no B-factor is fitted.
        shared: shells beyond which the corrected curve is 0, as the maps are known to agree in
            nothing else than these, which they share; None where that is not known.
        settings: the rest.

    Returns:
        what was found.
    """
    curves = fsc_curves(key, first, second, mask, randomise_below=settings.randomise_below)
    if shared is not None:
        within = np.arange(len(curves.corrected)) < shared
        curves = curves._replace(corrected=np.where(within, curves.corrected, 0.0))
    factor = np.float32(1.0) if mask is None else mask
    cones = conical_correlation(
        half_spectrum(first * factor),
        half_spectrum(second * factor),
        axes=settings.cone_axes,
        half_angle_degrees=settings.cone_half_angle,
    )
    density = whole
    if density is None:
        density = 0.5 * (first + second) if half_maps else first
    box_angstrom = len(density) * voxel_size
    reached = resolution_of(curves.corrected, threshold, box_angstrom)
    guinier = None
    if half_maps:
        guinier = fit_b_factor(
            mean_amplitudes(half_spectrum(density)),
            shell_weights(curves.corrected),
            box_angstrom=box_angstrom,
            lowest=settings.guinier_from,
            highest=reached,
        )
    hand = None
    if reached <= _HAND_FROM:
        smooth = _weighted(density, curves.corrected, 0.0, reached, voxel_size)
        hand = handedness(smooth * factor, voxel_size=voxel_size)
    return Quality(
        curves, cones, guinier, density, mask, voxel_size, threshold, reached, hand, settings
    )


def resolution_of(
    curve: Float[np.ndarray, " shells"], threshold: float, box_angstrom: float
) -> float:
    """Where a curve first falls below a threshold, interpolated between shells.

    Args:
        curve: Fourier shell correlation.
        threshold: the value.
        box_angstrom: edge of the map, Å.

    Returns:
        Å; that of the last shell where the curve does not fall below.
    """
    return box_angstrom / float(first_crossing(curve, threshold=threshold))


def sharpened_map(
    quality: Quality, *, b_factor: float | None = None
) -> Float[np.ndarray, "box box box"]:
    """The density, weighted by the correlation of the half-maps, sharpened, low-passed.

    Args:
        quality: of the half-maps.
        b_factor: Å², that is undone; the fitted one when not given, and none where none was fitted.

    Returns:
        density.
    """
    fitted = quality.b_factor or 0.0
    return _weighted(
        quality.density,
        quality.curves.corrected,
        fitted if b_factor is None else b_factor,
        quality.resolution,
        quality.voxel_size,
    )


def _weighted(
    density: Float[np.ndarray, "n n n"],
    correlation: Float[np.ndarray, " shells"],
    b_factor: float,
    resolution: float,
    voxel_size: float,
) -> Float[np.ndarray, "n n n"]:
    weights = jnp.asarray(shell_weights(correlation), jnp.float32)
    sharpened = _sharpen(
        jnp.asarray(density),
        weights,
        b_factor=b_factor,
        resolution=resolution,
        voxel_size=voxel_size,
    )
    return np.asarray(sharpened)
