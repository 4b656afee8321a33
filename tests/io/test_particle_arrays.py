"""Tables as archives of arrays: as they were, with what was changed, or refused."""

import numpy as np
import pytest

from cryojax_graph.io import (
    InputError,
    describe_particles,
    file_kind,
    new_particles,
    read_npz,
    read_particles,
    with_columns,
    write_npz,
    write_particles,
)

N = 5
TEXT = np.dtypes.StringDType()


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    return {
        "image_path": np.array(["a.mrcs", "b/ü.mrcs", "a.mrcs", "a.mrcs", "a.mrcs"]),
        "image_index": np.arange(N),
        "euler_degrees": rng.uniform(10, 170, (N, 3)),
        "shift_angstrom": rng.normal(size=(N, 2)),
        "pixel_size": np.full(N, 1.5),
        "box": np.full(N, 64),
        "half_set": np.array([1, 2, 1, 2, 2]),
    }


@pytest.fixture
def written(fields, tmp_path):
    fields["image_path"] = fields["image_path"].astype(TEXT)
    table = with_columns(
        new_particles("made.star", fields), {"rlnOdd": np.array([f"{i}.50" for i in range(N)])}
    )
    write_particles(table, tmp_path / "a.npz")
    return tmp_path / "a.npz"


def test_numpy_reads_the_arrays_without_pickle(written, fields):
    with np.load(written, allow_pickle=False) as arrays:
        assert arrays["image_path"].tolist() == fields["image_path"].tolist()
        np.testing.assert_allclose(arrays["euler_degrees"], fields["euler_degrees"], rtol=1e-8)
        assert arrays["columns/rlnOdd"].tolist() == [f"{i}.50".encode() for i in range(N)]


def test_a_changed_array_prevails_and_other_rows_keep_their_text(written, tmp_path):
    before = read_particles(written)
    arrays = read_npz(written)
    arrays["euler_degrees"][2] = [1.0, 2.0, 3.0]
    write_npz(tmp_path / "b.npz", arrays)
    after = read_particles(tmp_path / "b.npz")
    assert after.columns["rlnAngleRot"][2] == "1.0"
    others = [0, 1, 3, 4]
    for label, values in before.columns.items():
        assert after.columns[label][others].tolist() == values[others].tolist()
    assert after.columns["rlnOdd"].tolist() == before.columns["rlnOdd"].tolist()


def test_arrays_made_by_hand_become_a_table_of_relion(fields, tmp_path):
    write_npz(tmp_path / "hand.npz", fields)
    table = read_particles(tmp_path / "hand.npz")
    assert (table.kind, table.table_name) == ("star", "particles")
    np.testing.assert_allclose(table.shift_angstrom, fields["shift_angstrom"], rtol=1e-8)
    assert table.image_path.tolist() == fields["image_path"].tolist()


def test_a_large_table_of_few_values_is_no_bomb(tmp_path):
    count = 40_000
    many = {
        "image_path": np.array(["Extract/job001/Movies/micrograph.mrcs"] * count, TEXT),
        "image_index": np.arange(count),
        "pixel_size": np.ones(count),
    }
    write_particles(new_particles("m.star", many), tmp_path / "m.npz")
    assert (tmp_path / "m.npz").stat().st_size > 2**23
    assert len(read_particles(tmp_path / "m.npz")) == count


def test_it_is_told_from_other_archives(written, tmp_path):
    assert file_kind(written) == "particles"
    assert describe_particles(written).count == N
    write_npz(tmp_path / "latents.npz", {"latents": np.zeros((3, 2))})
    assert file_kind(tmp_path / "latents.npz") == "arrays"
    with pytest.raises(InputError, match="it has no array image_path"):
        read_particles(tmp_path / "latents.npz")


DAMAGE = {
    "a column of other length": ({"columns/rlnOdd": np.zeros(3, "S1")}, "do not have 5 rows"),
    "a field of other length": ({"half_set": np.ones(3, int)}, r"half_set: int64 of shape \(3,\)"),
    "a field of other type": ({"box": np.ones(N)}, "expected whole numbers"),
    "not finite": ({"pixel_size": np.full(N, np.nan)}, "row 1, column pixel_size: nan"),
    "below the first": ({"image_index": np.arange(N) - 1}, "row 1, column image_index: -1"),
    "half of no set": ({"half_set": np.full(N, 3)}, "3 is not between 1 and 2"),
    "another program": ({"kind": np.array("cistem")}, "'cistem' is none of star, cs"),
    "no word": ({"kind": np.zeros(2)}, "array kind: it is missing or no single text"),
    "numbers for text": ({"columns/rlnOdd": np.zeros(N)}, "it is no column of text"),
    "a crooked table": ({"optics/rlnVoltage": np.zeros(7, "S1")}, "they differ in length"),
    "a name of bytes": ({"image_path": np.arange(N)}, "expected text"),
}


@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_archive_is_refused(how, written, tmp_path):
    changes, words = DAMAGE[how]
    write_npz(tmp_path / "bad.npz", {**read_npz(written), **changes})
    with pytest.raises(InputError, match=words):
        read_particles(tmp_path / "bad.npz")


def test_an_archive_without_rows_or_columns_is_refused(written, tmp_path):
    empty = {"image_path": np.empty(0, "U1"), "image_index": np.empty(0, np.int64)}
    write_npz(tmp_path / "empty.npz", empty)
    with pytest.raises(InputError, match="it holds no rows"):
        read_particles(tmp_path / "empty.npz")
    kept = {k: v for k, v in read_npz(written).items() if not k.startswith("columns/")}
    write_npz(tmp_path / "bare.npz", kept)
    with pytest.raises(InputError, match="its columns do not have 5 rows"):
        read_particles(tmp_path / "bare.npz")
