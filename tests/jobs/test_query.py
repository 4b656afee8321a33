"""``query``: fields of maps, files and folders at points and on grids."""

import csv
import dataclasses
import json
import re
from pathlib import Path
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.fields import RECIPES, fit_spline, query_expansion, voxel_grid
from cryojax_graph.io import (
    InputError,
    Map,
    StoredVoxels,
    read_field,
    read_map,
    read_npz,
    write_field,
    write_map,
)
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.jobs.locate.config import RecipeKind
from cryojax_graph.jobs.map_noise import constants_of, noise_of
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.query import QueryConfig, evaluate, plan_query, query
from cryojax_graph.jobs.query.coarser import for_voxels_of
from cryojax_graph.jobs.stored_field import Grid, accuracy_of, build_field, load_field, save_field
from cryojax_graph.training.abort import Aborted

VOXEL, ORIGIN, SHAPE = np.array([0.8, 1.0, 0.9]), np.array([-4.0, 3.0, 10.0]), (24, 22, 26)


def density() -> Map:
    """Four atoms in a box that is neither cubic nor at the origin, with noise."""
    z, y, x = (np.arange(n) for n in SHAPE)
    values = 0.01 * np.random.default_rng(0).normal(size=SHAPE)
    for centre in np.random.default_rng(1).uniform(8, 15, (4, 3)):
        sides = [np.exp(-((s - c) ** 2) / 4.5) for s, c in zip((z, y, x), centre, strict=True)]
        values += np.einsum("z,y,x->zyx", *sides)
    return Map(values.astype(np.float32), VOXEL, ORIGIN)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    """The map, the same as a field, and points in it as CSV."""
    folder = tmp_path_factory.mktemp("query")
    write_map(folder / "map.mrc", density())
    save_field(folder / "field.npz", density(), "spline")
    rng = np.random.default_rng(2)
    # The box is 20 × 21 × 20.7 Å.
    points = (ORIGIN + rng.uniform(0.2, 19.8, (40, 3))).round(3)
    rows = [f"{i},{z},{x},{y}" for i, (x, y, z) in enumerate(points.tolist())]
    (folder / "points.csv").write_text("name, Z ,x,y\n" + "\n".join(rows) + "\n")
    np.save(folder / "points.npy", points)
    return folder


def run(source, output, **more) -> tuple[Path, dict, list[str]]:
    options = JobOptions(output=str(output))
    more = {k: v if isinstance(v, (bool, float)) else str(v) for k, v in more.items()}
    job = query(QueryConfig(str(source), **more), options=options)
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    return job, json.loads((job / "metrics.json").read_text()), warnings


expansion = jax.jit(query_expansion)


def whole_field(points: np.ndarray):
    """The spline at forty points."""
    field = jax.jit(fit_spline)(jnp.asarray(density().values), voxel_grid(ORIGIN, VOXEL))
    return expansion(field, jnp.asarray(points, jnp.float32))


