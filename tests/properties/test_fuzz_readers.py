"""Damaged files: every reader gives a result or one typed error, never a foreign exception."""

import gzip
import os
import re
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cryojax_graph import io as cg

MUTANTS = int(os.environ.get("CRYOJAX_GRAPH_FUZZ", "300"))
SMALL = cg.Limits(
    map_bytes=1 << 20, text_bytes=1 << 20, array_bytes=1 << 20, header_bytes=1 << 16, atoms=10_000
)


def mrc_seed(tmp_path) -> bytes:
    values = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    density = cg.Map(values, np.array([1.0, 1.5, 2.0]), np.array([3.0, 0.0, -7.0]))
    cg.write_map(tmp_path / "seed.mrc", density)
    return (tmp_path / "seed.mrc").read_bytes()


def stack_seed(tmp_path) -> bytes:
    images = np.linspace(-1, 1, 5 * 8 * 8).reshape(5, 8, 8)
    cg.write_stack(tmp_path / "seed.mrcs", images, pixel_size=1.3)
    return (tmp_path / "seed.mrcs").read_bytes()


def particles(tmp_path) -> cg.ParticleTable:
    n = 6
    rng = np.random.default_rng(0)
    return cg.new_particles(
        tmp_path / "seed.star",
        {
            "image_path": np.array(["a.mrcs", "b c.mrcs"] * 3, np.dtypes.StringDType()),
            "image_index": np.arange(n),
            "euler_degrees": rng.uniform(0, 180, (n, 3)),
            "shift_angstrom": rng.normal(size=(n, 2)),
            "defocus_u": rng.uniform(1e4, 2e4, n),
            "defocus_v": rng.uniform(1e4, 2e4, n),
            "defocus_angle_degrees": rng.uniform(0, 180, n),
            "voltage_kv": np.full(n, 300.0),
            "spherical_aberration_mm": np.full(n, 2.7),
            "amplitude_contrast": np.full(n, 0.1),
            "pixel_size": np.full(n, 1.5),
            "box": np.full(n, 64),
            "half_set": np.arange(n) % 2 + 1,
        },
    )


def star_seed(tmp_path) -> bytes:
    cg.write_particles(particles(tmp_path), tmp_path / "seed.star")
    return (tmp_path / "seed.star").read_bytes()


def cs_seed(tmp_path) -> bytes:
    cg.write_particles(particles(tmp_path), tmp_path / "seed.cs")
    return (tmp_path / "seed.cs").read_bytes()


def archive_seed(tmp_path) -> bytes:
    cg.write_particles(particles(tmp_path), tmp_path / "seed.npz")
    return (tmp_path / "seed.npz").read_bytes()


def crossed_seed(tmp_path) -> bytes:
    """A STAR file that carries the columns of cryoSPARC."""
    columns = cg.to_cryosparc(particles(tmp_path)).columns
    own = {name: values for name, values in columns.items() if not name.startswith("relion")}
    own |= {"blob/sign": np.full(6, -1, np.float32), "ctf/type": np.array([b"a", b"b c"] * 3)}
    own["alignments3D/weights"] = np.linspace(0, 1, 12, dtype=np.float32).reshape(6, 2)
    cg.write_cs(tmp_path / "seed.cs", own)
    cg.write_particles(cg.read_particles(tmp_path / "seed.cs"), tmp_path / "seed.star")
    return (tmp_path / "seed.star").read_bytes()


PDB = """\
HEADER    TEST
MODEL        1
ATOM      1  N   ALA A   1      11.104   6.134  -6.504  1.00 20.00           N
ATOM      2  CA AALA A   1      11.639   6.071  -5.147  0.60 20.00           C
ATOM      3  CA BALA A   1      11.739   6.171  -5.247  0.40 20.00           C
ATOM      4  C   ALA A   1      10.600   5.500  -4.200  1.00 20.00           C
HETATM    5 ZN    ZN A 101      20.000   5.500  -4.200  1.00 20.00          ZN
ENDMDL
MODEL        2
ATOM      1  N   ALA A   1      12.104   6.134  -6.504  1.00 20.00           N
ATOM      2  CA AALA A   1      12.639   6.071  -5.147  0.60 20.00           C
ATOM      3  CA BALA A   1      12.739   6.171  -5.247  0.40 20.00           C
ATOM      4  C   ALA A   1      11.600   5.500  -4.200  1.00 20.00           C
HETATM    5 ZN    ZN A 101      21.000   5.500  -4.200  1.00 20.00          ZN
ENDMDL
END
"""


