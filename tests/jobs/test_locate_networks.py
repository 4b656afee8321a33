"""``locate`` with networks: trained, stored, asked again; and the published walk."""

import json
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.fields import (
    differentiate,
    query_expansion,
    voxel_grid,
)
from cryojax_graph.io import InputError, Map, StoredNetworks, read_field, read_map, write_map
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.npz import read_npz
from cryojax_graph.jobs.locate import LocateConfig, fitting, plan_locate
from cryojax_graph.jobs.locate import run as work
from cryojax_graph.jobs.locate.outputs import node_features
from cryojax_graph.jobs.locate.search import climb_to_peaks, walk_to_peaks
from cryojax_graph.jobs.map_parts import crop
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.stored_field import load_field, save_field
from cryojax_graph.jobs.stored_networks import build_networks, store_networks
from cryojax_graph.models.atom_graph import NeuralMapConfig, paper
from cryojax_graph.training.loop import TrainingDiverged, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map, trained_field

VOXEL, ORIGIN, SHAPE = np.array([0.9, 1.0, 1.1]), np.array([5.0, -6.0, 7.0]), (16, 15, 36)
ATOMS = ORIGIN + np.array([[8.0, 7.0, 8.5], [13.0, 8.5, 9.0], [17.5, 7.5, 8.0]])
NETWORK = {"patch": 20, "overlap": 4, "width": 32, "hidden": 1, "omega": 20.0, "rate": 5e-3}
# Voxels alone: the field whose slopes are learned else takes half a minute to compile.
SMALL = ["--field", "siren", "--steps", "100", "--networks.points", "0"]
SMALL += [word for name, value in NETWORK.items() for word in (f"--networks.{name}", str(value))]


def density() -> Map:
    """Three atoms in a corner of a box that is neither cubic nor at the origin."""
    sides = [ORIGIN[k] + np.arange(SHAPE[2 - k]) * VOXEL[k] for k in range(3)]
    x, y, z = (np.exp(-((s - ATOMS[:, [k]]) ** 2) / 3) for k, s in enumerate(sides))
    return Map(np.einsum("nz,ny,nx->zyx", z, y, x).astype(np.float32), VOXEL, ORIGIN)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("networks")
    write_map(folder / "map.mrc", density())
    return folder


def run(files: Path, name: str, *more: str) -> int:
    command = ["locate", str(files / "map.mrc"), "--resolution", "3.0", "-o", str(files / name)]
    return main([*command, *more])


@pytest.fixture(scope="module")
def siren(files) -> Path:
    """A finished job that was stopped at half of its steps by the mark of a pipeline."""
    options, folder = [*SMALL, "--pipeline.relion-marks"], files / "siren"
    mark, callback = folder / "RELION_JOB_ABORT_NOW", fitting.History.__call__

    def stop(history, progress):
        callback(history, progress)
        if progress.step == 50:
            mark.touch()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fitting.History, "__call__", stop)
        assert run(files, "siren", *options) == 3
    mark.unlink(missing_ok=True)
    assert not (folder / "field.npz").exists()
    assert run(files, "siren", *options) == 0
    return folder


def peaks_of(job: Path) -> np.ndarray:
    return read_npz(job / "graph.npz")["position"]


def distance_to_atoms(job: Path) -> np.ndarray:
    position = peaks_of(job)
    return np.linalg.norm(position[:, None] - ATOMS, axis=2).min(axis=0)


def test_networks_find_the_atoms_and_say_how_true_they_are(siren):
    metrics = json.loads((siren / "metrics.json").read_text())
    assert distance_to_atoms(siren).max() < 0.4
    assert metrics["networks"] == 2
    assert metrics["network_steps"] == 100
    assert len((siren / "networks.csv").read_text().splitlines()) == 101
    stored = read_field(siren / "field.npz")
    assert isinstance(stored, StoredNetworks)
    assert metrics["field_rms_error"] == pytest.approx(stored.rms_error)
    assert 0 < stored.rms_error < 0.05
    assert stored.rms_error < stored.largest_error < 0.5
    page = (siren / "report.html").read_text()
    assert "Training" in page
    assert "slopes per voxel" not in page, "voxels alone were learned"
    assert "2 networks of 2 sine layers of 32" in page


