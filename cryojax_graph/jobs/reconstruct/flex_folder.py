"""What ``reconstruct`` takes from the folder of a ``flex`` job: particles, poses and latents."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import read_map
from cryojax_graph.io.npz import read_npz
from cryojax_graph.jobs.claim import MANIFEST, finished_manifest
from cryojax_graph.jobs.manifest import sha256_of
from cryojax_graph.jobs.particles import ParticleSet

LATENTS = "latents.npz"
_REMEDY = "name a table of particles, or the folder of a finished flex job"
_AGAIN = "run flex again"


class FlexFolder(NamedTuple):
    """A finished ``flex`` job.

    Attributes:
        path: of the folder.
        particles: table with the poses that the job ended with.
        image_root: folder that image names of the table are relative to.
        mean: of each image's posterior on the leading axis of the latents.
        deviation: its standard deviation.
        points: conformations along the path, as in ``motion.cif``.
        images: fingerprint of the stacks.
        origin: of voxel [0, 0, 0] in the frame of ``motion.cif``, (x, y, z) in Å.
        warnings: that the job gave.
    """

    path: Path
    particles: Path
    image_root: Path
    mean: Float[np.ndarray, " images"]
    deviation: Float[np.ndarray, " images"]
    points: int
    images: str
    origin: Float[np.ndarray, "3"]
    warnings: list[str]

    @property
    def latents(self) -> Path:
        """File of the latents."""
        return self.path / LATENTS


def read_flex_folder(path: str | Path) -> FlexFolder:
    """Find the particles of a ``flex`` job, and where it places each of them.

    Args:
        path: folder of the job.

    Returns:
        what is needed of it.

    Raises:
        InputError: it is no finished flex job, its particles are gone or not those of then, or it
            does not say how certain the latents are.
    """
    path = Path(path)
    manifest = finished_manifest(path, "flex", remedy=_REMEDY)
    try:
        return _described_by(manifest, path)
    except (KeyError, TypeError, AttributeError):
        cause = "fields are missing, or are not what a flex job writes"
        raise InputError(path / MANIFEST, "manifest", cause, _AGAIN) from None


def _described_by(manifest: dict[str, Any], path: Path) -> FlexFolder:
    config = manifest["request"]["config"]
    given = Path(manifest["inputs"]["particles"]["path"])
    written = [path / name for name in manifest["outputs"] if Path(name).stem == "particles"]
    if not written:
        _require_same(given, manifest["inputs"]["particles"])
    mean, deviation = _leading(path / LATENTS, config)
    return FlexFolder(
        path=path,
        particles=written[0] if written else given,
        # Relative to where the command was given; the table's own folder when it was left out.
        image_root=Path(manifest["folder_of_command"], config["image_root"] or given.parent),
        mean=mean,
        deviation=deviation,
        points=int(config["outputs"]["points"]),
        images=manifest["fingerprints"]["images"],
        origin=_origin(path, manifest["outputs"]),
        warnings=list(manifest["warnings"]),
    )


def require_its_particles(particles: ParticleSet, folder: FlexFolder) -> None:
    """Refuse particles that are not those of the ``flex`` job.

    Args:
        particles: as they were read now.
        folder: of the job.

    Raises:
        InputError: rows or stacks differ.
    """
    rows, known = len(particles.table), len(folder.mean)
    if rows != known:
        cause = f"{rows:,} particles, the flex job had {known:,}"
        raise InputError(particles.table.source, "table", cause, "put back the table of that job")
    if particles.images.fingerprint() != folder.images:
        raise InputError(
            particles.table.source,
            "its images",
            f"they are not those that {folder.path} was made from",
            f"put them back (--image-root says where they are), or {_AGAIN}",
        )


def _origin(path: Path, outputs: Mapping[str, Any]) -> Float[np.ndarray, "3"]:
    """Where the job has put its own maps, so that ours lie on its conformations."""
    maps = [path / name for name in outputs if name.startswith("maps/")]
    return read_map(maps[0]).origin if maps else np.zeros(3)


def _require_same(table: Path, described: dict[str, Any]) -> None:
    remedy = "put it back where it was"
    if not table.is_file():
        cause = "the particle table of the flex job is not there any more"
        raise InputError(table, "particles", cause, remedy)
    if described.get("sha256") != sha256_of(table):
        cause = "the particle table has changed since the flex job"
        raise InputError(table, "particles", cause, f"put the old one back, or {_AGAIN}")


def _leading(
    path: Path, config: dict[str, Any]
) -> tuple[Float[np.ndarray, " images"], Float[np.ndarray, " images"]]:
    arrays = read_npz(path)
    if "latent_deviation" not in arrays:
        cause = "it does not say how certain the latents are"
        if config["preset"] in ("paper", "mlp"):
            cause += f": the preset {config['preset']} gives each image one place"
        raise InputError(path, "latent_deviation", cause, f"{_AGAIN}, with the preset default")
    latents, deviation = arrays.get("latents"), arrays["latent_deviation"]
    if latents is None or latents.ndim != 2 or not latents.size or latents.dtype.kind != "f":
        raise InputError(path, "array 'latents'", "not one row of numbers for each image", _AGAIN)
    if deviation.shape != latents.shape or deviation.dtype.kind != "f":
        cause = f"type {deviation.dtype}, shape {deviation.shape} beside {latents.shape}"
        raise InputError(path, "array 'latent_deviation'", cause, _AGAIN)
    mean, deviation = (np.asarray(values[:, 0], np.float64) for values in (latents, deviation))
    wrong = ~(np.isfinite(mean) & np.isfinite(deviation) & (deviation >= 0))
    if wrong.any():
        cause = "a latent or its deviation is no number, or the deviation is below 0"
        raise InputError(path, f"image {int(np.argmax(wrong)) + 1}", cause, _AGAIN)
    return mean, deviation
