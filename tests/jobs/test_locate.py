"""``locate`` from a map to a graph, on a map of atoms whose places are known."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path

import gemmi
import jraph
import numpy as np
import pytest

from cryojax_graph.io import Map, read_field, read_map, write_map
from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.locate import LocateConfig, load_graph, locate, plan_locate
from cryojax_graph.jobs.locate.outputs import peaks_as_atoms
from cryojax_graph.jobs.locate.search import climb_to_peaks
from cryojax_graph.jobs.map_noise import solvent_of
from cryojax_graph.jobs.map_parts import crop
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.stored_field import field_of

VOXEL = np.array([0.6, 0.5, 0.55])
WIDTH = 0.45


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> tuple[Path, Path]:
    """Eight residues in a map that is neither cubic nor at the origin, with noise."""
    folder = tmp_path_factory.mktemp("locate")
    atoms = read_demo_molecule()[0]
    some = np.nonzero(atoms.residue_number <= atoms.residue_number[0] + 7)[0]
    atoms = select_atoms(atoms, some)
    origin = atoms.positions.min(0) - 5.0
    shape = np.ceil((np.ptp(atoms.positions, axis=0) + 10.0) / VOXEL).astype(int)[::-1]
    sides = [origin[k] + np.arange(shape[2 - k]) * VOXEL[k] for k in range(3)]
    profiles = [
        np.exp(-((side - atoms.positions[:, [k]]) ** 2) / (2 * WIDTH**2))
        for k, side in enumerate(sides)
    ]
    values = np.einsum("nz,ny,nx->zyx", profiles[2], profiles[1], profiles[0])
    values += 0.01 * np.random.default_rng(0).normal(size=values.shape)
    write_map(folder / "map.mrc", Map(values.astype(np.float32), VOXEL, origin.astype(float)))
    write_atoms(folder / "model.cif", atoms)
    return folder / "map.mrc", folder / "model.cif"


@pytest.fixture(scope="module")
def done(case, tmp_path_factory) -> Path:
    config = LocateConfig(str(case[0]), str(case[1]), sigmas=2.0, resolution=2.0)
    return locate(config, options=JobOptions(output=str(tmp_path_factory.mktemp("job") / "job")))


def test_every_atom_has_its_peak(done):
    metrics = json.loads((done / "metrics.json").read_text())
    assert metrics["sensitivity_1A_percent"] > 95
    assert metrics["specificity_1A_percent"] > 95
    assert metrics["rmsd_1A_angstrom"] < 0.15
    assert metrics["ca_recall_3A_percent"] > 95
    assert metrics["noise"] == pytest.approx(0.01, rel=0.3)


def test_all_forms_of_the_graph_agree(done, case):
    arrays, tree = read_npz(done / "graph.npz"), json.loads((done / "graph.json").read_text())
    peaks, model = read_atoms(done / "peaks.cif"), read_atoms(case[1])
    position = arrays["position"]
    np.testing.assert_allclose([n["position"] for n in tree["nodes"]], position, atol=1e-6)
    np.testing.assert_allclose(peaks.positions, position, atol=1e-3)
    assert [node["id"] for node in tree["nodes"]] == list(range(len(position)))
    ends = np.array([[e["source"], e["target"]] for e in tree["edges"]])
    length = np.linalg.norm(position[ends[:, 0]] - position[ends[:, 1]], axis=1)
    np.testing.assert_allclose(length, [e["distance"] for e in tree["edges"]], atol=1e-6)
    assert length.max() <= 4.0
    assert 2 * len(ends) == len(arrays["senders"])
    bild = (done / "graph.bild").read_text()
    assert bild.count(".sphere") == len(position)
    # In the frame of the model, not of the box.
    assert np.abs(peaks.positions.mean(0) - model.positions.mean(0)).max() < 0.5


def test_nodes_say_what_kind_of_peak_they_are(done):
    arrays = read_npz(done / "graph.npz")
    assert (np.diff(arrays["height"]) <= 0).all()
    assert (arrays["eigenvalues"] < 0).all()
    assert (arrays["gradient_norm"] < 0.05).all()
    np.testing.assert_allclose(
        arrays["significance"] / arrays["height"],
        arrays["significance"][0] / arrays["height"][0],
        rtol=1e-5,
    )


def test_the_map_is_stored_within_a_quarter_of_its_noise(done, case):
    stored, density = read_field(done / "field.npz"), read_map(case[0])
    noise = json.loads((done / "metrics.json").read_text())["noise"]
    assert (stored.recipe, stored.accuracy) == ("positive", pytest.approx(noise / 4))
    assert np.abs(stored.density.values - density.values).max() <= stored.accuracy
    assert (done / "field.npz").stat().st_size < 0.15 * case[0].stat().st_size


def test_peaks_open_in_gemmi_as_dummy_atoms(done):
    model = gemmi.read_structure(str(done / "peaks.cif"))[0]
    assert {residue.name for chain in model for residue in chain} == {"DUM"}


def test_occupancy_is_a_share_of_the_height_above_the_solvent():
    """Whatever the sign of a map."""
    nodes = {"position": np.zeros((3, 3)), "significance": np.zeros(3)}
    for offset in (0.0, -50.0, 50.0):
        nodes["density"] = offset + np.array([8.0, 2.0, -1.0])
        found = peaks_as_atoms(nodes, offset).occupancy
        np.testing.assert_allclose(found, [1.0, 0.25, 0.0], atol=1e-6)
    # Peaks below the solvent have no height.
    assert not peaks_as_atoms(nodes, 100.0).occupancy.any()


def test_the_graph_comes_back_for_jax(done, tmp_path):
    arrays, metrics = read_npz(done / "graph.npz"), json.loads((done / "metrics.json").read_text())
    graph = load_graph(done)
    assert isinstance(graph, jraph.GraphsTuple)
    assert (int(graph.n_node[0]), int(graph.n_edge[0])) == (
        metrics["peaks"],
        2 * metrics["edges"],
    )
    for name, values in graph.nodes.items():
        np.testing.assert_array_equal(values, arrays[name])
    assert graph.nodes.keys() == arrays.keys() - {"senders", "receivers", "distance"}
    for name, ends in (("senders", graph.senders), ("receivers", graph.receivers)):
        np.testing.assert_array_equal(ends, arrays[name])
    between = arrays["position"][arrays["senders"]] - arrays["position"][arrays["receivers"]]
    np.testing.assert_allclose(arrays["distance"], np.linalg.norm(between, axis=1))
    np.testing.assert_array_equal(graph.edges, arrays["distance"])
    # Of a file of before, too, whose edges had no length.
    write_npz(tmp_path / "graph.npz", {k: v for k, v in arrays.items() if k != "distance"})
    np.testing.assert_allclose(load_graph(tmp_path / "graph.npz").edges, arrays["distance"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"position": None}, "'position': it has none"),
        ({"senders": None}, "'senders': it has none"),
        ({"position": np.zeros((3, 2))}, "not one x, y, z per node"),
        ({"density": np.zeros(2)}, "for 3 nodes"),
        ({"density": np.float32(1.0)}, "for 3 nodes"),
        ({"senders": np.array([0, 3])}, "not numbers of 3 nodes"),
        ({"receivers": np.array([0.0, 1.0])}, "not numbers of 3 nodes"),
        ({"receivers": np.array([0])}, "not numbers of 3 nodes"),
    ],
)
def test_what_is_no_graph_is_not_loaded(tmp_path, changes, words):
    arrays = {"position": np.eye(3), "density": np.ones(3)}
    arrays |= {"senders": np.array([0, 1]), "receivers": np.array([1, 0])} | changes
    write_npz(tmp_path / "graph.npz", {k: v for k, v in arrays.items() if v is not None})
    with pytest.raises(InputError, match=words):
        load_graph(tmp_path / "graph.npz")
    with pytest.raises(InputError, match="locate job"):
        load_graph(tmp_path)


def noisy(case, folder: Path, noise: float) -> Path:
    density = read_map(case[0])
    values = density.values + noise * np.random.default_rng(1).normal(size=density.values.shape)
    write_map(folder / "noisy.mrc", replace(density, values=values.astype(np.float32)))
    return folder / "noisy.mrc"


def test_peaks_no_higher_than_those_of_the_map_upside_down_are_left_out(case, tmp_path):
    scores = {}
    for share in (0.2, 1.0):
        config = LocateConfig(
            str(noisy(case, tmp_path, 0.5)),
            str(case[1]),
            resolution=1.8,
            sigmas=1.5,
            false_share=share,
        )
        job = locate(config, options=JobOptions(output=str(tmp_path / f"job {share}")))
        scores[share] = json.loads((job / "metrics.json").read_text())
        told = read_npz(job / "graph.npz")["false_share"]
        assert told.max() <= share
        assert scores[share]["false_peaks_percent"] == pytest.approx(100 * told.max())
        assert (np.diff(told) >= 0).all()
    better, all_ = scores[0.2], scores[1.0]
    assert better["specificity_1A_percent"] > all_["specificity_1A_percent"] + 10
    assert better["f1_1A_percent"] > all_["f1_1A_percent"] + 5
    false = 100 - better["specificity_1A_percent"]
    assert false < 1.5 * better["false_peaks_percent"]


def test_a_map_of_noise_alone_is_told(tmp_path):
    values = np.random.default_rng(0).normal(size=(24, 26, 28)).astype(np.float32)
    write_map(tmp_path / "map.mrc", Map(values, np.ones(3), np.zeros(3)))
    config = LocateConfig(str(tmp_path / "map.mrc"), sigmas=1.0)
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("mostly noise" in warning for warning in warnings)
    assert any("No density stands out" in warning for warning in warnings)


def test_a_dark_molecule_is_refused_with_a_reason(case, tmp_path):
    density = read_map(case[0])
    write_map(tmp_path / "dark.mrc", replace(density, values=-density.values))
    config = LocateConfig(str(tmp_path / "dark.mrc"), resolution=2.0, threshold=0.0)
    with pytest.raises(InputError, match="map turned upside down"):
        locate(config, options=JobOptions(output=str(tmp_path / "job")))


def test_a_spline_finds_them_too(case, tmp_path):
    config = LocateConfig(str(case[0]), str(case[1]), field="spline", sigmas=2.0)
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["sensitivity_1A_percent"] > 90


def test_a_denoised_field_is_stored_with_the_noise_it_was_fitted_to(case, tmp_path):
    config = LocateConfig(str(case[0]), str(case[1]), field="denoised", sigmas=2.0)
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    assert json.loads((job / "metrics.json").read_text())["sensitivity_1A_percent"] > 90
    stored = read_field(job / "field.npz")
    assert stored.recipe == "denoised"
    assert stored.constants["noise"] == pytest.approx(0.01, rel=0.3)


def test_a_map_cropped_to_a_round_mask_is_not_taken_for_noise(case, tmp_path):
    """Less than half of its box is 0."""
    density = read_map(case[0])
    side = min(density.values.shape)
    corner = [(n - side) // 2 for n in density.values.shape]
    cube = density.values[tuple(slice(c, c + side) for c in corner)]
    axis = np.arange(side) - (side - 1) / 2
    ball = sum(k**2 for k in np.meshgrid(axis, axis, axis)) < (side / 2) ** 2
    values = np.where(ball, cube + 0.1, 0).astype(np.float32)
    assert (values == 0).mean() < 0.5
    origin = density.origin + VOXEL * corner[::-1]
    write_map(tmp_path / "ball.mrc", Map(values, density.voxel_size, origin))
    config = LocateConfig(str(tmp_path / "ball.mrc"), threshold=0.5, field="spline")
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    metrics = json.loads((job / "metrics.json").read_text())
    assert (metrics["noise"], metrics["solvent"]) == (0, 0)
    assert not read_npz(job / "graph.npz")["significance"].any()
    assert read_field(job / "field.npz").accuracy == pytest.approx(1e-3 * np.ptp(values))
    with pytest.raises(InputError, match="which --field denoised has to know"):
        locate(replace(config, field="denoised"), options=JobOptions(output=str(tmp_path / "d")))


@pytest.mark.parametrize("field", ["spline", "positive", "fourier"])
def test_density_that_goes_through_a_face_has_no_peak_there(field):
    """One atom inside, one outside of each of two faces."""
    origin = np.array([10.0, -20.0, 5.0])
    z, y, x = np.indices((17, 18, 19))
    centres = [(8.2, 8.8, 9.1), (8.4, 8.8, 20.0), (-2.0, 9.0, 9.0)]
    squares = [((z - a) ** 2 + (y - b) ** 2 + (x - c) ** 2) / 4.5 for a, b, c in centres]
    values = np.exp(-np.array(squares)).sum(axis=0).astype(np.float32)
    density = Map(values, VOXEL, origin)
    config = LocateConfig("map.mrc", field=field)
    found = climb_to_peaks(field_of(density, field), density, 0.3, config)
    inner = found.peaks.position[found.peaks.value > 0.9]
    np.testing.assert_allclose(inner, [origin + VOXEL * [9.1, 8.8, 8.2]], atol=0.1)
    index = (found.peaks.position - origin) / VOXEL
    assert index.min() > -0.01
    assert (index < np.array([19, 18, 17]) - 0.99).all()
    if field != "fourier":
        assert (len(found.peaks), found.at_faces) == (1, 2)


def test_a_search_that_ends_in_nothing_leaves_its_folder_to_other_options(case, tmp_path):
    options = JobOptions(output=str(tmp_path / "job"))
    config = LocateConfig(str(case[0]), sigmas=2.0, field="spline", prominence=1e6)
    with pytest.raises(InputError, match="lower --threshold or --prominence"):
        locate(config, options=options)
    assert (locate(replace(config, prominence=0.0), options=options) / "field.npz").exists()


def test_a_stored_map_is_searched_as_the_map_is(done, case, tmp_path):
    for source in (done, done / "field.npz"):
        config = LocateConfig(str(source), str(case[1]), sigmas=2.0, field="spline")
        assert "fit a field" in plan_locate(config, options=JobOptions(output="job")).actions[0]
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["sensitivity_1A_percent"] > 90
    # ChimeraX does not open what is stored.
    assert "volume" not in (job / "view.cxc").read_text()
    assert "volume" in (done / "view.cxc").read_text()


def test_a_map_that_the_script_cannot_name_is_refused_before_the_work(case, tmp_path):
    path = tmp_path / 'a "map".mrc'
    path.write_bytes(case[0].read_bytes())
    for work in (plan_locate, locate):
        with pytest.raises(InputError, match=r"its path: view.cxc.*rename"):
            work(LocateConfig(str(path)), options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_masked_map_cannot_be_denoised(case, tmp_path):
    density = read_map(case[0])
    values = np.where(density.values > 0.2, density.values, 0).astype(np.float32)
    write_map(tmp_path / "masked.mrc", Map(values, density.voxel_size, density.origin))
    config = LocateConfig(str(tmp_path / "masked.mrc"), threshold=0.2, field="denoised")
    for work in (plan_locate, locate):
        with pytest.raises(InputError, match="which --field denoised has to know"):
            work(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_prominence_leaves_out_shoulders(case, done, tmp_path):
    config = LocateConfig(str(case[0]), sigmas=2.0, resolution=2.0, prominence=4.0)
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    fewer, all_ = (len(read_npz(f / "graph.npz")["density"]) for f in (job, done))
    assert 0 < fewer < all_


def test_prominence_is_a_share_of_what_is_above_the_solvent(case):
    """An offset of the map changes no prominence."""
    density, counts = read_map(case[0]), []
    config = LocateConfig("map.mrc", field="spline", prominence=0.3)
    for offset in (0.0, 10.0):
        whole = replace(density, values=density.values + np.float32(offset))
        part, threshold = crop(whole, whole.values > offset + 0.5), offset + 0.5
        found = climb_to_peaks(
            field_of(part, "spline"), part, threshold, config, solvent=solvent_of(whole).level
        )
        counts.append(len(found.peaks))
    assert counts[0] > 10
    assert counts[1] == counts[0]


def test_edges_of_the_graph_are_small_and_come_back_whatever_their_number(done):
    with zipfile.ZipFile(done / "graph.npz") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
    arrays = read_npz(done / "graph.npz")
    assert arrays["senders"].dtype == arrays["receivers"].dtype == np.int32


def test_the_plan_counts_the_whole_map(case, tmp_path):
    density, memory = read_map(case[0]), []
    more = np.zeros((30, *density.values.shape[1:]), np.float32)
    wide = replace(density, values=np.concatenate([density.values, more]))
    write_map(tmp_path / "wide.mrc", wide)
    for path in (case[0], tmp_path / "wide.mrc"):
        config = LocateConfig(str(path), threshold=0.5)
        options = JobOptions(output=str(tmp_path / "job"))
        memory.append(plan_locate(config, options=options).memory_bytes)
    assert memory[1] >= memory[0] + 16 * more.size


def test_the_plan_tells_of_voxels_and_writes_nothing(case, tmp_path):
    plan = plan_locate(LocateConfig(str(case[0])), options=JobOptions(output=str(tmp_path / "job")))
    assert "voxels" in plan.actions[0]
    assert not (tmp_path / "job").exists()


def test_a_masked_map_has_no_known_noise(case, tmp_path):
    density = read_map(case[0])
    values = np.where(density.values > 0.2, density.values, 0).astype(np.float32)
    write_map(tmp_path / "masked.mrc", Map(values, density.voxel_size, density.origin))
    job = locate(
        LocateConfig(str(tmp_path / "masked.mrc"), threshold=0.2),
        options=JobOptions(output=str(tmp_path / "job")),
    )
    manifest = json.loads((job / "manifest.json").read_text())
    told = next(text for text in manifest["warnings"] if "noise is not known" in text)
    assert "--false-share leaves no peak out" in told
    assert not read_npz(job / "graph.npz")["significance"].any()


@pytest.mark.parametrize(
    ("values", "changes", "cause"),
    [
        (np.zeros((20, 20, 20)), {}, "every voxel is 0"),
        (np.full((20, 20, 20), 3.0), {}, "every voxel is 3"),
        (np.eye(20)[None] * np.ones((20, 1, 1)), {"threshold": 5.0}, "no voxel lies above 5"),
        (np.where(np.arange(8000).reshape(20, 20, 20) == 77, np.nan, 0), {}, "NaN"),
    ],
)
def test_maps_that_show_nothing_are_refused(tmp_path, values, changes, cause):
    path = tmp_path / "map.mrc"
    write_map(path, Map(np.zeros(values.shape, np.float32), np.ones(3), np.zeros(3)))
    content = bytearray(path.read_bytes())
    content[-values.size * 4 :] = values.astype("<f4").tobytes()
    path.write_bytes(content)
    config = LocateConfig(str(path), **changes)
    for work in (plan_locate, locate):
        with pytest.raises(InputError, match=cause):
            work(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_model_outside_of_the_map_is_refused(case, tmp_path):
    model = read_atoms(case[1])
    write_atoms(tmp_path / "far.cif", replace(model, positions=model.positions + 100))
    config = LocateConfig(str(case[0]), str(tmp_path / "far.cif"))
    for work in (plan_locate, locate):
        with pytest.raises(InputError, match=r"atoms lie outside of the map.*in the frame"):
            work(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_model_elsewhere_in_the_map_is_warned_of(case, tmp_path):
    residue = select_atoms(read_atoms(case[1]), np.arange(4))
    corner = read_map(case[0]).origin + 0.5 - residue.positions.min(axis=0)
    moved = (residue.positions + corner).astype(np.float32)
    write_atoms(tmp_path / "corner.cif", replace(residue, positions=moved))
    job = locate(
        LocateConfig(str(case[0]), str(tmp_path / "corner.cif"), field="spline"),
        options=JobOptions(output=str(tmp_path / "job")),
    )
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("another frame" in warning for warning in warnings)


@pytest.mark.parametrize(
    "changes",
    [
        {"merge": 0.0},
        {"resolution": -1.0},
        {"prominence": -0.1},
        {"false_share": 0.0},
        {"field": "trilinear"},
        {"sigmas": 2.0, "threshold": 1.0},
    ],
)
def test_settings_that_mean_nothing_are_refused(changes):
    with pytest.raises(InputError, match=next(iter(changes)).replace("_", "-")):
        LocateConfig("map.mrc", **changes)


def test_real_maps_of_every_axis_order_are_read_in_register(shared_data, tmp_path):
    folder = shared_data / "maps/emd_5830"
    config = LocateConfig(str(folder / "map.ccp4.gz"), str(folder / "model.pdb.gz"))
    job = locate(config, options=JobOptions(output=str(tmp_path / "job")))
    metrics = json.loads((job / "metrics.json").read_text())
    assert metrics["ca_recall_3A_percent"] > 40
    assert metrics["ca_rmsd_3A_angstrom"] < 2.0
