"""A set of conformations, one for each image, against the true set and simple floors.

Host code: arrays of many conformations in, figures out. Superposed always means each conformation
on its own truth.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.geometry import apply, rmsd, superpose, superposed_rmsd

_Conformations = Float[np.ndarray, "images n 3"]
# Conformations superposed at one time, so that memory does not grow with the number of images.
_CHUNK = 256
_IN_FRAME = jax.jit(jax.vmap(rmsd))
_SUPERPOSED = jax.jit(jax.vmap(superposed_rmsd))
_MOVED = jax.jit(jax.vmap(lambda mobile, target: apply(superpose(mobile, target), mobile)))


def rmsd_per_image(
    predicted: _Conformations, truth: _Conformations
) -> Float[np.ndarray, " images"]:
    """RMSD of every conformation as it stands.

    Args:
        predicted: Å.
        truth: Å, the same atoms.

    Returns:
        Å.
    """
    return _each(_IN_FRAME, predicted, truth)


def superposed_rmsd_per_image(
    predicted: _Conformations, truth: _Conformations
) -> Float[np.ndarray, " images"]:
    """RMSD of every conformation after superposition.

    Args:
        predicted: Å.
        truth: Å, the same atoms.

    Returns:
        Å.
    """
    return _each(_SUPERPOSED, predicted, truth)


def constant_distortion(predicted: _Conformations, truth: _Conformations) -> float:
    """The part of the error that is the same in every image.

    Root mean square over atoms of the mean over images of the residual after superposition.

    Args:
        predicted: Å.
        truth: Å; its conformations stand in one common frame.

    Returns:
        Å.
    """
    residual = (_superposed(predicted, truth) - truth).mean(axis=0, dtype=np.float64)
    return float(np.sqrt((residual**2).sum(axis=1).mean()))


def best_constant_structure(
    conformations: _Conformations, *, tolerance: float = 1e-4, max_steps: int = 100
) -> Float[np.ndarray, "n 3"]:
    """The one structure of least mean squared superposed distance to a set of conformations.

    Generalised Procrustes analysis (Gower 1975): superpose all on their mean, average, repeat.

    Args:
        conformations: Å, one for each image.
        tolerance: stop once a repetition moves the structure by less than this RMSD in Å.
        max_steps: and in any case after so many.

    Returns:
        Å, in the frame of the first conformation.
    """
    mean = conformations[0]
    for _ in range(max_steps):
        aligned = _superposed(conformations, _repeated(mean, conformations))
        previous, mean = mean, aligned.mean(0, dtype=np.float64).astype(conformations.dtype)
        if np.sqrt(((mean - previous) ** 2).sum(1).mean()) < tolerance:
            break
    return mean


def principal_floor(conformations: _Conformations, *, rank: int) -> Float[np.ndarray, " images"]:
    """Error of the best linear model of a given number of coordinates, fitted to the truth itself.

    What a linear decoder with a latent of this size cannot go below. The conformations are
    superposed on their best constant structure, reconstructed from their leading principal
    components, and compared after superposition; rank 0 is the best constant structure.

    Args:
        conformations: true conformations, one for each image, Å.
        rank: number of principal components.

    Returns:
        superposed RMSD of each conformation, Å.
    """
    mean = best_constant_structure(conformations)
    aligned = _superposed(conformations, _repeated(mean, conformations)).astype(np.float64)
    centre = aligned.mean(axis=0)
    flat = (aligned - centre).reshape(len(aligned), -1)
    left, values, right = np.linalg.svd(flat, full_matrices=False)
    rebuilt = centre + ((left * values)[:, :rank] @ right[:rank]).reshape(aligned.shape)
    return superposed_rmsd_per_image(rebuilt.astype(conformations.dtype), conformations)


def explained_fraction(
    errors: Float[np.ndarray, " images"], baseline: Float[np.ndarray, " images"]
) -> float:
    """Share of the baseline's squared deviation that a model removes.

    Args:
        errors: RMSD of the model in each image.
        baseline: RMSD of the template, or of another constant, in each image.

    Returns:
        1 for a perfect model, 0 for one no better than the baseline, negative for a worse one.
    """
    return float(1 - np.mean(np.square(errors)) / np.mean(np.square(baseline)))


def _superposed(mobile: _Conformations, target: _Conformations) -> _Conformations:
    return _each(_MOVED, mobile, target)


def _repeated(structure: Float[np.ndarray, "n 3"], like: _Conformations) -> _Conformations:
    return np.broadcast_to(structure, like.shape)


def _each(
    function: Callable[[Array, Array], Array], first: _Conformations, second: _Conformations
) -> Float[np.ndarray, "images *shape"]:
    """A batched function of two sets of structures, in chunks of one size for one compilation."""
    count = len(first)
    size = min(count, _CHUNK)
    starts = [min(start, count - size) for start in range(0, count, size)]
    parts = [function(*(jnp.asarray(x[s : s + size]) for x in (first, second))) for s in starts]
    # The last chunk reaches back over images that are already done.
    done = [start - chosen for start, chosen in zip(range(0, count, size), starts, strict=True)]
    return np.concatenate([np.asarray(p)[d:] for p, d in zip(parts, done, strict=True)])