def test_the_map_is_made_again_on_the_part_that_was_learned(siren, files):
    assert main(["query", str(siren), "-o", str(files / "again")]) == 0
    again, stored = read_map(files / "again/map.mrc"), read_field(siren / "field.npz")
    whole = density()
    part = crop(whole, whole.values > float(whole.values.mean() + 3 * whole.values.std()))
    assert again.values.shape == part.values.shape
    assert part.values.size < whole.values.size
    np.testing.assert_allclose(again.origin, part.origin, atol=1e-4)
    error = again.values - part.values
    # What the header says was measured with the weights that the file holds.
    assert np.abs(error).max() == pytest.approx(stored.largest_error, rel=1e-2)
    assert np.sqrt((error**2).mean()) == pytest.approx(stored.rms_error, rel=1e-2)


def test_outside_of_the_part_there_is_nothing(siren, files):
    like = ["--like", str(files / "map.mrc")]
    assert main(["query", str(siren), *like, "-o", str(files / "whole")]) == 0
    whole = read_map(files / "whole/map.mrc").values
    assert whole.shape == SHAPE
    assert not whole[:, :, 31:].any()
    warnings = json.loads((files / "whole/manifest.json").read_text())["warnings"]
    assert "lie outside of the source" in warnings[0]


def test_its_peaks_are_those_of_the_stored_field(siren, files):
    graph, field = read_npz(siren / "graph.npz"), load_field(siren)
    peaks = len(graph["position"])
    # As many points as a search asks for at once, so that nothing more is compiled.
    points = np.resize(graph["position"], (8192, 3))
    np.save(files / "points.npy", points)
    at = ["--points", str(files / "points.npy"), "--hessian"]
    assert main(["query", str(siren), *at, "-o", str(files / "at")]) == 0
    found = read_npz(files / "at/values.npz")
    np.testing.assert_allclose(found["density"][:peaks], graph["density"], atol=1e-4)
    assert np.linalg.norm(found["gradient"], axis=1).max() < 1e-2
    assert (np.linalg.eigvalsh(found["hessian"][:peaks]) < 0).all()
    expansion = jax.jit(query_expansion)(field, jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(expansion.hessian, found["hessian"], atol=1e-3)
    assert "2 networks of" in (files / "at/report.html").read_text()


def test_another_fit_needs_voxels_and_a_plan_needs_nothing(siren, files, capsys):
    other = ["query", str(siren), "--field", "spline", "-o", str(files / "other")]
    assert main(other) == 2
    assert "it holds networks, not the voxels" in capsys.readouterr().err
    assert main(["query", str(siren), "--voxel", "0.7", "--dry-run", "-o", "other"]) == 0
    assert "2 networks" in capsys.readouterr().out


def test_stopped_and_continued_it_ends_with_the_same_bits(siren):
    assert "continues at step 50" in (siren / "run.log").read_text()
    stored, whole = read_field(siren / "field.npz"), density()
    part = crop(whole, whole.values > float(whole.values.mean() + 3 * whole.values.std()))
    again = prepare_neural_map(
        part.values,
        voxel_grid(part.origin, part.voxel_size),
        NeuralMapConfig(points=0, steps=100, **NETWORK),
        key=jax.random.key(0),
        steps_per_call=5,
        mesh=data_mesh(),
    )
    state = fit(again.state, again.step, again.batches, steps=100)
    field = trained_field(again, state)
    for layer, kernel, bias in zip(field.layers, stored.kernels, stored.biases, strict=True):
        np.testing.assert_array_equal(np.asarray(layer.kernel[:2]).astype(np.float16), kernel)
        np.testing.assert_array_equal(np.asarray(layer.bias[:2]).astype(np.float16), bias)
    steps = np.loadtxt(siren / "networks.csv", delimiter=",", skiprows=1)[:, 0]
    np.testing.assert_array_equal(steps, np.arange(100))


def test_the_published_system_finds_the_atoms_and_says_when_it_is_not_done(files, monkeypatch):
    monkeypatch.setattr(fitting, "paper", lambda: replace(paper(), blend="smooth", **NETWORK))
    # The walk has its test below; this one is compiled already.
    monkeypatch.setattr(work, "walk_to_peaks", climb_to_peaks)
    assert run(files, "paper", "--field", "paper", "--steps", "60") == 0
    assert distance_to_atoms(files / "paper").max() < 0.4
    warnings = json.loads((files / "paper/manifest.json").read_text())["warnings"]
    assert any("of 2 networks are still above" in warning for warning in warnings)


def test_a_fit_that_diverges_ends_at_once(files, monkeypatch, capsys):
    first = fitting.History.__call__

    def spoil(history, progress):
        first(history, progress)
        progress.metrics["loss"] = np.full_like(progress.metrics["loss"], np.nan)

    monkeypatch.setattr(fitting.History, "__call__", spoil)
    assert run(files, "diverged", *SMALL) == 2
    assert "lower --networks.rate" in capsys.readouterr().err
    # Which the published system has no option for.
    monkeypatch.setattr(fitting, "paper", lambda: replace(paper(), blend="smooth", **NETWORK))
    assert run(files, "diverged paper", "--field", "paper", "--steps", "60") == 2
    assert "try another --seed, or --field siren" in capsys.readouterr().err


def searched(files: Path, source: Path, name: str, *more: str) -> int:
    command = ["locate", str(source), "--resolution", "3.0", "-o", str(files / name)]
    return main([*command, *more])


def test_a_search_that_ends_in_nothing_keeps_the_networks(files, capsys):
    few = [*SMALL[:2], "--steps", "30", *SMALL[4:]]
    assert run(files, "lost", *few, "--prominence", "1e6") == 2
    field = files / "lost/field.npz"
    told = capsys.readouterr().err
    assert f"cryojax-graph locate {field} --field siren --threshold" in told
    assert isinstance(read_field(field), StoredNetworks)
    assert searched(files, field, "found", "--field", "siren", "--threshold", "0.4") == 0
    assert len(peaks_of(files / "found"))
    assert not (files / "found/checkpoints").exists()


def test_stored_networks_are_searched_as_they_are(siren, files, capsys):
    above = ["--threshold", "0.4"]
    assert searched(files, siren, "plan", "--field", "siren", *above, "--dry-run") == 0
    assert "take a field (2 networks" in capsys.readouterr().out
    assert searched(files, siren, "searched", "--field", "siren", *above) == 0
    first, again = (read_npz(job / "graph.npz") for job in (siren, files / "searched"))
    high = first["density"] > 0.4
    np.testing.assert_allclose(again["position"], first["position"][high], atol=2e-3)
    assert not again["significance"].any()
    page = (files / "searched/report.html").read_text()
    assert "2 networks of 2 sine layers of 32" in page
    one, other = (load_field(job) for job in (siren, files / "searched"))
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--threshold", "0.4"], "it holds networks, which are searched as they are"),
        (["--field", "siren"], "give --threshold in map units"),
        (["--field", "paper", "--threshold", "9"], "no voxel lies above 9"),
        (["--field", "paper", "--threshold", "1", "--steps", "9"], "trained already"),
        (["--field", "siren", "--threshold", "1", "--networks.width", "9"], "trained already"),
    ],
)
def test_what_stored_networks_cannot_do_is_refused(siren, files, capsys, more, words):
    assert searched(files, siren, "refused", *more) == 2
    assert words in capsys.readouterr().err


