"""``validate fsc``: what it writes, what it says, what it refuses."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.io import InputError, Map, read_map, write_map
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.pose.reference import density_of_model
from cryojax_graph.jobs.validate import ValidateFscConfig, plan_validate_fsc, validate_fsc
from cryojax_graph.jobs.validate.fsc_input import read_pair

BOX, VOXEL = 48, 2.0
ORIGIN = np.array([-10.0, 4.0, 30.0])
RANDOM = np.random.default_rng(0)
AXIS = (np.arange(BOX) - BOX // 2) ** 2
BALL = np.sqrt(AXIS[:, None, None] + AXIS[:, None] + AXIS) < 12
SIGNAL = (BALL * (2 + RANDOM.standard_normal((BOX,) * 3))).astype(np.float32)
NOISE = RANDOM.standard_normal((2, BOX, BOX, BOX)).astype(np.float32)


def density(values, *, voxel=VOXEL, origin=ORIGIN):
    return Map(np.asarray(values, np.float32), np.full(3, voxel), np.asarray(origin, float))


@pytest.fixture
def pair(tmp_path):
    """Names of two half-maps."""
    for name, noise in zip("ab", NOISE, strict=True):
        write_map(tmp_path / f"{name}.mrc", density(SIGNAL + 0.7 * noise))
    return str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc")


def run(tmp_path, *arguments):
    """Exit code, and figures, log and page where there are any."""
    folder = tmp_path / "job"
    code = main(["validate", "fsc", *arguments, "-o", str(folder), "--overwrite"])
    if code:
        return code, {}, "", ""
    figures = json.loads((folder / "metrics.json").read_text())
    return code, figures, *((folder / n).read_text() for n in ("run.log", "report.html"))


def test_half_maps_give_curves_mask_map_and_page(tmp_path, pair):
    code, figures, log, page = run(tmp_path, *pair)
    assert code == 0
    with (tmp_path / "job/fsc.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["shell"]) for row in rows] == list(range(BOX // 2 + 1))
    assert float(rows[8]["resolution_angstrom"]) == pytest.approx(BOX * VOXEL / 8)
    assert {"fsc_unmasked", "fsc_masked", "fsc_randomised", "fsc_corrected"} <= rows[0].keys()
    for name in ("mask.mrc", "map.mrc", "local_resolution.mrc"):
        written = read_map(tmp_path / "job" / name)
        assert written.values.shape == (BOX,) * 3
        np.testing.assert_allclose(written.origin, ORIGIN, atol=1e-4)
        np.testing.assert_allclose(written.voxel_size, VOXEL, rtol=1e-6)
    assert figures["resolution_angstrom"] == figures["resolution_fsc0143_angstrom"]
    assert figures["resolution_fsc0143_angstrom"] <= figures["resolution_fsc05_angstrom"]
    assert 0 < figures["cfar"] <= 1
    assert 0 < figures["sphericity"] <= 1
    assert figures["units"]["b_factor_angstrom2"] == "Å²"
    assert figures["threshold"] == 0.143
    for title in ("Fourier shell", "Mask and map", "Fall-off", "direction", "Local resolution"):
        assert title in page
    assert f"Resolution {figures['resolution_angstrom']:.2f} Å" in log


def test_the_threshold_and_the_mask_are_the_users(tmp_path, pair):
    write_map(tmp_path / "mask.mrc", density(BALL.astype(np.float32)))
    options = ("--mask", str(tmp_path / "mask.mrc"), "--threshold", "0.5")
    _, figures, _, _ = run(tmp_path, *pair, *options)
    assert figures["resolution_angstrom"] == figures["resolution_fsc05_angstrom"]
    assert figures["mask_percent"] == pytest.approx(100 * BALL.mean(), rel=1e-4)
    assert (read_map(tmp_path / "job/mask.mrc").values == BALL).all()


def test_without_mask_there_is_one_curve_and_no_mask_file(tmp_path, pair):
    _, figures, _, _ = run(tmp_path, *pair, "--mask", "none", "--no-local-resolution")
    assert not (tmp_path / "job/mask.mrc").exists()
    assert not (tmp_path / "job/local_resolution.mrc").exists()
    assert (tmp_path / "job/fsc.csv").read_text().splitlines()[0].endswith("fsc_unmasked")
    assert figures["resolution_angstrom"] == figures["resolution_unmasked_fsc0143_angstrom"]


def test_the_same_seed_gives_the_same_curve(tmp_path, pair):
    found = []
    for seed in ("0", "0", "1"):
        run(tmp_path, *pair, "--seed", seed, "--no-local-resolution")
        found.append((tmp_path / "job/fsc.csv").read_text())
    assert found[0] == found[1] != found[2]


def test_a_map_against_the_truth_is_read_at_a_half(tmp_path, pair):
    write_map(tmp_path / "truth.mrc", density(SIGNAL))
    arguments = (pair[0], str(tmp_path / "truth.mrc"), "--kind", "maps", "--no-local-resolution")
    _, figures, _, page = run(tmp_path, *arguments)
    assert figures["threshold"] == 0.5
    assert figures["resolution_angstrom"] == figures["resolution_fsc05_angstrom"]
    assert "b_factor_angstrom2" not in figures
    assert not (tmp_path / "job/map.mrc").exists()
    assert "Fall-off" not in page


@pytest.mark.parametrize("shape", [(BOX, BOX, BOX), (40, 34, 37)])
@pytest.mark.parametrize("name", ["model.pdb", "model.cif"])
def test_a_model_is_placed_in_the_frame_of_the_map(tmp_path, peptide, name, shape):
    """Its own density, written with an origin, agrees with it up to Nyquist."""
    voxel, box = 1.0, max(shape)
    atoms = replace(peptide, element=np.array([n[0] for n in peptide.name]))
    values = np.asarray(density_of_model(atoms, "made", box=box, voxel_size=voxel))
    cut = [(box - n) // 2 for n in shape]
    part = values[tuple(slice(c, c + n) for c, n in zip(cut, shape, strict=True))]
    shift = np.array([100.0, -20.0, 7.0])
    origin = shift - box // 2 * voxel + np.array(cut[::-1]) * voxel
    write_map(tmp_path / "map.mrc", density(part, voxel=voxel, origin=origin))
    write_atoms(tmp_path / name, replace(atoms, positions=atoms.positions + np.float32(shift)))
    arguments = (str(tmp_path / "map.mrc"), str(tmp_path / name), "--no-local-resolution")
    code, figures, log, _ = run(tmp_path, *arguments, "--mask", "none")
    assert code == 0
    assert figures["threshold"] == 0.5
    assert figures["resolution_angstrom"] < 2.3 * voxel
    assert ("padded" in log) == (len(set(shape)) > 1)


def test_a_model_beside_the_map_is_refused(tmp_path, pair, peptide, capsys):
    moved = replace(peptide, positions=peptide.positions + np.float32(500))
    write_atoms(tmp_path / "model.pdb", moved)
    assert run(tmp_path, pair[0], str(tmp_path / "model.pdb"))[0] == 2
    assert "outside of the map" in capsys.readouterr().err
    assert read_atoms(tmp_path / "model.pdb").positions.min() > 400


WRONG = {
    "another box": (density(SIGNAL[:40, :40, :40]), "40 × 40 × 40 voxels, the first map has 48"),
    "another voxel size": (density(SIGNAL, voxel=2.1), "voxels of 2.1 Å"),
    "another origin": (density(SIGNAL, origin=ORIGIN + 2), "origin"),
    "voxels that are not cubes": (
        Map(SIGNAL, np.array([2.0, 2.0, 2.2]), ORIGIN),
        "voxels are not cubes",
    ),
    "a constant map": (density(np.ones_like(SIGNAL)), "all are equal"),
    "the same map": (density(SIGNAL + 0.7 * NOISE[0]), "the very map"),
    "a tiny map": (density(SIGNAL[:6, :6, :6]), "6 × 6 × 6 voxels"),
}


@pytest.mark.parametrize("name", WRONG)
def test_maps_that_do_not_fit_are_refused_before_any_work(tmp_path, pair, capsys, name):
    wrong, cause = WRONG[name]
    write_map(tmp_path / "wrong.mrc", wrong)
    assert run(tmp_path, pair[0], str(tmp_path / "wrong.mrc"))[0] == 2
    said = capsys.readouterr().err
    assert cause in said
    assert "wrong.mrc" in said
    assert not (tmp_path / "job").exists()


def test_a_map_with_values_that_are_not_finite_is_refused(tmp_path, pair, capsys):
    raw = bytearray((tmp_path / "b.mrc").read_bytes())
    raw[-4:] = np.float32(np.nan).tobytes()
    (tmp_path / "bad.mrc").write_bytes(raw)
    assert run(tmp_path, pair[0], str(tmp_path / "bad.mrc"))[0] == 2
    assert "NaN or infinite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("values", "cause"),
    [
        (2.0 * BALL, "they go from 0 to 2"),
        (0.1 * BALL, "they go from 0 to 0.1"),
        (BALL[:40], "48 × 48 × 40 voxels, the maps have 48 × 48 × 48"),
    ],
)
def test_a_mask_that_is_none_is_refused(tmp_path, pair, capsys, values, cause):
    write_map(tmp_path / "mask.mrc", density(values))
    assert run(tmp_path, *pair, "--mask", str(tmp_path / "mask.mrc"))[0] == 2
    assert cause in capsys.readouterr().err


def test_noise_has_no_automatic_mask_and_the_remedy_is_told(tmp_path, capsys):
    for name, noise in zip("ab", NOISE, strict=True):
        write_map(tmp_path / f"{name}.mrc", density(noise))
    assert run(tmp_path, str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc"))[0] == 2
    assert "--mask none" in capsys.readouterr().err


@pytest.mark.parametrize("threshold", [0.0, 1.0, -0.1])
def test_a_threshold_that_no_curve_crosses_is_refused(threshold):
    with pytest.raises(InputError, match="--threshold"):
        ValidateFscConfig("a.mrc", "b.mrc", threshold=threshold)


def test_half_maps_with_a_mask_on_them_are_doubted(tmp_path):
    for name, noise in zip("ab", NOISE, strict=True):
        write_map(tmp_path / f"{name}.mrc", density(BALL * (SIGNAL + noise)))
    arguments = (str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc"), "--no-local-resolution")
    _, _, log, page = run(tmp_path, *arguments)
    assert "a mask seems to be on them already" in log
    assert "a mask seems to be on them already" in page


def test_maps_that_agree_up_to_nyquist_are_doubted(tmp_path):
    for name, noise in zip("ab", NOISE, strict=True):
        write_map(tmp_path / f"{name}.mrc", density(SIGNAL + 0.01 * noise))
    arguments = (str(tmp_path / "a.mrc"), str(tmp_path / "b.mrc"), "--no-local-resolution")
    _, figures, log, _ = run(tmp_path, *arguments)
    assert "never falls below" in log
    assert figures["resolution_angstrom"] == pytest.approx(2 * VOXEL)


def test_cut_maps_are_padded_in_register(tmp_path):
    values = SIGNAL[:, 4:40, 2:43]
    write_map(tmp_path / "cut.mrc", density(values))
    write_map(tmp_path / "other.mrc", density(values + 1))
    found = read_pair(str(tmp_path / "cut.mrc"), str(tmp_path / "other.mrc"), voxel_size=None)
    assert found.first.shape == (BOX,) * 3
    assert found.padded_from == values.shape
    place = np.rint((ORIGIN - found.origin) / VOXEL).astype(int)[::-1]
    inside = tuple(slice(p, p + n) for p, n in zip(place, values.shape, strict=True))
    np.testing.assert_array_equal(found.first[inside], values)


def test_the_plan_tells_what_is_written(pair):
    options = JobOptions(output="none")
    plan = plan_validate_fsc(ValidateFscConfig(*pair), options=options)
    assert set(plan.outputs) == {
        "fsc.csv",
        "mask.mrc",
        "map.mrc",
        "local_resolution.mrc",
        "metrics.json",
        "report.html",
    }
    bare = ValidateFscConfig(*pair, kind="maps", mask="none", local_resolution=False)
    plan = plan_validate_fsc(bare, options=options)
    assert set(plan.outputs) == {"fsc.csv", "metrics.json", "report.html"}


def test_a_file_in_the_way_is_refused_before_the_work(tmp_path, pair):
    (tmp_path / "mask.mrc").write_text("mine")
    with pytest.raises(InputError, match="a file of this name is there already"):
        validate_fsc(ValidateFscConfig(*pair), options=JobOptions(output=str(tmp_path)))
    assert not (tmp_path / "fsc.csv").exists()


def test_a_b_factor_for_maps_that_are_no_halves_is_refused(pair):
    config = ValidateFscConfig(*pair, kind="maps", b_factor=50.0)
    for verb in (validate_fsc, plan_validate_fsc):
        with pytest.raises(InputError, match="--b-factor: it sharpens the map of two half-maps"):
            verb(config, options=JobOptions(output="none"))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e5])
def test_a_b_factor_that_is_none_is_refused_before_any_work(tmp_path, pair, value):
    config = ValidateFscConfig(*pair, b_factor=value)
    for verb in (validate_fsc, plan_validate_fsc):
        with pytest.raises(InputError, match="--b-factor: it is"):
            verb(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_b_factor_that_no_map_could_hold_is_refused_at_its_resolution(tmp_path, pair):
    config = ValidateFscConfig(*pair, b_factor=9e3)
    with pytest.raises(InputError, match="9000 Å² is too much for detail of 4"):
        validate_fsc(config, options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job" / "map.mrc").exists()


def test_library_callers_get_the_folder(tmp_path, pair):
    config = ValidateFscConfig(*pair, local_resolution=False)
    folder = validate_fsc(config, options=JobOptions(output=str(tmp_path / "job")))
    assert json.loads((folder / "manifest.json").read_text())["status"] == "done"
