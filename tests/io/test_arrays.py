import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from cryojax_graph.io import InputError, read_cs, read_npz, write_cs, write_npz
from cryojax_graph.io.npz import Parts

KINDS = ["<f4", "<f8", ">f4", "<f2", "<i4", ">i8", "|u1", "|b1", "<U5", "|S4"]
arrays = st.sampled_from(KINDS).flatmap(
    lambda kind: (
        stn.arrays(
            kind,
            stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
            elements=st.text("ab é", max_size=5) if "U" in kind else None,
            fill=st.nothing(),
        )
        if "S" not in kind
        else st.just(np.array([[b"ab", b""], [b"cd\xc3\xa9"[:4], b"x"]], kind))
    )
)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.dictionaries(st.text("ab_", min_size=1, max_size=4), arrays, max_size=3))
def test_arrays_come_back_as_numpy_reads_them(values, tmp_path):
    path = tmp_path / "a.npz"
    write_npz(path, values)
    again = read_npz(path)
    assert again.keys() == values.keys()
    for name, array in values.items():
        assert again[name].dtype == array.dtype
        np.testing.assert_array_equal(again[name], array)


def test_numpy_reads_what_is_written_and_equal_arrays_give_equal_files(tmp_path):
    values = {"a": np.arange(6.0).reshape(2, 3), "text": np.array(["é", "bc"])}
    for name in ("a.npz", "b.npz"):
        write_npz(tmp_path / name, values)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with np.load(tmp_path / "a.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"a", "text"}
        np.testing.assert_array_equal(arrays["a"], values["a"])
    with pytest.raises(ValueError, match=r"[Oo]bject"):
        write_npz(tmp_path / "c.npz", {"a": np.array([object()])})
    assert not (tmp_path / "c.npz").exists()


def test_arrays_stored_column_first_and_uncompressed(tmp_path):
    values = np.arange(24.0).reshape(2, 3, 4)
    np.savez(tmp_path / "a.npz", a=np.asfortranarray(values), b=values[::2, ::-1])
    again = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(again["a"], values)
    np.testing.assert_array_equal(again["b"], values[::2, ::-1])


def test_a_table_is_what_numpy_reads_without_pickle(tmp_path):
    columns = {
        "uid": np.arange(3, dtype=np.uint64),
        "blob/path": np.array([b"a", b"bcd", b""]),
        "alignments3D/pose": np.ones((3, 3), np.float32),
    }
    write_cs(tmp_path / "a.cs", columns)
    records = np.load(tmp_path / "a.cs", allow_pickle=False)
    again = read_cs(tmp_path / "a.cs")
    assert list(again) == list(records.dtype.names) == list(columns)
    for name, values in columns.items():
        np.testing.assert_array_equal(again[name], values)
        np.testing.assert_array_equal(records[name], values)


def test_a_table_from_which_numpy_dropped_columns_keeps_the_others(tmp_path):
    records = np.zeros(3, [("uid", "<u8"), ("gone", "<f4", (3,)), ("x", "<f4"), ("end", "<i2")])
    records["uid"], records["x"] = np.arange(3), [0.5, 1.5, 2.5]
    np.save(tmp_path / "a.npy", records[["uid", "x"]])
    (tmp_path / "a.npy").rename(tmp_path / "a.cs")
    assert b"|V12" in (tmp_path / "a.cs").read_bytes()
    columns = read_cs(tmp_path / "a.cs")
    assert list(columns) == ["uid", "x"]
    assert columns["uid"].tolist() == [0, 1, 2]
    assert columns["x"].tolist() == [0.5, 1.5, 2.5]


def test_the_first_file_wins_where_columns_meet(tmp_path):
    uid = np.arange(3, dtype=np.uint64)
    write_cs(tmp_path / "a.cs", {"uid": uid, "x": np.zeros(3)})
    write_cs(tmp_path / "b.cs", {"uid": uid[::-1].copy(), "x": np.ones(3), "y": np.arange(3)})
    write_cs(tmp_path / "c.cs", {"uid": uid, "y": np.full(3, 9), "z": np.arange(3)})
    joined = read_cs(tmp_path / "a.cs", passthrough=[tmp_path / "b.cs", tmp_path / "c.cs"])
    assert joined["x"].tolist() == [0, 0, 0]
    assert joined["y"].tolist() == [2, 1, 0]
    assert joined["z"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("order", [[2, 0, 1], [0, 1, 2]])
def test_arrays_that_were_read_can_be_changed(order, tmp_path):
    write_npz(tmp_path / "a.npz", {"a": np.array(order)})
    array = read_npz(tmp_path / "a.npz")["a"]
    array.sort()
    assert array.tolist() == [0, 1, 2]


def test_an_array_written_in_parts_is_the_same_file(tmp_path):
    whole = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
    parts = Parts(whole.shape, whole.dtype, iter([whole[:4], whole[4:4], whole[4:]]))
    write_npz(tmp_path / "whole.npz", {"a": whole})
    write_npz(tmp_path / "parts.npz", {"a": parts})
    assert (tmp_path / "whole.npz").read_bytes() == (tmp_path / "parts.npz").read_bytes()


def test_parts_that_do_not_add_up_leave_no_file(tmp_path):
    parts = Parts((7, 3), np.dtype(np.float32), [np.zeros((4, 3))])
    with pytest.raises(ValueError, match="4 rows were written of 7"):
        write_npz(tmp_path / "a.npz", {"a": parts})
    assert not list(tmp_path.iterdir())


def test_a_text_in_place_of_an_archive_is_not_called_damaged(tmp_path):
    path = tmp_path / "truth.npz"
    path.write_text("data_particles\n")
    with pytest.raises(InputError, match=r"it is no \.npz archive; name the right file"):
        read_npz(path)