def test_networks_that_are_not_trained_yet_are_warned_of(files, monkeypatch):
    """Those of points rest never, and their own errors say little."""
    monkeypatch.setattr(
        fitting,
        "prepare_neural_map",
        # Learning slopes is compiled for half a minute.
        lambda volume, grid, network, **more: prepare_neural_map(
            volume, grid, replace(network, points=0), **more
        ),
    )
    points = [word.replace("0", "64") if word == "0" else word for word in SMALL]
    for steps, warned in (("3", True), ("150", False)):
        run(files, f"steps {steps}", *points[:2], "--steps", steps, *points[4:])
        folder = files / f"steps {steps}"
        told = json.loads((folder / "manifest.json").read_text())["warnings"]
        assert any("the networks are off by" in text for text in told) == warned


def test_a_model_around_the_part_that_networks_know_is_no_other_frame(siren, files, peptide):
    whole = ORIGIN + VOXEL * (np.array(SHAPE[::-1]) - 1)
    positions = np.repeat((0.1 * ORIGIN + 0.9 * whole)[None], len(peptide.positions), axis=0)
    positions[0] = ATOMS[0]
    atoms = replace(peptide, positions=positions.astype(np.float32))
    write_atoms(files / "model.cif", atoms)
    at = ["--points", str(files / "model.cif"), "-o", str(files / "model")]
    assert main(["query", str(siren), *at]) == 0
    (told,) = json.loads((files / "model/manifest.json").read_text())["warnings"]
    assert f"{len(positions) - 1} of {len(positions)} points lie outside of the part" in told
    assert "networks were trained on (30 × 15 × 16 voxels from x, y, z = 5, -6, 7 Å)" in told


