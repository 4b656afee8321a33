""".cs tables and .npz trajectories that are cut, forged or would run a program."""

import io
import os
import struct
import zipfile

import numpy as np
import pytest

from cryojax_graph.io import Limits, read_cs, read_npz, read_particles, read_trajectory

COLUMNS = [
    ("uid", "<u8"),
    ("blob/path", "S20"),
    ("blob/idx", "<u4"),
    ("blob/shape", "<u4", (2,)),
    ("blob/psize_A", "<f4"),
    ("alignments3D/pose", "<f4", (3,)),
    ("alignments3D/shift", "<f4", (2,)),
    ("alignments3D/split", "<u4"),
    ("ctf/df1_A", "<f4"),
]


def records(count=3, columns=COLUMNS):
    table = np.zeros(count, columns)
    for name in table.dtype.names:
        if name == "uid":
            table[name] = np.arange(count) + 2**60
        elif table.dtype[name].kind == "S":
            table[name] = b">J1/x.mrcs"
        elif name == "blob/idx":
            table[name] = np.arange(count)
        elif name == "blob/shape":
            table[name] = 64
        elif name == "blob/psize_A":
            table[name] = 1.5
    return table


def npy(array, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), **options)
    return stream.getvalue()


def raw_npy(header: bytes, values=b"", version=1) -> bytes:
    width = "<H" if version == 1 else "<I"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack(width, len(header)) + header + values


def changed(name, value, row=1):
    table = records()
    table[name][row] = value
    return npy(table)


def retyped(name, *kind):
    return npy(records(columns=[(n, *kind) if n == name else (n, *k) for n, *k in COLUMNS]))


def without(name):
    return npy(records(columns=[c for c in COLUMNS if c[0] != name]))


class Payload:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


