"""Images as the system compares them: half spectra, transfer functions and poses."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.models.backbone_graph.imaging import spectrum_of


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
    """Half spectra, transfer functions and poses of particle images, read in any order."""

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

        def prepare(image: Array, ctf: CTF) -> tuple[Array, Array]:
            if standardise:
                image = (image - image.mean()) / jnp.maximum(image.std(), 1e-12)
            return spectrum_of(image), contrast_transfer(
                ctf, box=image.shape[0], pixel_size=pixel_size
            )

        self._prepare = jax.jit(jax.vmap(prepare))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._views.rotation)

    def read(self, images: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Spectra, transfer functions, rotations and shifts of the given images."""
        ctf = CTF(*(np.asarray(field, np.float32)[images] for field in self._views.ctf))
        chunks = np.array_split(np.arange(len(images)), max(1, len(images) // 512))
        prepared = [
            self._prepare(
                self._read_images(images[chunk]), jax.tree.map(lambda f, c=chunk: f[c], ctf)
            )
            for chunk in chunks
        ]
        return {
            "spectrum": np.concatenate([np.asarray(spectrum) for spectrum, _ in prepared]),
            "transfer": np.concatenate([np.asarray(transfer) for _, transfer in prepared]),
            "rotation": self._views.rotation[images].astype(np.float32),
            "shift": self._views.shift[images].astype(np.float32),
        }
