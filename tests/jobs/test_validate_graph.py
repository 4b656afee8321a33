"""``validate graph`` on graphs whose peaks are known."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import StoredVoxels, write_field
from cryojax_graph.io.mrc import Map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.graph_scores import atoms_of
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.validate import (
    ValidateGraphConfig,
    plan_validate_graph,
    validate_graph,
)

FALSE = 10


@pytest.fixture
def case(peptide, tmp_path) -> tuple[Path, Path]:
    """Every atom has a strong peak 0.3 Å off, and ten weak peaks have no atom."""
    write_atoms(tmp_path / "model.cif", peptide)
    far = peptide.positions.max() + 20.0 + 5.0 * np.arange(FALSE)
    position = np.concatenate([peptide.positions + np.array([0.3, 0, 0]), np.stack([far] * 3, 1)])
    strength = np.concatenate([np.full(len(peptide), 9.0), np.full(FALSE, 2.0)])
    return make_folder(tmp_path / "peaks", position, strength), tmp_path / "model.cif"


def make_folder(folder: Path, position, strength, *, verb="locate", status="done") -> Path:
    folder.mkdir()
    arrays = {"position": np.asarray(position, float), "prominence": strength}
    write_npz(folder / "graph.npz", arrays | {"significance": 2.0 * strength})
    manifest = {"version": "0", "status": status, "inputs": {}, "outputs": {}, "working": []}
    manifest["request"] = {"verb": verb, "seed": 0, "config": {}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def with_map(folder: Path, *, first: float, voxels: int) -> Path:
    """The folder with a stored map of voxels of 1 Å from a place on."""
    density = Map(np.zeros((voxels,) * 3, np.float32), np.ones(3), np.full(3, first))
    write_field(folder / "field.npz", StoredVoxels(density, "spline", {}, 0.0))
    return folder


def run(folder, model, output, **more) -> tuple[Path, dict]:
    config = ValidateGraphConfig(str(folder), str(model), **more)
    job = validate_graph(config, options=JobOptions(output=str(output)))
    return job, json.loads((job / "metrics.json").read_text())


def test_the_figures_are_those_of_the_known_peaks(case, peptide, tmp_path):
    job, metrics = run(*case, tmp_path / "job")
    n = len(peptide)
    assert metrics["sensitivity_1A_percent"] == 100
    assert metrics["specificity_1A_percent"] == pytest.approx(100 * n / (n + FALSE))
    assert metrics["rmsd_1A_angstrom"] == pytest.approx(0.3, abs=0.01)
    assert metrics["ca_recall_3A_percent"] == 100
    assert metrics["ca_precision_3A_percent"] == pytest.approx(100 * 6 / (n + FALSE))
    assert metrics["nodes_per_residue"] == pytest.approx((n + FALSE) / 6)
    # Any peak counts: every C-alpha atom has its own 0.3 Å off, and many peaks are near one.
    assert metrics["ca_with_node_3A_percent"] == 100
    assert metrics["ca_nearest_node_rmsd_3A_angstrom"] == pytest.approx(0.3, abs=0.01)
    trace = peptide.positions[peptide.name == "CA"]
    apart = np.linalg.norm(peptide.positions[:, None] + [0.3, 0, 0] - trace, axis=2).min(axis=1)
    near = int((apart <= 3.0).sum())
    assert metrics["nodes_near_ca_3A_percent"] == pytest.approx(100 * near / (n + FALSE), abs=3)
    assert metrics["nodes_near_ca_3A_percent"] > metrics["ca_precision_3A_percent"] + 10
    assert "Weak peaks left out" in (job / "report.html").read_text()


def test_a_cut_leaves_the_false_peaks_out(case, tmp_path):
    job, _ = run(*case, tmp_path / "job")
    rows = (job / "cuts.csv").read_text().splitlines()
    assert rows[0].startswith("cut,nodes,sensitivity_percent")
    first, last = (list(map(float, row.split(","))) for row in (rows[1], rows[-1]))
    assert (first[0], last[0]) == (4, 18)
    assert first[3] < last[3] == 100
    assert first[2] == last[2] == 100


def test_other_distances_are_named_in_the_figures(case, tmp_path):
    _, metrics = run(*case, tmp_path / "job", within_atoms=0.25, within_calpha=2.5)
    # The frame of a file has three decimals, and the shift is more than the distance.
    assert metrics["sensitivity_0.25A_percent"] < 50
    assert "ca_recall_2.5A_percent" in metrics


def test_the_file_alone_will_do_and_noise_need_not_be_known(case, tmp_path):
    arrays = read_npz(case[0] / "graph.npz")
    unknown = arrays | {"significance": np.zeros(len(arrays["position"]))}
    write_npz(tmp_path / "graph.npz", unknown)
    job, metrics = run(tmp_path / "graph.npz", case[1], tmp_path / "job")
    assert metrics["sensitivity_1A_percent"] == 100
    assert "map units above the saddle" in (job / "report.html").read_text()


def one_node(case, folder: Path) -> Path:
    """One peak, 50 Å beside an atom."""
    position = read_npz(case[0] / "graph.npz")["position"][:1]
    return make_folder(folder, position + np.array([50.0, 0, 0]), np.ones(1))


def test_peaks_of_a_part_of_the_map_are_scored(case, tmp_path):
    """The box is that of the stored map, not that of the nodes."""
    folder = with_map(one_node(case, tmp_path / "part"), first=-100.0, voxels=200)
    job, _ = run(folder, case[1], tmp_path / "job")
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert not any("far from all nodes" in warning for warning in warnings)


def test_a_graph_alone_does_not_tell_how_far_its_map_reaches(case, tmp_path):
    job, _ = run(one_node(case, tmp_path / "part"), case[1], tmp_path / "job")
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("far from all nodes" in warning for warning in warnings)


def test_hydrogens_water_and_calcium_are_no_c_alpha_atoms(peptide, tmp_path):
    element, residue = peptide.element.astype("U2"), peptide.residue_name.copy()
    # The second residue: N, CA, C, O and so on.
    first = int(np.flatnonzero(peptide.residue_number == 2)[0])
    element[0], element[first + 1], residue[-1] = "H", "Ca", "HOH"
    changed = replace(peptide, element=element, residue_name=residue)
    write_atoms(tmp_path / "model.cif", changed)
    atoms = atoms_of(str(tmp_path / "model.cif"))
    assert len(atoms.position) == len(peptide) - 2
    assert atoms.c_alpha.sum() == 5


def test_a_model_without_c_alpha_atoms_is_scored_by_its_atoms(case, peptide, tmp_path):
    name = np.where(peptide.name == "CA", "C9", peptide.name)
    write_atoms(tmp_path / "other.cif", replace(peptide, name=name))
    job, metrics = run(case[0], tmp_path / "other.cif", tmp_path / "job")
    assert not any("ca_" in key for key in metrics)
    assert "ca_recall" not in (job / "cuts.csv").read_text()


def test_the_plan_writes_nothing(case, tmp_path):
    config = ValidateGraphConfig(*map(str, case))
    plan = plan_validate_graph(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "nodes" in plan.actions[0]
    assert not (tmp_path / "job").exists()


def not_locate(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((1, 3)), np.ones(1), verb="flex"), case[1]


def unfinished(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((1, 3)), np.ones(1), status="running"), case[1]


def no_job(case, tmp_path):
    (tmp_path / "f").mkdir()
    return tmp_path / "f", case[1]


def empty(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((0, 3)), np.zeros(0)), case[1]


def elsewhere(case, tmp_path):
    folder = make_folder(tmp_path / "f", np.full((1, 3), 500.0), np.ones(1))
    return with_map(folder, first=490.0, voxels=20), case[1]


def flat(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((1, 2)), np.ones(1)), case[1]


def too_few(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((2, 3)), np.ones(1)), case[1]


def not_finite(case, tmp_path):
    return make_folder(tmp_path / "f", np.full((1, 3), np.nan), np.ones(1)), case[1]


def whole_numbers(case, tmp_path):
    return make_folder(tmp_path / "f", np.zeros((1, 3)), np.ones(1, int)), case[1]


def other_arrays(case, tmp_path):
    write_npz(tmp_path / "x.npz", {"coords": np.zeros(3)})
    return tmp_path / "x.npz", case[1]


@pytest.mark.parametrize(
    ("make", "cause"),
    [
        (not_locate, "the folder is of a flex job"),
        (unfinished, "the locate job is running, not done"),
        (no_job, "there is no such file in the folder"),
        (empty, "the graph has no node"),
        (elsewhere, "atoms lie outside of the map"),
        (flat, "not one x, y, z per node"),
        (too_few, "for 2 nodes"),
        (not_finite, "not finite"),
        (whole_numbers, "not numbers"),
        (other_arrays, "array 'position': it has none"),
    ],
)
def test_what_is_no_graph_is_refused(case, tmp_path, make, cause):
    config = ValidateGraphConfig(*map(str, make(case, tmp_path)))
    for work in (plan_validate_graph, validate_graph):
        with pytest.raises(InputError, match=cause):
            work(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("name", ["within_atoms", "within_calpha"])
@pytest.mark.parametrize("value", [0.0, -1.0, float("inf"), float("nan")])
def test_distances_that_mean_nothing_are_refused(name, value):
    with pytest.raises(InputError, match=name.replace("_", "-")):
        ValidateGraphConfig("peaks", "model.cif", **{name: value})
