"""Tables that pass through the other program come back as they were, or say what changed there."""

import string
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cryojax_graph.io import (
    InputError,
    StarTable,
    lost_in_cryosparc,
    read_cs,
    read_particles,
    read_star,
    subset,
    with_columns,
    write_cs,
    write_particles,
    write_star,
)
from cryojax_graph.io.particle_table import canonical_fields
from cryojax_graph.io.poses import rotation_from_euler

TEXT = np.dtypes.StringDType()
N = 6
SLOW = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
LABELS = st.text(string.ascii_lowercase + string.digits + "_/", min_size=3, max_size=12)
OPTICS = """
data_optics

loop_
_rlnOpticsGroup #1
_rlnOpticsGroupName #2
_rlnImagePixelSize #3
_rlnImageSize #4
_rlnVoltage #5
_rlnSphericalAberration #6
_rlnAmplitudeContrast #7
_rlnBeamTiltX #8
2 late 1.250 64 300.00 2.70 0.100 0.25
5 early 1.300 64 300.00 2.70 0.100 -0.50
"""


def relion_columns():
    rng = np.random.default_rng(0)

    def decimals(low, high, digits=4):
        return np.array([f"{v:.{digits}f}" for v in rng.uniform(low, high, N)], TEXT)

    return {
        "rlnDefocusU": decimals(1e4, 2e4),
        "rlnDefocusV": decimals(1e4, 2e4),
        "rlnDefocusAngle": decimals(-180, 180),
        "rlnAngleRot": decimals(-180, 180),
        "rlnImageName": np.array([f"{i + 1}@Extract/job1/a{i % 2}.mrcs" for i in range(N)], TEXT),
        "rlnAngleTilt": decimals(0, 180),
        "rlnAnglePsi": decimals(-180, 180),
        "rlnOriginXAngst": decimals(-9, 9),
        "rlnOriginYAngst": decimals(-9, 9),
        "rlnClassNumber": np.array(list("123123"), TEXT),
        "rlnRandomSubset": np.array(list("121212"), TEXT),
        "rlnOpticsGroup": np.array(list("225552"), TEXT),
    }


def written_star(path, columns, *, optics=True, name="particles", extra=None):
    tables = {name: StarTable(columns), **(extra or {})}
    if optics:
        path.with_suffix(".optics").write_text(OPTICS)
        tables = {**read_star(path.with_suffix(".optics")), **tables}
    write_star(path, tables)
    return path


def through(path, *endings):
    """Convert from file to file; the last table."""
    for number, ending in enumerate(endings):
        target = path.with_name(f"{path.stem}_{number}.{ending}")
        write_particles(read_particles(path), target)
        path = target
    return path


def same_star(first, second):
    first, second = read_star(first), read_star(second)
    assert list(second) == list(first)
    for name, table in first.items():
        assert {k: v.tolist() for k, v in second[name].columns.items()} == {
            k: v.tolist() for k, v in table.columns.items()
        }
        assert list(second[name].columns) == list(table.columns)


def same_cs(first, second):
    first, second = read_cs(first), read_cs(second)
    assert list(second) == list(first)
    for name, values in first.items():
        assert (second[name].dtype, second[name].shape) == (values.dtype, values.shape), name
        if values.dtype.kind == "f" and name.split("/")[0] in ("alignments3D", "ctf"):
            np.testing.assert_allclose(second[name], values, rtol=3e-7, atol=1e-6, err_msg=name)
        else:
            np.testing.assert_array_equal(second[name], values, err_msg=name)


def words():
    """Text that a STAR file can hold: printable ASCII, not both kinds of quotes."""
    alphabet = "".join(chr(c) for c in range(33, 127) if chr(c) not in "'\"") + " "
    return st.text(alphabet, max_size=12).map(str.strip)


