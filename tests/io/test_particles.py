import numpy as np
import pytest

from cryojax_graph.io import (
    InputError,
    StarTable,
    new_particles,
    read_cs,
    read_particles,
    read_star,
    subset,
    with_columns,
    write_cs,
    write_particles,
)
from cryojax_graph.io.particle_table import canonical_fields
from cryojax_graph.io.poses import rotation_from_euler

TEXT = np.dtypes.StringDType()
N = 7


def made_fields():
    rng = np.random.default_rng(0)
    return {
        "image_path": np.array([f"Extract/{i % 2}.mrcs" for i in range(N)], TEXT),
        "image_index": np.arange(N),
        "euler_degrees": rng.uniform(10, 170, (N, 3)),
        "shift_angstrom": rng.normal(0, 5, (N, 2)),
        "defocus_u": rng.uniform(1e4, 2e4, N),
        "defocus_v": rng.uniform(1e4, 2e4, N),
        "defocus_angle_degrees": rng.uniform(-90, 90, N),
        "phase_shift_degrees": rng.uniform(0, 180, N),
        "b_factor": rng.uniform(0, 100, N),
        "voltage_kv": np.where(np.arange(N) < 3, 300.0, 200.0),
        "spherical_aberration_mm": np.full(N, 2.7),
        "amplitude_contrast": np.full(N, 0.07),
        "pixel_size": np.where(np.arange(N) < 3, 1.25, 1.5),
        "box": np.full(N, 96),
        "half_set": np.arange(N) % 2 + 1,
    }


@pytest.fixture
def made(tmp_path):
    return new_particles(tmp_path / "made.star", made_fields())


def check_equal(first, second, rtol=1e-8):
    assert first.image_path.tolist() == second.image_path.tolist()
    for name, values in canonical_fields(first).items():
        other = getattr(second, name)
        if name == "euler_degrees":
            values, other = rotation_from_euler(values), rotation_from_euler(other)
        if name not in ("image_path", "optics_group"):
            np.testing.assert_allclose(other, values, rtol=rtol, atol=10 * rtol, err_msg=name)


def write(path, text):
    path.write_text(text)
    return path


def test_a_table_made_from_arrays_states_them(made):
    for name, values in made_fields().items():
        got = getattr(made, name)
        if name == "image_path":
            assert got.tolist() == values.tolist()
        else:
            np.testing.assert_allclose(got, values, rtol=1e-8, err_msg=name)
    assert made.optics_group.tolist() == [2] * 3 + [1] * 4
    made.require("poses", "ctf", "pixel_size", "box", "half_sets")


@pytest.mark.parametrize("ending", ["star", "cs"])
def test_a_table_survives_a_round_trip(ending, made, tmp_path):
    path = tmp_path / f"again.{ending}"
    write_particles(made, path)
    check_equal(made, read_particles(path), rtol=1e-8 if ending == "star" else 1e-6)


def test_relion_30_has_pixels_from_magnification_and_origins_in_pixels(tmp_path):
    text = (
        "data_images\nloop_\n_rlnImageName\n_rlnMagnification\n_rlnDetectorPixelSize\n"
        "_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n_rlnOriginX\n_rlnOriginY\n"
        "3@s.mrcs 38168 5 10 20 30 2 -4\n1@s.mrcs 38168 5 -10 20 30 0 1\n"
    )
    table = read_particles(write(tmp_path / "a.star", text))
    assert table.table_name == "images"
    assert table.image_index.tolist() == [2, 0]
    np.testing.assert_allclose(table.pixel_size, 1.3099979, rtol=1e-7)
    np.testing.assert_allclose(table.shift_angstrom[0], np.array([2, -4]) * 1.3099979, rtol=1e-6)
    changed = with_columns(table, {"shift_angstrom": np.array([[1.31, 0], [0, 0.0]])})
    assert float(changed.columns["rlnOriginX"][0]) == pytest.approx(1.0, rel=1e-5)
    assert "rlnOriginXAngst" not in changed.columns
    changed = with_columns(table, {"pixel_size": np.full(2, 2.0)})
    np.testing.assert_allclose(changed.pixel_size, 2.0)
    assert "rlnImagePixelSize" not in changed.columns


