"""How far estimated poses are from the true ones."""

from typing import NamedTuple, TypeAlias

import jax
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.geometry import nearest_equivalent, random_rotations, symmetry_rotations
from cryojax_graph.jobs.validate.poses_input import PosePairs
from cryojax_graph.metrics import PoseErrors, bootstrap_interval, pose_errors, shift_errors

Figures: TypeAlias = dict[str, int | float]
# Half of what poses have that know nothing of each other: 132° without symmetry.
_UNRELATED_SHARE, _UNRELATED_PERCENT = 0.45, 5.0
_TURNED_DEGREES = 10.0
_FEW = 20
_DRAWN, _CHANCE_C1 = 2000, 132.0


class PoseScores(NamedTuple):
    """Figures and what their pictures need.

    Attributes:
        figures: by name; those whose name says no unit are numbers or ratios.
        rotation: error of each image, degrees.
        out_of_plane: error of each viewing direction, degrees.
        shift: error of each image, Å.
        other_hand_median: rotation error with the mirrored object, degrees; None where that does
            not fit better, or was allowed.
    """

    figures: Figures
    rotation: Float[np.ndarray, " images"]
    out_of_plane: Float[np.ndarray, " images"]
    shift: Float[np.ndarray, " images"]
    other_hand_median: float | None


def score_poses(
    key: Key[Array, ""], pairs: PosePairs, *, either_hand: bool, symmetry: str = "C1"
) -> PoseScores:
    """Score poses after the one rotation, offset and, if allowed, hand that images cannot fix.

    Args:
        key: for the bootstrap.
        pairs: estimated and true poses.
        either_hand: also try the mirrored object.
        symmetry: point group of the object.

    Returns:
        the scores.
    """
    errors = pose_errors(
        pairs.rotations, pairs.true_rotations, both_hands=either_hand, symmetry=symmetry
    )
    shift = shift_errors(pairs.shifts, pairs.true_shifts, errors.truth)
    rotation, out_of_plane = errors.rotation_degrees, errors.out_of_plane_degrees
    low, high = bootstrap_interval(key, rotation, statistic=lambda drawn: float(np.median(drawn)))
    figures: Figures = {
        "images": len(rotation),
        **_summary("rotation_error", rotation, "degrees"),
        "rotation_error_median_low_degrees": low,
        "rotation_error_median_high_degrees": high,
        "rotation_below_5_percent": _percent(rotation < 5),
        "rotation_below_10_percent": _percent(rotation < 10),
        **_summary("out_of_plane_error", out_of_plane, "degrees"),
        **_summary("shift_error", shift, "angstrom"),
        "alignment_degrees": min(
            _angle_degrees(errors.alignment @ operator) for operator in symmetry_rotations(symmetry)
        ),
        "mirrored": int(errors.mirrored),
    }
    if pairs.pixel_size is not None:
        figures |= _summary("shift_error", shift / pairs.pixel_size, "pixels")
    if pairs.deviation_degrees is not None:
        figures |= _calibration(rotation, pairs.deviation_degrees)
    other = None if either_hand else _other_hand(pairs, errors, symmetry)
    return PoseScores(figures, rotation, out_of_plane, shift, other)


def chance_degrees(symmetry: str) -> float:
    """Median rotation error of poses that know nothing of each other.

    Args:
        symmetry: point group of the object.

    Returns:
        132 degrees for C1, less for others.
    """
    drawn = np.asarray(random_rotations(jax.random.key(0), _DRAWN), np.float64)
    one = np.broadcast_to(np.eye(3), drawn.shape)
    trace = np.trace(nearest_equivalent(drawn, one, symmetry), axis1=1, axis2=2)
    return float(np.degrees(np.median(np.arccos(np.clip((trace - 1) / 2, -1, 1)))))


def doubts(scores: PoseScores, symmetry: str = "C1") -> list[str]:
    """Signs that poses are not of the same images, or not of the same map.

    Args:
        scores: of one set of poses against the other.
        symmetry: point group of the object.

    Returns:
        one sentence for each sign.
    """
    f = scores.figures
    median, chance, found = f["rotation_error_median_degrees"], chance_degrees(symmetry), []
    if f["images"] < _FEW:
        found.append(
            f"With so few images ({f['images']}) the one rotation and offset that are fitted to "
            "them make errors look smaller than they are"
        )
    if scores.other_hand_median is not None:
        found.append(
            "The mirrored hand fits much better: with it the median rotation error is "
            f"{scores.other_hand_median:.1f}° in place of {median:.1f}°. If the hand is not what "
            "is tested, allow both by --either-hand"
        )
    elif (
        median > _UNRELATED_SHARE * chance
        and f["rotation_below_10_percent"] < _UNRELATED_PERCENT * _CHANCE_C1 / chance
    ):
        found.append(
            f"The poses look unrelated: their median rotation error is {median:.0f}°, that of "
            f"random ones about {chance:.0f}°. See whether both files are of the same images in "
            "the same order"
        )
    elif f["alignment_degrees"] > _TURNED_DEGREES:
        found.append(
            f"The maps of the two sets differ by a rotation of {f['alignment_degrees']:.1f}°; "
            "errors are what remains after it"
        )
    return found


def _summary(name: str, values: Float[np.ndarray, " images"], unit: str) -> Figures:
    return {
        f"{name}_median_{unit}": float(np.median(values)),
        f"{name}_mean_{unit}": float(values.mean()),
        f"{name}_p90_{unit}": float(np.quantile(values, 0.9)),
    }


def _percent(those: np.ndarray) -> float:
    return 100.0 * float(those.mean())


def _angle_degrees(rotation: Float[np.ndarray, "3 3"]) -> float:
    """From the chord to the identity, which keeps small angles."""
    chord = np.linalg.norm(rotation - np.eye(3)) / np.sqrt(8)
    return float(np.degrees(2 * np.arcsin(min(chord, 1.0))))


def _calibration(
    error: Float[np.ndarray, " images"], stated: Float[np.ndarray, " images"]
) -> Figures:
    rms_error, rms_stated = (float(np.sqrt(np.mean(v**2))) for v in (error, stated))
    figures: Figures = {
        "rotation_error_rms_degrees": rms_error,
        "rotation_deviation_rms_degrees": rms_stated,
        "rotation_within_deviation_percent": _percent(error <= stated),
    }
    if rms_stated > 0:
        figures["rotation_error_over_deviation"] = rms_error / rms_stated
    return figures


def _other_hand(pairs: PosePairs, errors: PoseErrors, symmetry: str) -> float | None:
    both = pose_errors(pairs.rotations, pairs.true_rotations, both_hands=True, symmetry=symmetry)
    median, other = (float(np.median(e.rotation_degrees)) for e in (errors, both))
    much_better = both.mirrored and median > _TURNED_DEGREES and other < median / 2
    return other if much_better else None