@SLOW
@given(
    extra=st.dictionaries(
        LABELS.filter(lambda label: not label.startswith("cs/")),
        st.one_of(
            st.lists(words(), min_size=N, max_size=N),
            st.lists(st.integers(-(10**12), 10**12).map(str), min_size=N, max_size=N),
            st.lists(st.floats(width=32).map(str), min_size=N, max_size=N),
        ),
        max_size=5,
    ),
    optics=st.booleans(),
    ways=st.sampled_from([("cs", "star"), ("npz", "star"), ("cs", "npz", "star")]),
    order=st.permutations(range(N)),
)
def test_any_star_table_comes_back_to_the_letter(extra, optics, ways, order, tmp_path):
    columns = relion_columns()
    if not optics:
        columns = {k: v for k, v in columns.items() if not k.endswith(("Angst", "OpticsGroup"))}
        columns["rlnOriginX"] = np.array([f"{i}.50" for i in range(N)], TEXT)
        columns["rlnOriginY"] = np.array([f"-{i}.25" for i in range(N)], TEXT)
        columns["rlnMagnification"] = np.array(["38168"] * N, TEXT)
        columns["rlnDetectorPixelSize"] = np.array(["5"] * N, TEXT)
        columns["rlnImageSize"] = np.array(["64"] * N, TEXT)
        columns |= {f"rln{n}": np.array([v] * N, TEXT) for n, v in (
            ("Voltage", "300"), ("SphericalAberration", "2.7"), ("AmplitudeContrast", "0.07")
        )}  # fmt: skip
    columns |= {label: np.array(values, TEXT) for label, values in extra.items()}
    columns = {label: values[list(order)] for label, values in columns.items()}
    name = "particles" if optics else "images"
    path = written_star(tmp_path / "t.star", columns, optics=optics, name=name)
    same_star(path, through(path, *ways))