def say(field, number, points):
    """What a network says, in float64."""
    layers = [
        (np.asarray(a.kernel, float)[number], np.asarray(a.bias)[number]) for a in field.layers
    ]
    for kernel, bias in layers[:-1]:
        points = np.sin(field.omega * (points @ kernel + bias))
    return points @ layers[-1][0] + layers[-1][1]


def test_weights_come_back_within_half_precision(siren, tmp_path):
    rng, trained = np.random.default_rng(0), load_field(siren)

    def other(weights):
        # One more than there are boxes, as devices may need them.
        reach = np.abs(weights).max()
        return jnp.asarray(rng.uniform(-reach, reach, (3, *weights.shape[1:])), jnp.float32)

    field = replace(trained, layers=jax.tree.map(other, trained.layers))
    part = Map(np.zeros(field.shape, np.float32), VOXEL, ORIGIN)
    save_field(tmp_path / "field.npz", part, field)
    again = load_field(tmp_path / "field.npz")
    assert again.layers[0].kernel.shape == (2, 3, 32)
    for before, after in zip(
        jax.tree.leaves(field.layers), jax.tree.leaves(again.layers), strict=True
    ):
        np.testing.assert_allclose(after, before[:2], rtol=2**-11, atol=2**-25)
    points = rng.uniform(-1, 1, (200, 3))
    for number in range(2):
        before, after = (say(f, number, points) for f in (field, again))
        # Arguments of some ten radians are off by half a unit in their eleventh bit.
        np.testing.assert_allclose(after, before, atol=0.02 * np.abs(before).max())
        assert (before != after).any()
    for name in ("network", "constant", "offset", "scale", "patches", "shape", "omega", "blend"):
        np.testing.assert_array_equal(getattr(again, name), getattr(field, name), err_msg=name)


