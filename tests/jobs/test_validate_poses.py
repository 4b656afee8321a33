"""``validate poses``: errors put in come out, images are matched by name, refusals."""

import contextlib
import csv
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.spatial.transform import Rotation

from cryojax_graph.cli import main
from cryojax_graph.io import InputError, new_particles, write_npz, write_particles
from cryojax_graph.io.cs import read_cs, write_cs
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import read_particles, with_columns
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.jobs.job import UNITS
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.validate import (
    ValidatePosesConfig,
    plan_validate_poses,
    validate_poses,
)
from cryojax_graph.jobs.validate.poses_input import read_poses

IMAGES, PIXEL = 60, 2.0
RANDOM = np.random.default_rng(0)
TRUE = euler_from_rotation(Rotation.random(IMAGES, rng=RANDOM).as_matrix())
SHIFTS = RANDOM.normal(0, 3, (IMAGES, 2))
MIRROR = np.diag([1.0, 1.0, -1.0])
DEVIATION = "cryojaxgraphRotationDeviation"


def turned(degrees, axis=0):
    """Rotations about an axis, one for each angle."""
    return Rotation.from_rotvec(np.radians(np.outer(degrees, np.eye(3)[axis]))).as_matrix()


def particles(rotations=None, shifts=SHIFTS, path="stack.mrcs", **columns):
    """A table of images of one stack with poses."""
    count = len(shifts)
    fields = {
        "image_path": np.full(count, path),
        "image_index": np.arange(count),
        "euler_degrees": TRUE[:count] if rotations is None else euler_from_rotation(rotations),
        "shift_angstrom": shifts,
        "pixel_size": np.full(count, PIXEL),
        "box": np.full(count, 48),
    }
    return with_columns(new_particles("made", fields), columns)


def truth_arrays():
    """Those of the arrays of a truth.npz that say poses."""
    return {
        "euler_degrees": TRUE,
        "shift_angstrom": SHIFTS,
        "pixel_size": np.full(IMAGES, PIXEL),
        "box": np.int64(48),
    }


@pytest.fixture
def scored(tmp_path):
    """Compare a table with another one or with arrays; figures, log and page of the job."""

    def score(table, truth=None, *options, kind="star"):
        write_particles(table, tmp_path / f"a.{kind}")
        if isinstance(truth, dict):
            write_npz(tmp_path / "truth.npz", truth)
            file = tmp_path / "truth.npz"
        else:
            file = tmp_path / f"b.{kind}"
            write_particles(particles() if truth is None else truth, file)
        folder = tmp_path / "job"
        arguments = [str(tmp_path / f"a.{kind}"), "--truth", str(file), *options]
        code = main(["validate", "poses", *arguments, "-o", str(folder), "--overwrite"])
        assert code == 0
        figures = json.loads((folder / "metrics.json").read_text())
        log, page = ((folder / name).read_text() for name in ("run.log", "report.html"))
        return figures, log, page

    return score


def test_equal_poses_have_no_error(scored):
    figures, log, _ = scored(particles())
    errors = [v for name, v in figures.items() if "error" in name]
    np.testing.assert_allclose(errors, 0, atol=1e-4)
    assert figures["rotation_below_5_percent"] == 100
    assert figures["alignment_degrees"] == pytest.approx(0, abs=1e-4)
    assert (figures["images"], figures["images_left_out"], figures["mirrored"]) == (IMAGES, 0, 0)
    assert "told by image names" in log
    assert "Warning" not in log


