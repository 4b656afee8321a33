"""How well recovered conformations agree with the truth, and with what no motion would give."""

from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Float32, Int, Int64, Key

from cryojax_graph.geometry import apply, superpose
from cryojax_graph.metrics import (
    best_constant_structure,
    bootstrap_interval,
    clash_count,
    constant_distortion,
    distance_correlation,
    explained_fraction,
    lddt_ca,
    leading_direction,
    principal_floor,
    rmsd_per_image,
    spearman,
    step_deviation,
    superposed_rmsd_per_image,
)

RANKS = (1, 2, 8)
Figures: TypeAlias = dict[str, int | float]
_SAMPLE, _FEWEST = 5000, 200
_PAIRS = 10**9
_RESIDUES_OF_DIRECTION = 400


class Motion(NamedTuple):
    """Recovered and true conformation of every image, residue by residue.

    Attributes:
        recovered: C-alpha positions, Å.
        template: from which the recovery started.
        latents: of every image, the leading axis first.
        frames: true conformations.
        frame_index: true conformation of every image.
        bonded: rows of residues that a peptide bond joins.
    """

    recovered: Float32[np.ndarray, "images n 3"]
    template: Float32[np.ndarray, "n 3"]
    latents: Float[np.ndarray, "images latent"]
    frames: Float32[np.ndarray, "frames n 3"]
    frame_index: Int64[np.ndarray, " images"]
    bonded: Int[np.ndarray, "bonds 2"]

    @property
    def truth(self) -> Float32[np.ndarray, "images n 3"]:
        """True conformation of every image."""
        return self.frames[self.frame_index]


class MotionScores(NamedTuple):
    """Figures and what their pictures need.

    Attributes:
        figures: by name; those whose name says no unit are numbers or ratios.
        in_frame: RMSD of each image as it stands, Å.
        superposed: RMSD of each image after superposition, Å.
        template: the same for the template.
        direction: leading structural direction of each image of the sample, Å.
        sample: images that the costly figures are made of.
        residue_error: rms error of each residue after superposition, Å.
        residue_motion: rms distance of each residue from its mean place in the truth, Å.
    """

    figures: Figures
    in_frame: Float[np.ndarray, " images"]
    superposed: Float[np.ndarray, " images"]
    template: Float[np.ndarray, " images"]
    direction: Float[np.ndarray, " sample"]
    sample: Int[np.ndarray, " sample"]
    residue_error: Float[np.ndarray, " n"]
    residue_motion: Float[np.ndarray, " n"]


def score_motion(key: Key[Array, ""], motion: Motion) -> MotionScores:
    """Score recovered conformations.

    RMSDs are of all images. What costs more than that (floors, geometry, correlations) is of at
    most 5,000 images, evenly spaced; fewer for large molecules.

    Args:
        key: for the bootstrap.
        motion: recovered and true conformations.

    Returns:
        the scores.
    """
    truth = motion.truth
    template = np.broadcast_to(motion.template, truth.shape)
    in_frame = rmsd_per_image(motion.recovered, truth)
    superposed = superposed_rmsd_per_image(motion.recovered, truth)
    of_template = superposed_rmsd_per_image(template, truth)
    sample = _sample(len(truth), truth.shape[1])
    some, true_some = motion.recovered[sample], truth[sample]
    residual, spread = _per_residue(some, true_some)
    direction = _leading_structural_direction(some)
    figures = {
        "images": len(truth),
        "residues": truth.shape[1],
        "frames": len(motion.frames),
        "images_of_costly_figures": len(sample),
        **_summary("rmsd_in_frame", in_frame, key),
        **_summary("rmsd_superposed", superposed, key),
        "template_rmsd_in_frame_mean_angstrom": float(rmsd_per_image(template, truth).mean()),
        "template_rmsd_superposed_mean_angstrom": float(of_template.mean()),
        **_floors(true_some),
        "constant_distortion_angstrom": constant_distortion(some, true_some),
        **_geometry(motion, some, true_some),
    }
    if of_template.any():
        figures["explained_fraction"] = explained_fraction(superposed, of_template)
    if len(motion.frames) > 1:
        figures |= _order(motion, sample, direction)
    return MotionScores(
        figures, in_frame, superposed, of_template, direction, sample, residual, spread
    )