def test_origins_in_pixels_without_a_pixel_size_are_no_poses(tmp_path):
    text = (
        "data_\nloop_\n_rlnImageName\n_rlnAngleRot\n_rlnAngleTilt\n_rlnAnglePsi\n"
        "_rlnOriginX\n_rlnOriginY\n1@s.mrcs 10 20 30 2 -4\n"
    )
    table = read_particles(write(tmp_path / "a.star", text))
    assert not table.has("poses")
    with pytest.raises(InputError, match="does not state poses; add rlnImagePixelSize, or rlnDet"):
        table.require("poses")


def test_only_columns_that_are_absent_are_asked_for(tmp_path):
    text = "data_\nloop_\n_rlnImageName\n_rlnDefocusU\n_rlnDefocusV\n_rlnDefocusAngle\n"
    optics = "_rlnVoltage\n_rlnSphericalAberration\n_rlnMagnification\n"
    table = read_particles(write(tmp_path / "a.star", f"{text}{optics}1@s 1e4 9e3 0 300 2 1e5\n"))
    asked = {
        "ctf": "add rlnAmplitudeContrast$",
        "pixel_size": "add rlnDetectorPixelSize$",
        "poses": "add rlnAngleRot, rlnAngleTilt, rlnAnglePsi and origins",
        "half_sets": "add rlnRandomSubset$",
    }
    for piece, remedy in asked.items():
        with pytest.raises(InputError, match=remedy):
            table.require(piece)
    assert table.absent_columns("box") == ()


def test_angles_without_origins_stand_at_the_centre_and_angles_alone_are_no_poses(tmp_path):
    head = "data_\nloop_\n_rlnImageName\n_rlnAngleTilt\n_rlnAnglePsi\n"
    whole = write(tmp_path / "a.star", head + "_rlnAngleRot\n1@s.mrcs 10 20 30\n")
    assert read_particles(whole).shift_angstrom.tolist() == [[0.0, 0.0]]
    assert read_particles(whole).euler_degrees.tolist() == [[30.0, 10.0, 20.0]]
    part = write(tmp_path / "b.star", head + "1@s.mrcs 10 20\n")
    assert not read_particles(part).has("poses")


def test_a_column_of_the_particles_overrides_the_optics(tmp_path):
    text = (
        "data_optics\nloop_\n_rlnOpticsGroup\n_rlnVoltage\n_rlnImagePixelSize\n7 300 1.5\n\n"
        "data_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n_rlnVoltage\n1@s.mrcs 7 200\n"
    )
    table = read_particles(write(tmp_path / "a.star", text))
    assert table.voltage_kv.tolist() == [200.0]
    assert table.pixel_size.tolist() == [1.5]


def test_one_optics_group_may_be_written_as_pairs(tmp_path):
    text = (
        "data_optics\n_rlnOpticsGroup 1\n_rlnImagePixelSize 1.5\n\n"
        "data_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@s.mrcs 1\n"
    )
    path = write(tmp_path / "a.star", text)
    table = read_particles(path)
    assert table.pixel_size.tolist() == [1.5]
    write_particles(table, path)
    assert not read_star(path)["optics"].loop


@pytest.mark.parametrize(
    ("piece", "words"),
    [
        ("poses", "rlnAngleRot"),
        ("ctf", "rlnDefocusU.*table data_optics is missing|data_optics is missing.*rlnDefocusU"),
        ("pixel_size", "rlnImagePixelSize"),
        ("box", "rlnImageSize"),
        ("half_sets", "rlnRandomSubset"),
    ],
)
def test_absent_pieces_are_refused_only_when_asked_for(piece, words, tmp_path):
    text = "data_particles\nloop_\n_rlnImageName\n_rlnOpticsGroup\n1@s.mrcs 1\n"
    table = read_particles(write(tmp_path / "a.star", text))
    table.require()
    with pytest.raises(InputError, match=words):
        table.require(piece)


