"""How amplitudes fall off with resolution, and the B-factor that describes it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Complex, Float

from cryojax_graph.metrics.shells import spectral_radius

_FEWEST = 4


class GuinierFit(NamedTuple):
    """A straight line through logarithms of amplitudes (Rosenthal & Henderson 2003).

    Attributes:
        b_factor: Å²; amplitudes fall as exp(-B k² / 4). None where fewer than four shells lie in
            the range of the fit.
        intercept: logarithm of the line at k = 0.
        inverse_square: k² of each shell, 1/Å².
        plain: logarithm of the mean amplitude; NaN where that is 0.
        weighted: the same with the weight of each shell.
        fitted: shells that the line goes through.
    """

    b_factor: float | None
    intercept: float
    inverse_square: Float[np.ndarray, " shells"]
    plain: Float[np.ndarray, " shells"]
    weighted: Float[np.ndarray, " shells"]
    fitted: Bool[np.ndarray, " shells"]


def shell_weights(curve: Float[np.ndarray, " shells"]) -> Float[np.ndarray, " shells"]:
    """Weight sqrt(2 FSC / (1 + FSC)) of each shell of the mean of two half-maps.

    It is the expected correlation of the mean with the noise-free map (Rosenthal & Henderson 2003,
    equation 8). From where the curve first falls to 0 on, the weight is 0.

    Args:
        curve: Fourier shell correlation of the half-maps.

    Returns:
        weights from 0 to 1; that of shell 0 is 1.
    """
    positive = np.maximum(curve, 0.0)
    weights = np.sqrt(2 * positive / (1 + positive))
    weights[0] = 1.0
    return np.where(np.logical_and.accumulate(weights > 0), weights, 0.0)


def mean_amplitudes(
    spectrum: Complex[np.ndarray, "box box columns"],
) -> Float[np.ndarray, " shells"]:
    """Mean of |F| over each shell.

    Args:
        spectrum: half spectrum of a cubic map.

    Returns:
        one value for each shell 0 … box // 2.
    """
    box, shells = len(spectrum), len(spectrum) // 2 + 1
    column = np.arange(shells)
    twice = np.where((column == 0) | (2 * column == box), 1.0, 2.0)
    shell = np.rint(spectral_radius(box)).astype(np.intp).ravel()
    total, count = (
        np.bincount(shell, values.ravel(), minlength=shells)[:shells]
        for values in (np.abs(spectrum) * twice, np.broadcast_to(twice, spectrum.shape))
    )
    return total / count


def fit_b_factor(
    amplitudes: Float[np.ndarray, " shells"],
    weights: Float[np.ndarray, " shells"],
    *,
    box_angstrom: float,
    lowest: float = 10.0,
    highest: float,
) -> GuinierFit:
    """B-factor of a map from the slope of its Guinier plot.

    Args:
        amplitudes: mean amplitude of each shell.
        weights: of each shell, see ``shell_weights``; the line goes through weighted amplitudes.
        box_angstrom: edge of the map, Å.
        lowest: resolution where the line begins, Å.
        highest: resolution where it ends, Å.

    Returns:
        the fit.
    """
    frequency = np.arange(len(amplitudes)) / box_angstrom
    plain, weighted = (_logarithm(v) for v in (amplitudes, amplitudes * weights))
    slack = 1e-6 / box_angstrom
    inside = (frequency >= 1 / lowest - slack) & (frequency <= 1 / highest + slack)
    fitted = inside & np.isfinite(weighted)
    square = frequency**2
    if fitted.sum() < _FEWEST:
        return GuinierFit(None, 0.0, square, plain, weighted, np.zeros_like(fitted))
    slope, intercept = np.polyfit(square[fitted], weighted[fitted], 1)
    return GuinierFit(-4.0 * float(slope), float(intercept), square, plain, weighted, fitted)


def _logarithm(values: np.ndarray) -> np.ndarray:
    return np.log(values, out=np.full(values.shape, np.nan), where=values > 0)