def test_values_at_points_are_those_of_the_field(files, tmp_path):
    job, metrics, warnings = run(
        files / "field.npz", tmp_path / "job", points=files / "points.csv", hessian=True
    )
    points = np.load(files / "points.npy")
    expected, found = whole_field(points), read_npz(job / "values.npz")
    np.testing.assert_array_equal(found["position"], points)
    np.testing.assert_allclose(found["density"], expected.value, atol=1e-4)
    np.testing.assert_allclose(found["gradient"], expected.gradient, atol=1e-3)
    np.testing.assert_allclose(found["hessian"], expected.hessian, atol=1e-2)
    assert (metrics["points"], metrics["points_outside"], warnings) == (40, 0, [])
    with (job / "values.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:7] == ["x", "y", "z", "density", *(f"gradient_{a}" for a in "xyz")]
    assert len(rows[0]) == 14
    assert {row["inside"] for row in rows} == {"1"}
    table = np.array([[float(v) for v in row.values()] for row in rows])
    np.testing.assert_allclose(table[:, :3], points, rtol=1e-9)
    np.testing.assert_allclose(table[:, 3], found["density"], rtol=1e-6)
    np.testing.assert_allclose(table[:, 4:7], found["gradient"], rtol=1e-6)
    upper = found["hessian"][:, *np.triu_indices(3)]
    np.testing.assert_allclose(table[:, 7:13], upper, rtol=1e-6)


def test_points_are_asked_in_parts_and_the_last_is_shorter(files, tmp_path, monkeypatch):
    whole, _, _ = run(
        files / "map.mrc", tmp_path / "a", points=files / "points.npy", field="spline"
    )
    monkeypatch.setattr(evaluate, "_PART", 16)
    parts, _, _ = run(
        files / "map.mrc", tmp_path / "b", points=files / "points.npy", field="spline"
    )
    a, b = (read_npz(job / "values.npz") for job in (whole, parts))
    for name in ("density", "gradient"):
        np.testing.assert_allclose(a[name], b[name], rtol=1e-4, atol=1e-6)
    assert "hessian" not in a
    assert (parts / "values.csv").read_text().count("\n") == 41


def test_a_denoised_map_is_nearer_to_the_truth_than_its_voxels(tmp_path):
    square = sum(k**2 for k in np.meshgrid(*[np.arange(32) - 16] * 3, indexing="ij"))
    truth = np.exp(-square / 24)
    noise = 0.08 * np.random.default_rng(0).normal(size=truth.shape)
    write_map(tmp_path / "map.mrc", Map((truth + noise).astype(np.float32), VOXEL, ORIGIN))
    job, _, _ = run(tmp_path / "map.mrc", tmp_path / "job", field="denoised")
    found = read_map(job / "map.mrc")
    assert found.values.shape == truth.shape
    assert np.std(found.values - truth) < 0.5 * np.std(noise)
    page = (job / "report.html").read_text()
    assert "denoised to a noise of 0.0" in page
    assert "What of the source is not in it" in page


def test_a_job_ends_between_parts_when_it_is_told_to(files, monkeypatch):
    monkeypatch.setattr(evaluate, "_PART", 16)
    stored, points = StoredVoxels(density(), "spline"), np.load(files / "points.npy")
    asked = []

    def stop():
        asked.append(1)
        if len(asked) == 2:
            raise Aborted("told to")

    within = np.ones(len(points), bool)
    parts = evaluate.at_points(build_field(stored), points, within, hessian=False, check_abort=stop)
    with pytest.raises(Aborted):
        list(parts)
    with pytest.raises(Aborted):
        evaluate.on_grid(stored, Grid(SHAPE, VOXEL, ORIGIN), check_abort=stop_at_once)


def stop_at_once():
    raise Aborted("told to")


def test_points_outside_have_no_density_and_are_counted(files, tmp_path):
    points = np.array([[0.0, 10.0, 20.0], [-5.0, 10.0, 20.0], [1e30, 0.0, 0.0]])
    np.savez(tmp_path / "points.npz", position=points)
    job, metrics, warnings = run(
        files / "field.npz", tmp_path / "job", points=tmp_path / "points.npz"
    )
    assert metrics["points_outside"] == 2
    assert "2 of 3 points lie outside of the map" in warnings[0]
    found = read_npz(job / "values.npz")
    assert found["density"][0] != 0
    assert not found["density"][1:].any()
    assert not found["gradient"][1:].any()
    assert found["inside"].tolist() == [True, False, False]
    lines = (job / "values.csv").read_text().splitlines()
    assert [line.split(",")[-1] for line in lines] == ["inside", "1", "0", "0"]
    assert "2 of 3 points" in (job / "run.log").read_text()


def test_where_all_points_lie_outside_no_field_is_needed(files, tmp_path):
    np.save(tmp_path / "points.npy", np.full((3, 3), 500))
    for hessian in (False, True):
        job, metrics, _ = run(
            files / "field.npz",
            tmp_path / f"job {hessian}",
            points=tmp_path / "points.npy",
            hessian=hessian,
        )
        assert metrics["points_outside"] == 3
        assert not read_npz(job / "values.npz")["density"].any()


def test_the_atoms_of_a_model_are_points(files, peptide, tmp_path):
    centre = ORIGIN + VOXEL * np.array(SHAPE[::-1]) / 2
    positions = (peptide.positions - peptide.positions.mean(axis=0) + centre).astype(np.float32)
    peptide = dataclasses.replace(peptide, positions=positions)
    write_atoms(tmp_path / "model.cif", peptide)
    job, metrics, _ = run(files / "map.mrc", tmp_path / "job", points=tmp_path / "model.cif")
    assert metrics["points"] == len(peptide)
    position = read_npz(job / "values.npz")["position"]
    np.testing.assert_allclose(position, peptide.positions, atol=1e-3)


def test_a_model_outside_of_the_map_is_refused(files, peptide, tmp_path):
    far = dataclasses.replace(peptide, positions=peptide.positions + 100)
    write_atoms(tmp_path / "far.cif", far)
    with pytest.raises(InputError, match="atoms lie outside of the map"):
        run(files / "map.mrc", tmp_path / "job", points=tmp_path / "far.cif")
    assert not (tmp_path / "job").exists()


def test_without_points_the_stored_map_is_written(files, tmp_path):
    job, metrics, warnings = run(files / "field.npz", tmp_path / "job")
    again = read_map(job / "map.mrc")
    np.testing.assert_array_equal(again.values, density().values)
    np.testing.assert_allclose(again.voxel_size, VOXEL, rtol=1e-6)
    np.testing.assert_allclose(again.origin, ORIGIN)
    assert metrics["voxels"] == np.prod(SHAPE)
    assert warnings == []


def test_a_finer_map_has_the_same_box_and_the_voxels_between(files, tmp_path):
    job, _, warnings = run(files / "field.npz", tmp_path / "job", voxel=0.5)
    finer = read_map(job / "map.mrc")
    assert finer.values.shape == (42, 43, 41)
    np.testing.assert_allclose(finer.origin, ORIGIN)
    assert warnings == []
    index = np.random.default_rng(0).integers(0, finer.values.shape, (40, 3))
    expected = whole_field(ORIGIN + 0.5 * index[:, ::-1]).value
    np.testing.assert_allclose(finer.values[tuple(index.T)], expected, atol=1e-4)


def test_the_grid_of_another_map_is_taken_and_what_is_outside_is_zero(files, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "_PART", 1000)
    other = Map(np.zeros((20, 12, 14), np.float32), np.array([0.75, 0.6, 0.8]), ORIGIN - 1.5)
    write_map(tmp_path / "other.mrc", other)
    job, metrics, warnings = run(files / "field.npz", tmp_path / "job", like=tmp_path / "other.mrc")
    again = read_map(job / "map.mrc")
    assert again.values.shape == other.values.shape
    np.testing.assert_allclose(again.origin, other.origin)
    assert not again.values[:2].any()
    assert "voxels lie outside of the source" in warnings[0]
    z, y, x = np.nonzero(again.values)
    assert metrics["voxels_outside"] == again.values.size - len(z)
    z, y, x = (index[np.linspace(0, len(z) - 1, 40).astype(int)] for index in (z, y, x))
    points = other.origin + np.stack([x, y, z], 1) * other.voxel_size
    np.testing.assert_allclose(again.values[z, y, x], whole_field(points).value, atol=1e-4)


def waves() -> Map:
    """A wave that voxels of 2 Å can hold along x and z, and one that they cannot."""
    x = 0.5 * np.arange(96)
    z = 0.5 * np.arange(64)[:, None, None]
    values = np.cos(2 * np.pi * x / 12) + np.cos(2 * np.pi * z / 12) + np.cos(2 * np.pi * x / 3)
    return Map(np.repeat(values, 24, 1).astype(np.float32), np.full(3, 0.5), np.zeros(3))


def test_larger_voxels_show_no_details_that_they_cannot_hold(tmp_path):
    write_map(tmp_path / "map.mrc", waves())
    job, _, _ = run(tmp_path / "map.mrc", tmp_path / "job", voxel=1.0, field="spline")
    coarse = read_map(job / "map.mrc")
    x, z = (1.0 * np.arange(n) for n in coarse.values.shape[::-2])
    expected = np.cos(2 * np.pi * x / 12) + np.cos(2 * np.pi * z[:, None, None] / 12)
    held = np.cos(2 * np.pi * x / 3)
    middle = np.s_[6:-6, :, 6:-6]
    wide = np.broadcast_to(expected + held, coarse.values.shape)
    np.testing.assert_allclose(coarse.values[middle], wide[middle], atol=0.05)
    write_map(
        tmp_path / "like.mrc", Map(np.zeros((16, 10, 24), np.float32), 2 * np.ones(3), np.zeros(3))
    )
    job, _, _ = run(
        tmp_path / "map.mrc", tmp_path / "other", like=tmp_path / "like.mrc", field="spline"
    )
    coarse, log = read_map(job / "map.mrc"), (job / "run.log").read_text()
    x, z = (2.0 * np.arange(n) for n in (24, 16))
    expected = np.cos(2 * np.pi * x / 12) + np.cos(2 * np.pi * z[:, None, None] / 12)
    wide = np.broadcast_to(expected, (16, 6, 24))
    np.testing.assert_allclose(coarse.values[3:-3, :6, 3:-3], wide[3:-3, :, 3:-3], atol=0.05)
    assert "details below 4 Å go" in log


def test_a_filter_for_larger_voxels_keeps_constants_and_leaves_others_alone():
    flat = Map(np.full((9, 10, 11), 3.0, np.float32), np.ones(3), np.zeros(3))
    np.testing.assert_allclose(for_voxels_of(flat, np.array([4.0, 1.0, 2.0])).values, 3, rtol=1e-5)
    assert for_voxels_of(flat, np.array([0.5, 1.0, 1.0])).values is flat.values


@pytest.mark.parametrize("voxel", [5.0, 1000.0])
def test_voxels_that_leave_hardly_any_are_refused(files, tmp_path, voxel):
    for work in (query, plan_query):
        config = QueryConfig(str(files / "field.npz"), voxel=voxel)
        with pytest.raises(InputError, match=r"leaves a map of . × . × . voxels"):
            work(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_grid_elsewhere_is_empty(files, tmp_path):
    other = Map(np.ones((4, 4, 4), np.float32), np.ones(3), np.full(3, 300.0))
    write_map(tmp_path / "other.mrc", other)
    job, metrics, _ = run(files / "field.npz", tmp_path / "job", like=tmp_path / "other.mrc")
    assert metrics["voxels_outside"] == 64
    assert not read_map(job / "map.mrc").values.any()


def test_the_folder_of_a_finished_locate_job_is_a_source(files, tmp_path):
    folder = tmp_path / "peaks"
    folder.mkdir()
    (folder / "field.npz").write_bytes((files / "field.npz").read_bytes())
    manifest = {"version": "0", "status": "done", "inputs": {}, "outputs": {}, "working": []}
    manifest["request"] = {"verb": "locate", "seed": 0, "config": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    job, _, _ = run(folder, tmp_path / "job")
    np.testing.assert_array_equal(read_map(job / "map.mrc").values, density().values)
    (folder / "manifest.json").write_text(json.dumps(manifest | {"status": "aborted"}))
    with pytest.raises(InputError, match="is aborted, not done"):
        run(folder, tmp_path / "other")


def test_a_loaded_field_is_a_pytree(files):
    points = np.load(files / "points.npy")
    field = load_field(files / "field.npz")
    found = expansion(field, jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found.value, whole_field(points).value, atol=1e-4)
    assert load_field(files / "map.mrc", recipe="quintic").degree == 5
    assert load_field(files / "field.npz", recipe="trilinear").degree == 1


@pytest.mark.parametrize(
    ("recipe", "accuracy", "words"),
    [
        ("spline", -1.0, "accuracy: -1.0 is not a number from 0 on"),
        ("spline", float("nan"), "accuracy: nan is not a number"),
        ("spline", float("inf"), "accuracy: inf is not a number"),
        ("magic", 0.0, "recipe: no fit is called 'magic'; choose one of positive"),
    ],
)
def test_what_could_not_be_read_again_is_not_saved(tmp_path, recipe, accuracy, words):
    with pytest.raises(InputError, match=words):
        save_field(tmp_path / "field.npz", density(), recipe, accuracy=accuracy)
    assert not (tmp_path / "field.npz").exists()


def test_the_command_line_knows_every_recipe():
    assert set(get_args(RecipeKind)) == set(RECIPES)


def test_accuracy_is_a_part_of_the_range_where_the_noise_is_not_known():
    whole = density()
    share = pytest.approx(1e-3 * np.ptp(whole.values))
    assert accuracy_of(whole, 0.02) == 0.005
    assert accuracy_of(whole, 0.0) == share
    values = np.where(whole.values > 0.05, whole.values, 0).astype(np.float32)
    masked = Map(values, VOXEL, ORIGIN)
    assert accuracy_of(masked, noise_of(masked)) == pytest.approx(1e-3 * values.max())


def test_the_plan_writes_nothing(files, tmp_path):
    for more in ({"points": str(files / "points.csv")}, {"voxel": 0.5}, {}):
        config = QueryConfig(str(files / "field.npz"), **more)
        plan = plan_query(config, options=JobOptions(output=str(tmp_path / "job")))
        assert "spline" in plan.actions[0]
        assert ("map.mrc" in plan.outputs) == ("points" not in more)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"voxel": 0.0}, "--voxel"),
        ({"voxel": float("nan")}, "--voxel"),
        ({"points": "a.csv", "like": "b.mrc"}, "--like"),
        ({"points": "a.csv", "voxel": 1.0}, "--voxel"),
        ({"like": "b.mrc", "voxel": 1.0}, "--voxel"),
        ({"hessian": True}, "--hessian"),
    ],
)
def test_options_that_contradict_each_other_are_refused(changes, place):
    with pytest.raises(InputError, match=place):
        QueryConfig("field.npz", **changes)


