"""How far conformations agree with images, shell by shell."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.grids import spectrum_multiplicity
from cryojax_graph.models.backbone_graph.imaging import predicted_spectrum, shell_of_coefficients
from cryojax_graph.models.backbone_graph.template import Template

# Coarser than this, images hold more of ice and normalisation than of the molecule.
_COARSEST = 25.0
_CHANCE = 3.0


class ShellAgreement(NamedTuple):
    """Projections of conformations beside images, summed over images in resolution shells.

    Attributes:
        frequency: of each shell, 1/Å, from 0.
        overlap: real part of predicted times conjugate observed coefficients.
        predicted: power of the projections.
        observed: power of the images.
        numbers: independent real numbers in each shell.
        box: edge of the images, pixels.
    """

    frequency: Float[np.ndarray, " shells"]
    overlap: Float[np.ndarray, " shells"]
    predicted: Float[np.ndarray, " shells"]
    observed: Float[np.ndarray, " shells"]
    numbers: Float[np.ndarray, " shells"]
    box: int

    @property
    def correlation(self) -> Float[np.ndarray, " shells"]:
        """Correlation of projections and images in each shell."""
        return self.overlap / np.sqrt(np.maximum(self.predicted * self.observed, 1e-30))

    @property
    def chance(self) -> Float[np.ndarray, " shells"]:
        """Three standard deviations of the correlation with images of something else."""
        return _CHANCE / np.sqrt(np.maximum(self.numbers, 1.0))

    def correlation_below(self, frequency: float) -> float:
        """Correlation over all shells up to a frequency, the mean of the images left out.

        Args:
            frequency: 1/Å.

        Returns:
            in [-1, 1].
        """
        band = (self.frequency > 0) & (self.frequency <= frequency)
        power = self.predicted[band].sum() * self.observed[band].sum()
        return float(self.overlap[band].sum() / np.sqrt(max(power, 1e-30)))

    @property
    def strength(self) -> float:
        """Factor of the projections that suits the images best between 60 and 15 Å."""
        band = self._band
        return float(self.overlap[band].sum() / max(self.predicted[band].sum(), 1e-30))

    def explained(self, noise: Float[np.ndarray, " shells"]) -> float:
        """Share of the images' signal between 60 and 15 Å that the projections explain.

        Below 1 where the conformation is another, and where parts of the molecule are missing.

        Args:
            noise: variance per pixel in each shell.

        Returns:
            at most about 1; 0 where the images hold no signal beyond their noise.
        """
        band = self._band
        signal = (self.observed - noise * self.numbers * self.box**2)[band].sum()
        if signal <= 0.0:
            return 0.0
        overlap = max(float(self.overlap[band].sum()), 0.0)
        return float(overlap**2 / (max(self.predicted[band].sum(), 1e-30) * signal))

    @property
    def _band(self) -> Bool[np.ndarray, " shells"]:
        return (self.frequency > 1.0 / 60.0) & (self.frequency < 1.0 / 15.0)

    def limit(self) -> float:
        """Resolution down to which the two agree beyond chance.

        Two shells in a row must fail: a single one may lie on a zero of the CTF.

        Returns:
            Å; infinite where they do not even agree at 25 Å.
        """
        good = self.correlation > self.chance
        last = int(np.searchsorted(self.frequency, 1.0 / _COARSEST)) - 1
        first = last
        while last + 1 < len(good) and good[last + 1 : last + 3].any():
            last += 1
        return float(1.0 / self.frequency[last]) if last > first else float("inf")


def shell_agreement(
    c_alpha: Float[Array, "#images n 3"],
    images: dict[str, Any],
    *,
    template: Template,
    pixel_size: float,
    extra_variance: float,
) -> ShellAgreement:
    """Hold conformations against images.

    A molecule of another kind in the same outline correlates with the images at low resolution, and
    stops to between 7 and 16 Å in our trials; so does a mirror image.

    Args:
        c_alpha: of one conformation for all images, or of that of each, Å.
        images: ``spectrum``, ``transfer``, ``rotation`` and ``shift``; they should not have been
            used to find the model.
        template: the molecule.
        pixel_size: Å.
        extra_variance: of every bead, Å².

    Returns:
        the agreement.
    """
    box = images["spectrum"].shape[1]
    shells = box // 2 + 1
    shell, multiplicity = shell_of_coefficients(box), spectrum_multiplicity(box)

    def of_image(image: dict[str, Array]) -> Float[Array, "3 shells"]:
        predicted = predicted_spectrum(
            image["c_alpha"],
            image["rotation"],
            image["shift"],
            image["transfer"],
            extra_variance,
            template=template,
            pixel_size=pixel_size,
        )
        observed = image["spectrum"]
        overlap = (predicted * observed.conj()).real
        values = jnp.stack([overlap, jnp.abs(predicted) ** 2, jnp.abs(observed) ** 2])
        sums = partial(jax.ops.segment_sum, segment_ids=shell.ravel(), num_segments=shells)
        return jax.vmap(sums)((multiplicity * values).reshape(3, -1))

    fields = {name: images[name] for name in ("spectrum", "transfer", "rotation", "shift")}
    shape = (len(images["spectrum"]), *c_alpha.shape[1:])
    fields["c_alpha"] = jnp.broadcast_to(c_alpha, shape)
    parts = np.asarray(jax.jit(partial(map_images, of_image))(fields), float)
    overlap, predicted, observed = parts.sum(0)
    numbers = np.bincount(
        np.asarray(shell).ravel(), np.broadcast_to(multiplicity, shell.shape).ravel()
    )
    return ShellAgreement(
        frequency=np.arange(shells) / (box * pixel_size),
        overlap=overlap,
        predicted=predicted,
        observed=observed,
        numbers=numbers * len(parts),
        box=box,
    )
