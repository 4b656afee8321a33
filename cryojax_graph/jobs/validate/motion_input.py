"""Recovered and true conformations, brought together residue by residue."""

from pathlib import Path

import numpy as np

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz
from cryojax_graph.jobs.truth import Truth, read_truth
from cryojax_graph.jobs.validate.motion_scores import Motion
from cryojax_graph.jobs.validate.residues import ResidueNames, bonded_pairs, match_residues

FEWEST_RESIDUES = 3
_REMEDY = "name the folder of a finished flex job"
# Number of axes and kind of values of every array.
_ARRAYS = {
    "c_alpha": (3, "f"),
    "latents": (2, "f"),
    "template": (2, "f"),
    "chain": (1, "U"),
    "residue_number": (1, "iu"),
}
_OPTIONAL = {"insertion_code": (1, "U"), "residue_name": (1, "U")}


def read_motion(path: str | Path, truth_path: str | Path) -> tuple[Motion, ResidueNames, list[str]]:
    """Recovered and true conformations of the residues that both know.

    Args:
        path: ``conformations.npz`` of a flex job.
        truth_path: ``truth.npz`` of a simulation.

    Returns:
        the conformations, which residues they are of, and what the user should know about these.

    Raises:
        InputError: a file cannot be used, or the two do not belong together.
    """
    arrays, truth = _read_conformations(path), read_truth(truth_path)
    images = len(arrays["c_alpha"])
    if images != len(truth.frame_index):
        raise InputError(
            path,
            "array 'c_alpha'",
            f"{images:,} images, the truth {truth_path} has {len(truth.frame_index):,}",
            "give the truth of the very images, in their order",
        )
    poses = arrays.get("euler_degrees")
    if poses is not None and poses.shape == (images, 3):
        truth.require_poses(poses)
    names = ResidueNames(arrays["chain"], arrays["residue_number"], arrays["insertion_code"])
    rows, true_rows = _matched(names, truth, path)
    warnings = []
    if left_out := len(names.chain) - len(rows):
        warnings.append(f"{left_out} residues of the template are not in the truth and left out")
    if "residue_name" in arrays:
        differ = int((arrays["residue_name"][rows] != truth.residue_name[true_rows]).sum())
        if differ:
            warnings.append(
                f"{differ} residues have another name in the truth; they are compared as they are"
            )
    template = arrays["template"][rows].astype(np.float32)
    names = ResidueNames(*(part[rows] for part in names))
    motion = Motion(
        recovered=arrays["c_alpha"][:, rows].astype(np.float32),
        template=template,
        latents=arrays["latents"],
        frames=truth.c_alpha[:, true_rows],
        frame_index=truth.frame_index,
        bonded=bonded_pairs(template, names.chain),
    )
    return motion, names, warnings


def _read_conformations(path: str | Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path)
    missing = _ARRAYS.keys() - arrays.keys()
    if missing:
        cause = f"it has no array {', '.join(sorted(missing))}"
        raise InputError(path, "its arrays", cause, _REMEDY)
    arrays.setdefault("insertion_code", np.full(arrays["chain"].shape, "", "U1"))
    for name, (axes, kinds) in (_ARRAYS | _OPTIONAL).items():
        if name in arrays and (arrays[name].ndim != axes or arrays[name].dtype.kind not in kinds):
            cause = f"type {arrays[name].dtype}, shape {arrays[name].shape}"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    images, residues = arrays["c_alpha"].shape[:2]
    expected = {
        "c_alpha": (images, residues, 3),
        "latents": (images, max(1, arrays["latents"].shape[1])),
        "template": (residues, 3),
        **{name: (residues,) for name in ("chain", "residue_number", *_OPTIONAL)},
    }
    for name, shape in expected.items():
        if name in arrays and arrays[name].shape != shape:
            cause = f"shape {arrays[name].shape} does not fit the others"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    for name in ("c_alpha", "latents", "template"):
        if not np.isfinite(arrays[name]).all():
            raise InputError(path, f"array '{name}'", "a value is not finite", _REMEDY)
    return arrays


def _matched(names: ResidueNames, truth: Truth, path: str | Path) -> tuple[np.ndarray, np.ndarray]:
    true_names = ResidueNames(truth.chain, truth.residue_number, truth.insertion_code)
    try:
        rows, true_rows = match_residues(names, true_names)
    except ValueError as error:
        remedy = "number the residues of each chain without repetition"
        raise InputError(path, "its residues", str(error), remedy) from None
    if len(rows) < FEWEST_RESIDUES:
        raise InputError(
            path,
            "its residues",
            f"{len(rows)} have chain and number of a residue in {truth.path} (chains "
            f"{_listed(names.chain)} here, {_listed(truth.chain)} there)",
            "name chains and residues of the template as in the simulated model",
        )
    return rows, true_rows


def _listed(chains: np.ndarray) -> str:
    return ", ".join(repr(name) for name in np.unique(chains).tolist()[:8])
