"""Views of tilted particles whose untilted images are aligned: random conical tilt.

A particle lies on the support with its z axis upright, turned about it by a random angle that the
untilted image tells. Tilting the support by a known angle about a known axis then gives a view that
is known in full; together the views of many particles lie on a cone (Radermacher et al. 1987,
J. Microsc. 146:113). Host code in float64.
"""

import numpy as np
from jaxtyping import Float


def conical_tilt_angles(
    in_plane_degrees: Float[np.ndarray, " n"],
    tilt_degrees: Float[np.ndarray, " n"],
    axis_degrees: Float[np.ndarray, " n"],
    untilted_axis_degrees: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "n 3"]:
    """RELION's angles of tilted particles.

    The object turns into the untilted image by Rz(in-plane); there the tilt axis is brought onto y,
    the support is tilted about y, and y is brought to where the axis lies in the tilted image. A
    wrong sign of the tilt gives the map of the other hand.

    Args:
        in_plane_degrees: psi of the untilted images, whose rot and tilt are 0.
        tilt_degrees: by which the support is tilted, of either sign.
        axis_degrees: from +y of the tilted image towards +x to the tilt axis; y runs along rows
            from the first to the last.
        untilted_axis_degrees: the same in the untilted image; where it is in the tilted one when
            not given.

    Returns:
        rot, tilt, psi in degrees, tilt not negative, rot and psi in [-180, 180).
    """
    before = axis_degrees if untilted_axis_degrees is None else untilted_axis_degrees
    # Ry(-t) is Rz(180) Ry(t) Rz(180): a negative tilt is a positive one about the reversed axis.
    turn = np.where(tilt_degrees < 0, 180.0, 0.0)
    rot, psi = in_plane_degrees - before + turn, axis_degrees + turn
    return np.stack([_wrapped(rot), np.abs(tilt_degrees), _wrapped(psi)], axis=1)


def _wrapped(degrees: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    return (degrees + 180.0) % 360.0 - 180.0
