"""Fourier shell correlation inside a mask, freed from what the mask itself correlates."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Complex, Float, Key

from cryojax_graph.metrics.shells import half_spectrum, real_map, shell_sums, spectral_radius

UNTOUCHED_SHELLS = 2
"""Shells that stay as they are: the mask carries signal across the edge of randomisation."""


class FscCurves(NamedTuple):
    """Correlation of two maps by shell, from 0 to box // 2.

    Attributes:
        unmasked: of the maps as they are.
        masked: of the maps times the mask.
        randomised: of the maps with random phases from ``randomised_from`` on, times the mask.
        corrected: masked, without what the mask correlates.
        randomised_from: first shell with random phases; None where none was needed.
    """

    unmasked: Float[np.ndarray, " shells"]
    masked: Float[np.ndarray, " shells"]
    randomised: Float[np.ndarray, " shells"]
    corrected: Float[np.ndarray, " shells"]
    randomised_from: int | None


def fsc_curves(
    key: Key[Array, ""],
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    mask: Float[np.ndarray, "box box box"] | None,
    *,
    randomise_below: float = 0.8,
) -> FscCurves:
    """Correlation of two maps with and without a mask (Chen et al. 2013).

    Args:
        key: of the random phases.
        first: map in any unit.
        second: the other map, of the same size.
        mask: factors from 0 to 1; None for none, all curves but ``randomised`` are the same then.
        randomise_below: phases become random from the first shell on whose unmasked correlation is
            below this.

    Returns:
        the curves.
    """
    spectra = half_spectrum(first), half_spectrum(second)
    unmasked = shell_sums(*spectra).correlation()
    if mask is None:
        return FscCurves(unmasked, unmasked, np.zeros_like(unmasked), unmasked, None)
    masked = _correlation(first * mask, second * mask)
    start = randomisation_shell(unmasked, below=randomise_below)
    if start is None:
        return FscCurves(unmasked, masked, masked, masked, None)
    keys = jax.random.split(key)
    noise = [
        real_map(randomise_phases(k, s, from_shell=start)) * mask
        for k, s in zip(keys, spectra, strict=True)
    ]
    randomised = _correlation(*noise)
    corrected = correct_correlation(masked, randomised, from_shell=start)
    return FscCurves(unmasked, masked, randomised, corrected, start)


def randomisation_shell(curve: Float[np.ndarray, " shells"], *, below: float) -> int | None:
    """First shell, after the mean, whose correlation is below a value.

    Args:
        curve: unmasked correlation.
        below: the value.

    Returns:
        the shell, or None where the curve stays above.
    """
    low = np.flatnonzero(curve[1:] < below)
    return int(low[0]) + 1 if len(low) else None


def randomise_phases(
    key: Key[Array, ""],
    spectrum: Complex[np.ndarray, "box box columns"],
    *,
    from_shell: int,
) -> Complex[np.ndarray, "box box columns"]:
    """Keep all amplitudes, and replace phases by those of white noise from a shell on.

    Phases of a real noise map belong to a real map again, planes of Friedel mates included.

    Args:
        key: of the noise.
        spectrum: half spectrum of a real map.
        from_shell: radius where random phases begin, Fourier voxels.

    Returns:
        half spectrum of another real map.
    """
    # By the host: half a second to compile a generator for one draw is longer than the draw.
    drawn = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    noise = half_spectrum(drawn.standard_normal((len(spectrum),) * 3, np.float32))
    turned = np.abs(spectrum) * (noise / np.abs(noise))
    beyond = spectral_radius(len(spectrum)) >= from_shell
    return np.where(beyond, turned, spectrum).astype(spectrum.dtype)


def correct_correlation(
    masked: Float[np.ndarray, " shells"],
    randomised: Float[np.ndarray, " shells"],
    *,
    from_shell: int,
) -> Float[np.ndarray, " shells"]:
    """(FSC_t - FSC_n) / (1 - FSC_n) of Chen et al. 2013, from two shells beyond the first one on.

    Args:
        masked: correlation of the masked maps, FSC_t.
        randomised: of the masked maps with random phases, FSC_n.
        from_shell: first shell with random phases.

    Returns:
        the corrected curve; 0 where the noise alone correlates fully.
    """
    room = 1.0 - randomised
    corrected = np.divide(masked - randomised, room, out=np.zeros_like(masked), where=room > 1e-6)
    untouched = np.arange(len(masked)) < from_shell + UNTOUCHED_SHELLS
    return np.where(untouched, masked, corrected)


def _correlation(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, " shells"]:
    return shell_sums(half_spectrum(first), half_spectrum(second)).correlation()
