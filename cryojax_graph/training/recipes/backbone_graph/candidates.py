"""New images beside conformations that were fitted before."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int

from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.embed import log_evidence, log_likelihoods
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.training.recipes.backbone_graph.reader import SpectrumReader

IMAGES_SCORED_AT_ONCE = 512


def score_candidates(
    fitted: dict[str, Any],
    candidates: Float[np.ndarray, "*each candidates latent"],
    reader: SpectrumReader,
    images: Int[np.ndarray, " new"],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
    mesh: Mesh,
    in_any_pose: int = 0,
) -> Iterator[Float[np.ndarray, "part candidates"]]:
    """Hold some conformations against images.

    Args:
        fitted: decoder and imaging of a fitted system; for any pose ``poses`` and ``pose_error``,
            too.
        candidates: latents, for all images the same or, with a leading axis, for each its own.
        reader: all images.
        images: their numbers.
        config: of the system.
        template: the molecule.
        pixel_size: Å.
        mesh: devices.
        in_any_pose: candidates, the most probable of each image, that are held against it in the
            poses near its fitted one that suit them, and the others left out; with 0 all are held
            against it in the given one.

    Yields:
        log-likelihoods of the next ``IMAGES_SCORED_AT_ONCE`` images, or of those that are left,
        under each candidate, for any pose integrated over poses, minus infinity where left out;
        nats.
    """
    whole, share = PartitionSpec(), PartitionSpec("data")
    own_candidates, any_pose = candidates.ndim == 3, in_any_pose > 0
    compare = log_likelihoods
    if any_pose:
        compare = partial(log_evidence, in_any_pose=in_any_pose)
    score = jax.jit(
        jax.shard_map(
            partial(
                compare,
                config=config,
                template=template,
                pixel_size=pixel_size,
            ),
            mesh=mesh,
            in_specs=(whole, share if own_candidates else whole, share),
            out_specs=share,
            check_vma=False,
        )
    )
    own = ("decoder", "imaging", "pose_error") if any_pose else ("decoder", "imaging")
    shared = {name: fitted[name] for name in own}
    for start in range(0, len(images), IMAGES_SCORED_AT_ONCE):
        part = images[start : start + IMAGES_SCORED_AT_ONCE]
        # Filled up to what the devices share evenly, and to one size for all that is compiled.
        size = len(part) if len(images) < IMAGES_SCORED_AT_ONCE else IMAGES_SCORED_AT_ONCE
        filled = np.resize(part, -(-size // mesh.size) * mesh.size)
        rows = start + np.resize(np.arange(len(part)), len(filled))
        batch = reader.spectra(filled)
        if any_pose:
            batch["correction"] = np.asarray(fitted["poses"].mean)[filled]
        chosen = candidates[rows] if own_candidates else candidates
        yield np.asarray(score(shared, chosen, batch))[: len(part)]


def start_at_candidates(
    latents: dict[str, Float[Array, "images latent"]],
    images: Int[np.ndarray, " new"],
    candidates: Float[np.ndarray, "candidates latent"],
    scores: Float[np.ndarray, "new candidates"],
) -> dict[str, Float[Array, "images latent"]]:
    """Put the latents of new images where the most probable candidate of each is.

    The likelihood of a latent has several peaks, and climbing from the middle of the latent space
    ends on the wrong one for a good part of the images. Among candidates spread over the latents of
    images that were fitted, the best one stands on the right slope.

    Args:
        latents: table of all images.
        images: numbers of the new images.
        candidates: latents.
        scores: from ``score_candidates``.

    Returns:
        the table with new rows.
    """
    best = (scores - 0.5 * np.sum(candidates**2, axis=-1)).argmax(axis=-1)
    return latents | {"mean": latents["mean"].at[images].set(candidates[best])}