def cs_columns():
    rng = np.random.default_rng(1)
    return {
        "uid": rng.integers(2**62, 2**63, N).astype(np.uint64),
        "blob/path": np.array([b">J1/extract/a.mrc", b">J1/extract/longer.mrc"] * (N // 2)),
        "blob/idx": np.arange(N, dtype=np.uint32),
        "blob/shape": np.full((N, 2), 128, np.uint32),
        "blob/psize_A": np.full(N, 1.1, np.float32),
        "blob/sign": np.full(N, -1, np.float32),
        "ctf/exp_group_id": np.array([0, 0, 3, 3, 3, 0], np.uint32),
        "ctf/accel_kv": np.full(N, 300, np.float32),
        "ctf/cs_mm": np.full(N, 2.7, np.float32),
        "ctf/amp_contrast": np.full(N, 0.1, np.float32),
        "ctf/df1_A": rng.uniform(1e4, 2e4, N).astype(np.float32),
        "ctf/df2_A": rng.uniform(1e4, 2e4, N).astype(np.float32),
        "ctf/df_angle_rad": rng.uniform(-2, 2, N).astype(np.float32),
        "ctf/phase_shift_rad": np.full(N, np.pi / 2, np.float32),
        "alignments3D/split": np.arange(N, dtype=np.uint32) % 2,
        "alignments3D/pose": rng.normal(size=(N, 3)).astype(np.float32),
        "alignments3D/shift": rng.normal(0, 5, (N, 2)).astype(np.float32),
        "alignments3D/psize_A": np.full(N, 2.2, np.float32),
        "alignments3D/class": np.array([0, 2, 1, 0, 0, 2], np.uint32),
    }


@SLOW
@given(
    extra=st.dictionaries(
        LABELS.map(lambda label: f"extra/{label}"),
        st.one_of(
            *(
                hnp.arrays(kind, shape, elements={"allow_nan": False} if "f" in kind else None)
                for kind in ("f4", "f8", "u1", "u4", "u8", "i8", "b1")
                for shape in (N, (N, 3), (N, 2, 2))
            ),
            st.lists(st.text(max_size=8), min_size=N, max_size=N).map(
                lambda texts: np.array([t.encode("utf-8", "ignore").rstrip(b"\0") for t in texts])
            ),
        ),
        max_size=4,
    ),
    ways=st.sampled_from([("star", "cs"), ("npz", "cs"), ("star", "npz", "star", "cs")]),
)
def test_any_cs_table_comes_back_with_its_types(extra, ways, tmp_path):
    extra = {k: v.astype("S1") if v.dtype == "S0" else v for k, v in extra.items()}
    write_cs(tmp_path / "t.cs", {**cs_columns(), **extra})
    same_cs(tmp_path / "t.cs", through(tmp_path / "t.cs", *ways))


def test_groups_classes_and_halves_count_from_one_in_relion_and_from_zero_in_cryosparc(tmp_path):
    columns = cs_columns()
    write_cs(tmp_path / "t.cs", columns)
    star = read_star(through(tmp_path / "t.cs", "star"))
    for label, name in (
        ("rlnOpticsGroup", "ctf/exp_group_id"),
        ("rlnClassNumber", "alignments3D/class"),
        ("rlnRandomSubset", "alignments3D/split"),
    ):
        assert star["particles"].columns[label].tolist() == [str(v + 1) for v in columns[name]]
    assert star["optics"].columns["rlnOpticsGroup"].tolist() == ["1", "4"]
    back = read_cs(through(written_star(tmp_path / "r.star", relion_columns()), "cs"))
    assert back["alignments3D/class"].tolist() == [0, 1, 2, 0, 1, 2]
    assert back["alignments3D/split"].tolist() == [0, 1, 0, 1, 0, 1]
    assert back["ctf/exp_group_id"].tolist() == [1, 1, 4, 4, 4, 1]


def test_a_sign_is_carried_with_its_files_and_dropped_with_others(tmp_path):
    plain = {"blob/path": np.array([b"a.mrc", b"b.mrc"] * (N // 2))}
    write_cs(tmp_path / "t.cs", cs_columns() | plain)
    star = through(tmp_path / "t.cs", "star")
    table = read_particles(star)
    assert table.columns["cs/blob/path"].tolist() == ["a.mrc", "b.mrc"] * (N // 2)
    # As relion_preprocess leaves it: new files, and no table of types.
    names = np.array(["inverted.mrcs"] * N, TEXT)
    changes = {"image_path": names, "image_index": np.arange(N)}
    made = replace(with_columns(table, changes), other_tables={})
    write_particles(made, tmp_path / "inverted.star")
    back = read_cs(through(tmp_path / "inverted.star", "cs"))
    assert back["blob/path"].tolist() == [b"inverted.mrcs"] * N
    assert back["blob/sign"].tolist() == [1] * N


def test_shifts_are_in_pixels_of_the_jobs_own_box(tmp_path):
    columns = cs_columns()
    write_cs(tmp_path / "t.cs", columns)
    star = read_star(through(tmp_path / "t.cs", "star"))["particles"].columns
    x = star["rlnOriginXAngst"].astype(float)
    np.testing.assert_allclose(x, columns["alignments3D/shift"][:, 0] * 2.2, rtol=1e-6)
    path = written_star(tmp_path / "r.star", relion_columns())
    made = read_cs(through(path, "cs"))
    origin = relion_columns()["rlnOriginXAngst"].astype(float)
    pixel = np.array([1.25, 1.25, 1.3, 1.3, 1.3, 1.25])
    np.testing.assert_allclose(made["alignments3D/shift"][:, 0] * pixel, origin, atol=1e-5)
    np.testing.assert_allclose(made["alignments3D/psize_A"], pixel, rtol=1e-6)


def test_what_cryosparc_changed_is_new_in_relions_table_and_all_else_is_old(tmp_path):
    path = written_star(tmp_path / "t.star", relion_columns())
    columns = read_cs(through(path, "cs"))
    columns["alignments3D/pose"][2] = [0.3, -0.2, 0.1]
    columns["alignments3D/shift"][4] += 1
    columns["ctf/df1_A"][1] = 12345
    columns["alignments3D/error"] = np.full(N, 7, np.float32)
    write_cs(tmp_path / "u.cs", columns)
    expected = read_particles(tmp_path / "u.cs")
    star = read_particles(through(tmp_path / "u.cs", "star"))
    for name in ("shift_angstrom", "defocus_u", "defocus_v"):
        np.testing.assert_allclose(getattr(star, name), getattr(expected, name), rtol=1e-6)
    turned = rotation_from_euler(star.euler_degrees) - rotation_from_euler(expected.euler_degrees)
    assert np.abs(turned).max() < 2e-6
    old = relion_columns()
    kept = {"rlnAngleRot": [2], "rlnOriginXAngst": [4], "rlnDefocusU": [1], "rlnDefocusV": []}
    for label, changed in kept.items():
        rows = [row for row in range(N) if row not in changed]
        assert star.columns[label][rows].tolist() == old[label][rows].tolist()
        assert all(star.columns[label][row] != old[label][row] for row in changed)
    assert star.columns["cs/alignments3D/error"].tolist() == ["7.0"] * N


def test_what_a_job_of_ours_says_in_a_cs_table_replaces_what_relions_table_said(tmp_path):
    old = {"rlnMaxValueProbDistribution": np.array(["0.125"] * N, TEXT)}
    path = written_star(tmp_path / "t.star", relion_columns() | old)
    table = read_particles(through(path, "cs"))
    probability = np.linspace(0.5, 0.9, N).astype(np.float32)
    doubts = {
        "rlnMaxValueProbDistribution": probability,
        "cryojaxgraphShiftDeviation": np.arange(N) / 3,
    }
    write_particles(with_columns(table, doubts), tmp_path / "u.cs")
    star = read_particles(through(tmp_path / "u.cs", "star"))
    for name, values in doubts.items():
        np.testing.assert_array_equal(star.columns[name].astype(values.dtype), values)
        assert f"cs/{name}" not in star.columns
    # In its old place; what is new comes after all.
    assert list(star.columns) == [*relion_columns(), *doubts]


def test_numbers_of_our_jobs_have_one_name_in_both_forms_and_keep_their_types(tmp_path):
    ours = {
        "rlnMaxValueProbDistribution": np.linspace(0.1, 0.9, N).astype(np.float32),
        "rlnLogLikeliContribution": np.linspace(-1e3, 1e5, N),
        "cryojaxgraphEvidence": np.full(N, np.nan, np.float32),
    }
    # These are said by cryoSPARC's own columns, and vectors have no place in a STAR file.
    kept = {"rlnDefocusU": np.ones(N, np.float32), "rlnPair": np.ones((N, 2), np.float32)}
    write_cs(tmp_path / "t.cs", cs_columns() | ours | kept)
    table = read_particles(through(tmp_path / "t.cs", "star"))
    assert set(ours) <= set(table.columns)
    assert {f"cs/{name}" for name in kept} <= set(table.columns)
    np.testing.assert_allclose(table.defocus_u, cs_columns()["ctf/df1_A"], rtol=1e-6)
    same_cs(tmp_path / "t.cs", through(tmp_path / "t.cs", "star", "cs"))
    changed = with_columns(table, {"rlnLogLikeliContribution": np.arange(N) + 0.5})
    write_particles(changed, tmp_path / "u.star")
    again = read_cs(through(tmp_path / "u.star", "cs"))
    assert again["rlnLogLikeliContribution"].tolist() == (np.arange(N) + 0.5).tolist()


def test_what_relion_changed_is_new_in_cryosparcs_table_even_without_the_list_of_types(tmp_path):
    write_cs(tmp_path / "t.cs", cs_columns())
    star = read_particles(through(tmp_path / "t.cs", "star"))
    angles = star.euler_degrees.copy()
    angles[3] = [10.0, 20.0, 30.0]
    star = with_columns(star, {"euler_degrees": angles, "class_number": np.full(N, 4)})
    del star.other_tables["cryosparc"]
    write_particles(star, tmp_path / "u.star")
    columns = read_cs(through(tmp_path / "u.star", "cs"))
    again = read_particles(through(tmp_path / "u.star", "cs"))
    turned = rotation_from_euler(again.euler_degrees) - rotation_from_euler(angles)
    assert np.abs(turned).max() < 2e-6
    assert columns["alignments3D/class"].tolist() == [3] * N
    np.testing.assert_array_equal(columns["uid"], cs_columns()["uid"])


def test_new_exposure_groups_become_new_optics_groups_that_keep_what_the_old_ones_say(tmp_path):
    columns = read_cs(through(written_star(tmp_path / "t.star", relion_columns()), "cs"))
    columns["ctf/exp_group_id"] = np.array([0, 1, 2, 2, 2, 0], np.uint32)
    write_cs(tmp_path / "u.cs", columns)
    star = read_particles(through(tmp_path / "u.cs", "star"))
    assert star.optics_group.tolist() == [1, 2, 3, 3, 3, 1]
    assert star.optics.columns["rlnBeamTiltX"].tolist() == ["0.25", "0.25", "-0.50"]
    np.testing.assert_allclose(star.pixel_size, [1.25, 1.25, 1.3, 1.3, 1.3, 1.25])


def test_one_new_pixel_size_for_all_stays_in_the_groups(tmp_path):
    columns = read_cs(through(written_star(tmp_path / "t.star", relion_columns()), "cs"))
    columns["blob/psize_A"] *= np.float32(2)
    write_cs(tmp_path / "u.cs", columns)
    star = read_particles(through(tmp_path / "u.cs", "star"))
    assert star.optics.columns["rlnOpticsGroupName"].tolist() == ["late", "early"]
    np.testing.assert_allclose(star.pixel_size, [2.5, 2.5, 2.6, 2.6, 2.6, 2.5])


def test_shifts_in_pixels_follow_a_new_pixel_size(tmp_path):
    columns = {k: v for k, v in relion_columns().items() if not k.endswith(("Angst", "sGroup"))}
    columns["rlnOriginX"] = np.array(["2.00"] * N, TEXT)
    columns["rlnOriginY"] = np.array(["-1.50"] * N, TEXT)
    columns["rlnMagnification"] = np.array(["10000"] * N, TEXT)
    columns["rlnDetectorPixelSize"] = np.array(["1.5"] * N, TEXT)
    columns["rlnImageSize"] = np.array(["64"] * N, TEXT)
    path = written_star(tmp_path / "t.star", columns, optics=False)
    binned = read_cs(through(path, "cs"))
    binned["blob/psize_A"] *= np.float32(2)
    binned["blob/shape"] //= np.uint32(2)
    binned["ctf/exp_group_id"] = np.arange(N, dtype=np.uint32)
    write_cs(tmp_path / "u.cs", binned)
    star = read_particles(through(tmp_path / "u.cs", "star"))
    assert (star.box.tolist(), star.pixel_size.tolist()) == ([32] * N, [3.0] * N)
    np.testing.assert_allclose(star.shift_angstrom, [[3.0, -2.25]] * N, rtol=1e-6)
    np.testing.assert_allclose(star.columns["rlnOriginX"].astype(float), 1.0, rtol=1e-6)
    # RELION 3.0 has no groups: cryoSPARC's new ones are carried.
    assert "rlnOpticsGroup" not in star.columns
    assert star.columns["cs/ctf/exp_group_id"].tolist() == [str(i) for i in range(N)]


def multi_columns():
    rng = np.random.default_rng(2)
    kept = {k: v for k, v in cs_columns().items() if not k.startswith("alignments3D/")}
    posterior = rng.dirichlet(np.ones(3), N).astype(np.float32)
    return kept | {
        "alignments3D_multi/pose": rng.normal(size=(N, 3, 3)).astype(np.float32),
        "alignments3D_multi/shift": rng.normal(size=(N, 3, 2)).astype(np.float32),
        "alignments3D_multi/psize_A": np.full(N, 2.2, np.float32),
        "alignments3D_multi/class": np.tile(np.arange(3, dtype=np.uint32), (N, 1)),
        "alignments3D_multi/class_posterior": posterior,
    }


@pytest.mark.parametrize("form", ["multi", "columns of each class"])
def test_of_several_classes_the_most_probable_gives_the_pose(form, tmp_path):
    columns = multi_columns()
    prefix = "alignments3D_multi/"
    best = columns[prefix + "class_posterior"].argmax(axis=1)
    chosen = {
        f"alignments3D/{name}": columns[prefix + name][np.arange(N), best]
        for name in ("pose", "shift", "class")
    }
    single = {k: v for k, v in columns.items() if not k.startswith(prefix)} | chosen
    single["alignments3D/psize_A"] = columns[prefix + "psize_A"]
    if form != "multi":
        parts = {k.removeprefix(prefix): v for k, v in columns.items() if k.startswith(prefix)}
        columns = {k: v for k, v in columns.items() if not k.startswith(prefix)}
        for number in range(3):
            for name in ("pose", "shift", "class_posterior"):
                columns[f"alignments_class_{number}/{name}"] = parts[name][:, number].copy()
            columns[f"alignments_class_{number}/psize_A"] = parts["psize_A"]
    write_cs(tmp_path / "m.cs", columns)
    write_cs(tmp_path / "s.cs", single)
    many, one = (canonical_fields(read_particles(tmp_path / f"{n}.cs")) for n in "ms")
    assert many.keys() == one.keys()
    for name, values in one.items():
        np.testing.assert_array_equal(many[name], values, err_msg=name)
    same_cs(tmp_path / "m.cs", through(tmp_path / "m.cs", "star", "cs"))


@pytest.mark.parametrize("form", ["multi", "columns of each class"])
def test_poses_of_an_earlier_job_in_a_passthrough_file_do_not_count_beside_classes(form, tmp_path):
    columns = multi_columns()
    if form != "multi":
        for number in range(3):
            for name in ("pose", "shift", "class_posterior"):
                values = columns[f"alignments3D_multi/{name}"][:, number].copy()
                columns[f"alignments_class_{number}/{name}"] = values
        columns = {k: v for k, v in columns.items() if not k.startswith("alignments3D_multi/")}
    write_cs(tmp_path / "m.cs", columns)
    earlier = {k: v for k, v in cs_columns().items() if k.split("/")[0] in ("uid", "alignments3D")}
    write_cs(tmp_path / "p.cs", earlier | {"pick_stats/ncc": np.ones(N, np.float32)})
    alone = read_particles(tmp_path / "m.cs")
    joined = read_particles(tmp_path / "m.cs", passthrough=[tmp_path / "p.cs"])
    np.testing.assert_array_equal(joined.euler_degrees, alone.euler_degrees)
    assert joined.class_number.tolist() == alone.class_number.tolist()
    assert joined.half_set is None
    assert "pick_stats/ncc" in joined.columns
    # Poses that the table itself has beside those to classes are its own.
    write_cs(tmp_path / "m.cs", columns | {"alignments3D/pose": earlier["alignments3D/pose"]})
    both = read_particles(tmp_path / "m.cs", passthrough=[tmp_path / "p.cs"])
    np.testing.assert_array_equal(both.columns["alignments3D/shift"], earlier["alignments3D/shift"])


def test_halves_and_classes_stay_when_poses_to_several_classes_are_changed(tmp_path):
    columns = multi_columns()
    columns["alignments3D_multi/split"] = np.arange(N, dtype=np.uint32) % 2
    write_cs(tmp_path / "m.cs", columns)
    before = read_particles(tmp_path / "m.cs")
    angles = before.euler_degrees + np.array([0.0, 3.0, 0.0])
    after = with_columns(before, {"euler_degrees": angles, "shift_angstrom": np.zeros((N, 2))})
    np.testing.assert_array_equal(after.half_set, before.half_set)
    np.testing.assert_array_equal(after.class_number, before.class_number)
    np.testing.assert_allclose(
        rotation_from_euler(after.euler_degrees), rotation_from_euler(angles), atol=1e-5
    )
    posterior = columns["alignments3D_multi/class_posterior"].max(axis=1)
    np.testing.assert_array_equal(after.columns["alignments3D/class_posterior"], posterior)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("alignments3D_multi/class_posterior"), "no class_posterior to choose by"),
        (
            lambda c: c.update({"alignments3D_multi/shift": np.zeros((N, 2, 2), np.float32)}),
            "differ in shape",
        ),
    ],
)
def test_classes_that_do_not_fit_together_are_refused(change, words, tmp_path):
    columns = multi_columns()
    change(columns)
    write_cs(tmp_path / "m.cs", columns)
    with pytest.raises(InputError, match=words):
        read_particles(tmp_path / "m.cs")


def test_a_stack_named_mrc_is_marked_for_relion_and_read_without_the_mark(tmp_path):
    write_cs(tmp_path / "t.cs", cs_columns())
    path = through(tmp_path / "t.cs", "star")
    names = read_star(path)["particles"].columns["rlnImageName"].tolist()
    assert names[:2] == [
        "000001@J1/extract/a.mrc:mrcs",
        "000002@J1/extract/longer.mrc:mrcs",
    ]
    assert read_particles(path).image_path[0] == "J1/extract/a.mrc"


def test_relion_learns_where_particles_were_picked(tmp_path):
    picked = {
        "location/micrograph_path": np.array([b">J2/m.mrc"] * N),
        "location/micrograph_shape": np.tile(np.array([400, 1000], np.uint32), (N, 1)),
        "location/center_x_frac": np.full(N, 0.25, np.float32),
        "location/center_y_frac": np.full(N, 0.5, np.float32),
    }
    write_cs(tmp_path / "t.cs", cs_columns() | picked)
    star = read_star(through(tmp_path / "t.cs", "star"))["particles"].columns
    assert star["rlnMicrographName"][0] == "J2/m.mrc"
    assert (star["rlnCoordinateX"][0], star["rlnCoordinateY"][0]) == ("250.0", "200.0")
    same_cs(tmp_path / "t.cs", through(tmp_path / "t.cs", "star", "cs"))


def test_what_a_cs_file_cannot_carry_is_told(tmp_path):
    job = StarTable({"rlnJobType": np.array(["a"], TEXT)}, loop=False)
    path = written_star(tmp_path / "t.star", relion_columns(), extra={"job": job})
    table = read_particles(path)
    assert lost_in_cryosparc(table) == ["the table data_job"]
    part = subset(table, np.array([0, 1]))
    assert lost_in_cryosparc(part)[1] == "optics group 5, in which no particle is"
    same_star(path, through(path, "npz", "star"))


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("<u4", "<q4", "is no type of a column"),
        ("<u4", "<u4,99999999999999999999", "is no type of a column"),
        ("_cs/blob/sign", "_cs/blob/sing", "column sing|no column|cs/blob"),
        (" -1.0 ", " minus ", "column cs/blob/sign: a value is not of type <f4"),
    ],
)
def test_damaged_columns_of_cryosparc_are_refused_or_guessed(old, new, words, tmp_path):
    write_cs(tmp_path / "t.cs", cs_columns())
    path = through(tmp_path / "t.cs", "star")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    if new == "_cs/blob/sing":
        # A column of a name that was not in the list is carried as what its text looks like.
        assert read_cs(through(path, "cs"))["blob/sing"].dtype == np.float32
        return
    with pytest.raises(InputError, match=words):
        write_particles(read_particles(path), tmp_path / "u.cs")


def test_a_label_that_is_only_the_prefix_is_a_column_like_others(tmp_path):
    columns = relion_columns() | {"cs/": np.array(["x"] * N, TEXT)}
    path = written_star(tmp_path / "t.star", columns)
    same_star(path, through(path, "cs", "star"))


def test_a_group_below_one_and_a_label_with_a_space_are_refused(tmp_path):
    text = OPTICS.replace("2 late", "0 late")
    columns = relion_columns()
    columns["rlnOpticsGroup"] = np.array(list("005550"), TEXT)
    path = written_star(tmp_path / "t.star", columns, optics=False)
    path.write_text(text + path.read_text())
    with pytest.raises(InputError, match="counts optics groups from 1"):
        write_particles(read_particles(path), tmp_path / "t.cs")
    write_cs(tmp_path / "s.cs", {**cs_columns(), "a b": np.zeros(N)})
    with pytest.raises(InputError, match="cannot be the label of a column"):
        write_particles(read_particles(tmp_path / "s.cs"), tmp_path / "s.star")


def test_particles_without_a_class_keep_relions_zero(tmp_path):
    columns = relion_columns()
    columns["rlnClassNumber"] = np.array(list("001020"), TEXT)
    path = written_star(tmp_path / "t.star", columns)
    assert "alignments3D/class" not in read_cs(through(path, "cs"))
    same_star(path, through(path, "cs", "star"))


def test_carried_columns_without_the_name_of_the_image_are_refused(tmp_path):
    carried = dict(read_cs(through(written_star(tmp_path / "t.star", relion_columns()), "cs")))
    del carried["relion/particles/rlnImageName"]
    write_cs(tmp_path / "less.cs", carried)
    with pytest.raises(InputError, match="but not rlnImageName"):
        through(tmp_path / "less.cs", "star")


def test_carried_optics_groups_that_are_no_numbers_are_refused(tmp_path):
    carried = dict(read_cs(through(written_star(tmp_path / "t.star", relion_columns()), "cs")))
    name = "relion_optics/rlnOpticsGroup"
    carried[name] = np.full(len(carried[name]), b"q")
    write_cs(tmp_path / "odd.cs", carried)
    with pytest.raises(InputError, match="a value is no number"):
        through(tmp_path / "odd.cs", "star")
