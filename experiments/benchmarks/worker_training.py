"""Epochs of our published presets and of the default, timed on request."""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("particles", type=Path)
parser.add_argument("template", type=Path)
parser.add_argument("--devices", type=int, default=1)
chosen = parser.parse_args()
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["JAX_NUM_CPU_DEVICES"] = str(chosen.devices)
if chosen.devices > 1:
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false"

import jax  # noqa: E402

from cryojax_graph.jobs.flex.inputs import read_template, read_views  # noqa: E402
from cryojax_graph.models.backbone_graph.config import PRESETS  # noqa: E402
from cryojax_graph.models.backbone_graph.template import build_template  # noqa: E402
from cryojax_graph.training.mesh import data_mesh  # noqa: E402
from cryojax_graph.training.recipes.backbone_graph import (  # noqa: E402
    SpectrumReader,
    prepare_fit,
)


def epochs(model: str, stack: ExitStack) -> Callable[[], None]:
    """A function that does one epoch."""
    config = PRESETS[model]()
    config = replace(config, fitting=replace(config.fitting, epochs=1000))
    particles = read_views(chosen.particles, image_root=None)
    template = build_template(
        read_template(chosen.template).arrays, config, pixel_size=particles.pixel_size
    )
    reader = SpectrumReader(
        particles.images.read,
        particles.views,
        pixel_size=particles.pixel_size,
        standardise=config.objective.kind == "squared_error",
    )
    run = prepare_fit(
        reader,
        template,
        pixel_size=particles.pixel_size,
        config=config,
        key=jax.random.key(0),
        mesh=data_mesh(),
    )
    per_epoch = run.batches.steps_per_epoch
    feeds = stack.enter_context(closing(run.batches.stream(0, run.steps)))
    state = run.state

    def one() -> None:
        nonlocal state
        done = 0
        while done < per_epoch:
            feed = next(feeds)
            state, metrics = run.step(state, feed.batches, feed.count)
            done += feed.count
        jax.block_until_ready((state.params, metrics))

    return one


models: dict[str, Callable[[], None]] = {}
with ExitStack() as stack:
    for line in sys.stdin:
        name = line.strip()
        if name not in models:
            models[name] = epochs(name, stack)
            models[name]()
        wall, cpu = time.perf_counter(), time.process_time()
        models[name]()
        seconds = [time.perf_counter() - wall, time.process_time() - cpu]
        print(json.dumps(seconds), flush=True)