def test_every_unknown_column_and_table_is_kept_as_text(made, tmp_path):
    odd = np.array([f"{i}.50000 x" for i in range(N)], TEXT)
    table = with_columns(made, {"rlnOdd": odd, "rlnCount": np.arange(N)})
    table.other_tables["job"] = StarTable({"rlnJobType": np.array(["a b"], TEXT)}, loop=False)
    write_particles(table, tmp_path / "a.star")
    again = read_particles(tmp_path / "a.star")
    assert list(again.columns) == list(table.columns)
    assert again.columns["rlnOdd"].tolist() == odd.tolist()
    assert again.columns["rlnCount"].tolist() == [str(i) for i in range(N)]
    assert again.other_tables["job"].columns["rlnJobType"].tolist() == ["a b"]
    assert "# version 30001" in (tmp_path / "a.star").read_text()


def test_columns_nobody_touched_keep_their_digits(tmp_path):
    text = (
        "data_\nloop_\n_rlnImageName\n_rlnDefocusU\n_rlnVoltage\n_rlnFree\n"
        "000001@s.mrcs 12345.678901 300.000000 1.500\n"
    )
    table = read_particles(write(tmp_path / "a.star", text))
    table = with_columns(table, {"euler_degrees": np.array([[1.0, 2.0, 3.0]])})
    write_particles(table, tmp_path / "b.star")
    row = (tmp_path / "b.star").read_text().strip().split("\n")[-1].split()
    assert row == ["000001@s.mrcs", "12345.678901", "300.000000", "1.500", "1.0", "2.0", "3.0"]


def test_a_subset_keeps_columns_and_optics_groups(made):
    part = subset(made, np.array([5, 0]))
    assert part.columns["rlnImageName"].tolist() == [
        "000006@Extract/1.mrcs",
        "000001@Extract/0.mrcs",
    ]
    np.testing.assert_array_equal(part.euler_degrees, made.euler_degrees[[5, 0]])
    assert part.optics is made.optics
    mask = made.half_set == 1
    assert len(subset(made, mask)) == mask.sum()
    with pytest.raises(IndexError):
        subset(made, np.array([N]))


def test_new_values_reach_fields_and_columns(made, tmp_path):
    changes = {
        "euler_degrees": made.euler_degrees[::-1].copy(),
        "shift_angstrom": made.shift_angstrom + 1,
        "half_set": np.full(N, 2),
        "image_path": np.array(["new.mrcs"] * N, TEXT),
        "voltage_kv": np.full(N, 120.0),
        "box": np.full(N, 48),
    }
    for table in (made, made_as_cs(made, tmp_path)):
        changed = with_columns(table, changes)
        assert changed.columns.keys() >= table.columns.keys()
        write_particles(changed, tmp_path / f"b.{table.kind}")
        again = read_particles(tmp_path / f"b.{table.kind}")
        assert again.voltage_kv.tolist() == [120.0] * N
        assert again.image_path.tolist() == ["new.mrcs"] * N
        assert again.image_index.tolist() == list(range(N))
        check_equal(changed, again, rtol=1e-6)
        np.testing.assert_allclose(again.shift_angstrom, changes["shift_angstrom"], rtol=1e-5)


def made_as_cs(made, tmp_path):
    write_particles(made, tmp_path / "made.cs")
    return read_particles(tmp_path / "made.cs")


def test_values_of_the_optics_go_to_the_optics_or_are_refused(made):
    changed = with_columns(made, {"amplitude_contrast": np.full(N, 0.1)})
    assert set(changed.optics.columns["rlnAmplitudeContrast"].tolist()) == {"0.1"}
    assert "rlnAmplitudeContrast" not in changed.columns
    with pytest.raises(ValueError, match="inside optics group"):
        with_columns(made, {"amplitude_contrast": np.linspace(0, 1, N)})


def test_columns_of_another_length_are_refused(made):
    with pytest.raises(ValueError, match="half_set has 3 rows"):
        with_columns(made, {"half_set": np.ones(3, int)})


def test_a_value_that_could_not_be_read_back_is_refused(made):
    with pytest.raises(InputError, match="not a finite number"):
        with_columns(made, {"defocus_u": np.full(N, np.nan)})