def test_a_map_of_absurd_size_is_refused_before_it_is_made(files, tmp_path):
    with pytest.raises(InputError, match="choose larger voxels"):
        run(files / "field.npz", tmp_path / "job", voxel=1e-4)
    assert not (tmp_path / "job").exists()


POINTS = {
    "no column y": ("a.csv", b"x,z\n1,2\n", "y is there 0 times"),
    "column x twice": ("a.csv", b"x,y,z,X\n1,2,3,4\n", "x is there 2 times"),
    "no rows": ("a.csv", b"x,y,z\n", "it holds no point"),
    "empty": ("a.csv", b"", "it is empty"),
    "a word": ("a.csv", b"x,y,z\n1,2,3\n1,b,3\n", "no table of numbers"),
    "a short row": ("a.csv", b"x,y,z\n1,2,3\n1,2\n", "no table of numbers"),
    "NaN": ("a.csv", b"x,y,z\n1,2,3\n1,nan,3\n", "row 2 of table points"),
    "infinite": ("a.csv", b"x,y,z\n1,2,-inf\n", "1 of 1 points are not finite"),
    "binary": ("a.csv", b"x,y,z\n\x00\n", "not text"),
    "no array": ("a.npy", b"x,y,z\n", "not a NumPy array"),
    "no archive": ("a.npz", b"x,y,z\n", "no .npz archive"),
    "no model": ("a.cif", b"data_x\n", "a.cif"),
}