def test_networks_of_a_part_are_stored_where_the_part_is(siren, tmp_path):
    field = load_field(siren)
    whole = Map(np.zeros((40, 40, 40), np.float32), VOXEL, ORIGIN - 3 * VOXEL)
    whole.values[3:19, 3:18, 3:33] = density().values[:, :, :30]
    save_field(tmp_path / "field.npz", whole, field)
    stored = read_field(tmp_path / "field.npz")
    np.testing.assert_allclose(stored.origin, ORIGIN, atol=1e-12)
    assert stored.shape == field.shape
    assert stored.largest_error == pytest.approx(
        json.loads((siren / "metrics.json").read_text())["field_largest_error"], rel=1e-3
    )
    at = jnp.asarray(ATOMS, jnp.float32)
    np.testing.assert_allclose(
        load_field(tmp_path / "field.npz").values(at), field.values(at), atol=1e-5
    )


@pytest.mark.parametrize(
    ("shape", "voxel", "moved"),
    [
        (SHAPE, VOXEL, 0.5),
        (SHAPE, VOXEL, 1.0),
        (SHAPE, 1.01 * VOXEL, 0.0),
        ((16, 15, 29), VOXEL, 0.0),
    ],
)
def test_networks_of_another_map_are_not_stored(siren, tmp_path, shape, voxel, moved):
    other = Map(np.zeros(shape, np.float32), voxel, ORIGIN + moved * VOXEL)
    with pytest.raises(InputError, match=r"the map: its grid: .*30 × 15 × 16"):
        save_field(tmp_path / "field.npz", other, load_field(siren))
    assert not (tmp_path / "field.npz").exists()


def test_a_box_of_one_density_needs_no_network(siren):
    stored = read_field(siren / "field.npz")
    field = build_networks(replace(stored, network=np.array([0, -1], np.int32)))
    assert int(field.network[1]) >= len(field.layers[0].bias)
    part = Map(np.zeros(field.shape, np.float32), stored.voxel_size, stored.origin)
    np.testing.assert_array_equal(store_networks(field, part).network, [0, -1])


def test_the_plan_says_what_networks_take(files):
    options = JobOptions(output=str(files / "plan"))
    plan = plan_locate(LocateConfig(str(files / "map.mrc"), field="siren"), options=options)
    assert "1 network of 4 sine layers of 128, at most 1,000 steps" in plan.actions[0]
    slow = plan_locate(LocateConfig(str(files / "map.mrc"), field="paper"), options=options)
    assert slow.seconds > plan.seconds
    large = Map(np.random.default_rng(0).random((128,) * 3).astype(np.float32), VOXEL, ORIGIN)
    write_map(files / "large.mrc", large)
    config = LocateConfig(str(files / "large.mrc"), field="paper", sigmas=1.0)
    long = plan_locate(config, options=options)
    assert "27 networks" in long.actions[0]
    assert "use an accelerator, or fewer --steps" in long.actions[0]
    assert long.seconds > 24 * 3600 / jax.device_count()
    assert not (files / "plan").exists()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"field": "spline", "steps": 5}, "--steps"),
        ({"field": "siren", "steps": 0}, "--steps"),
        ({"field": "paper", "networks": NeuralMapConfig(width=8)}, "--networks"),
        ({"field": "siren", "networks": NeuralMapConfig(patience=9)}, "patience.*points 0"),
        ({"field": "siren", "networks": NeuralMapConfig(fair=1e-3)}, "fair.*points 0"),
        ({"field": "siren", "networks": NeuralMapConfig(perfect=1e-3)}, "perfect.*points 0"),
        (
            {"field": "siren", "networks": NeuralMapConfig(points=0, slope_weight=0.5)},
            "slope-weight.*points above 0",
        ),
        ({"field": "siren", "networks": NeuralMapConfig(width=0)}, "--networks.width"),
        ({"field": "siren", "steps": 5, "networks": NeuralMapConfig(steps=9)}, "networks.steps"),
        ({"field": "siren", "networks": NeuralMapConfig(patch=8, overlap=5)}, "overlap"),
        ({"field": "siren", "networks": NeuralMapConfig(overlap=1)}, "overlap"),
        ({"field": "siren", "networks": NeuralMapConfig(rate=float("nan"))}, "--networks.rate"),
    ],
)
def test_settings_of_networks_that_mean_nothing_are_refused(changes, place):
    with pytest.raises(InputError, match=place):
        LocateConfig("map.mrc", **changes)