WIDE = [(f"column/{i:04d}_with_a_long_name", "<f4") for i in range(1500)]
READ = {
    "regular": npy(records()),
    "version 2 header": npy(records(), version=(2, 0)),
    "version 3 header": npy(records(), version=(3, 0)),
    "wide table": npy(records(columns=[*COLUMNS, *WIDE])),
    "big-endian": npy(records().astype([(c[0], c[1].replace("<", ">"), *c[2:]) for c in COLUMNS])),
    "column order of Fortran": npy(np.asfortranarray(records())),
    "no poses": without("alignments3D/pose"),
    "gaps where numpy dropped columns": npy(
        records(columns=[*COLUMNS[:3], ("a", "<f4", (5,)), *COLUMNS[3:], ("b", "<f4")])[
            [c[0] for c in COLUMNS]
        ]
    ),
}
REFUSED = {
    "empty": (b"", "not a NumPy array"),
    "magic alone": (b"\x93NUMPY", "not a NumPy array"),
    "text": (b"data_\nloop_\n", "not a NumPy array"),
    "compressed stream": (b"\x94CSDAT" + bytes(100), "CSDAT", "cryosparc-tools"),
    "version 9": (npy(records()).replace(b"NUMPY\x01", b"NUMPY\x09"), "9.0 is unknown"),
    "cut in the header": (npy(records())[:60], "header"),
    "cut values": (npy(records())[:-5], "table: shape (3,)"),
    "trailing bytes": (npy(records()) + b"x", "table: shape (3,)"),
    "objects": (npy(np.array([Payload()] * 3, object), allow_pickle=True), "Python objects"),
    "a column of objects": (
        npy(np.zeros(3, [("uid", "<u8"), ("blob/path", "O")]), allow_pickle=True),
        "column blob/path",
        "Python objects",
    ),
    "header is a program": (raw_npy(b"__import__('os').mkdir('pwned')\n"), "describe an array"),
    "header of brackets": (raw_npy(b"(" * 60000), "describe an array"),
    "header of minus signs": (raw_npy(b"-" * 60000 + b"1"), "describe an array"),
    "header not UTF-8": (raw_npy(b"{'descr': '\xff'}"), "describe an array"),
    "header of 4 GiB": (raw_npy(b"", version=2)[:8] + b"\xff" * 4, "header"),
    "4 TiB claimed": (
        raw_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (549755813888,)}\n"),
        "needs 4,398,046,511,104 bytes",
    ),
    "negative shape": (
        raw_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': (-1,)}\n"), "header"
    ),
    "shape of text": (
        raw_npy(b"{'descr': '<f8', 'fortran_order': False, 'shape': ('a',)}\n"), "impossible"
    ),
    "unknown type": (
        raw_npy(b"{'descr': '<q9', 'fortran_order': False, 'shape': (1,)}\n", bytes(9)), "not plain"
    ),
    "old alias of a type": (
        raw_npy(b"{'descr': '|a3', 'fortran_order': False, 'shape': (1,)}\n", bytes(3)), "not plain"
    ),
    "text without width": (
        raw_npy(b"{'descr': '|S0', 'fortran_order': False, 'shape': (99999999999,)}\n"), "not plain"
    ),
    "no values in too many dimensions": (
        raw_npy(
            b"{'descr': '<f8', 'fortran_order': False, "
            b"'shape': (0, 99999999999, 99999999999, 99999999999)}\n"
        ),
        "impossible",
    ),
    "text of 4 GB": (
        raw_npy(b"{'descr': '<U999999999', 'fortran_order': False, 'shape': (1,)}\n"), "case.cs"
    ),
    "dates": (npy(np.zeros(3, "M8[s]")), "not plain"),
    "void": (npy(np.zeros(3, "V4")), "not plain"),
    "field missing": (raw_npy(b"{'descr': '<f8', 'shape': (1,)}\n"), "describe an array"),
    "column twice": (
        raw_npy(b"{'descr': [('a', '<f8'), ('a', '<f8')], 'fortran_order': False, 'shape': (1,)}"),
        "columns make no record",
    ),
    "column without a type": (
        raw_npy(b"{'descr': [('a',)], 'fortran_order': False, 'shape': (1,)}"), "unknown"
    ),
    "gaps and no column": (
        raw_npy(b"{'descr': [('', '|V8')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        "no column",
    ),
    "a nameless column": (
        raw_npy(b"{'descr': [('', '<f8')], 'fortran_order': False, 'shape': (1,)}", bytes(8)),
        "unknown",
    ),
    "a column of 4 EB": (
        raw_npy(
            b"{'descr': [('a', '<f8', (1048576, 1048576, 524288))], 'fortran_order': False, "
            b"'shape': (1,)}"
        ),
        "case.cs",
    ),
    "columns of 4 GB": (
        raw_npy(
            b"{'descr': [('a', '<U268435456'), ('b', '<U268435456'), ('c', '<U268435456')], "
            b"'fortran_order': False, 'shape': (1,)}"
        ),
        "case.cs",
    ),
    "nested columns": (npy(np.zeros(3, [("a", [("b", "<f4")])])), "unknown"),
    "no columns": (npy(np.zeros((3, 4))), "without columns"),
    "no rows": (npy(records(0)), "no rows"),
    "no path": (without("blob/path"), "no column blob/path"),
    "no index": (without("blob/idx"), "no column blob/idx"),
    "path of numbers": (retyped("blob/path", "<u4"), "does not hold text"),
    "path not UTF-8": (changed("blob/path", b"\xff\xfe"), "blob/path", "cannot be decoded"),
    "index of floats": (retyped("blob/idx", "<f4"), "column blob/idx"),
    "pose of two numbers": (retyped("alignments3D/pose", "<f4", (2,)), "column alignments3D/pose"),
    "pose of text": (retyped("alignments3D/pose", "S3"), "column alignments3D/pose"),
    "NaN pose": (changed("alignments3D/pose", np.nan), "row 2, column alignments3D/pose"),
    "infinite shift": (changed("alignments3D/shift", np.inf), "row 2, column alignments3D/shift"),
    "pixel size 0": (changed("blob/psize_A", 0), "row 2, column blob/psize_A"),
    "shift pixel size 0": (
        npy(records(columns=[*COLUMNS, ("alignments3D/psize_A", "<f4")])),
        "row 1, column alignments3D/psize_A",
    ),
    "defocus beyond measure": (changed("ctf/df1_A", 1e30), "row 2, column ctf/df1_A"),
    "NaN defocus": (changed("ctf/df1_A", np.nan), "row 2, column ctf/df1_A"),
    "oblong image": (changed("blob/shape", (64, 32)), "row 2, column blob/shape"),
    "split of 7": (changed("alignments3D/split", 7), "row 2, column alignments3D/split"),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_read_as_it_is_meant(case, tmp_path):
    path = tmp_path / "case.cs"
    path.write_bytes(READ[case])
    table = read_particles(path)
    assert table.image_path.tolist() == ["J1/x.mrcs"] * 3
    assert table.image_index.tolist() == [0, 1, 2]
    assert table.box.tolist() == [64] * 3
    assert table.has("poses") == (case != "no poses")


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason(case, tmp_path, monkeypatch, refuses):
    monkeypatch.chdir(tmp_path)
    contents, *words = REFUSED[case]
    path = tmp_path / "case.cs"
    path.write_bytes(contents)
    refuses(read_particles, path, *words)
    assert not (tmp_path / "pwned").exists()


PASSTHROUGH = {
    "a particle missing": (npy(records()[:2]), "1 of 3 particles"),
    "other particles": (changed("uid", 7), "1 of 3 particles"),
    "a particle twice": (changed("uid", 2**60), "row 2, column uid", "occurs twice"),
    "no uid": (without("uid"), "no column uid"),
    "uid of floats": (retyped("uid", "<f8"), "no column uid"),
}


@pytest.mark.parametrize("case", PASSTHROUGH)
def test_a_passthrough_that_does_not_fit_is_refused(case, tmp_path, refuses):
    main, path = tmp_path / "main.cs", tmp_path / "case.cs"
    main.write_bytes(npy(records()))
    contents, *words = PASSTHROUGH[case]
    path.write_bytes(contents)
    refuses(lambda p: read_cs(main, passthrough=[p]), path, *words)


def arrays(**changes):
    values = {
        "coords": np.zeros((2, 3, 3), np.float32) + np.arange(3, dtype=np.float32)[:, None],
        "atom_names": np.array(["N", "CA", "C"]),
        "res_names": np.array(["ALA"] * 3),
        "res_ids": np.array([1, 1, 1], np.int32),
        "chain_ids": np.array(["A"] * 3),
    }
    return {k: v for k, v in (values | changes).items() if v is not None}


def npz(**changes) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays(**changes))
    return stream.getvalue()