@pytest.mark.parametrize("case", POINTS)
def test_files_that_hold_no_points_are_refused(files, tmp_path, case):
    name, content, words = POINTS[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=words):
        run(files / "field.npz", tmp_path / "job", points=tmp_path / name)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros(3), "not rows of three numbers"),
        (np.zeros((3, 2)), "not rows of three numbers"),
        (np.array([["a", "b", "c"]]), "not rows of three numbers"),
        (np.zeros((0, 3)), "it holds no point"),
        (np.full((2, 3), np.nan), "2 of 2 points are not finite"),
    ],
)
def test_arrays_that_hold_no_points_are_refused(files, tmp_path, array, words):
    np.save(tmp_path / "a.npy", array)
    np.savez(tmp_path / "a.npz", points=array)
    np.savez(tmp_path / "b.npz", other=array)
    for name, text in (("a.npy", words), ("a.npz", words), ("b.npz", "none is called")):
        with pytest.raises(InputError, match=text):
            run(files / "field.npz", tmp_path / "job", points=tmp_path / name)


def test_sources_that_are_no_field_are_refused(files, tmp_path, capsys):
    write_field(tmp_path / "magic.npz", StoredVoxels(density(), "magic"))
    sources = {
        tmp_path / "none": "no such file",
        files: "there is no such file in the folder",
        files / "points.csv": "",
        tmp_path / "magic.npz": "no fit is called",
    }
    for source, words in sources.items():
        assert main(["query", str(source), "-o", str(tmp_path / "job")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("Wrong input: ")
        assert words in error
    # What is stored need not be understood where another recipe is asked for.
    command = ["query", str(tmp_path / "magic.npz"), "--field", "spline"]
    assert main([*command, "--dry-run", "-o", str(tmp_path / "job")]) == 0


PAGE = Path(__file__).parents[2] / "docs/howto/query.md"


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    values = np.random.default_rng(0).random((12, 14, 13)).astype(np.float32)
    write_map(tmp_path / "map.mrc", Map(values, np.ones(3), np.zeros(3)))
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(block, str(PAGE), "exec"), names)
    assert names["gradient"].shape == (2, 3)
    assert np.abs(read_field("field.npz").density.values - values).max() <= 0.01


def test_a_denoised_field_says_the_same_at_a_point_whatever_else_is_asked():
    rng = np.random.default_rng(4)
    square = sum(k**2 for k in np.meshgrid(*[np.arange(40) - 12] * 3, indexing="ij"))
    noisy = np.exp(-square / 24) + 0.1 * rng.normal(size=square.shape)
    noisy = Map(noisy.astype(np.float32), np.ones(3), np.zeros(3))
    stored = StoredVoxels(noisy, "denoised", constants_of(noisy, "denoised", file="map"))
    points = rng.uniform(6, 18, (20, 3))
    whole, part = (
        expansion(build_field(stored, near=near), jnp.asarray(points, jnp.float32)).value
        for near in (rng.uniform(1, 38, (200, 3)), points)
    )
    np.testing.assert_allclose(part, whole, atol=1e-5)


def test_a_denoised_map_on_larger_voxels_keeps_its_density(tmp_path):
    square = sum(k**2 for k in np.meshgrid(*[np.arange(32) - 16] * 3, indexing="ij"))
    truth = np.exp(-square / 60)
    noise = 0.3 * np.random.default_rng(0).normal(size=truth.shape)
    write_map(
        tmp_path / "map.mrc", Map((truth + noise).astype(np.float32), np.ones(3), np.zeros(3))
    )
    job, _, _ = run(tmp_path / "map.mrc", tmp_path / "job", field="denoised", voxel=2.0)
    found = read_map(job / "map.mrc").values
    wanted = truth[::2, ::2, ::2]
    slope = np.sum(found * wanted) / np.sum(wanted**2)
    assert slope == pytest.approx(1.0, abs=0.2)
