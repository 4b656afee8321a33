"""A complete run of a toy system, as a program: killed, restarted and spread over devices by tests.

Usage: toy_run.py FOLDER DEVICES STEPS PAUSE
"""

import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax

from cryojax_graph.training.batches import ArrayReader, Batches
from cryojax_graph.training.callbacks import save_every
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import fit
from cryojax_graph.training.mesh import data_mesh, replicate
from cryojax_graph.training.state import init_state
from cryojax_graph.training.step import make_step

IMAGES, LATENT, PIXELS = 30, 3, 6


def loss(params, batch, *, config, key):
    hidden = jnp.tanh(params["latents"] @ params["decoder"]["w"])
    noise = 0.1 * jax.random.normal(key, batch["image"].shape)
    error = ((hidden + noise - batch["image"]) ** 2).mean(axis=-1)
    return (error * batch["weight"]).sum() / batch["weight"].sum(), {"largest": error.max()}


def run(folder: Path, devices: int, steps: int, pause: float) -> dict[str, np.ndarray]:
    mesh = data_mesh(jax.devices()[:devices])
    first, second, third = jax.random.split(jax.random.key(4), 3)
    params = {
        "decoder": {"w": jax.random.normal(first, (LATENT, PIXELS))},
        "latents": jax.random.normal(second, (IMAGES, LATENT)),
    }
    images = np.asarray(jax.random.normal(third, (IMAGES, PIXELS)))
    adam, rows = optax.adam(0.02), {"latents": optax.adam(0.05)}
    state = replicate(init_state(jax.random.key(0), params, adam, row_optimizers=rows), mesh)
    step = make_step(loss, adam, config=None, row_optimizers=rows)
    batches = Batches(
        ArrayReader({"image": images}),
        key=jax.random.key(1),
        batch_size=8,
        mesh=mesh,
        steps_per_dispatch=3,
        budget_bytes=0,
    )
    with Checkpoints(folder / "checkpoints", {"latent": LATENT}) as checkpoints:
        state = checkpoints.restore(state)
        history = History(folder / "history.csv", step=int(state.step))

        def announce(progress):
            print(progress.step, flush=True)
            time.sleep(pause)

        state = fit(
            state,
            step,
            batches,
            steps=steps,
            callbacks=[history, announce, save_every(checkpoints, seconds=0.1)],
        )
    leaves = jax.tree.leaves(state._replace(key=jax.random.key_data(state.key)))
    return {f"leaf{i}": np.asarray(leaf) for i, leaf in enumerate(leaves)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    result = run(folder, int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
    np.savez(folder / "final.npz", **result)
