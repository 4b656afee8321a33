"""Networks in files: what comes back, and what is refused."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from cryojax_graph.io import (
    InputError,
    Limits,
    StoredNetworks,
    read_field,
    read_npz,
    write_field,
    write_npz,
)

SHAPE, SIZE, STARTS = (10, 12, 30), (10, 12, 14), ((0,), (0,), (0, 8, 16))


def networks() -> StoredNetworks:
    """Two networks of two sine layers of five, for three boxes along x."""
    rng = np.random.default_rng(0)
    sizes = [(3, 5), (5, 5), (5, 1)]
    return StoredNetworks(
        kernels=tuple(rng.normal(size=(2, *s)).astype(np.float16) for s in sizes),
        biases=tuple(rng.normal(size=(2, s[1])).astype(np.float16) for s in sizes),
        network=np.array([0, -1, 1], np.int32),
        constant=np.array([0.0, -0.5, 0.0], np.float32),
        offset=2.0,
        scale=3.0,
        shape=SHAPE,
        origin=np.array([-30.5, 12.25, 7.0]),
        voxel_size=np.array([1.1, 0.9, 1.3]),
        starts=STARTS,
        size=SIZE,
        omega=5.0,
        blend="smooth",
        largest_error=0.25,
        rms_error=0.03,
    )


def test_networks_come_back_as_they_were(tmp_path):
    before = networks()
    write_field(tmp_path / "field.npz", before)
    after = read_field(tmp_path / "field.npz")
    assert isinstance(after, StoredNetworks)
    for name in (f.name for f in fields(StoredNetworks)):
        old, new = getattr(before, name), getattr(after, name)
        if name in ("kernels", "biases"):
            assert all(a.dtype == b.dtype and (a == b).all() for a, b in zip(old, new, strict=True))
        elif name == "starts":
            assert old == new
        else:
            np.testing.assert_array_equal(old, new)


def changed(tmp_path, **changes):
    """A good file whose header or arrays are changed."""
    path = tmp_path / "case.npz"
    write_field(path, networks())
    arrays = read_npz(path)
    header = json.loads(arrays.pop("header").tobytes())
    for name, value in changes.items():
        (arrays if name in arrays else header)[name] = value
    text = json.dumps({k: v for k, v in header.items() if v is not ...}).encode()
    arrays["header"] = np.frombuffer(text, np.uint8)
    write_npz(path, {k: v for k, v in arrays.items() if v is not None})
    return path


REFUSED = {
    "no kernel": ({"kernel_1": None}, "array 'kernel_1': it is missing"),
    "no bias": ({"bias_0": None}, "array 'bias_0': it is missing"),
    "kernel of float32": ({"kernel_0": np.zeros((2, 3, 5), np.float32)}, "type float32"),
    "kernel of text": ({"kernel_0": np.array(["a"])}, "array 'kernel_0'"),
    "kernel of other inputs": ({"kernel_0": np.zeros((2, 4, 5), np.float16)}, "shape (2, 4, 5)"),
    "kernel of two axes": ({"kernel_0": np.zeros((3, 5), np.float16)}, "shape (3, 5)"),
    "kernel of no width": ({"kernel_0": np.zeros((2, 3, 0), np.float16)}, "shape (2, 3, 0)"),
    "no networks": ({"kernel_0": np.zeros((0, 3, 5), np.float16)}, "shape (0, 3, 5)"),
    "layers that do not fit": ({"kernel_1": np.zeros((2, 4, 5), np.float16)}, "2 × 5 × any"),
    "other networks": ({"kernel_1": np.zeros((3, 5, 5), np.float16)}, "2 × 5 × any"),
    "two outputs": ({"kernel_2": np.zeros((2, 5, 2), np.float16)}, "2 × 5 × 1"),
    "bias of other width": ({"bias_1": np.zeros((2, 4), np.float16)}, "array 'bias_1'"),
    "kernel NaN": ({"kernel_0": np.full((2, 3, 5), np.nan, np.float16)}, "not all"),
    "bias infinite": ({"bias_0": np.full((2, 5), np.inf, np.float16)}, "not all"),
    "constant NaN": ({"constant": np.full(3, np.nan, np.float32)}, "array 'constant'"),
    "constants too few": ({"constant": np.zeros(2, np.float32)}, "array 'constant'"),
    "network too many": ({"network": np.zeros(4, np.int32)}, "array 'network'"),
    "network unknown": ({"network": np.array([0, 2, 1], np.int32)}, "than the 2 networks"),
    "network below": ({"network": np.array([0, -2, 1], np.int32)}, "than the 2 networks"),
    "network of floats": ({"network": np.zeros(3)}, "array 'network'"),
    "one layer": ({"layers": 1}, "header, layers"),
    "layers more than arrays": ({"layers": 4}, "array 'kernel_3'"),
    "layers absurd": ({"layers": 10**9}, "header, layers"),
    "layers true": ({"layers": True}, "header, layers"),
    "shape absurd": ({"shape": [2**19] * 3}, "Limits.map_bytes"),
    "shape of another map": ({"shape": [10, 12, 31]}, "header, starts"),
    "size of nothing": ({"size": [10, 12, 0]}, "header, starts"),
    "size of text": ({"size": "x"}, "header, size"),
    "starts of two": ({"starts": [[0], [0]]}, "header, starts"),
    "starts of floats": ({"starts": [[0], [0], [0, 8.0, 16]]}, "header, starts"),
    "starts empty": ({"starts": [[], [0], [0, 8, 16]]}, "header, starts"),
    "starts no lists": ({"starts": [0, 0, 0]}, "header, starts"),
    "starts not at 0": ({"starts": [[0], [0], [1, 8, 16]]}, "header, starts"),
    "starts fall": ({"starts": [[0], [0], [0, 17, 16]]}, "header, starts"),
    "boxes hardly touch": ({"starts": [[0], [0], [0, 13, 16]]}, "header, starts"),
    "four boxes at once": ({"starts": [[0], [0], [0, 3, 6, 9, 16]]}, "header, starts"),
    "offset infinite": ({"offset": float("inf")}, "header, offset"),
    "offset astronomic": ({"offset": 1e200}, "header, offset"),
    "scale 0": ({"scale": 0.0}, "header, scale"),
    "scale missing": ({"scale": ...}, "header, scale"),
    "omega negative": ({"omega": -30.0}, "header, omega"),
    "blend unknown": ({"blend": "rough"}, "header, blend"),
    "voxels of size 0": ({"voxel_size": [1, 0, 1]}, "header, voxel_size"),
    "origin NaN": ({"origin": [0, 0, float("nan")]}, "header, origin"),
    "largest error negative": ({"largest_error": -1.0}, "header, largest_error"),
    "error missing": ({"rms_error": ...}, "header, rms_error"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_together_is_refused_with_its_reason(case, tmp_path):
    changes, words = REFUSED[case]
    path = changed(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_field(path)
    assert words in str(caught.value)
    assert caught.value.file == str(path)


def test_weights_larger_than_the_cap_are_refused(tmp_path):
    kernels = tuple(np.zeros((2, 400, 400), np.float16) for _ in range(3))
    write_field(tmp_path / "field.npz", replace(networks(), kernels=kernels))
    small = Limits(array_bytes=1000, header_bytes=1 << 16)
    with pytest.raises(InputError, match=r"Limits\.array_bytes"):
        read_field(tmp_path / "field.npz", limits=small)
