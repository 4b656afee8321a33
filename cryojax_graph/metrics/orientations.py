"""Errors of poses after the one rotation, hand and offset that images cannot fix. Host code."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry.symmetry import nearest_equivalent

_MIRROR = np.diag([1.0, 1.0, -1.0])
# Images tried as the one that fixes the common rotation.
_TRIALS = 64
# The better half leans towards the image that proposed; choosing it again takes most of that away.
_ROUNDS = 6

_Rotations = Float[np.ndarray, "images 3 3"]


class PoseErrors(NamedTuple):
    """Errors of every image after the common alignment.

    Attributes:
        rotation_degrees: angle between estimated and true rotation, shape (images,).
        out_of_plane_degrees: angle between the viewing directions, shape (images,).
        alignment: rotation G, shape (3, 3); ``estimated @ G`` is compared with the truth. Of a
            symmetric object G g does as well for every element g.
        mirrored: whether the other hand of the estimate was taken.
        truth: of the equivalents of each true rotation the one that was compared with.
    """

    rotation_degrees: Float[np.ndarray, " images"]
    out_of_plane_degrees: Float[np.ndarray, " images"]
    alignment: Float[np.ndarray, "3 3"]
    mirrored: bool
    truth: _Rotations


def pose_errors(
    estimated: _Rotations,
    truth: _Rotations,
    *,
    both_hands: bool = False,
    symmetry: str = "C1",
) -> PoseErrors:
    """Errors of rotations after the best common rotation of the object, R ↦ R G.

    Each of some images proposes G; the proposal of least median error is averaged over the better
    half of the images, again and again, so that a minority of wrong poses does not move it. Of the
    equivalents of a true rotation the one nearest to the aligned estimate counts, image by image;
    what an image proposes is then off by an element of the group at most, and therefore as good.

    Args:
        estimated: rotations that take object to image coordinates.
        truth: the true ones.
        both_hands: also try the mirrored object, whose poses are diag(1, 1, -1) R diag(1, 1, -1).
        symmetry: point group of the object, its axes where RELION has them in the frame of the
            truth; those of the estimate may lie anywhere.

    Returns:
        the errors under the alignment, and the hand, of least median rotation error.
    """
    estimated, truth = estimated.astype(np.float64), truth.astype(np.float64)
    hands = (False, True) if both_hands else (False,)
    results = [
        _aligned(
            _MIRROR @ estimated @ _MIRROR if mirrored else estimated, truth, mirrored, symmetry
        )
        for mirrored in hands
    ]
    return min(results, key=lambda result: np.median(result.rotation_degrees))


def shift_errors(
    estimated: Float[np.ndarray, "images 2"],
    truth: Float[np.ndarray, "images 2"],
    rotations: _Rotations,
) -> Float[np.ndarray, " images"]:
    """Length of the shift errors after the best common offset of the object.

    An object moved by o moves the shift of an image of rotation R by the first two coordinates of
    R o.

    Args:
        estimated: shifts (x, y) in Å.
        truth: the true ones.
        rotations: true rotations.

    Returns:
        Å.
    """
    difference = (estimated - truth).astype(np.float64)
    projections = rotations[:, :2].astype(np.float64)
    offset = np.linalg.lstsq(projections.reshape(-1, 3), difference.ravel(), rcond=None)[0]
    return np.linalg.norm(difference - projections @ offset, axis=1)


def _aligned(estimated: _Rotations, truth: _Rotations, mirrored: bool, symmetry: str) -> PoseErrors:
    def comparable(alignment: Float[np.ndarray, "3 3"]) -> tuple[_Rotations, _Rotations]:
        aligned = estimated @ alignment
        return aligned, nearest_equivalent(truth, aligned, symmetry)

    votes = estimated.swapaxes(1, 2) @ truth
    trials = votes[np.linspace(0, len(votes) - 1, min(_TRIALS, len(votes))).astype(int)]
    medians = [np.median(_angles_degrees(*comparable(trial))) for trial in trials]
    best = trials[np.argmin(medians)]
    for _ in range(_ROUNDS):
        aligned, nearest = comparable(best)
        errors = _angles_degrees(aligned, nearest)
        votes = estimated.swapaxes(1, 2) @ nearest
        best = _nearest_rotation(votes[errors <= np.median(errors)].sum(axis=0))
    aligned, nearest = comparable(best)
    cross = np.linalg.norm(np.cross(aligned[:, 2], nearest[:, 2]), axis=1)
    out_of_plane = np.degrees(np.arctan2(cross, (aligned[:, 2] * nearest[:, 2]).sum(axis=1)))
    return PoseErrors(_angles_degrees(aligned, nearest), out_of_plane, best, mirrored, nearest)


def _angles_degrees(first: _Rotations, second: _Rotations) -> Float[np.ndarray, " images"]:
    """From the chord |A - B| = sqrt(8) sin(angle / 2), which keeps small angles."""
    chord = np.linalg.norm(first - second, axis=(1, 2)) / np.sqrt(8)
    return np.degrees(2 * np.arcsin(np.minimum(chord, 1)))


def _nearest_rotation(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    u, _, vt = np.linalg.svd(matrix)
    return u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt
