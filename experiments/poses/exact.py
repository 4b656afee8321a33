"""What images of ``adk.py`` tell at best: their posterior over all rotations, exactly.

Every image is scored with the projection itself at each of 294,912 rotations 3.7 degrees apart.
Two rotations are then chosen: the most probable one, and the one around which most of the posterior
lies within 10 degrees. No method that knows nothing but the image has, on average, more within 10
degrees than the latter; what the posterior itself expects of it is beside it.

    python experiments/poses/exact.py --data DATA --results expected.json
"""

import argparse
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from adk import half_way
from known_shifts import Scene, degrees_between, drawn, simulated
from molecules import record

from cryojax_graph.geometry import matrix_from_euler_degrees, orientations_at

ORDER, AT_ONCE = 4, 4096
WITHIN = 10.0
# Cells that hold the posterior of an image but for a millionth, and those that are tried.
CELLS, TRIED, LEAST = 8000, 400, -14.0


def posterior(scene: Scene, images: jax.Array, variance: float) -> tuple[np.ndarray, np.ndarray]:
    """Rotations, and the log-likelihood of every image at each of them."""
    cells = 12 * 4**ORDER * 6 * 2**ORDER
    flat = images.reshape(len(images), -1)

    @jax.jit
    def scored(rotations: jax.Array) -> jax.Array:
        views = drawn(scene, rotations).reshape(len(rotations), -1)
        return (flat @ views.T - 0.5 * jnp.sum(views**2, axis=1)) / variance

    rotations = np.empty((cells, 3, 3), np.float32)
    scores = np.empty((len(images), cells), np.float32)
    for first in range(0, cells, AT_ONCE):
        part = slice(first, first + AT_ONCE)
        angles = jnp.asarray(orientations_at(np.arange(cells)[part], ORDER), jnp.float32)
        rotations[part] = jax.vmap(matrix_from_euler_degrees)(angles)
        scores[:, part] = scored(jnp.asarray(rotations[part]))
    return rotations, scores


def chosen(scores: np.ndarray, rotations: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """The most probable rotation, that with most around it, and how much that is."""
    best = np.argsort(-scores)[:CELLS]
    best = best[scores[best] > scores[best[0]] + LEAST]
    share = np.exp(scores[best] - scores[best[0]])
    near = rotations[best].reshape(-1, 9)
    cosine = (near[:TRIED] @ near.T - 1) / 2
    around = (cosine > np.cos(np.radians(WITHIN))) @ share / share.sum()
    most = int(np.argmax(around))
    return rotations[best[0]], rotations[best[most]], float(around[most])


def measure(scene: Scene, snr: float, count: int, seed: int) -> dict[str, Any]:
    """Shares within 10 degrees."""
    truth, images, variance = simulated(scene, snr, count, seed)
    rotations, scores = posterior(scene, images, variance)
    probable, central, expected = zip(*(chosen(s, rotations) for s in scores), strict=True)
    found = {"most_probable": np.stack(probable), "most_within": np.stack(central)}
    shares = {
        f"{name}_below_10_percent": round(
            100 * float(np.mean(degrees_between(rotation, np.asarray(truth)) < WITHIN)), 2
        )
        for name, rotation in found.items()
    }
    expects = {"expected_below_10_percent": round(100 * float(np.mean(expected)), 2)}
    return {"snr": snr, "images": count, "seed": seed, **shares, **expects}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--snr", type=float, default=0.03)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    scene, rows = half_way(arguments.data), []
    for seed in range(arguments.seeds):
        rows.append(measure(scene, arguments.snr, arguments.images, seed))
        print(json.dumps(rows[-1]), flush=True)
    record(arguments.results, "exact", rows)


if __name__ == "__main__":
    main()