def zipped(**members) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, contents in members.items():
            archive.writestr(name.replace("__", "."), contents)
    return stream.getvalue()


BAD_NUMBER = np.full((2, 3, 3), np.nan, np.float32)
FORGED = np.frombuffer(struct.pack("<3I", 65, 0x110000, 66), "<U1")
NPZ_REFUSED = {
    "empty archive": (zipped(), "no array"),
    "cut archive": (npz()[:-30], "not an undamaged .npz"),
    "half an archive": (npz()[: len(npz()) // 2], "not an undamaged .npz"),
    "not an array inside": (zipped(readme__txt="hello"), "readme.txt"),
    "rubbish inside": (zipped(coords__npy="hello"), "array 'coords'"),
    "no coords": (npz(coords=None), "no array coords"),
    "no names": (npz(atom_names=None), "no array atom_names"),
    "flat coords": (npz(coords=np.zeros((3, 3), np.float32)), "not (frames, atoms, 3)"),
    "whole coords": (npz(coords=np.zeros((2, 3, 3), int)), "not (frames, atoms, 3)"),
    "no frames": (npz(coords=np.zeros((0, 3, 3), np.float32)), "not (frames, atoms, 3)"),
    "NaN": (npz(coords=BAD_NUMBER), "frame 1, atom 1", "18 coordinates"),
    "far away": (npz(coords=np.full((2, 3, 3), 1e9, np.float32)), "frame 1, atom 1"),
    "too few names": (npz(atom_names=np.array(["N"])), "array 'atom_names'"),
    "names of numbers": (npz(res_names=np.zeros(3)), "array 'res_names'"),
    "objects": (npz(chain_ids=np.array([Payload()] * 3, object)), "Python objects"),
    "text beyond Unicode": (npz(chain_ids=FORGED), "cannot be decoded"),
    "long names": (npz(chain_ids=np.array(["A" * 100] * 3)), "one short text"),
    "control characters": (npz(chain_ids=np.array(["\x07"] * 3)), "printable"),
    "numbers of floats": (npz(res_ids=np.ones(3)), "array 'res_ids'"),
    "numbers too large": (npz(res_ids=np.full(3, 2**40)), "not a residue number"),
    "unknown element": (npz(atom_names=np.array(["N", "??", "C"])), "atom 2"),
}


@pytest.mark.parametrize("case", NPZ_REFUSED)
def test_a_trajectory_is_refused_with_its_reason(case, tmp_path, monkeypatch, refuses):
    monkeypatch.chdir(tmp_path)
    contents, *words = NPZ_REFUSED[case]
    path = tmp_path / "case.npz"
    path.write_bytes(contents)
    refuses(read_trajectory, path, *words)
    assert not (tmp_path / "pwned").exists()


def test_a_bomb_is_refused_before_it_unpacks(tmp_path, refuses, little_memory):
    path = tmp_path / "case.npz"
    path.write_bytes(npz(coords=np.zeros((2**10, 2**13, 3), np.float32)))
    with little_memory():
        refuses(read_trajectory, path, "unpacks to more than 30 times")
    path.write_bytes(npz())
    refuses(lambda p: read_npz(p, limits=Limits(array_bytes=50)), path, "Limits.array_bytes")
    refuses(lambda p: read_npz(p, limits=Limits(columns=4)), path, "Limits.columns")
    refuses(lambda p: read_trajectory(p, limits=Limits(atoms=2)), path, "Limits.atoms")


def test_an_array_that_is_larger_than_its_archive_says_is_refused(tmp_path, refuses):
    raw = npz()
    with zipfile.ZipFile(io.BytesIO(raw)) as archive:
        size = archive.getinfo("coords.npy").file_size
    path = tmp_path / "case.npz"
    path.write_bytes(raw.replace(struct.pack("<I", size), struct.pack("<I", size - 8)))
    refuses(read_npz, path, "not an undamaged .npz")
