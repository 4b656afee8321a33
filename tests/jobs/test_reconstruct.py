"""``reconstruct`` from end to end on a small set with known poses."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io import (
    read_map,
    read_particles,
    with_columns,
    write_particles,
)
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.flex import FlexConfig, plan_flex
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.options import JobOptions, PipelineOptions
from cryojax_graph.jobs.plan import bytes_of_table
from cryojax_graph.jobs.pose import PoseConfig, plan_pose
from cryojax_graph.jobs.reconstruct import ReconstructConfig, plan_reconstruct, reconstruct
from cryojax_graph.jobs.reconstruct.source import (
    check_apart,
    check_numbered,
    divide,
    kept_together,
    read_source,
)
from cryojax_graph.jobs.reconstruct.symmetric_views import symmetric_views
from cryojax_graph.jobs.refine import RefineConfig, plan_refine
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.metrics import half_spectrum, shell_sums

IMAGES, BOX, PIXEL = 400, 36, 3.0


class Case(NamedTuple):
    particles: Path
    density: np.ndarray


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("reconstruct") / "simulated"
    model = folder.parent / "model.pdb"
    write_atoms(model, read_demo_molecule()[0])
    config = SimulateConfig(
        input=str(model), images=IMAGES, box=BOX, pixel_size=PIXEL, snr=1.0, shift_sigma=6.0
    )
    simulate(config, options=JobOptions(output=str(folder), seed=1))
    # The halves of the simulation are not asked for here.
    table = read_particles(folder / "particles.star")
    columns = {k: v for k, v in table.columns.items() if k != "rlnRandomSubset"}
    table = replace(table, columns=columns, half_set=None)
    write_particles(table, folder / "particles.star")
    positions = jnp.asarray(read_atoms(folder / "reference.cif").positions, jnp.float32)
    n = len(positions)
    density = density_of_gaussians(
        positions, jnp.ones(n), jnp.full(n, 2.4), box=BOX, voxel_size=PIXEL
    )
    return Case(folder / "particles.star", np.asarray(density))


def run(particles: Path, folder: Path, **changes) -> tuple[Path, dict, dict]:
    config = ReconstructConfig(str(particles), **changes)
    job = reconstruct(config, options=JobOptions(output=str(folder)))
    read = (json.loads((job / f"{name}.json").read_text()) for name in ("metrics", "manifest"))
    return job, *read


def changed(case: Case, folder: Path, columns: dict, images: np.ndarray | None = None) -> Path:
    """A copy of the particles beside their stack, with other columns."""
    folder.mkdir()
    table = with_columns(read_particles(case.particles), columns)
    stack = case.particles.parent / "particles.mrcs"
    pixels = open_stack(stack).read(np.arange(IMAGES)) if images is None else images
    write_stack(folder / "particles.mrcs", pixels, pixel_size=PIXEL)
    write_particles(table, folder / "particles.star")
    return folder / "particles.star"


def agreement(folder: Path, density: np.ndarray) -> float:
    """Correlation of the mean of the halves with the truth between 25 and 9 Å."""
    both = sum(read_map(folder / f"half{n}.mrc").values for n in (1, 2))
    k = np.fft.fftfreq(BOX) * BOX
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + k[: BOX // 2 + 1] ** 2
    band = (square > (BOX * PIXEL / 25) ** 2) & (square < (BOX * PIXEL / 9) ** 2)
    first, second = (np.fft.rfftn(volume)[band] for volume in (both, density))
    overlap = (first * second.conj()).real.sum()
    return float(overlap / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.fixture(scope="module")
def solved(case, tmp_path_factory):
    return run(case.particles, tmp_path_factory.mktemp("solved") / "job")


def test_the_particle_is_found(case, solved):
    folder, metrics, manifest = solved
    assert agreement(folder, case.density) > 0.9
    assert metrics["images"] == metrics["views"] == metrics["effective_views"] == IMAGES
    assert metrics["inverted"] == 0
    assert metrics["resolution_fsc0143_angstrom"] < 12
    assert not [text for text in manifest["warnings"] if "dark" in text]
    expected = {"half1.mrc", "half2.mrc", "map.mrc", "map_unsharpened.mrc", "mask.mrc", "fsc.csv"}
    assert expected <= {path.name for path in folder.iterdir()}
    assert "Fourier shell correlation" in (folder / "report.html").read_text()
    assert read_map(folder / "map.mrc").voxel_size.tolist() == [PIXEL] * 3


def test_two_devices_make_the_maps_of_one(case, solved, tmp_path):
    """Each inserts its share of the images, and then solves for a map of its own."""
    command = [sys.executable, "-m", "cryojax_graph", "reconstruct", str(case.particles)]
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "2"}
    subprocess.run([*command, "-o", str(tmp_path / "job")], env=environment, check=True)
    for name in ("half1.mrc", "half2.mrc", "map.mrc"):
        one, two = (read_map(job / name).values for job in (solved[0], tmp_path / "job"))
        np.testing.assert_allclose(two, one, atol=2e-3 * np.abs(one).max(), err_msg=name)


def test_halves_are_drawn_once_and_then_kept(case, solved, tmp_path):
    table = read_particles(solved[0] / "particles.star")
    assert abs(int(np.sum(table.half_set == 1)) - IMAGES // 2) <= 1
    again = changed(case, tmp_path / "halves", {"half_set": table.half_set})
    folder, _, manifest = run(again, tmp_path / "job")
    assert not (folder / "particles.star").exists()
    # Tables of a job name their images as the user's does.
    root = f"--image-root {case.particles.parent.resolve()}"
    assert f"pose particles.star {root}" in (solved[0] / "report.html").read_text()
    page = (folder / "report.html").read_text()
    assert f"pose {again} --image-root {again.parent.resolve()}" in page
    # What halves of poses that are known already agree by is told, and only there.
    drawn, named = (
        "agree by whatever map all poses come from" in "".join(m["warnings"])
        for m in (solved[2], manifest)
    )
    assert (drawn, named) == (True, False)
    assert "drawn after the poses were found" in (solved[0] / "report.html").read_text()
    assert "as the table names them" in page
    assert "Two independent halves" not in page
    for name in ("half1.mrc", "half2.mrc"):
        first, second = (read_map(job / name).values for job in (folder, solved[0]))
        np.testing.assert_allclose(first, second, atol=1e-4 * np.abs(second).max())


@pytest.mark.parametrize("mistake", ["shift", "hand", "ctf"])
def test_a_wrong_sign_costs_the_map(case, tmp_path, mistake):
    table = read_particles(case.particles)
    columns = {
        "shift": {"shift_angstrom": -table.shift_angstrom},
        # The same views seen from the other side are those of the mirrored particle.
        "hand": {"euler_degrees": table.euler_degrees * [1, 1, 1] + [0, 180, 0]},
        "ctf": {"phase_shift_degrees": np.full(IMAGES, 180.0)},
    }[mistake]
    folder, _, _ = run(
        changed(case, tmp_path / "wrong", columns), tmp_path / "job", contrast="white"
    )
    assert agreement(folder, case.density) < 0.5


filament_of_image = np.arange(IMAGES) // 20


@pytest.fixture(scope="module")
def filaments(case, tmp_path_factory):
    """A job of twenty filaments, five on each of four micrographs, of a symmetry."""
    names = np.array(
        [f"m{number}.mrc" for number in filament_of_image // 5], np.dtypes.StringDType()
    )
    columns = {
        "rlnMicrographName": names,
        "rlnHelicalTubeID": filament_of_image % 5 + 1,
        "rlnCtfBfactor": np.where(filament_of_image == 2, -40.0, 0.0),
    }
    folder = tmp_path_factory.mktemp("filaments")
    return run(changed(case, folder / "images", columns), folder / "job", symmetry="C2")


def test_segments_of_a_filament_are_in_one_half(filaments):
    folder, _, _ = filaments
    half = read_particles(folder / "particles.star").half_set
    assert all(len(np.unique(half[filament_of_image == filament])) == 1 for filament in range(20))
    assert np.sum(half == 1) == IMAGES // 2
    told = "all rows of one filament (rlnMicrographName, rlnHelicalTubeID) in one half"
    assert f"Halves were drawn, {told}: 20 of them" in (folder / "run.log").read_text()
    assert told in (folder / "report.html").read_text()


def test_the_command_of_the_page_keeps_the_symmetry(filaments, solved):
    page, plain = ((job / "report.html").read_text() for job, _, _ in (filaments, solved))
    assert "--reference map.mrc --symmetry C2 -o pose" in page
    assert "--reference map.mrc -o pose" in plain


def test_an_envelope_that_amplifies_is_warned_of(filaments):
    told = [text for text in filaments[2]["warnings"] if "amplified instead of damped" in text]
    assert len(told) == 1
    assert "20 of 400 rows" in told[0]


def test_halves_keep_together_what_a_column_says(case, tmp_path):
    series = np.arange(IMAGES) % 7
    pairs = {"rlnImageName": np.array([f"{n // 2 + 1}@particles.mrcs" for n in range(IMAGES)])}
    columns = {"rlnGroupName": series, "rlnOne": np.ones(IMAGES, int)}
    path = changed(case, tmp_path / "images", columns)
    particles, _ = read_source(ReconstructConfig(str(path)))
    halves = divide(particles, 0, by="rlnGroupName")
    assert halves.reason == "value of rlnGroupName"
    assert all(len(np.unique(halves.number[series == k])) == 1 for k in range(7))
    # Rows of one image stay together, whatever the column says: here that joins all.
    twice = particles._replace(table=with_columns(particles.table, pairs))
    with pytest.raises(InputError, match="all rows are of one value of rlnGroupName; give"):
        divide(twice, 0, by="rlnGroupName")
    with pytest.raises(InputError, match="all rows are of one value of rlnOne"):
        divide(particles, 0, by="rlnOne")
    with pytest.raises(InputError, match=r"--halves\.by: there is no column rlnNothing"):
        divide(particles, 0, by="rlnNothing")
    named = with_columns(particles.table, {"half_set": 1 + np.arange(IMAGES) % 2})
    with pytest.raises(InputError, match=r"--halves\.by: the table names the halves"):
        divide(particles._replace(table=named), 0, by="rlnGroupName")


def test_filaments_of_cryosparc_and_particles_of_tomograms_are_known(case):
    table = read_particles(case.particles)
    thing = np.arange(IMAGES) // 4
    for name, reason in (
        ("cs/filament/filament_uid", "filament (filament/filament_uid)"),
        ("rlnTomoParticleName", "particle (rlnTomoParticleName)"),
    ):
        group, told = kept_together(with_columns(table, {name: thing}), None)
        assert told == reason
        assert np.unique(group, return_inverse=True)[1].tolist() == thing.tolist()
    assert kept_together(table, None)[1] == ""


@pytest.mark.parametrize("name", ["blob/sign", "cs/blob/sign"])
def test_images_that_cryosparc_marks_as_dark_are_not_inverted_twice(case, tmp_path, name):
    path = changed(case, tmp_path / "images", {})
    table = read_particles(path)
    if name == "blob/sign":
        path = path.with_suffix(".cs")
        write_particles(table, path)
        table = read_particles(path)
    write_particles(with_columns(table, {name: np.full(IMAGES, -1, np.float32)}), path)
    with pytest.raises(InputError, match=rf"--contrast dark: .*400 of 400 images .*\({name} -1\)"):
        run(path, tmp_path / "job", contrast="dark")
    assert not (tmp_path / "job").exists()
    assert (read_source(ReconstructConfig(str(path)))[0].images.sign == -1).all()


def test_weights_of_zero_leave_rows_out(case, tmp_path):
    weight = (np.arange(IMAGES) % 4 > 0).astype(float)
    half = 1 + np.arange(IMAGES) % 2
    columns = {"half_set": half, "rlnParticleFigureOfMerit": weight}
    every = changed(case, tmp_path / "all", columns)
    some = tmp_path / "all/some.star"
    write_particles(subset(read_particles(every), np.flatnonzero(weight)), some)
    weighed, metrics, _ = run(every, tmp_path / "weighed", weights="rlnParticleFigureOfMerit")
    plain, _, _ = run(some, tmp_path / "plain")
    assert metrics["effective_views"] == weight.sum()
    for name in ("half1.mrc", "half2.mrc"):
        first, second = (read_map(job / name).values for job in (weighed, plain))
        # The noise of the set is told from a sample that differs.
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9999


def test_rows_of_one_image_are_in_one_half(case, tmp_path):
    table = read_particles(case.particles)
    twice = subset(table, np.repeat(np.arange(100), 2))
    path = case.particles.with_name("twice.star")
    write_particles(twice, path)
    folder, metrics, _ = run(path, tmp_path / "job")
    half = read_particles(folder / "particles.star").half_set
    assert (half[::2] == half[1::2]).all()
    assert (metrics["views"], metrics["images"]) == (200, 100)


def test_dark_particles_are_told_and_inverted(case, solved, tmp_path):
    stack = open_stack(case.particles.parent / "particles.mrcs").read(np.arange(IMAGES))
    dark = changed(case, tmp_path / "dark", {}, images=-stack)
    folder, metrics, manifest = run(dark, tmp_path / "auto")
    assert metrics["inverted"] == 1
    assert any("darker than what is around" in text for text in manifest["warnings"])
    first, second = (read_map(job / "half1.mrc").values for job in (folder, solved[0]))
    np.testing.assert_allclose(first, second, atol=1e-4 * np.abs(second).max())
    kept, metrics, _ = run(dark, tmp_path / "white", contrast="white")
    assert metrics["inverted"] == 0
    np.testing.assert_array_equal(read_map(kept / "half1.mrc").values, -first)


def test_a_background_off_zero_is_told_and_changes_nothing(case, solved, tmp_path):
    stack = open_stack(case.particles.parent / "particles.mrcs").read(np.arange(IMAGES))
    # Another one in every image.
    level = stack.std() * np.linspace(1.0, 3.0, IMAGES, dtype=np.float32)[:, None, None]
    particles = changed(case, tmp_path / "off", {}, images=stack + level)
    folder, metrics, manifest = run(particles, tmp_path / "job")
    assert any("background of the images is off 0" in text for text in manifest["warnings"])
    assert not [text for text in solved[2]["warnings"] if "background" in text]
    assert metrics["inverted"] == 0
    for name in ("half1.mrc", "half2.mrc", "map.mrc"):
        found, expected = (read_map(job / name).values for job in (folder, solved[0]))
        np.testing.assert_allclose(found, expected, atol=1e-3 * np.abs(expected).max())


def test_sums_of_many_cores_fit_into_memory(case, monkeypatch):
    from cryojax_graph.jobs.reconstruct import insertion

    one = insertion.bytes_of_sums(BOX, padding=2) // insertion.devices_for(BOX, padding=2)
    cores = [jax.devices()[0]] * 16
    monkeypatch.setattr(jax, "devices", lambda: cores)
    config = ReconstructConfig(str(case.particles))
    # A share of the memory of this machine is more than all of these sums.
    monkeypatch.setattr(insertion, "_MOST_BYTES", 0)
    assert insertion.devices_for(BOX, padding=2) == 16
    monkeypatch.setattr(insertion, "_MOST_SHARE", 0.0)
    memory = {}
    for room, devices in ((20 * one, 16), (11 * one // 2, 5), (0, 1)):
        monkeypatch.setattr(insertion, "_MOST_BYTES", room)
        assert insertion.devices_for(BOX, padding=2) == devices
        assert insertion.bytes_of_sums(BOX, padding=2) == devices * one
        memory[devices] = plan_reconstruct(config, options=JobOptions(output="")).memory_bytes
    assert memory[1] == memory[5] < memory[16]


@pytest.mark.parametrize(
    "treatment", ["rlnCtfDataArePhaseFlipped", "rlnCtfDataAreCtfPremultiplied"]
)
def test_images_that_were_corrected_for_their_ctf_give_the_same_map(
    case, solved, tmp_path, treatment
):
    table = read_particles(case.particles)
    stack = open_stack(case.particles.parent / "particles.mrcs").read(np.arange(IMAGES))
    fields = (
        table.defocus_u,
        table.defocus_v,
        np.deg2rad(table.defocus_angle_degrees),
        table.voltage_kv,
        table.spherical_aberration_mm,
        table.amplitude_contrast,
        np.deg2rad(table.phase_shift_degrees),
        table.b_factor,
    )
    transfer = np.stack(
        [
            np.asarray(contrast_transfer(CTF(*values), box=BOX, pixel_size=PIXEL))
            for values in zip(*(np.float32(f) for f in fields), strict=True)
        ]
    )
    factor = np.sign(transfer) if "Flipped" in treatment else transfer
    images = np.fft.irfft2(np.fft.rfft2(stack) * factor, s=(BOX, BOX)).astype(np.float32)
    treated = changed(case, tmp_path / "treated", {treatment: np.ones(IMAGES, int)}, images=images)
    folder, _, _ = run(treated, tmp_path / "job")
    first, second = (read_map(job / "half1.mrc").values for job in (folder, solved[0]))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.995


def test_interrupted_insertion_goes_on(case, solved, tmp_path, monkeypatch):
    from cryojax_graph.jobs.reconstruct import insertion

    read, seen = insertion._read, []

    def stop_at_third(source, views, start, *rest):
        seen.append(start)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(source, views, start, *rest)

    config = ReconstructConfig(str(case.particles))
    options = JobOptions(output=str(tmp_path / "job"), pipeline=PipelineOptions(save_seconds=0.0))
    with monkeypatch.context() as patched:
        patched.setattr(insertion, "_BLOCK", 32)
        patched.setattr(insertion, "_read", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            reconstruct(config, options=options)
        patched.setattr(insertion, "_read", lambda *given: seen.append(given[2]) or read(*given))
        folder = reconstruct(config, options=options)
    # Blocks that were saved before the interruption are not read again.
    assert seen[3] == seen[2] > 0
    first, second = (read_map(job / "half1.mrc").values for job in (folder, solved[0]))
    np.testing.assert_allclose(first, second, atol=1e-4 * np.abs(second).max())


@pytest.fixture(scope="module")
def bootstrapped(case, tmp_path_factory):
    return run(case.particles, tmp_path_factory.mktemp("bootstrap") / "job", bootstrap=6)


def test_the_bootstrap_finds_the_noise_that_the_halves_differ_by(solved, bootstrapped):
    folder, metrics, _ = bootstrapped
    deviation, density = (
        read_map(folder / f"{name}.mrc").values.astype(np.float64)
        for name in ("artefact_deviation", "map_unsharpened")
    )
    np.testing.assert_array_equal(density, read_map(solved[0] / "map_unsharpened.mrc").values)
    power = shell_sums(half_spectrum(density), half_spectrum(density)).first
    rows = np.loadtxt(folder / "fsc.csv", delimiter=",", skiprows=1)
    fsc = np.maximum(rows[:, 3], 0.0)
    # The share of noise in the power of a map whose halves agree by FSC; the Wiener filter, which
    # the halves do without, leaves somewhat less of it.
    noise = (power * (1 - fsc) / (1 + fsc))[1:].sum()
    assert 0.55 < (deviation**2).sum() * BOX**3 / noise < 1.4
    assert metrics["bootstrap_parts"] == 6
    assert 0 < metrics["artefact_best_direction_percent"] < metrics["artefact_percent"] * 2
    assert metrics["artefact_best_direction_percent"] < metrics["artefact_worst_direction_percent"]
    assert "Artefacts: cone bootstrap" in (folder / "report.html").read_text()


def test_an_interrupted_bootstrap_goes_on(case, bootstrapped, tmp_path, monkeypatch):
    from cryojax_graph.jobs.reconstruct import artefacts

    insert, seen = artefacts.insert_views, []

    def stop_at_third(*given, **named):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return insert(*given, **named)

    config = ReconstructConfig(str(case.particles), bootstrap=6)
    options = JobOptions(output=str(tmp_path / "job"), pipeline=PipelineOptions(save_seconds=0.0))
    with monkeypatch.context() as patched:
        patched.setattr(artefacts, "insert_views", stop_at_third)
        with pytest.raises(KeyboardInterrupt):
            reconstruct(config, options=options)
        folder = reconstruct(config, options=options)
    # The two parts that were done are not read again.
    assert len(seen) == 3 + 4
    first, second = (
        read_map(job / "artefact_deviation.mrc").values for job in (folder, bootstrapped[0])
    )
    np.testing.assert_allclose(first, second, atol=1e-4 * second.max())


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({}, {"symmetry": "Q7"}, "--symmetry"),
        ({}, {"bootstrap": 2}, "--bootstrap: it is 2"),
        ({}, {"bootstrap": 900}, "400 images cannot be dealt into 900 parts"),
        ({}, {"tilt_axis": 3.0}, "--tilt-axis: it says something of tilt pairs"),
        ({}, {"weights": "rlnNothing"}, "there is no column rlnNothing"),
        ({}, {"weights": "rlnImageName"}, "does not hold numbers"),
        ({"rlnWeight": -np.ones(IMAGES)}, {"weights": "rlnWeight"}, "must not be negative"),
        ({"rlnWeight": np.zeros(IMAGES)}, {"weights": "rlnWeight"}, "all weights are 0"),
        (
            {"rlnCtfDataArePhaseFlipped": np.arange(IMAGES) % 2},
            {},
            "only some of the images were phase-flipped",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(
    case, tmp_path, columns, changes, message
):
    particles = changed(case, tmp_path / "images", columns)
    with pytest.raises(InputError, match=message):
        run(particles, tmp_path / "job", **changes)
    assert not (tmp_path / "job").exists()


def test_particles_of_one_half_are_refused(case, tmp_path):
    particles = changed(case, tmp_path / "images", {"half_set": np.ones(IMAGES, int)})
    with pytest.raises(InputError, match="all particles are in one half"):
        run(particles, tmp_path / "job")


def test_a_half_without_any_weight_is_refused(case, tmp_path):
    half = 1 + np.arange(IMAGES) % 2
    columns = {"half_set": half, "rlnWeight": half - 1.0}
    particles = changed(case, tmp_path / "images", columns)
    with pytest.raises(InputError, match="all weights of half 1 are 0"):
        run(particles, tmp_path / "job", weights="rlnWeight")
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("name", ["views.bild", "half1.mrc", "particles.star"])
def test_a_file_in_the_way_is_refused_before_the_work(case, tmp_path, name):
    (tmp_path / name).write_text("mine")
    with pytest.raises(InputError, match="a file of this name is there already"):
        run(case.particles, tmp_path)
    assert (
        not (tmp_path / "run.log").exists() or "Inserting" not in (tmp_path / "run.log").read_text()
    )


def test_the_plan_says_what_is_made(case):
    plan = plan_reconstruct(
        ReconstructConfig(str(case.particles)), options=JobOptions(output="map")
    )
    assert f"{IMAGES} images of {BOX} px" in plan.actions[0]
    assert {"map.mrc", "particles.star"} <= set(plan.outputs)
    assert plan.memory_bytes > 1e8
    assert "artefact_deviation.mrc" not in plan.outputs
    plan = plan_reconstruct(
        ReconstructConfig(str(case.particles), bootstrap=6), options=JobOptions(output="map")
    )
    assert "artefact_deviation.mrc" in plan.outputs


@pytest.mark.parametrize("verb", ["reconstruct", "refine", "pose", "flex"])
def test_every_plan_counts_the_table(case, verb):
    """Rows are as many, and longer: of memory nothing else is."""
    table, long = read_particles(case.particles), case.particles.with_name("long.star")
    write_particles(with_columns(table, {"rlnNote": np.array(["x" * 2000] * IMAGES)}), long)
    model = str(case.particles.with_name("reference.cif"))

    def memory(path: Path) -> int:
        name, options = str(path), JobOptions(output="job")
        if verb == "reconstruct":
            return plan_reconstruct(ReconstructConfig(name), options=options).memory_bytes
        if verb == "flex":
            config = FlexConfig(particles=name, template=model)
            return plan_flex(config, options=options).memory_bytes
        config, plan = {
            "refine": (RefineConfig(name, model), plan_refine),
            "pose": (PoseConfig(name, model), plan_pose),
        }[verb]
        return plan(config, options=options).memory_bytes

    grown = bytes_of_table(long) - bytes_of_table(case.particles)
    assert grown > 5 * IMAGES * 2000
    assert memory(long) - memory(case.particles) == pytest.approx(grown, abs=2)


def test_halves_that_share_an_image_are_refused(case, tmp_path):
    table = read_particles(case.particles)
    twice = subset(table, np.r_[np.arange(IMAGES), [3, 4]])
    half = np.r_[1 + np.arange(IMAGES) % 2, [1, 1]]
    path = case.particles.with_name("both.star")
    write_particles(with_columns(twice, {"half_set": half}), path)
    with pytest.raises(InputError, match="1 image stand"):
        run(path, tmp_path / "job")
    half[-2:] = half[[3, 4]]
    write_particles(with_columns(twice, {"half_set": half}), path)
    assert read_source(ReconstructConfig(str(path)))[1].weight.shape == (IMAGES + 2,)
    check_apart(read_particles(path))


def test_a_box_whose_coefficients_cannot_be_numbered_is_refused(case):
    particles, _ = read_source(ReconstructConfig(str(case.particles)))
    check_numbered(particles._replace(box=800), 2)
    with pytest.raises(InputError, match="1000 px, padded 2 times"):
        check_numbered(particles._replace(box=1000), 2)
    check_numbered(particles._replace(box=1000), 1)


def test_views_are_shown_by_weight_with_their_copies():
    rotation = Rotation.random(50, random_state=0).as_matrix()
    operators = symmetry_rotations("D2")
    weight = np.where(np.arange(50) < 10, 3.0, np.where(np.arange(50) < 40, 2 / 3, 0.0))
    every = symmetric_views(rotation, np.ones(50), operators)
    np.testing.assert_allclose(every.reshape(50, 4, 3, 3), rotation[:, None] @ operators)
    copies = symmetric_views(rotation, weight, operators).reshape(-1, 4, 3, 3)
    distance = np.abs(copies[:, 0, None] - rotation @ operators[0]).max(axis=(2, 3))
    number = np.bincount(distance.argmin(axis=1), minlength=50)
    assert number[:10].sum() == 30
    assert number[40:].sum() == 0
    assert len(symmetric_views(rotation, weight, operators, most=21)) == 20


def test_a_table_elsewhere_finds_the_images_of_a_project(case, tmp_path):
    changed(case, tmp_path / "images", {})
    (tmp_path / "default_pipeline.star").write_text("")
    (tmp_path / "Select").mkdir()
    table = read_particles(tmp_path / "images/particles.star")
    names = np.array([f"{n + 1}@images/particles.mrcs" for n in range(IMAGES)])
    path = tmp_path / "Select/particles.star"
    write_particles(with_columns(table, {"rlnImageName": names}), path)
    particles, _ = read_source(ReconstructConfig(str(path)))
    assert particles.image_root == tmp_path.resolve()
    assert named_table("t.star", particles) == f"t.star --image-root {tmp_path.resolve()}"


def test_effects_that_are_not_modelled_are_warned_of(case, tmp_path):
    tilted = {"rlnBeamTiltX": np.full(IMAGES, 0.3), "rlnCtfScalefactor": np.ones(IMAGES)}
    _, _, manifest = run(changed(case, tmp_path / "images", tilted), tmp_path / "job")
    told = [text for text in manifest["warnings"] if "not modelled" in text]
    assert len(told) == 1
    assert "beam tilt" in told[0]
    assert "scale" not in told[0]


def test_nothing_that_was_kept_for_going_on_is_left(solved):
    folder, _, manifest = solved
    assert manifest["working"] == []
    assert not list(folder.glob("*.npz"))