def pdb_seed(tmp_path) -> bytes:
    return PDB.encode()


def mmcif_seed(tmp_path) -> bytes:
    (tmp_path / "seed.pdb").write_text(PDB)
    cg.write_trajectory(tmp_path / "seed.cif", cg.read_trajectory(tmp_path / "seed.pdb"))
    return (tmp_path / "seed.cif").read_bytes()


def npz_seed(tmp_path) -> bytes:
    (tmp_path / "seed.pdb").write_text(PDB)
    trajectory = cg.read_trajectory(tmp_path / "seed.pdb")
    cg.write_trajectory(tmp_path / "seed.npz", trajectory)
    return (tmp_path / "seed.npz").read_bytes()


def field_seed(tmp_path) -> bytes:
    values = np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32)
    density = cg.Map(values, np.array([1.0, 1.5, 2.0]), np.array([3.0, 0.0, -7.0]))
    constants = {"width": 0.55, "finer": 2, "steps": 30}
    cg.write_field(tmp_path / "seed.npz", cg.StoredVoxels(density, "positive", constants, 0.01))
    return (tmp_path / "seed.npz").read_bytes()


def networks_seed(tmp_path) -> bytes:
    rng, sizes = np.random.default_rng(0), [(3, 4), (4, 1)]
    networks = cg.StoredNetworks(
        kernels=tuple(rng.normal(size=(1, *s)).astype(np.float16) for s in sizes),
        biases=tuple(rng.normal(size=(1, s[1])).astype(np.float16) for s in sizes),
        network=np.array([0, -1], np.int32),
        constant=np.zeros(2, np.float32),
        offset=0.5,
        scale=0.5,
        shape=(4, 5, 9),
        origin=np.array([3.0, 0.0, -7.0]),
        voxel_size=np.array([1.0, 1.5, 2.0]),
        starts=((0,), (0,), (0, 3)),
        size=(4, 5, 6),
        omega=30.0,
        blend="smooth",
        largest_error=0.1,
        rms_error=0.01,
    )
    cg.write_field(tmp_path / "seed.npz", networks)
    return (tmp_path / "seed.npz").read_bytes()


def fasta_seed(tmp_path) -> bytes:
    return b">one first\nMKLVAAGG\nwwyx\n>two\nACDEFGHIKLMNPQRSTVWY\n"


def gz_seed(tmp_path) -> bytes:
    return gzip.compress(mrc_seed(tmp_path))


def read_stack(path, limits):
    stack = cg.open_stack(path, limits=limits)
    return stack.read(np.arange(min(len(stack), 3)))


def write_again(path, limits):
    """What was accepted must also be writable, and unchanged when it is read once more."""
    table = cg.read_particles(path, limits=limits)
    cg.write_particles(table, path.with_name("again.star"))
    again = cg.read_particles(path.with_name("again.star"), limits=limits)
    assert len(again) == len(table)
    if table.kind == "star":
        for name, values in table.columns.items():
            assert (again.columns[name] == values).all()
        if table.has("box") and table.has("pixel_size"):
            cg.write_particles(table, path.with_name("again.cs"))
            assert len(cg.read_particles(path.with_name("again.cs"), limits=limits)) == len(table)


