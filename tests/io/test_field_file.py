"""Fields in files: what comes back, how small it is, and what is refused."""

import json
import zlib
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph.io import (
    InputError,
    Limits,
    Map,
    StoredVoxels,
    read_field,
    read_npz,
    write_field,
    write_npz,
)
from cryojax_graph.io.voxel_codec import pack_voxels, unpack_voxels

VOXEL, ORIGIN = np.array([1.1, 0.9, 1.3]), np.array([-30.5, 12.25, 7.0])
CONSTANTS = {"width": 0.55, "finer": 2}


def smooth(shape=(20, 17, 23)) -> np.ndarray:
    z, y, x = np.indices(shape)
    blob = np.exp(-((z - 9.0) ** 2 + (y - 8.0) ** 2 + (x - 12.0) ** 2) / 40.0)
    return (blob + 0.01 * np.random.default_rng(0).normal(size=shape)).astype(np.float32)


def stored(values, accuracy=0.0) -> StoredVoxels:
    return StoredVoxels(Map(values, VOXEL, ORIGIN), "positive", CONSTANTS, accuracy)


def error(values, accuracy) -> float:
    again = unpack_voxels(pack_voxels(values, accuracy))
    return float(np.abs(again.astype(float) - values.astype(float)).max())


@pytest.mark.parametrize("accuracy", [0.0, 1e-5, 2.5e-3, 0.3, 50.0])
def test_a_field_comes_back_within_its_accuracy(tmp_path, accuracy):
    values = smooth()
    write_field(tmp_path / "field.npz", stored(values, accuracy))
    again = read_field(tmp_path / "field.npz")
    assert (again.recipe, dict(again.constants), again.accuracy) == (
        "positive",
        CONSTANTS,
        accuracy,
    )
    np.testing.assert_array_equal(again.density.voxel_size, VOXEL)
    np.testing.assert_array_equal(again.density.origin, ORIGIN)
    assert again.density.values.dtype == np.float32
    assert np.abs(again.density.values.astype(float) - values).max() <= accuracy


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    scale=st.sampled_from([1e-44, 1e-30, 1e-3, 1.0, 1e4, 3e37]),
    shift=st.sampled_from([0.0, 1.0, 1e6]),
    share=st.sampled_from([0.0, 1e-12, 1e-7, 1e-4, 0.01, 0.5, 3.0]),
    empty=st.booleans(),
    seed=st.integers(0, 99),
)
def test_no_voxel_is_off_by_more_than_was_said(shape, scale, shift, share, empty, seed):
    rng = np.random.default_rng(seed)
    values = (scale * (rng.normal(size=shape) + shift)).clip(-3e38, 3e38).astype(np.float32)
    if empty:
        values[rng.random(shape) < 0.7] = values[0, 0, 0]
    accuracy = share * scale
    assert error(values, accuracy) <= accuracy


@settings(max_examples=40, deadline=None)
@given(bits=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=12))
def test_without_error_every_bit_comes_back(bits):
    values = np.array(bits, np.uint32).view(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(-0.0))[None, None]
    again = unpack_voxels(pack_voxels(values, 0.0))
    np.testing.assert_array_equal(again.view(np.uint32), values.view(np.uint32))


@pytest.mark.parametrize("value", [0.0, -2.5, 1e30])
@pytest.mark.parametrize("accuracy", [0.0, 0.01])
def test_a_constant_map_takes_no_space(value, accuracy):
    values = np.full((9, 8, 7), value, np.float32)
    packed = pack_voxels(values, accuracy)
    assert packed.extent == (0, 0, 0)
    assert len(packed.residuals) < 20
    assert error(values, accuracy) <= accuracy


def test_what_is_zero_around_a_mask_stays_zero_and_takes_no_space(tmp_path):
    values = np.zeros((60, 60, 60), np.float32)
    values[20:40, 22:39, 30:53] = smooth()
    write_field(tmp_path / "masked.npz", stored(values, 0.0025))
    write_field(tmp_path / "part.npz", stored(smooth(), 0.0025))
    masked, part = (tmp_path / name for name in ("masked.npz", "part.npz"))
    assert masked.stat().st_size < part.stat().st_size + 100
    again = read_field(masked).density.values
    assert not again[values == 0].any()


def test_smooth_maps_are_told_by_differences_and_noise_is_not():
    z, y, x = np.indices((24, 24, 24)) / 8.0
    wave = np.sin(z + 0.3 * y) * np.cos(x)
    assert len(pack_voxels(wave.astype(np.float32), 1e-4).differences) == 3
    noise = np.random.default_rng(1).normal(size=(24, 24, 24)).astype(np.float32)
    assert pack_voxels(noise, 1e-2).differences == ()


def test_a_map_with_noise_takes_few_bits_a_voxel():
    noise = np.random.default_rng(1).normal(size=(32, 32, 32)).astype(np.float32)
    # Steps of half a standard deviation: the entropy is 3.05 bits.
    assert 8 * len(pack_voxels(noise, 0.25).residuals) / noise.size < 3.3


