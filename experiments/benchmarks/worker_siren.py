"""Steps of the published network on one box by cryojax_graph, one for each line of input."""

import argparse
import json
import resource
import sys
import time

import jax
import numpy as np

from cryojax_graph.fields import voxel_grid
from cryojax_graph.models.atom_graph import paper
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("volume")
    chosen = parser.parse_args()
    volume = np.load(chosen.volume)
    grid = voxel_grid(np.zeros(3), np.ones(3))
    run = prepare_neural_map(volume, grid, paper(), key=jax.random.key(0), steps_per_call=1)
    state = run.state
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), time.process_time()
        state, _ = run.step(state, {}, 1)
        jax.block_until_ready(state)
        spent = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(json.dumps([*spent, peak]), flush=True)


main()
