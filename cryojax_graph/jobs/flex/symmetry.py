"""Whether a template has the symmetry that is stated, or one that is not."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError

# C-alpha atoms this near to each other, in Å, stand for the same place. Of a protein turned
# anywhere about its middle a fifth do so by chance.
_NEAR = 2.0
# Parts of a symmetric molecule may be open in one copy and closed in another.
_ENOUGH, _CLEARLY = 0.5, 0.8
_FOLDS = (2, 3, 4, 5, 6, 7)


def check_template_symmetry(
    c_alpha: Float[np.ndarray, "n 3"], group: str, path: str | Path
) -> None:
    """Refuse a template without the symmetry that is stated for it.

    Args:
        c_alpha: from the middle of the template, Å.
        group: point group, its axes as in RELION.
        path: of the template, for messages.

    Raises:
        InputError: turned by an element of the group, most C-alpha atoms meet no others.
    """
    shares = [met_when_turned(c_alpha, element) for element in symmetry_rotations(group)[1:]]
    least = min(shares, default=1.0)
    if least < _ENOUGH:
        raise InputError(
            path,
            "its symmetry",
            f"it is not that of {group.upper()}: turned about its middle by one of the rotations "
            f"of the group, {100 * least:.0f} % of its C-alpha atoms end within {_NEAR:g} Å of "
            "others",
            "turn the template until its axes are where RELION has those of the group, or leave "
            "--symmetry out",
        )


def apparent_fold(c_alpha: Float[np.ndarray, "n 3"]) -> int:
    """Fold of the symmetry that a molecule seems to have about one of its principal axes.

    An axis of symmetry is a principal axis whatever the frame; but cubic groups, which leave
    principal axes open, are not seen.

    Args:
        c_alpha: of the molecule, Å.

    Returns:
        the highest fold, up to 7; 1 where there is no symmetry.
    """
    centred = c_alpha - c_alpha.mean(axis=0)
    axes = np.linalg.eigh(centred.T @ centred)[1].T
    found = [1]
    for fold in _FOLDS:
        about_z = symmetry_rotations(f"C{fold}")[1]
        for number in range(3):
            frame = np.roll(axes, number, axis=0)
            if met_when_turned(centred, frame.T @ about_z @ frame) > _CLEARLY:
                found.append(fold)
    return max(found)


def met_when_turned(c_alpha: Float[np.ndarray, "n 3"], turn: Float[np.ndarray, "3 3"]) -> float:
    """Share of C-alpha atoms that meet others when a molecule is turned.

    Args:
        c_alpha: from the point about which it is turned, Å.
        turn: the rotation.

    Returns:
        from 0 to 1.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    distance, _ = KDTree(c_alpha).query(c_alpha @ turn.T)
    return float(np.mean(distance < _NEAR))