FORMATS = {
    "mrc": (mrc_seed, "f.mrc", cg.read_map),
    "mrc described": (mrc_seed, "f.mrc", cg.describe),
    "packed mrc": (gz_seed, "f.mrc.gz", cg.read_map),
    "stack": (stack_seed, "f.mrcs", read_stack),
    "star": (star_seed, "f.star", write_again),
    "star described": (star_seed, "f.star", cg.describe),
    "cs": (cs_seed, "f.cs", write_again),
    "archive": (archive_seed, "f.npz", write_again),
    "crossed star": (crossed_seed, "f.star", write_again),
    "cs described": (cs_seed, "f.cs", cg.describe),
    "pdb": (pdb_seed, "f.pdb", cg.read_trajectory),
    "pdb described": (pdb_seed, "f.pdb", cg.describe),
    "mmcif": (mmcif_seed, "f.cif", cg.read_trajectory),
    "npz": (npz_seed, "f.npz", cg.read_trajectory),
    "field": (field_seed, "f.npz", cg.read_field),
    "field of networks": (networks_seed, "f.npz", cg.read_field),
    "fasta": (fasta_seed, "f.fasta", cg.read_sequences),
}
NUMBERS = (b"nan", b"-1", b"1e999", b"0", b"99999999999999999999", b"", b"?", b"1_0", b"'", b";")
WORDS = (0, -1, 1, 2**31 - 1, -(2**31), 0x7FC00000, 0x7F800000, 0x01000000)


def mutate(seed: bytes, rng: np.random.Generator) -> bytes:
    data = bytearray(seed)
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        at = int(rng.integers(len(data)))
        span = int(rng.integers(1, 40))
        kind = rng.integers(9)
        if kind == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            data[at] = int(rng.integers(256))
        elif kind == 2:
            del data[at:]
        elif kind == 3:
            del data[at : at + span]
        elif kind == 4:
            data[at:at] = data[at : at + span]
        elif kind == 5:
            data[at:at] = rng.bytes(span)
        elif kind == 6:
            word = int(rng.choice(WORDS))
            data[at // 4 * 4 : at // 4 * 4 + 4] = word.to_bytes(4, "little", signed=True)
        elif kind == 7:
            tokens = list(re.finditer(rb"[-+.\w]+", bytes(data)))
            if tokens:
                token = tokens[int(rng.integers(len(tokens)))]
                data[token.start() : token.end()] = NUMBERS[int(rng.integers(len(NUMBERS)))]
        else:
            lines = bytes(data).split(b"\n")
            i, j = rng.integers(len(lines), size=2)
            lines[i], lines[j] = lines[j], lines[i]
            data = bytearray(b"\n".join(lines))
    return bytes(data)


def outcome(read, path, what) -> cg.InputError | None:
    try:
        read(path, limits=SMALL)
    except cg.InputError as error:
        return error
    except Exception as error:
        pytest.fail(f"{what}: {type(error).__name__}: {error}")
    return None


def check_message(error: cg.InputError, path):
    text = str(error)
    assert error.file.startswith(str(path.parent)), text
    assert "\n" not in text, text
    assert len(text) < 1000, text
    assert all((error.place, error.cause, error.remedy)), text


@pytest.mark.parametrize("name", FORMATS)
def test_a_damaged_file_is_read_or_refused(name, tmp_path):
    make, file_name, read = FORMATS[name]
    seed = make(tmp_path)
    path = tmp_path / file_name
    path.write_bytes(seed)
    read(path, limits=SMALL)
    refused = 0
    for number in range(MUTANTS):
        path.write_bytes(mutate(seed, np.random.default_rng([number, len(seed)])))
        start = time.monotonic()
        error = outcome(read, path, f"mutant {number} of {name}")
        assert time.monotonic() - start < 5, f"mutant {number} of {name} took too long"
        if error is not None:
            refused += 1
            check_message(error, path)
    assert refused


# The file is written anew by every example.
@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(contents=st.one_of(st.binary(max_size=2000), st.text(max_size=300).map(str.encode)))
@pytest.mark.parametrize("name", FORMATS)
def test_any_bytes_are_read_or_refused(name, tmp_path, contents):
    _, file_name, read = FORMATS[name]
    path = tmp_path / file_name
    path.write_bytes(contents)
    error = outcome(read, path, name)
    if error is not None:
        check_message(error, path)


def test_mutants_are_the_same_in_every_run():
    seed = bytes(range(256))
    first, second = (mutate(seed, np.random.default_rng(3)) for _ in range(2))
    assert first == second != seed