def test_weights_beyond_half_precision_are_no_field(siren):
    field = load_field(siren)
    part = Map(np.zeros(field.shape, np.float32), VOXEL, ORIGIN)
    huge = replace(field, layers=jax.tree.map(lambda a: 1e6 * a, field.layers))
    with pytest.raises(TrainingDiverged, match="half precision"):
        store_networks(huge, part)


@partial(jax.tree_util.register_dataclass, data_fields=["centres"], meta_fields=[])
@dataclass(frozen=True)
class Blobs:
    """Gaussians whose density is known everywhere."""

    centres: jax.Array

    def values(self, points):
        square = jnp.sum((points[:, None] - self.centres) ** 2, axis=2)
        return jnp.exp(-square / 2).sum(axis=1)

    def expansions(self, points):
        return differentiate(self.values, points)


def walked_by_the_book(centres, part, threshold):
    """Algorithm 1 and DBSCAN with clusters of one, point by point in float64."""
    edges = (np.array(part.values.shape[::-1]) - 1) * part.voxel_size
    step = np.minimum(0.5, part.voxel_size)
    sides = [np.arange(0, edges[k] + 1e-9, step[k]) + part.origin[k] for k in range(3)]

    def ask(point):
        each = np.exp(-((point - centres) ** 2).sum(1) / 2)
        return each.sum(), (each[:, None] * (centres - point)).sum(0)

    results, left, pool = [], 0, []
    for point in np.stack(np.meshgrid(*sides, indexing="ij"), -1).reshape(-1, 3):
        if ask(point)[0] > threshold:
            pool.append(point)
    for point in pool:
        cached, cached_value = point, -np.inf
        while True:
            if (point < part.origin).any() or (point > part.origin + edges).any():
                left += 1
                break
            value, gradient = ask(point)
            if value <= cached_value:
                results.append(cached)
                break
            cached, cached_value = point, value
            point = point + 0.05 * gradient / np.linalg.norm(gradient)
    results, nodes = np.array(results), []
    unseen = set(range(len(results)))
    while unseen:
        cluster, front = set(), {unseen.pop()}
        while front:
            cluster |= front
            near = {
                j for i in front for j in unseen if np.linalg.norm(results[i] - results[j]) <= 0.2
            }
            unseen -= near
            front = near
        nodes.append(results[sorted(cluster)].mean(axis=0))
    return np.array(nodes), left, len(pool)


def test_the_published_walk_is_that_of_the_paper():
    origin, voxel = np.array([3.0, -2.0, 1.0]), np.array([1.0, 0.4, 0.8])
    part = Map(np.zeros((7, 13, 7), np.float32), voxel, origin)
    # Two that are apart, one whose top is outside of the box.
    centres = origin + np.array([[1.6, 1.4, 1.7], [4.3, 3.2, 2.9], [5.8, 0.9, 5.2]])
    centres[2, 0] = origin[0] + 6.4
    nodes, left, seeds = walked_by_the_book(centres, part, 0.45)
    config = LocateConfig("map.mrc", field="paper")
    found = walk_to_peaks(Blobs(jnp.asarray(centres, jnp.float32)), part, 0.45, config)
    assert left > 0
    assert (found.starts, found.lost) == (seeds, left)
    # What drains into a node are walks of seeds, of which there are more than voxels.
    features = node_features(found, np.zeros(len(nodes)))
    assert features["seeds"].sum() == seeds - left
    assert "voxels" not in features
    assert len(found.peaks) == len(nodes)
    apart = np.linalg.norm(nodes[:, None] - found.peaks.position, axis=2)
    assert apart.min(axis=0).max() < 0.02
    assert apart.min(axis=1).max() < 0.02
