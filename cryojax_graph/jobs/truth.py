"""``truth.npz``: what a simulation knows and an experiment does not."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32, Int32, Int64, Shaped

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz

_REMEDY = "give the truth.npz that cryojax-graph simulate wrote beside the particles"
# Tables keep angles to some decimals.
_SAME_DEGREES = 0.01
# Kind of values of every array.
_IDENTITY = {"chain": "U", "residue_number": "iu", "insertion_code": "U", "residue_name": "U"}


@dataclass(frozen=True)
class Truth:
    """True conformation of every image.

    Args:
        path: the file.
        c_alpha: C-alpha positions of every frame relative to the centre of the images, Å.
        chain: chain of each residue.
        residue_number: of each residue.
        insertion_code: of each residue.
        residue_name: of each residue.
        frame_index: frame of each image, from 0.
        euler_degrees: pose of each image, where the file tells.
    """

    path: str
    c_alpha: Float32[np.ndarray, "frames n 3"]
    chain: Shaped[np.ndarray, " n"]
    residue_number: Int32[np.ndarray, " n"]
    insertion_code: Shaped[np.ndarray, " n"]
    residue_name: Shaped[np.ndarray, " n"]
    frame_index: Int64[np.ndarray, " images"]
    euler_degrees: Float[np.ndarray, "images 3"] | None = None

    def require_poses(self, euler_degrees: Float[np.ndarray, "images 3"]) -> None:
        """Refuse poses of other images.

        Args:
            euler_degrees: of as many images, degrees.

        Raises:
            InputError: they are not those of the simulation.
        """
        known = self.euler_degrees
        if known is None:
            return
        turn = np.abs((known - euler_degrees + 180.0) % 360.0 - 180.0).max(axis=1)
        if (turn > _SAME_DEGREES).any():
            raise InputError(
                self.path,
                f"image {int((turn > _SAME_DEGREES).argmax()) + 1}",
                "its pose is not that of the particle: this is the truth of other images",
                "give the truth of the very images, in their order",
            )


def read_truth(path: str | Path) -> Truth:
    """Read the true conformations of a simulation.

    Args:
        path: ``truth.npz``.

    Returns:
        the truth.

    Raises:
        InputError: it is no such file, or its arrays do not fit together.
    """
    arrays = read_npz(path)
    missing = {"c_alpha", "frame_index", *_IDENTITY} - arrays.keys()
    if missing:
        cause = f"it has no array {', '.join(sorted(missing))}"
        raise InputError(path, "its arrays", cause, _REMEDY)
    c_alpha, frame_index = arrays["c_alpha"], arrays["frame_index"]
    residues = c_alpha.shape[1] if c_alpha.ndim == 3 else -1
    shapes = {
        "c_alpha": (c_alpha.ndim == 3 and c_alpha.shape[2] == 3 and c_alpha.dtype.kind == "f"),
        "frame_index": frame_index.ndim == 1 and frame_index.dtype.kind in "iu",
        **{
            name: arrays[name].shape == (residues,) and arrays[name].dtype.kind in kinds
            for name, kinds in _IDENTITY.items()
        },
    }
    for name, right in shapes.items():
        if not right:
            cause = f"type {arrays[name].dtype}, shape {arrays[name].shape}"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    if not np.isfinite(c_alpha).all():
        raise InputError(path, "array 'c_alpha'", "a position is not finite", _REMEDY)
    if residues == 0:
        cause = "the simulated molecule has no C-alpha atoms"
        raise InputError(path, "array 'c_alpha'", cause, "simulate a protein")
    outside = (frame_index < 0) | (frame_index >= len(c_alpha))
    if outside.any():
        cause = f"frame {frame_index[outside.argmax()]} of {len(c_alpha)}"
        raise InputError(path, f"image {int(outside.argmax()) + 1}", cause, _REMEDY)
    return Truth(
        path=str(path),
        c_alpha=c_alpha.astype(np.float32),
        chain=arrays["chain"],
        residue_number=arrays["residue_number"].astype(np.int32),
        insertion_code=arrays["insertion_code"],
        residue_name=arrays["residue_name"],
        frame_index=frame_index.astype(np.int64),
        euler_degrees=_poses(arrays, path),
    )


def _poses(arrays: dict[str, np.ndarray], path: str | Path) -> Float[np.ndarray, "images 3"] | None:
    poses = arrays.get("euler_degrees")
    if poses is None:
        return None
    if poses.shape != (len(arrays["frame_index"]), 3) or not np.isfinite(poses).all():
        cause = f"type {poses.dtype}, shape {poses.shape}, or not finite"
        raise InputError(path, "array 'euler_degrees'", cause, _REMEDY)
    return poses.astype(np.float64)
