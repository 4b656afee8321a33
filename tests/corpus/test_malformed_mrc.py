"""Every header field of a map at values that break programs, every section cut."""

import bz2
import gzip
import struct

import numpy as np
import pytest

from cryojax_graph.io import Limits, describe_map, open_stack, read_map

WORDS = {
    "nx": 0,
    "ny": 4,
    "nz": 8,
    "mode": 12,
    "nxstart": 16,
    "nystart": 20,
    "nzstart": 24,
    "mx": 28,
    "my": 32,
    "mz": 36,
    "mapc": 64,
    "mapr": 68,
    "maps": 72,
    "ispg": 88,
    "nsymbt": 92,
}
FLOATS = {"xlen": 40, "ylen": 44, "zlen": 48, "alpha": 52, "beta": 56, "originx": 196}


def mrc_bytes(order="<", mode=2, extended=0, trailing=0, stamp=b"DD", word=b"MAP ", **fields):
    """A map of 4 × 3 × 2 voxels of 2 Å, with some header fields overwritten."""
    kinds = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
    header = bytearray(1024)
    values = {"nx": 4, "ny": 3, "nz": 2, "mode": mode, "mx": 4, "my": 3, "mz": 2}
    values |= {"mapc": 1, "mapr": 2, "maps": 3, "ispg": 1, "nsymbt": extended}
    values |= {"xlen": 8.0, "ylen": 6.0, "zlen": 4.0, "alpha": 90.0, "beta": 90.0}
    for name, value in (values | fields).items():
        if name in WORDS:
            struct.pack_into(order + "i", header, WORDS[name], value)
        else:
            struct.pack_into(order + "f", header, FLOATS[name], value)
    struct.pack_into(order + "f", header, 60, 90.0)
    header[208:212] = word
    header[212:214] = stamp
    data = np.arange(24).astype(order + kinds.get(mode, "f4")).tobytes()
    return bytes(header) + bytes(extended) + data + bytes(trailing)


VALUES = np.arange(24, dtype=np.float32).reshape(2, 3, 4)

READ = {
    "regular": mrc_bytes(),
    "big-endian": mrc_bytes(">", stamp=b"\x11\x11"),
    "CCP4 stamp": mrc_bytes(stamp=b"DA"),
    "no stamp": mrc_bytes(stamp=b"\0\0"),
    "no stamp, big-endian": mrc_bytes(">", stamp=b"\0\0"),
    "no MAP word": mrc_bytes(word=b"\0\0\0\0"),
    "no MAP word and no stamp": mrc_bytes(word=b"\0\0\0\0", stamp=b"\0\0"),
    "extended header": mrc_bytes(extended=80),
    "trailing bytes": mrc_bytes(trailing=7),
    "signed bytes": mrc_bytes(mode=0),
    "16-bit integers": mrc_bytes(mode=1),
    "16-bit integers, big-endian": mrc_bytes(">", mode=1, stamp=b"\x11\x11"),
    "16-bit unsigned": mrc_bytes(mode=6),
    "16-bit floats": mrc_bytes(mode=12),
    "axes never set": mrc_bytes(mapc=0, mapr=0, maps=0),
    "angles never set": mrc_bytes(alpha=0.0, beta=0.0),
    "space group 0": mrc_bytes(ispg=0),
    "gzip": gzip.compress(mrc_bytes()),
    "bzip2": bz2.compress(mrc_bytes()),
    "two gzip members": gzip.compress(mrc_bytes()[:500]) + gzip.compress(mrc_bytes()[500:]),
    "trailing bytes, gzip": gzip.compress(mrc_bytes(trailing=7)),
}

