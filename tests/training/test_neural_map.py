"""Networks of a map trained as one stack."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.fields import Patches, fit_spline, owners_of, query, voxel_grid
from cryojax_graph.fields.patches import index_in_box
from cryojax_graph.models.atom_graph import default, paper
from cryojax_graph.training.loop import fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.atom_graph import (
    neural_map,
    prepare_neural_map,
    trained_field,
)

GRID = voxel_grid(np.array([5.0, 6.0, 7.0]), np.array([1.0, 1.1, 0.9]))
SMALL = replace(paper(), patch=14, width=16, hidden=1, omega=10.0, rate=1e-2, steps=40)


def blobs() -> np.ndarray:
    """Three boxes along x; nothing in the last one."""
    z, y, x = np.indices((10, 9, 30))
    centres = [(5, 4, 4), (4, 5, 9), (6, 3, 13)]
    square = [((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 6 for a, b, c in centres]
    volume = 3.0 * np.exp(-np.array(square)).sum(0) * (x < 15)
    return volume.astype(np.float32)


@pytest.fixture(scope="module")
def volume() -> np.ndarray:
    return blobs()


def trained(volume, config, *, stop=None, **options):
    run = prepare_neural_map(volume, GRID, config, key=jax.random.key(0), **options)
    state = fit(run.state, run.step, run.batches, steps=stop or config.steps)
    return run, state, trained_field(run, state)


def points_of(volume):
    index = np.argwhere(np.ones(volume.shape, bool))
    return index, jnp.asarray(jax.vmap(GRID.point)(jnp.asarray(index, jnp.float32)))


def test_networks_learn_the_voxels(volume):
    config = replace(SMALL, steps=300)
    _, state, field = trained(volume, config)
    networks = state.params["networks"]
    assert len(networks.least) == 2, "a box of zeros needs no network"
    assert (networks.least < 2e-3).all()
    _, points = points_of(volume)
    error = np.asarray(jax.jit(query)(field, points)).reshape(volume.shape) - volume
    assert np.sqrt((error**2).mean()) < 0.1 * volume.std()
    # The box without a network is exactly its density.
    assert not np.asarray(query(field, points)).reshape(volume.shape)[..., 26:].any()


def test_the_best_weights_are_kept_and_those_of_their_error(volume):
    _, state, _ = trained(volume, replace(SMALL, rate=0.1))
    networks = state.params["networks"]
    again = prepare_neural_map(
        volume, GRID, replace(SMALL, rate=0.0, steps=1), key=jax.random.key(0)
    )
    begun = again.state.params["networks"]._replace(layers=networks.best)
    state = again.step(again.state._replace(params={"networks": begun}), {}, 1)[0]
    np.testing.assert_allclose(state.params["networks"].least, networks.least, rtol=1e-5)


def test_a_network_rests_at_its_natural_fit_point(volume):
    config = replace(SMALL, patience=3, fair=10.0, rate=0.3, steps=60)
    _, state, _ = trained(volume, config)
    networks = state.params["networks"]
    assert networks.resting.all()
    assert (networks.since == 3).all()
    _, perfect, _ = trained(volume, replace(SMALL, perfect=10.0), stop=2)
    assert perfect.params["networks"].resting.all()


def test_networks_at_once_are_passed_over_when_all_of_them_rest(volume):
    key = jax.random.key(0)
    run = prepare_neural_map(volume, GRID, SMALL, key=key, together=64, steps_per_call=2)
    program = str(jax.make_jaxpr(lambda state: run.step(state, {}, jnp.int32(1)))(run.state))
    # That of each network has become a choice between two results.
    assert program.count("cond[") == 1


def test_how_they_are_computed_changes_nothing_but_rounding(volume):
    _, alone, _ = trained(volume, SMALL)
    _, together, _ = trained(volume, SMALL, together=2, steps_per_call=7)
    _, divided, _ = trained(volume, SMALL, mesh=data_mesh(jax.devices()[:1]))
    for other in (together, divided):
        np.testing.assert_allclose(
            alone.params["networks"].least, other.params["networks"].least, rtol=1e-2
        )


DEVICES = """
import sys
import jax
import numpy
jax.config.update("jax_num_cpu_devices", 3)
sys.path.insert(0, sys.argv[1])
from test_neural_map import SMALL, blobs, points_of, query, trained
from cryojax_graph.training.mesh import data_mesh
volume = blobs()
_, alone, _ = trained(volume, SMALL)
_, divided, field = trained(volume, SMALL, mesh=data_mesh())
one, three = alone.params["networks"], divided.params["networks"]
assert three.resting.tolist() == [False, False, True], "what fills up the devices rests"
assert (abs(numpy.asarray(one.least) / numpy.asarray(three.least)[:2] - 1) < 1e-2).all()
assert jax.numpy.isfinite(query(field, points_of(volume)[1])).all()
print("agreed")
"""


def test_devices_share_the_networks():
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", DEVICES, here], capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "agreed", done.stderr


def test_learning_a_field_learns_its_slopes(volume):
    config = replace(
        default(), patch=14, overlap=4, width=32, hidden=1, omega=10.0, points=256, steps=400
    )
    _, _, field = trained(volume, config)
    _, points = points_of(volume)
    error = np.asarray(jax.jit(query)(field, points)).reshape(volume.shape) - volume
    assert np.sqrt((error**2).mean()) < 0.1 * volume.std()


def test_what_is_learned_of_a_place_is_the_field_there(monkeypatch):
    """Of a single section, too, beside which nothing is known."""
    size = (1, 9, 14)
    values = np.random.default_rng(0).random(size).astype(np.float32)
    field, told = fit_spline(jnp.asarray(values), GRID), {}

    def record(layers, places, values, slopes, **more):
        told.update(places=places, values=values)
        return jnp.zeros(())

    monkeypatch.setattr(neural_map, "slope_error", record)
    neural_map._error_of_field(
        None,
        {"corner": jnp.zeros(3)},
        key=jax.random.key(0),
        field=field,
        grid=GRID,
        offset=0.0,
        scale=1.0,
        size=size,
        config=replace(default(), points=200),
    )
    patches = Patches(((0,), (0,), (0,)), size)
    inside = jax.random.uniform(jax.random.key(1), (50, 3)) * (jnp.array(size) - 1)
    there = jax.vmap(lambda index: owners_of(index, patches, blend="smooth").place[0])(inside)
    # Asked where they were taught, networks are asked for what they were taught.
    np.testing.assert_allclose(index_in_box(there, size), inside, atol=1e-5)
    at = jax.vmap(GRID.point)(index_in_box(told["places"], size))
    np.testing.assert_allclose(told["values"], field.values(at), atol=1e-5)
    assert not np.asarray(told["places"])[:, 2].any()
    assert np.ptp(np.asarray(told["places"])[:, :2], axis=0).min() > 1.8


def test_negative_density_is_cut_as_published_and_else_kept():
    volume = np.linspace(-1, 1, 512).reshape(8, 8, 8).astype(np.float32)
    cut = prepare_neural_map(volume, GRID, SMALL, key=jax.random.key(0))
    kept = prepare_neural_map(
        volume, GRID, replace(SMALL, clip_negative=False), key=jax.random.key(0)
    )
    layers = cut.state.params["networks"].layers
    np.testing.assert_allclose(cut.field(layers=layers).offset, 0.5)
    np.testing.assert_allclose(kept.field(layers=layers).offset, 0.0, atol=1e-6)
