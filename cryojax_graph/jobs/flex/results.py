"""What a fitted model of motion says: conformations, a path through them, maps, subsets."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.forward.image import view
from cryojax_graph.forward.windows import lost_mass
from cryojax_graph.jobs.flex.fitting import Fitted
from cryojax_graph.jobs.flex.half_sets import HalfSets
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.predict import decode, order_latents, position_deviation
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.protein import carry, local_positions, place_beads

LARGEST_SAMPLE = 8192
_PART = 1024


class Motion(NamedTuple):
    """What every image says of the motion.

    Attributes:
        latents: ordered: zero mean, in the sample unit variance, the first axis moves the structure
            most.
        axes: matrix from centred fitted latents to ``latents``.
        centre: mean of the fitted latents.
        deviation: expected error of each conformation by the model's own account, Å; None where
            the fit has no posteriors.
        sample: numbers of images spread evenly over the set, or of all when there are few.
        c_alpha: positions in the sample, Å; those of all images may not fit into memory.
    """

    latents: Float[np.ndarray, "images latent"]
    axes: Float[np.ndarray, "latent latent"]
    centre: Float[np.ndarray, " latent"]
    deviation: Float[np.ndarray, " images"] | None
    sample: Int[np.ndarray, " sample"]
    c_alpha: Float[np.ndarray, "sample n 3"]

    @property
    def spread(self) -> float:
        """Root mean square distance of the sample from its mean, Å."""
        mean = self.c_alpha.mean(0)
        return float(np.sqrt(((self.c_alpha - mean) ** 2).sum(-1).mean()))


class Found(NamedTuple):
    """All that came of a job.

    Attributes:
        fitted: the system, with the latents of all images.
        motion: conformation of every image.
        gain: evidence for motion in images that the decoder has not seen, nats.
        halves: how far two fits to halves of the images agree.
    """

    fitted: Fitted
    motion: Motion
    gain: Float[np.ndarray, " unseen"] | None
    halves: HalfSets | None

    @property
    def gain_error(self) -> float | None:
        """Standard error of the mean gain, nats; a single image tells none."""
        if self.gain is None or len(self.gain) < 2:
            return None
        return float(self.gain.std(ddof=1) / np.sqrt(len(self.gain)))


def motion_of(
    key: Key[jax.Array, ""],
    found: Fitted,
    *,
    config: BackboneGraphConfig,
    template: Template,
) -> Motion:
    """Decode every image and put the latent space in order.

    Args:
        key: for drawing from posteriors.
        found: the fitted system, all images with their latents.
        config: of the system.
        template: the molecule.

    Returns:
        the motion.
    """
    params = found.params
    fitted = params["latents"]["mean"]
    last = len(fitted) - 1
    sample = np.unique(np.linspace(0, last, min(LARGEST_SAMPLE, last + 1)).astype(int))
    parts = conformations(params, sample, config=config, template=template)
    c_alpha = np.concatenate(list(parts))
    everything = np.asarray(fitted, float)
    _, axes = order_latents(everything[sample], c_alpha)
    centre = everything.mean(0)
    latents = (everything - centre) @ axes
    deviation = found.deviation
    if deviation is None and "log_deviation" in params["latents"]:
        deviation = np.asarray(
            position_deviation(
                key,
                params["decoder"],
                fitted,
                params["latents"]["log_deviation"],
                config=config,
                template=template,
            )
        )
    return Motion(latents, axes, centre, deviation, sample, c_alpha)


def conformations(
    params: dict[str, Any],
    images: Int[np.ndarray, " some"],
    *,
    config: BackboneGraphConfig,
    template: Template,
) -> Iterator[Float[np.ndarray, "part n 3"]]:
    """Decode images, a part at a time.

    Args:
        params: of the fitted system.
        images: their numbers.
        config: of the system.
        template: the molecule.

    Yields:
        C-alpha positions of the next images, Å.
    """
    latents = np.asarray(params["latents"]["mean"])
    to_positions = jax.jit(partial(decode, config=config, template=template))
    for start in range(0, len(images), _PART):
        part = images[start : start + _PART]
        filled = np.resize(part, min(_PART, len(images)))
        yield np.asarray(to_positions(params["decoder"], latents[filled]))[: len(part)]


def undrawn_mass(
    c_alpha: Float[np.ndarray, "images n 3"],
    rotation: Float[np.ndarray, "images 3 3"],
    *,
    template: Template,
    extra_variance: float,
    box: int,
    pixel_size: float,
) -> Float[np.ndarray, " images"]:
    """Share of the molecule that the fit did not see because beads left their windows.

    Args:
        c_alpha: conformations, Å.
        rotation: of their images.
        template: the molecule, its beads and their windows.
        extra_variance: of every bead, Å².
        box: edge of the images in pixels.
        pixel_size: Å.

    Returns:
        in [0, 1].
    """
    beads = template.beads
    widths = jnp.sqrt(beads.variance + extra_variance)

    def share(c_alpha: jax.Array, rotation: jax.Array) -> jax.Array:
        points = view(place_beads(beads, c_alpha), rotation, jnp.zeros(2))
        return lost_mass(points, beads.mass, widths, template.plan, box=box, pixel_size=pixel_size)

    images = jnp.asarray(c_alpha, jnp.float32), jnp.asarray(rotation, jnp.float32)
    return np.asarray(map_images(share, *images))


def decode_ordered(
    params: dict[str, Any],
    motion: Motion,
    ordered: Float[np.ndarray, "points latent"],
    *,
    config: BackboneGraphConfig,
    template: Template,
) -> Float[np.ndarray, "points n 3"]:
    """Conformations of points given in ordered latents.

    Args:
        params: of the fitted system.
        motion: whose axes are meant.
        ordered: points.
        config: of the system.
        template: the molecule.

    Returns:
        C-alpha positions, Å.
    """
    fitted = ordered @ np.linalg.pinv(motion.axes) + motion.centre
    points = jnp.asarray(fitted, jnp.float32)
    return np.asarray(decode(params["decoder"], points, config=config, template=template))


def carry_atoms(
    template: Template,
    atoms: Float[np.ndarray, "atoms 3"],
    residue: Int[np.ndarray, " atoms"],
    c_alpha: Float[np.ndarray, "frames n 3"],
) -> Float[np.ndarray, "frames atoms 3"]:
    """All atoms of the template, moved rigidly with their residues.

    Args:
        template: the molecule.
        atoms: of the template, Å.
        residue: of each atom.
        c_alpha: conformations, Å.

    Returns:
        positions, Å, float32.
    """
    triples = template.beads.triples
    local = jnp.asarray(
        local_positions(np.asarray(template.c_alpha), np.asarray(triples), atoms, residue)
    )
    move = jax.vmap(lambda frame: carry(local, jnp.asarray(residue), frame, triples))
    return np.asarray(move(jnp.asarray(c_alpha, jnp.float32)), np.float32)


def map_of(
    c_alpha: Float[np.ndarray, "n 3"],
    *,
    template: Template,
    extra_variance: float,
    box: int,
    voxel_size: float,
) -> Float[np.ndarray, "box box box"]:
    """Density of a conformation as the fitted imaging model draws it.

    Args:
        c_alpha: of the conformation, Å.
        template: the molecule.
        extra_variance: of every bead, Å².
        box: voxels.
        voxel_size: Å.

    Returns:
        electrons per Å³, ``[z, y, x]``.
    """
    beads = template.beads
    density = density_of_gaussians(
        place_beads(beads, jnp.asarray(c_alpha, jnp.float32)),
        beads.mass,
        jnp.sqrt(beads.variance + extra_variance),
        box=box,
        voxel_size=voxel_size,
    )
    return np.asarray(density)


def region_of(leading: Float[np.ndarray, " images"], regions: int) -> Int[np.ndarray, " images"]:
    """Region of the leading axis that each image lies in; regions hold equally many images.

    Args:
        leading: ordered latent.
        regions: number of regions.

    Returns:
        numbers from 0 in the order of the axis.
    """
    rank = np.argsort(np.argsort(leading, kind="stable"), kind="stable")
    return rank * regions // len(leading)