def _sample(images: int, residues: int) -> Int[np.ndarray, " sample"]:
    """Images whose pairwise distances are affordable."""
    count = min(images, _SAMPLE, max(_FEWEST, _PAIRS // residues**2))
    return np.unique(np.linspace(0, images - 1, count).astype(np.int64))


def _summary(name: str, values: Float[np.ndarray, " images"], key: Key[Array, ""]) -> Figures:
    low, high = bootstrap_interval(key, values)
    return {
        f"{name}_mean_angstrom": float(values.mean()),
        f"{name}_mean_low_angstrom": low,
        f"{name}_mean_high_angstrom": high,
        f"{name}_median_angstrom": float(np.median(values)),
        f"{name}_p90_angstrom": float(np.quantile(values, 0.9)),
    }


def _floors(truth: Float32[np.ndarray, "sample n 3"]) -> Figures:
    constant = np.broadcast_to(best_constant_structure(truth), truth.shape)
    of_constant = superposed_rmsd_per_image(constant, truth).mean()
    return {
        "constant_structure_rmsd_superposed_mean_angstrom": float(of_constant),
        **{
            f"pca_rank{rank}_rmsd_superposed_mean_angstrom": float(
                principal_floor(truth, rank=rank).mean()
            )
            for rank in RANKS
        },
    }


def _geometry(
    motion: Motion,
    some: Float32[np.ndarray, "sample n 3"],
    truth: Float32[np.ndarray, "sample n 3"],
) -> Figures:
    template, bonded = jnp.asarray(motion.template), jnp.asarray(motion.bonded)
    recovered = jnp.asarray(some)
    clashes, true_clashes, lddt = _clashes_and_lddt(recovered, jnp.asarray(truth), bonded)
    figures: Figures = {
        "clashes_per_conformation": float(clashes.mean()),
        "true_clashes_per_conformation": float(true_clashes.mean()),
        "lddt_ca_mean": float(lddt.mean()),
    }
    if len(bonded):
        deviation = np.asarray(_step_deviations(recovered, template, bonded), np.float64)
        figures["c_alpha_step_deviation_rms_angstrom"] = float(np.sqrt(np.mean(deviation**2)))
    return figures


@jax.jit
def _clashes_and_lddt(
    some: Float[Array, "sample n 3"], truth: Float[Array, "sample n 3"], bonded: Int[Array, "b 2"]
) -> tuple[Int[Array, " sample"], Int[Array, " sample"], Float[Array, " sample"]]:
    # One pair after the other: all distances of a large molecule fill the memory.
    return jax.lax.map(
        lambda pair: (clash_count(pair[0], bonded), clash_count(pair[1], bonded), lddt_ca(*pair)),
        (some, truth),
    )


_step_deviations = jax.jit(jax.vmap(step_deviation, in_axes=(0, None, None)))


def _order(
    motion: Motion, sample: Int[np.ndarray, " sample"], direction: Float[np.ndarray, " sample"]
) -> Figures:
    """Does what was recovered run along the true motion? Signs of directions mean nothing."""
    frame = motion.frame_index.astype(float)
    some = frame[sample][:, None]
    return {
        "latent_spearman_abs": abs(spearman(motion.latents[:, 0].astype(float), frame)),
        "latents_distance_correlation": distance_correlation(motion.latents[sample], some),
        "structure_spearman_abs": abs(spearman(direction, frame[sample])),
        "structure_distance_correlation": distance_correlation(direction[:, None], some),
    }


def _leading_structural_direction(
    some: Float32[np.ndarray, "sample n 3"],
) -> Float[np.ndarray, " sample"]:
    residues = some.shape[1]
    chosen = np.unique(np.linspace(0, residues - 1, min(residues, _RESIDUES_OF_DIRECTION)).round())
    flat = some[:, chosen.astype(int)].reshape(len(some), -1).astype(np.float64)
    return leading_direction(flat) / np.sqrt(len(chosen))


def _per_residue(
    some: Float32[np.ndarray, "sample n 3"], truth: Float32[np.ndarray, "sample n 3"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    squared = np.asarray(_squared_residuals(jnp.asarray(some), jnp.asarray(truth)))
    spread = ((truth - truth.mean(axis=0)) ** 2).sum(axis=-1)
    return np.sqrt(squared.mean(axis=0)), np.sqrt(spread.mean(axis=0))


@jax.jit
@jax.vmap
def _squared_residuals(
    mobile: Float[Array, "n 3"], target: Float[Array, "n 3"]
) -> Float[Array, " n"]:
    return ((apply(superpose(mobile, target), mobile) - target) ** 2).sum(axis=-1)
