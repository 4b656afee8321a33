"""``truth.npz`` is read back as it was meant, or refused."""

import numpy as np
import pytest

from cryojax_graph.io import InputError, write_npz
from cryojax_graph.jobs.truth import read_truth

GOOD = {
    "c_alpha": np.arange(24.0).reshape(2, 4, 3),
    "chain": np.array(["A", "A", "B", "B"]),
    "residue_number": np.array([1, 2, 1, 2]),
    "insertion_code": np.array(["", "", "", "A"]),
    "residue_name": np.array(["GLY"] * 4),
    "frame_index": np.array([0, 1, 1]),
    "snr": np.array(0.1),
}


def test_reads_what_a_simulation_knows(tmp_path):
    write_npz(tmp_path / "truth.npz", GOOD)
    truth = read_truth(tmp_path / "truth.npz")
    np.testing.assert_array_equal(truth.c_alpha[truth.frame_index][:, 3, 2], [11, 23, 23])
    assert truth.c_alpha.dtype == np.float32
    assert truth.insertion_code.tolist() == ["", "", "", "A"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"c_alpha": None}, "no array c_alpha"),
        ({"chain": None, "residue_name": None}, "no array chain, residue_name"),
        ({"c_alpha": np.zeros((2, 4))}, "'c_alpha'.*shape"),
        ({"c_alpha": np.zeros((2, 4, 3), int)}, "'c_alpha'.*type int64"),
        ({"c_alpha": np.full((2, 4, 3), np.nan)}, "not finite"),
        (
            {"c_alpha": np.zeros((2, 0, 3)), **{n: GOOD[n][:0] for n in list(GOOD)[1:5]}},
            "no C-alpha",
        ),
        ({"chain": np.array(["A"])}, "'chain'.*shape"),
        ({"frame_index": np.array([0.0, 1.0])}, "'frame_index'"),
        ({"frame_index": np.array([0, 2])}, "image 2.*frame 2 of 2"),
        ({"frame_index": np.array([0, -1])}, "image 2"),
    ],
)
def test_refuses_what_does_not_fit_together(tmp_path, changes, words):
    arrays = {k: v for k, v in {**GOOD, **changes}.items() if v is not None}
    write_npz(tmp_path / "truth.npz", arrays)
    with pytest.raises(InputError, match=words):
        read_truth(tmp_path / "truth.npz")