def test_equal_fields_give_equal_files(tmp_path):
    for name in ("a.npz", "b.npz"):
        write_field(tmp_path / name, stored(smooth(), 0.01))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def changed(tmp_path, **changes):
    """A good file whose header or arrays are changed."""
    path = tmp_path / "case.npz"
    write_field(path, stored(smooth(), 0.01))
    arrays = read_npz(path)
    header = json.loads(arrays["header"].tobytes())
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            header[name] = value
    if "header" not in changes:
        text = json.dumps({k: v for k, v in header.items() if v is not ...}).encode()
        arrays["header"] = np.frombuffer(text, np.uint8)
    write_npz(path, {k: v for k, v in arrays.items() if v is not None})
    return path


def raw(text: bytes) -> np.ndarray:
    return np.frombuffer(text, np.uint8)


REFUSED = {
    "foreign archive": ({"header": None}, "it has no header"),
    "header of floats": ({"header": np.zeros(3)}, "it is no text"),
    "header no JSON": ({"header": raw(b"{")}, "it is no JSON"),
    "header no UTF-8": ({"header": raw(b'"\xff"')}, "it is no JSON"),
    "header too deep": ({"header": raw(b"[" * 100_000)}, "it is no JSON"),
    "header a list": ({"header": raw(b"[]")}, "no table of values"),
    "other format": ({"format": "something"}, "no stored field"),
    "no format": ({"format": ...}, "no stored field"),
    "later version": ({"version": 2}, "it is of version 2, this program reads version 1"),
    "version of text": ({"version": "1"}, "header, version"),
    "version true": ({"version": True}, "header, version"),
    "unknown kind": ({"kind": "wavelets"}, "a field of the kind 'wavelets'"),
    "kind no text": ({"kind": ["voxels"]}, "header, kind"),
    "no residuals": ({"residuals": None}, "array 'residuals'"),
    "residuals of floats": ({"residuals": np.zeros(9)}, "array 'residuals'"),
    "residuals damaged": ({"residuals": raw(b"abc")}, "it is damaged"),
    "residuals cut": ({"residuals": raw(zlib.compress(bytes(99))[:-5])}, "does not unpack"),
    "residuals too few": ({"residuals": raw(zlib.compress(bytes(99)))}, "does not unpack"),
    "residuals too many": ({"residuals": raw(zlib.compress(bytes(9999)))}, "does not unpack"),
    "shape of two": ({"shape": [20, 17]}, "header, shape"),
    "shape of floats": ({"shape": [20.0, 17, 23]}, "header, shape"),
    "shape of nothing": ({"shape": [0, 17, 23]}, "header, shape"),
    "shape negative": ({"shape": [-1, 17, 23]}, "header, shape"),
    "shape absurd": ({"shape": [2**19] * 3}, "Limits.map_bytes"),
    "box outside": ({"corner": [1, 0, 0]}, "inside the map"),
    "differences unknown": ({"differences": [0]}, "header, differences"),
    "differences no list": ({"differences": 3}, "header, differences"),
    "differences of floats": ({"differences": [2.0]}, "header, differences"),
    "differences true": ({"differences": [True]}, "header, differences"),
    "width of 3": ({"width": 3}, "header, width"),
    "background absurd": ({"background": 2**31}, "header, background"),
    "step negative": ({"step": -0.1}, "header, step"),
    "step NaN": ({"step": float("nan")}, "header, step"),
    "step too large": ({"step": 1e200}, "not finite"),
    "accuracy negative": ({"accuracy": -0.1}, "header, accuracy"),
    "accuracy missing": ({"accuracy": ...}, "header, accuracy"),
    "voxels of size 0": ({"voxel_size": [1, 0, 1]}, "header, voxel_size"),
    "voxel size a number": ({"voxel_size": 1.0}, "header, voxel_size"),
    "origin infinite": ({"origin": [0, 0, float("inf")]}, "header, origin"),
    "origin astronomic": ({"origin": [0, 0, 10**400]}, "header, origin"),
    "recipe no text": ({"recipe": 3}, "header, recipe"),
    "recipe too long": ({"recipe": "x" * 99}, "header, recipe"),
    "constants a list": ({"constants": [1]}, "header, constants"),
    "constants of text": ({"constants": {"finer": "2"}}, "header, constants"),
    "constants NaN": ({"constants": {"width": float("nan")}}, "header, constants"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_field_is_refused_with_its_reason(case, tmp_path):
    changes, words = REFUSED[case]
    path = changed(tmp_path, **changes)
    with pytest.raises(InputError) as caught:
        read_field(path)
    assert words in str(caught.value)
    assert caught.value.file == str(path)


def test_a_map_larger_than_the_cap_is_refused(tmp_path):
    write_field(tmp_path / "field.npz", stored(smooth()))
    with pytest.raises(InputError, match=r"Limits\.map_bytes"):
        read_field(tmp_path / "field.npz", limits=Limits(map_bytes=1000))


# The file is written anew by every example.
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_damaged_file_is_refused_or_read(tmp_path, data):
    path = tmp_path / "field.npz"
    write_field(path, stored(smooth((5, 6, 7)), 0.01))
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    else:
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    with suppress(InputError):
        assert np.isfinite(read_field(path).density.values).all()