def cs_columns(**changes):
    rng = np.random.default_rng(1)
    columns = {
        "uid": np.arange(N, dtype=np.uint64) + (2**64 - 100),
        "blob/path": np.array([b">J1/a.mrc"] * N),
        "blob/idx": np.arange(N, dtype=np.uint32),
        "blob/shape": np.full((N, 2), 128, np.uint32),
        "blob/psize_A": np.full(N, 1.1, np.float32),
        "ctf/accel_kv": np.full(N, 300, np.float32),
        "ctf/cs_mm": np.full(N, 2.7, np.float32),
        "ctf/amp_contrast": np.full(N, 0.1, np.float32),
        "ctf/df1_A": np.full(N, 15000, np.float32),
        "ctf/df2_A": np.full(N, 14000, np.float32),
        "ctf/df_angle_rad": np.full(N, np.pi / 6, np.float32),
        "ctf/phase_shift_rad": np.full(N, np.pi / 2, np.float32),
        "ctf/exp_group_id": np.arange(N, dtype=np.uint32) // 4,
        "alignments3D/pose": rng.normal(size=(N, 3)).astype(np.float32),
        "alignments3D/shift": rng.normal(size=(N, 2)).astype(np.float32),
        "alignments3D/psize_A": np.full(N, 2.2, np.float32),
        "alignments3D/split": np.arange(N, dtype=np.uint32) % 2,
        "alignments3D/error": rng.normal(size=N).astype(np.float32),
        "alignments3D/alpha": np.ones(N, np.float32),
        "alignments3D/weight": np.full(N, np.nan, np.float32),
        "alignments3D/class": np.arange(N, dtype=np.uint32),
        "pick_stats/offset": np.arange(N, dtype=np.int64) - 3,
        "location/micrograph_path": np.array([b"J2/m 1.mrc", b"J2/m2.mrc", b""] * 2 + [b"x"]),
        "pick_stats/power": rng.normal(size=(N, 2)).astype(np.float32),
    }
    return {k: v for k, v in (columns | changes).items() if v is not None}


def test_cryosparc_values_are_in_relions_units_and_signs(tmp_path):
    columns = cs_columns()
    write_cs(tmp_path / "a.cs", columns)
    table = read_particles(tmp_path / "a.cs")
    np.testing.assert_allclose(table.defocus_angle_degrees, 30, rtol=1e-6)
    np.testing.assert_allclose(table.phase_shift_degrees, 90, rtol=1e-6)
    expected = columns["alignments3D/shift"].astype(float) * np.float32(2.2)
    np.testing.assert_allclose(table.shift_angstrom, expected, rtol=1e-6)
    assert table.image_path.tolist() == ["J1/a.mrc"] * N
    assert table.half_set.tolist() == [1, 2] * 3 + [1]
    assert table.b_factor.tolist() == [0.0] * N
    table.require("poses", "ctf", "pixel_size", "box", "half_sets")


def test_one_value_of_split_is_no_half_set(tmp_path):
    write_cs(tmp_path / "a.cs", cs_columns(**{"alignments3D/split": np.zeros(N, np.uint32)}))
    with pytest.raises(InputError, match=r"alignments3D/split with both halves.*passthrough"):
        read_particles(tmp_path / "a.cs").require("half_sets")


def test_passthrough_columns_are_joined_on_uid_in_any_order(tmp_path):
    columns = cs_columns()
    main = {k: v for k, v in columns.items() if not k.startswith("ctf/")}
    order = np.random.default_rng(2).permutation(N)
    extra = {k: v[order] for k, v in columns.items() if k == "uid" or k.startswith("ctf/")}
    extra = {k: np.concatenate([v, v[:1]]) for k, v in extra.items()}
    extra["uid"][-1] = 5
    extra["ctf/df1_A"] = (extra["uid"] % 100).astype(np.float32)
    write_cs(tmp_path / "a.cs", main)
    write_cs(tmp_path / "b.cs", extra)
    with pytest.raises(InputError, match="put the passthrough file"):
        read_particles(tmp_path / "a.cs").require("ctf")
    table = read_particles(tmp_path / "a.cs", passthrough=[tmp_path / "b.cs"])
    np.testing.assert_array_equal(table.defocus_u, columns["uid"] % 100)
    with pytest.raises(InputError, match=r"belong to \.cs tables"):
        read_particles(write(tmp_path / "c.star", "data_\n_a 1\n"), passthrough=["b.cs"])