REFUSED = {
    "empty": (b"", "header"),
    "half a header": (mrc_bytes()[:512], "512 of 1024"),
    "header alone": (mrc_bytes()[:1024], "values"),
    "cut values": (mrc_bytes()[:-1], "the file has 1,119"),
    "cut extended header": (mrc_bytes(extended=800)[:1100], "values"),
    "text": (b"data_\nloop_\n" * 200, "not an MRC file"),
    "zeros": (bytes(2048), "byte order mark"),
    "wrong stamp": (mrc_bytes(stamp=b"\x11\x11"), "header"),
    "stamp of the other order": (mrc_bytes(">", stamp=b"DD"), "header"),
    "no stamp and wrong size": (mrc_bytes(stamp=b"\0\0", trailing=1), "do not fit"),
    "no MAP word and wrong size": (mrc_bytes(word=bytes(4), trailing=1), "do not fit"),
    "other word": (mrc_bytes(word=b"RIFF"), "not an MRC file"),
    **{f"{n} = 0": (mrc_bytes(**{n: 0}), "must be positive") for n in ("nx", "ny", "nz")},
    **{f"{n} = -1": (mrc_bytes(**{n: -1}), "must be positive") for n in ("nx", "ny", "nz")},
    **{f"{n} = max": (mrc_bytes(**{n: 2**31 - 1}), "header") for n in ("nx", "ny", "nz")},
    "all sizes at max": (mrc_bytes(nx=2**31 - 1, ny=2**31 - 1, nz=2**31 - 1), "header"),
    "one more section": (mrc_bytes(nz=3), "need 1,168 bytes"),
    "mode 3": (mrc_bytes(mode=3), "Fourier transform"),
    "mode 4": (mrc_bytes(mode=4), "Fourier transform"),
    "mode 5": (mrc_bytes(mode=5), "no mode of the MRC standard"),
    "mode 101": (mrc_bytes(mode=101), "4-bit"),
    "mode -1": (mrc_bytes(mode=-1), "mode -1"),
    "axes 1, 1, 1": (mrc_bytes(mapr=1, maps=1), "axis order"),
    "axes 0, 2, 3": (mrc_bytes(mapc=0), "axis order"),
    "axes 1, 2, 4": (mrc_bytes(maps=4), "axis order"),
    "extended header of -1": (mrc_bytes(nsymbt=-1), "extended header"),
    "extended header at max": (mrc_bytes(nsymbt=2**31 - 1), "extended header"),
    "extended header past the end": (mrc_bytes(nsymbt=4000), "values"),
    "mx = 0": (mrc_bytes(mx=0), "voxel size"),
    "mx = -1": (mrc_bytes(mx=-1), "voxel size"),
    "no cell": (mrc_bytes(xlen=0.0, ylen=0.0, zlen=0.0), "voxel size"),
    "negative cell": (mrc_bytes(ylen=-6.0), "voxel size"),
    "NaN cell": (mrc_bytes(zlen=float("nan")), "voxel size"),
    "infinite cell": (mrc_bytes(xlen=float("inf")), "voxel size"),
    "skewed": (mrc_bytes(beta=104.3), "skewed"),
    "NaN angle": (mrc_bytes(alpha=float("nan")), "not finite"),
    "NaN origin": (mrc_bytes(originx=float("nan")), "not finite"),
    "stack of images": (mrc_bytes(ispg=0, mz=1, zlen=2.0), "stack of 2 images"),
    "stack of maps": (mrc_bytes(ispg=401, mz=1, zlen=2.0), "stack of maps"),
    "cut gzip": (gzip.compress(mrc_bytes())[:-20], "gzip data: it ends too early"),
    "damaged gzip": (gzip.compress(mrc_bytes())[:40] + bytes(200), "gzip data"),
    "gzip of nothing": (gzip.compress(b""), "0 of 1024"),
    "rubbish after gzip": (gzip.compress(mrc_bytes()) + b"rubbish", "gzip data"),
    "cut bzip2": (bz2.compress(mrc_bytes())[:-20], "bzip2 data"),
    "damaged bzip2": (bz2.compress(mrc_bytes())[:30] + bytes(60), "bzip2 data"),
    "cut values, gzip": (gzip.compress(mrc_bytes()[:-4]), "the file has 1,116"),
}


@pytest.mark.parametrize("case", READ)
def test_read_as_it_is_meant(case, tmp_path):
    path = tmp_path / "case.mrc"
    path.write_bytes(READ[case])
    density = read_map(path)
    np.testing.assert_array_equal(density.values, VALUES)
    np.testing.assert_allclose(density.voxel_size, 2.0)
    np.testing.assert_array_equal(density.origin, 0.0)


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason(case, tmp_path, refuses):
    contents, *words = REFUSED[case]
    path = tmp_path / "case.mrc"
    path.write_bytes(contents)
    refuses(read_map, path, *words)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("mode", [2, 12])
def test_values_that_are_not_finite_are_counted_and_placed(value, mode, tmp_path, refuses):
    raw = bytearray(mrc_bytes(mode=mode))
    kind = {2: "<f", 12: "<e"}[mode]
    size = struct.calcsize(kind)
    for voxel in (7, 20):
        struct.pack_into(kind, raw, 1024 + voxel * size, value)
    path = tmp_path / "case.mrc"
    path.write_bytes(raw)
    refuses(read_map, path, "voxel z=0, y=1, x=3", "2 of 24 values")
    assert any("2 values are NaN" in text for text in describe_map(path).warnings)


@pytest.mark.parametrize("case", ["trailing bytes", "no stamp", "no MAP word", "axes never set"])
def test_irregularities_are_told(case, tmp_path):
    path = tmp_path / "case.mrc"
    path.write_bytes(READ[case])
    assert describe_map(path).warnings
    path.write_bytes(READ["regular"])
    assert not describe_map(path).warnings


def test_a_packed_stack_is_refused(tmp_path, refuses):
    path = tmp_path / "case.mrcs"
    path.write_bytes(gzip.compress(mrc_bytes()))
    refuses(open_stack, path, "packed with gzip", "unpack it")


def test_a_stack_with_the_axes_of_a_map_is_refused(tmp_path, refuses):
    path = tmp_path / "case.mrcs"
    path.write_bytes(mrc_bytes(mapc=3, maps=1))
    refuses(open_stack, path, "axis order")


def test_a_huge_map_is_refused_before_it_is_allocated(tmp_path, refuses, little_memory):
    path = tmp_path / "case.mrc"
    for contents in (
        mrc_bytes(nx=60_000, ny=60_000, nz=60_000),
        gzip.compress(mrc_bytes(nx=1000, ny=1000, nz=1000)),
        mrc_bytes(nsymbt=2**31 - 1),
    ):
        path.write_bytes(contents)
        with little_memory():
            refuses(read_map, path)
    path.write_bytes(mrc_bytes())
    refuses(lambda p: read_map(p, limits=Limits(map_bytes=95)), path, "Limits.map_bytes")
    refuses(lambda p: open_stack(p, limits=Limits(map_bytes=47)), path, "Limits.map_bytes")


def test_a_packed_bomb_does_not_unpack(tmp_path, refuses, little_memory):
    path = tmp_path / "bomb.mrc.gz"
    path.write_bytes(gzip.compress(mrc_bytes() + bytes(2**26)))
    with little_memory():
        assert describe_map(path).warnings == ("bytes follow the values; they are not read",)
    path.write_bytes(gzip.compress(bytes(2**26)))
    with little_memory():
        refuses(read_map, path, "byte order mark")
