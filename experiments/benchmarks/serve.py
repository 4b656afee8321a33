"""Times the cases of one program on request, in a process of its own.

Runs in the environment of the program, so it needs JAX and numpy alone. The parent sends a name on
standard input; the case runs once, and wall and CPU seconds come back on standard output.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Case = Callable[[], Any]


def arguments() -> argparse.Namespace:
    """Command line of every worker. The number of devices itself comes from the environment."""
    parser = argparse.ArgumentParser()
    parser.add_argument("inputs", type=Path)
    parser.add_argument("--devices", type=int, default=1)
    return parser.parse_args()


def mesh_of(devices: int) -> jax.sharding.Mesh | None:
    if devices == 1:
        return None
    return jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,))


def place(tree: Any, mesh: jax.sharding.Mesh | None) -> Any:
    """Put images on the devices once, outside what is timed."""
    arrays = jax.tree.map(jnp.asarray, tree)
    if mesh is None:
        return arrays
    return jax.device_put(arrays, NamedSharding(mesh, PartitionSpec("data")))


def map_chunks(function: Callable, chunk: int, mesh: jax.sharding.Mesh | None) -> Callable:
    """The harness of the other programs: the same chunks and the same devices as ours."""

    def run(*images: Any) -> Any:
        chunks = jax.tree.map(lambda a: a.reshape(-1, chunk, *a.shape[1:]), images)
        out = jax.lax.map(lambda part: function(*part), chunks)
        return jax.tree.map(lambda a: a.reshape(-1, *a.shape[2:]), out)

    if mesh is not None:
        images = PartitionSpec("data")
        run = jax.shard_map(run, mesh=mesh, in_specs=images, out_specs=images, check_vma=False)
    return jax.jit(run)


def timed(case: Case) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(case())
    return time.perf_counter() - wall, time.process_time() - cpu


def serve(build: Callable[[str, dict[str, np.ndarray]], dict[str, Case]], folder: Path) -> None:
    """Answer ``build TASK``, ``run TASK MODE`` and ``save TASK MODE PATH`` until input ends."""
    built: dict[str, dict[str, Case]] = {}
    for line in sys.stdin:
        command, task, *rest = line.split()
        if command == "build":
            inputs = dict(np.load(folder / f"{task}.npz"))
            built[task] = build(task, inputs)
            for case in built[task].values():
                jax.block_until_ready(case())
            answer: Any = list(built[task])
        elif command == "run":
            answer = timed(built[task][rest[0]])
        else:
            np.save(rest[1], np.asarray(built[task][rest[0]]())[:2])
            answer = rest[1]
        print(json.dumps(answer), flush=True)