def test_the_columns_of_one_program_travel_through_the_other(tmp_path):
    columns = cs_columns()
    write_cs(tmp_path / "a.cs", columns)
    first = read_particles(tmp_path / "a.cs")
    write_particles(first, tmp_path / "b.star")
    star = read_particles(tmp_path / "b.star")
    check_equal(first, star, rtol=1e-6)
    write_particles(star, tmp_path / "c.cs")
    again = read_cs(tmp_path / "c.cs")
    assert list(again) == list(columns)
    for name, values in columns.items():
        assert (again[name].dtype, again[name].shape) == (values.dtype, values.shape), name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(again[name], values, rtol=3e-7, atol=1e-6, err_msg=name)
        else:
            assert again[name].tolist() == values.tolist(), name
    check_equal(first, read_particles(tmp_path / "c.cs"), rtol=1e-5)


def test_optics_and_odd_columns_of_relion_travel_through_cryosparc(made, tmp_path):
    odd = np.array([f"{i}.50 x" for i in range(N)], TEXT)
    table = with_columns(made, {"rlnOdd": odd})
    tilt = np.array(["0.25", "-0.50"], TEXT)
    table.optics.columns["rlnBeamTiltX"] = tilt
    write_particles(table, tmp_path / "a.cs")
    write_particles(read_particles(tmp_path / "a.cs"), tmp_path / "b.star")
    again = read_particles(tmp_path / "b.star")
    assert again.columns["rlnOdd"].tolist() == odd.tolist()
    check_equal(table, again, rtol=1e-6)
    tilts = []
    for optics in (table.optics, again.optics):
        groups, values = (optics.columns[f"rln{n}"].tolist() for n in ("OpticsGroup", "BeamTiltX"))
        tilts.append(dict(zip(groups, values, strict=True)))
    assert tilts[0] == tilts[1]
    assert again.optics_group.tolist() == table.optics_group.tolist()


def test_a_group_number_with_two_kinds_of_optics_is_split(tmp_path):
    fields = made_fields() | {"optics_group": np.full(N, 5)}
    table = new_particles(tmp_path / "a.star", fields)
    assert table.optics_group.tolist() == [2] * 3 + [1] * 4
    fields |= {"optics_group": np.where(np.arange(N) < 3, 9, 4)}
    table = new_particles(tmp_path / "a.star", fields)
    assert table.optics_group.tolist() == [9] * 3 + [4] * 4
    np.testing.assert_array_equal(table.voltage_kv, fields["voltage_kv"])


def test_identifiers_made_for_cryosparc_are_stable_and_different(made, tmp_path):
    twice = subset(made, np.array([0, 0, 1]))
    write_particles(twice, tmp_path / "a.cs")
    write_particles(made, tmp_path / "b.cs")
    first, second = read_cs(tmp_path / "a.cs")["uid"], read_cs(tmp_path / "b.cs")["uid"]
    assert len(set(first.tolist())) == 3
    assert first[0] == second[0]
    assert first[2] == second[1]


def test_what_a_format_needs_or_cannot_be_told_is_refused(made, tmp_path):
    with pytest.raises(InputError, match=r"end it in \.star, \.cs or \.npz"):
        write_particles(made, tmp_path / "a.csv")
    text = "data_\nloop_\n_rlnImageName\n1@s.mrcs\n"
    table = read_particles(write(tmp_path / "a.star", text))
    with pytest.raises(InputError, match="does not state box"):
        write_particles(table, tmp_path / "a.cs")


@pytest.mark.parametrize("rows", [1, 3])
def test_relion_30_survives_without_gaining_optics(rows, tmp_path):
    text = "data_\nloop_\n_rlnImageName\n_rlnVoltage\n" + "1@s.mrcs 300\n" * rows
    table = read_particles(write(tmp_path / "a.star", text))
    assert table.optics_group.tolist() == [1] * rows
    write_particles(table, tmp_path / "b.star")
    assert list(read_star(tmp_path / "b.star")) == [""]
