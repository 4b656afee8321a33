"""A fitted model as one file: enough to find the conformations of new images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.configs import from_dict, to_dict
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig

MODEL_FILE = "model.npz"
_REMEDY = "name the folder of a finished flex job, or its model.npz"
_SHARED = ("decoder", "imaging")


class SavedModel(NamedTuple):
    """What is left of a fit when its images are gone.

    Attributes:
        params: ``decoder`` and ``imaging``.
        config: of the model.
        candidates: latents spread over the images of the fit.
        frequencies: of these conformations among them; None where every image stands for itself.
        images: number of these images.
        template: C-alpha positions from the centre of the box, Å.
        box: edge of the images in pixels.
        pixel_size: Å.
    """

    params: dict[str, Any]
    config: BackboneGraphConfig
    candidates: Float[np.ndarray, "candidates latent"]
    frequencies: Float[np.ndarray, " candidates"] | None
    images: int
    template: Float[np.ndarray, "n 3"]
    box: int
    pixel_size: float


def write_saved(path: Path, saved: SavedModel) -> None:
    """Write ``model.npz``.

    Args:
        path: of the file.
        saved: the model.
    """
    leaves = jax.tree_util.tree_leaves_with_path({k: saved.params[k] for k in _SHARED})
    named = {
        jax.tree_util.keystr(where, simple=True, separator="/"): np.asarray(leaf)
        for where, leaf in leaves
    }
    frequencies = saved.frequencies
    if frequencies is not None:
        named["frequencies"] = np.asarray(frequencies, np.float32)
    write_npz(
        path,
        named
        | {
            "config": np.array(json.dumps(to_dict(saved.config))),
            "candidates": np.asarray(saved.candidates, np.float32),
            "images": np.array(saved.images),
            "template": np.asarray(saved.template, np.float32),
            "box": np.array(saved.box),
            "pixel_size": np.array(saved.pixel_size),
        },
    )


def saved_path(path: str | Path) -> Path:
    """The file that is meant.

    Args:
        path: folder of a flex job, or its ``model.npz``.

    Returns:
        path of the file.
    """
    path = Path(path)
    return path / MODEL_FILE if path.is_dir() else path


def read_saved(path: str | Path) -> SavedModel:
    """Read the model of an earlier job.

    Args:
        path: folder of a finished flex job, or its ``model.npz``.

    Returns:
        the model.

    Raises:
        InputError: there is no such file, it holds no model, or one that cannot take new images.
    """
    path = saved_path(path)
    arrays = read_npz(path)
    if "config" in arrays and "images" not in arrays:
        cause = "they do not say of how many images the model is: an earlier version wrote them"
        raise InputError(path, "its arrays", cause, "fit the model again")
    params: dict[str, Any] = {}
    for name, value in arrays.items():
        if name.split("/")[0] in _SHARED:
            *folders, leaf = name.split("/")
            place = params
            for folder in folders:
                place = place.setdefault(folder, {})
            place[leaf] = value
    try:
        saved = SavedModel(
            params={name: params[name] for name in _SHARED},
            config=from_dict(BackboneGraphConfig, json.loads(str(arrays["config"]))),
            candidates=arrays["candidates"],
            frequencies=arrays.get("frequencies"),
            images=int(arrays["images"]),
            template=arrays["template"],
            box=int(arrays["box"]),
            pixel_size=float(arrays["pixel_size"]),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(path, "its arrays", f"no fitted model ({error})", _REMEDY) from None
    if saved.config.objective.kind == "squared_error":
        raise InputError(
            path,
            "objective",
            "the published presets have no way to find conformations of new images",
            "fit the preset default or small",
        )
    return saved


def place_in_saved(
    saved: SavedModel,
    path: str | Path,
    *,
    placed: Mapping[str, Float[np.ndarray, "n 3"]],
    box: int,
    pixel_size: float,
) -> str:
    """Where a template has to stand for a model that was fitted with it.

    Args:
        saved: the model.
        path: as the user gave it.
        placed: C-alpha positions of the template from the centre of the box, where it may stand, Å.
        box: of the new images, pixels.
        pixel_size: of the new images, Å.

    Returns:
        name of the place.

    Raises:
        InputError: they differ.
    """
    if saved.box != box or abs(saved.pixel_size / pixel_size - 1.0) > 1e-4:
        raise InputError(
            path,
            "box and pixel size",
            f"fitted to images of {saved.box} px at {saved.pixel_size:g} Å, these have {box} px "
            f"at {pixel_size:g} Å",
            "bring the images to the same box and pixel size",
        )
    for name, c_alpha in placed.items():
        same = saved.template.shape == c_alpha.shape
        if same and np.abs(saved.template - c_alpha).max() <= 0.01:
            return name
    raise InputError(
        path,
        "template",
        "the model was fitted with another template",
        "give the template of that job",
    )
