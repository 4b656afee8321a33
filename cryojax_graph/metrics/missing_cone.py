"""Maps from views on a cone: which part of Fourier space they measure, and agreement within it.

Images of a support tilted by t leave out a double cone of half-angle 90° - t around its normal,
the z axis. Two maps have nothing there, or noise that no image shows; whoever counts it takes the
missing cone for disagreement, or zeros for agreement.
"""

import numpy as np
from jaxtyping import Bool, Float

from cryojax_graph.metrics.shells import half_spectrum, shell_sums


def outside_cone(box: int, half_angle_degrees: float) -> Bool[np.ndarray, "box box columns"]:
    """Coefficients of a half spectrum outside the double cone around the z axis.

    Args:
        box: edge of the map in voxels.
        half_angle_degrees: between axis and edge of the cone, 0 to 90.

    Returns:
        true outside, in the layout of ``half_spectrum``; the coefficient at the origin is outside.
    """
    k = np.fft.fftfreq(box, 1 / box)
    across = np.hypot(k[:, None], np.arange(box // 2 + 1))
    angle = np.degrees(np.arctan2(across, np.abs(k)[:, None, None]))
    # Rounding must not decide about the edge, nor about the origin, which every image shows.
    outside = angle >= half_angle_degrees - 1e-9
    outside[0, 0, 0] = True
    return outside


def measured_correlation(
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    *,
    half_angle_degrees: float,
) -> Float[np.ndarray, " shells"]:
    """Fourier shell correlation of two maps outside the missing cone.

    Args:
        first: map in any unit.
        second: the other map, of the same size.
        half_angle_degrees: of the missing cone around the z axis.

    Returns:
        one value for each shell 0 … box // 2; 0 in a shell without signal.
    """
    measured = outside_cone(len(first), half_angle_degrees)
    return shell_sums(
        half_spectrum(first) * measured, half_spectrum(second) * measured
    ).correlation()