def test_errors_put_in_come_out(scored, tmp_path):
    # Most images are right, which fixes the common rotation; the others are off in the plane or
    # out of it.
    number = np.arange(IMAGES)
    in_plane = np.where(number % 5 == 1, 7.0, 0.0)
    tilt = np.where(number % 5 == 2, 12.0, 0.0)
    common = turned([30.0], 1)
    wrong = turned(tilt, 0) @ turned(in_plane, 2)
    figures, log, page = scored(particles(wrong @ rotation_from_euler(TRUE) @ common.mT))
    with (tmp_path / "job" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    rotation, out_of_plane = (
        np.array([float(row[f"{kind}_error_degrees"]) for row in rows])
        for kind in ("rotation", "out_of_plane")
    )
    np.testing.assert_allclose(rotation, in_plane + tilt, atol=1e-3)
    np.testing.assert_allclose(out_of_plane, tilt, atol=1e-3)
    assert [row["row"] for row in rows] == [str(n + 1) for n in number]
    assert rows[2]["image"] == "000003@stack.mrcs"
    expected = {
        "rotation_error_median_degrees": 0,
        "rotation_error_mean_degrees": (7 + 12) / 5,
        "rotation_error_p90_degrees": 12,
        "rotation_below_5_percent": 60,
        "rotation_below_10_percent": 80,
        "out_of_plane_error_median_degrees": 0,
        "out_of_plane_error_mean_degrees": 12 / 5,
        "alignment_degrees": 30,
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, abs=1e-3), name
    for text in (log, page):
        assert "maps of the two sets differ by a rotation of 30.0°" in text
    for words in ("median rotation error", "viewing direction (out of plane), °", "tilt 0°"):
        assert words in page


def test_maps_turned_by_an_element_of_the_group_are_in_one_frame(scored):
    half = np.diag([-1.0, -1.0, 1.0])
    figures, log, _ = scored(particles(rotation_from_euler(TRUE) @ half), None, "--symmetry", "D2")
    assert figures["alignment_degrees"] == pytest.approx(0, abs=1e-4)
    assert "maps of the two sets differ" not in log


def test_the_interval_holds_the_median(scored):
    spread = np.random.default_rng(4).normal(0, 3, (IMAGES, 3))
    wrong = Rotation.from_rotvec(np.radians(spread)).as_matrix()
    figures, _, page = scored(particles(wrong @ rotation_from_euler(TRUE)))
    low, high = (figures[f"rotation_error_median_{end}_degrees"] for end in ("low", "high"))
    median = figures["rotation_error_median_degrees"]
    assert low < median < high
    # Of a Maxwell distribution.
    assert median == pytest.approx(1.538 * 3, rel=0.25)
    assert f"{median:.2f}° (95 % interval {low:.2f} to {high:.2f})" in page


def test_shifts_are_compared_after_a_common_offset(scored):
    offset = rotation_from_euler(TRUE)[:, :2] @ np.array([4.0, -2.0, 1.0])
    figures, _, _ = scored(particles(shifts=SHIFTS + offset))
    assert figures["shift_error_p90_angstrom"] == pytest.approx(0, abs=1e-4)
    wrong = np.where(np.arange(IMAGES) % 10 == 0, 6.0, 0.0)[:, None] * [0.6, 0.8]
    figures, _, _ = scored(particles(shifts=SHIFTS + offset + wrong))
    assert figures["shift_error_mean_angstrom"] == pytest.approx(0.1 * 6, abs=0.5)
    for kind in ("median", "mean", "p90"):
        in_angstrom = figures[f"shift_error_{kind}_angstrom"]
        assert figures[f"shift_error_{kind}_pixels"] == pytest.approx(in_angstrom / PIXEL)
    assert figures["rotation_error_median_degrees"] < 1e-3


def test_the_mirrored_hand_is_suggested_and_taken_when_allowed(scored):
    mirrored = particles(MIRROR @ rotation_from_euler(TRUE) @ MIRROR)
    figures, log, page = scored(mirrored)
    assert figures["mirrored"] == 0
    assert figures["rotation_error_median_degrees"] > 60
    for text in (log, page):
        assert "mirrored hand fits much better" in text
        assert "unrelated" not in text
    figures, log, page = scored(mirrored, None, "--either-hand")
    assert figures["mirrored"] == 1
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert figures["shift_error_p90_angstrom"] < 1e-3
    assert "mirrored hand was taken" in log
    assert "the other one (mirrored)" in page
    assert "Warning" not in log


def test_unrelated_poses_are_told(scored):
    others = Rotation.random(IMAGES, rng=np.random.default_rng(7)).as_matrix()
    figures, log, page = scored(particles(others))
    assert figures["rotation_error_median_degrees"] > 90
    assert "poses look unrelated" in log
    assert "poses look unrelated" in page
    assert "differ by a rotation" not in log


def test_few_images_are_told(scored):
    _, log, _ = scored(subset(particles(), np.arange(1)))
    assert "With so few images (1)" in log
    assert "1 image: median" in log


def test_a_subset_in_another_order_is_matched_by_name(scored):
    rows = np.random.default_rng(3).permutation(IMAGES)[: IMAGES // 2]
    figures, log, _ = scored(subset(particles(), rows))
    assert figures["images"] == IMAGES // 2
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert "Warning" not in log


def test_folders_before_the_names_of_stacks_do_not_matter(scored):
    rows = np.arange(0, IMAGES, 3)
    for path in ("Extract/job007/stack.mrcs", "./stack.mrcs", f"J1/imported/{7:021d}_stack.mrcs"):
        figures, _, _ = scored(subset(particles(path=path), rows))
        assert figures["rotation_error_p90_degrees"] < 1e-3


def test_particles_that_the_truth_lacks_are_left_out_and_told(scored):
    figures, log, _ = scored(particles(), subset(particles(), np.arange(IMAGES - 12)))
    assert (figures["images"], figures["images_left_out"]) == (IMAGES - 12, 12)
    assert "12 of 60 particles are not in the truth and left out" in log


def test_several_rows_of_one_image_are_compared_with_its_one_pose(scored):
    rows = np.repeat(np.arange(IMAGES), 2)
    figures, log, _ = scored(subset(particles(), rows))
    assert figures["images"] == 2 * IMAGES
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert "Warning" not in log


def test_rows_that_repeat_in_both_tables_are_paired_in_their_order(scored, tmp_path):
    twice = particles(
        np.concatenate([rotation_from_euler(TRUE), rotation_from_euler(TRUE[::-1])]),
        np.concatenate([SHIFTS, SHIFTS]),
        image_index=np.tile(np.arange(IMAGES), 2),
    )
    figures, log, _ = scored(twice, twice)
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert "60 images stand in several rows of both tables" in log
    write_particles(particles(), tmp_path / "once.star")
    with pytest.raises(InputError, match=r"row 1 of table particles: .*2 rows here and in 1 of"):
        read_poses(tmp_path / "once.star", tmp_path / "a.star")


def test_a_simulation_is_matched_row_by_row(scored):
    figures, log, _ = scored(particles(), truth_arrays())
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert figures["shift_error_p90_pixels"] < 1e-3
    assert "told by the number of their row" in log
    assert "Warning" not in log
    rows = np.random.default_rng(3).permutation(IMAGES)
    _, log, _ = scored(subset(particles(), rows), truth_arrays())
    assert "not in the order of their stack" in log
    assert "poses look unrelated" in log


def test_names_without_any_in_common_are_compared_row_by_row_and_told(scored):
    figures, log, _ = scored(particles(path="another.mrcs"))
    assert figures["rotation_error_p90_degrees"] < 1e-3
    assert "No image of" in log
    assert "compared row by row" in log


def test_names_that_only_folders_tell_apart_are_not_matched_without_them(scored):
    def two_stacks(first, second):
        half = np.arange(IMAGES) < IMAGES // 2
        path = np.where(half, first, second)
        return particles(image_path=path, image_index=np.arange(IMAGES) % (IMAGES // 2))

    _, log, _ = scored(two_stacks("a/s.mrcs", "b/s.mrcs"), two_stacks("d/s.mrcs", "c/s.mrcs"))
    assert "compared row by row" in log


@pytest.mark.parametrize(
    ("truth", "words"),
    [
        (truth_arrays(), r"30 rows, the truth .* has 60 and names no images.*particles.star of"),
        (particles(path="another.mrcs"), "30 rows, the truth .* has 60 and names none"),
    ],
)
def test_different_counts_without_names_are_refused(tmp_path, capsys, truth, words):
    write_particles(subset(particles(), np.arange(IMAGES // 2)), tmp_path / "a.star")
    file = tmp_path / ("truth.npz" if isinstance(truth, dict) else "b.star")
    if isinstance(truth, dict):
        write_npz(file, truth)
    else:
        write_particles(truth, file)
    arguments = [str(tmp_path / "a.star"), "--truth", str(file), "-o", str(tmp_path / "job")]
    assert main(["validate", "poses", *arguments]) == 2
    said = capsys.readouterr().err
    assert re.search(words, said)
    assert said.count("\n") == 1
    # A corrected command must not meet the remains of a refused one.
    assert not (tmp_path / "job").exists()


def test_a_table_without_poses_is_refused(tmp_path):
    table = particles()
    fields = {"image_path": table.image_path, "image_index": table.image_index}
    write_particles(new_particles("made", fields), tmp_path / "bare.star")
    write_particles(table, tmp_path / "good.star")
    for one, other in (("bare", "good"), ("good", "bare")):
        with pytest.raises(
            InputError, match=r"bare\.star: .*does not state poses; add rlnAngleRot"
        ):
            read_poses(tmp_path / f"{one}.star", tmp_path / f"{other}.star")


def test_files_of_another_kind_are_refused(tmp_path):
    write_particles(particles(), tmp_path / "good.star")
    (tmp_path / "a.fasta").write_text(">a\nMKV\n")
    with pytest.raises(InputError, match=r"sequences, not a table of particles; name a STAR"):
        read_poses(tmp_path / "a.fasta", tmp_path / "good.star")
    with pytest.raises(InputError, match=r"sequences, not a .* or the truth\.npz"):
        read_poses(tmp_path / "good.star", tmp_path / "a.fasta")
    write_npz(tmp_path / "truth.npz", truth_arrays())
    with pytest.raises(InputError, match="an archive of arrays, not a table of particles"):
        read_poses(tmp_path / "truth.npz", tmp_path / "good.star")


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_truth_of_any_arrays_is_read_or_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    arrays = truth_arrays()
    name = data.draw(st.sampled_from(sorted(arrays)))
    kinds = st.sampled_from([np.float32, np.float64, np.int64, np.bool_, "U3", "S2"])
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
    arrays[name] = data.draw(hnp.arrays(data.draw(kinds), data.draw(shapes)))
    write_npz(folder / "truth.npz", arrays)
    write_particles(particles(), folder / "a.star")
    with contextlib.suppress(InputError):
        assert len(read_poses(folder / "a.star", folder / "truth.npz").pairs.rows) == IMAGES


def test_a_truth_without_poses_is_refused(tmp_path):
    write_particles(particles(), tmp_path / "a.star")
    write_npz(tmp_path / "truth.npz", {"frame_index": np.arange(IMAGES)})
    with pytest.raises(InputError, match="no array euler_degrees, shift_angstrom"):
        read_poses(tmp_path / "a.star", tmp_path / "truth.npz")


def test_tables_of_cryosparc_are_matched_by_identifier(scored, tmp_path):
    figures, log, _ = scored(subset(particles(), np.arange(5, 45)), kind="cs")
    assert "told by cryoSPARC's identifiers" in log
    assert figures["rotation_error_p90_degrees"] < 1e-3
    # Names change when cryoSPARC writes images anew, identifiers do not.
    columns = read_cs(tmp_path / "a.cs")
    write_cs(tmp_path / "a.cs", {**columns, "blob/path": np.full(40, b"J9/new.mrc")})
    compared = read_poses(tmp_path / "a.cs", tmp_path / "b.cs")
    assert compared.matched.by == "cryoSPARC's identifiers"
    assert compared.matched.true_rows.tolist() == list(range(5, 45))
    write_particles(read_particles(tmp_path / "b.cs"), tmp_path / "b.star")
    write_cs(tmp_path / "a.cs", columns)
    assert read_poses(tmp_path / "a.cs", tmp_path / "b.star").matched.by == "image names"


def test_poses_that_stand_in_a_passthrough_file_are_found(tmp_path):
    write_particles(particles(), tmp_path / "b.cs")
    columns = read_cs(tmp_path / "b.cs")
    poses = {k: v for k, v in columns.items() if k == "uid" or k.startswith("alignments3D/")}
    rest = {k: v for k, v in columns.items() if not k.startswith("alignments3D/")}
    write_cs(tmp_path / "P1_J2_particles.cs", rest)
    with pytest.raises(InputError, match="passthrough file"):
        read_poses(tmp_path / "P1_J2_particles.cs", tmp_path / "b.cs")
    write_cs(tmp_path / "P1_J2_passthrough_particles.cs", poses)
    compared = read_poses(tmp_path / "P1_J2_particles.cs", tmp_path / "b.cs")
    np.testing.assert_array_equal(compared.pairs.rotations, compared.pairs.true_rotations)


def test_stated_deviations_are_held_against_the_errors(scored, tmp_path):
    random = np.random.default_rng(5)
    count = 4000
    rotations = Rotation.random(count, rng=random).as_matrix()
    stated = random.uniform(1, 6, count)
    vectors = np.radians(random.normal(size=(count, 3)) * stated[:, None] / np.sqrt(3))
    estimated = Rotation.from_rotvec(vectors).as_matrix() @ rotations
    shifts = np.zeros((count, 2))
    truth = particles(rotations, shifts)
    figures, _, page = scored(particles(estimated, shifts, **{DEVIATION: stated}), truth)
    assert figures["rotation_error_over_deviation"] == pytest.approx(1, abs=0.04)
    assert figures["rotation_within_deviation_percent"] == pytest.approx(60.8, abs=3)
    assert figures["rotation_deviation_rms_degrees"] == pytest.approx(
        np.sqrt(np.mean(stated**2)), rel=1e-6
    )
    assert "10 groups of like stated deviation" in page
    assert "rotation_deviation_degrees" in (tmp_path / "job" / "errors.csv").read_text()
    figures, _, page = scored(particles(estimated, shifts, **{DEVIATION: stated / 2}), truth)
    assert figures["rotation_error_over_deviation"] == pytest.approx(2, abs=0.08)


def test_deviations_that_say_nothing_do_no_harm(scored, tmp_path):
    figures, _, page = scored(particles(**{DEVIATION: np.zeros(IMAGES)}))
    assert "rotation_error_over_deviation" not in figures
    assert "like stated deviation" not in page
    figures, _, page = scored(particles())
    assert not any("deviation" in name for name in figures)
    assert "Stated uncertainty" not in page
    negative = np.full(IMAGES, 3.0)
    negative[4] = -1
    write_particles(particles(**{DEVIATION: negative}), tmp_path / "a.star")
    with pytest.raises(InputError, match=f"row 5 of table particles, column {DEVIATION}"):
        read_poses(tmp_path / "a.star", tmp_path / "b.star")


def test_without_a_pixel_size_shifts_are_told_in_angstrom_only(scored):
    bare = {"image_path": np.full(IMAGES, "stack.mrcs"), "image_index": np.arange(IMAGES)}
    bare |= {"euler_degrees": TRUE, "shift_angstrom": SHIFTS}
    table = new_particles("made", bare)
    figures, _, page = scored(table, table)
    assert not any(name.endswith("pixels") for name in figures)
    assert "0.00 Å" in page
    # The truth knows the size of a pixel too.
    figures, _, _ = scored(table, truth_arrays())
    assert figures["shift_error_median_pixels"] == pytest.approx(0, abs=1e-6)


def test_names_of_figures_say_their_units(scored):
    figures, _, _ = scored(particles(**{DEVIATION: np.full(IMAGES, 2.0)}))
    units = figures.pop("units")
    assert units.keys() == {
        "images",
        "images_left_out",
        "mirrored",
        "rotation_error_over_deviation",
    }
    assert all(name.endswith(UNITS) for name in figures.keys() - units.keys())
    assert {
        "rotation_error_median_degrees",
        "rotation_error_mean_degrees",
        "rotation_error_p90_degrees",
        "rotation_below_5_percent",
        "rotation_below_10_percent",
        "out_of_plane_error_median_degrees",
        "shift_error_median_angstrom",
        "shift_error_median_pixels",
        "alignment_degrees",
        "mirrored",
    } < figures.keys()


def test_an_unknown_symmetry_is_refused(tmp_path):
    write_particles(particles(), tmp_path / "a.star")
    path, options = str(tmp_path / "a.star"), JobOptions(output=str(tmp_path / "job"))
    for work in (validate_poses, plan_validate_poses):
        with pytest.raises(InputError, match="--symmetry: unknown point group 'X2'"):
            work(ValidatePosesConfig(path, path, symmetry="X2"), options=options)
    assert validate_poses(ValidatePosesConfig(path, path, symmetry="c1"), options=options)


def test_a_plan_writes_nothing(tmp_path):
    write_particles(particles(), tmp_path / "a.star")
    path, options = str(tmp_path / "a.star"), JobOptions(output=str(tmp_path / "job"))
    plan = plan_validate_poses(ValidatePosesConfig(path, path), options=options)
    assert plan.actions == ("compare the poses of 60 images, told by image names",)
    assert not (tmp_path / "job").exists()


def test_the_passthrough_file_of_the_same_particles_is_taken(tmp_path):
    """A job may leave one for each class beside one another."""
    write_particles(particles(), tmp_path / "b.cs")
    columns = read_cs(tmp_path / "b.cs")
    rest = {k: v for k, v in columns.items() if not k.startswith("alignments3D/")}
    write_cs(tmp_path / "P1_J2_particles.cs", rest)
    others = {k: v[: len(v) // 2] for k, v in columns.items()}
    write_cs(tmp_path / "P1_J2_passthrough_particles_class_0.cs", others)
    with pytest.raises(InputError, match=r"particles of .* are missing"):
        read_poses(tmp_path / "P1_J2_particles.cs", tmp_path / "b.cs")
    write_cs(tmp_path / "P1_J2_passthrough_particles_class_1.cs", columns)
    compared = read_poses(tmp_path / "P1_J2_particles.cs", tmp_path / "b.cs")
    np.testing.assert_array_equal(compared.pairs.rotations, compared.pairs.true_rotations)


def test_deviations_of_cryosparc_tables_are_held_against_the_errors(tmp_path):
    stated = np.linspace(1.0, 5.0, IMAGES)
    write_particles(particles(**{DEVIATION: stated}), tmp_path / "a.cs")
    columns = read_cs(tmp_path / "a.cs")
    own = {k: v for k, v in columns.items() if not k.startswith("relion")}
    write_cs(tmp_path / "a.cs", own | {DEVIATION: stated})
    compared = read_poses(tmp_path / "a.cs", tmp_path / "a.cs")
    np.testing.assert_allclose(compared.pairs.deviation_degrees, stated)
