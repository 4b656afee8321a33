"""Images as the system compares them: half spectra, transfer functions and poses."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.models.backbone_graph.imaging import spectrum_of
from cryojax_graph.training.step import Batch


class Views(NamedTuple):
    """How each image was taken.

    Attributes:
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: fields of shape (images,).
    """

    rotation: Float[np.ndarray, "images 3 3"]
    shift: Float[np.ndarray, "images 2"]
    ctf: CTF


class SpectrumReader:
    """Particle images and how each was taken, read in any order, with their half spectra."""

    def __init__(
        self,
        read_images: Callable[[Int[np.ndarray, " n"]], Float[np.ndarray, "n box box"]],
        views: Views,
        *,
        pixel_size: float,
        standardise: bool,
    ) -> None:
        """Keep what is needed to read.

        Args:
            read_images: images by number, from disk or from an array.
            views: of all images.
            pixel_size: Å.
            standardise: bring each image to mean 0 and variance 1, as the published system does.
        """
        self._read_images, self._views = read_images, views
        self._pixel_size, self._standardise = pixel_size, standardise
        self._prepare = jax.jit(self.prepare)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._views.rotation)

    def read(self, images: Int[np.ndarray, " n"]) -> dict[str, Any]:
        """Images as they are stored, and how each was taken.

        Args:
            images: their numbers.

        Returns:
            ``image`` (n, box, box), ``ctf``, a ``CTF`` of fields of shape (n,), ``rotation``
            (n, 3, 3) and ``shift`` (n, 2) in Å.
        """
        return {
            "image": self._read_images(images),
            "ctf": CTF(*(np.asarray(field, np.float32)[images] for field in self._views.ctf)),
            "rotation": self._views.rotation[images].astype(np.float32),
            "shift": self._views.shift[images].astype(np.float32),
        }

    def prepare(self, batch: Batch) -> Batch:
        """Half spectra and transfer functions in place of pixels and CTF.

        Args:
            batch: what ``read`` returns, on a device.

        Returns:
            ``spectrum`` and ``transfer`` (n, box, box // 2 + 1), ``rotation`` and ``shift``.
        """

        def of_image(image: Array, ctf: CTF) -> tuple[Array, Array]:
            if self._standardise:
                image = (image - image.mean()) / jnp.maximum(image.std(), 1e-12)
            box, size = image.shape[0], self._pixel_size
            return spectrum_of(image), contrast_transfer(ctf, box=box, pixel_size=size)

        spectrum, transfer = jax.vmap(of_image)(batch["image"], batch["ctf"])
        kept = {name: batch[name] for name in ("rotation", "shift")}
        return {"spectrum": spectrum, "transfer": transfer, **kept}

    def spectra(self, images: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """What ``prepare`` makes of images, on the host.

        Args:
            images: their numbers.

        Returns:
            as ``prepare``.
        """
        chunks = np.array_split(images, max(1, len(images) // 512))
        prepared = [jax.device_get(self._prepare(self.read(chunk))) for chunk in chunks]
        return {name: np.concatenate([chunk[name] for chunk in prepared]) for name in prepared[0]}
