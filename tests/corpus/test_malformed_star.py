"""STAR tables as other programs, editors and full disks leave them."""

import bz2
import gzip

import numpy as np
import pytest

from cryojax_graph.io import Limits, open_images, read_particles, read_star, write_stack

ROW = "1 0.5 {n}@s.mrcs 10000 9000 10 300 2.7 0.1 1.5 1"
LABELS = [
    "rlnClassNumber",
    "rlnOther",
    "rlnImageName",
    "rlnDefocusU",
    "rlnDefocusV",
    "rlnDefocusAngle",
    "rlnVoltage",
    "rlnSphericalAberration",
    "rlnAmplitudeContrast",
    "rlnImagePixelSize",
    "rlnRandomSubset",
]


def table(rows, labels=LABELS, block="particles"):
    head = "".join(f"_{label} #{i}\n" for i, label in enumerate(labels, 1))
    return f"data_{block}\n\nloop_\n{head}" + "\n".join(rows) + "\n"


def regular(count=3):
    return table([ROW.format(n=f"{n:06d}") for n in range(1, count + 1)])


def changed(column, value, row=1):
    """The regular table with one value replaced."""
    rows = [ROW.format(n=n) for n in (1, 2, 3)]
    words = rows[row].split()
    words[LABELS.index(column)] = value
    rows[row] = " ".join(words)
    return table(rows)


OPTICS = table(["1 300 2.7 0.1 1.5 64", "2 200 2.7 0.1 1.5 64"], [
    "rlnOpticsGroup", "rlnVoltage", "rlnSphericalAberration", "rlnAmplitudeContrast",
    "rlnImagePixelSize", "rlnImageSize",
], "optics")  # fmt: skip
IN_GROUPS = table(
    ["1@s.mrcs 1e4 9e3 0 1", "2@s.mrcs 1e4 9e3 0 2", "3@s.mrcs 1e4 9e3 0 1"],
    ["rlnImageName", "rlnDefocusU", "rlnDefocusV", "rlnDefocusAngle", "rlnOpticsGroup"],
)

READ = {
    "regular": regular(),
    "optics before": OPTICS + "\n" + IN_GROUPS,
    "optics after": IN_GROUPS + "\n" + OPTICS,
    "Windows line ends": regular().replace("\n", "\r\n"),
    "tabs": regular().replace(" ", "\t"),
    "no last line end": regular().rstrip("\n"),
    "blank lines and comments": "# version 30001\n\n" + regular().replace("loop_", "\n# x\nloop_"),
    "comment at the end of a row": regular().replace("1.5 1\n", "1.5 1 # good\n", 1),
    "numbers without comments": regular().replace(" #", "#").replace("#", " #"),
    "block without a name": regular().replace("data_particles", "data_"),
    "block of RELION 3.0": regular().replace("data_particles", "data_images"),
    "quoted name with a blank": regular().replace("000001@s.mrcs", '"000001@a b.mrcs"'),
    "apostrophe in a name": regular().replace("000001@s.mrcs", "000001@it's.mrcs"),
    "vector in brackets": regular().replace(" 0.5 ", " [0.1,2,-3e-4] "),
    "capital loop": regular().replace("loop_", "LOOP_"),
    "exponents": regular().replace(" 10000 ", " 1.0E+04 "),
    "whole numbers with a point": regular().replace("1.5 1\n", "1.5 1.000000\n"),
    "leading zeros": regular().replace("000001@", "000000000001@"),
    "another table": regular() + "\ndata_job\n\n_rlnJobTypeLabel relion.x\n_rlnJobIsTomo 0\n",
    "an empty block": regular() + "\ndata_rest\n",
    "byte order mark": "\ufeff" + regular(),
    "gzip": gzip.compress(regular().encode()),
    "bzip2": bz2.compress(regular().encode()),
}

REFUSED = {
    "empty": ("", "it is empty"),
    "blank": ("\n \n", "it is empty"),
    "comment alone": ("# version 30001\n", "no data block"),
    "UTF-16": (regular().encode("utf-16"), "UTF-16"),
    "Latin-1": (regular().replace("s.mrcs", "ü.mrcs").encode("latin-1"), "not UTF-8"),
    "not ASCII": (regular().replace("s.mrcs", "ü.mrcs"), "not ASCII"),
    "zero byte": (regular().replace("s.mrcs", "s\0.mrcs"), "zero byte"),
    "random bytes": (np.random.default_rng(0).bytes(3000), "case.star"),
    "no block": (regular().split("\n", 1)[1], "expected block header"),
    "cut in the last row": (regular()[:-30], "line 17", "values for the 11 columns"),
    "cut in the header": (regular().split("_rlnVoltage")[0], "no values; the file may be cut"),
    "row one short": (regular().replace("1.5 1\n", "1.5\n", 1), "line 15", "10 values"),
    "row one long": (regular().replace("1.5 1\n", "1.5 1 7\n", 1), "line 15", "12 values"),
    "26 columns and 17 values": (
        table([" ".join(["1"] * 17)] * 17, [f"rln{i}" for i in range(26)]),
        "line 30",
        "17 values for the 26 columns",
    ),
    "short rows that fill the columns by chance": (
        table([" ".join(["1"] * 17)] * 26, [f"rln{i}" for i in range(26)]),
        "line 30",
        "17 values for the 26 columns",
    ),
    "two rows on a line": (regular().replace("1.5 1\n1 0.5", "1.5 1 1 0.5", 1), "22 values"),
    "duplicate column": (regular().replace("rlnOther", "rlnVoltage"), "duplicate tag"),
    "duplicate block": (regular() + regular(), "duplicate block name"),
    "two nameless blocks": (
        (regular() + regular()).replace("data_particles", "data_"),
        "case.star",
    ),
    "two loops in a block": (regular() + "\nloop_\n_rlnX\n1\n", "2 loops"),
    "pairs beside a loop": (regular() + "\n_rlnX 1\n", "not one table"),
    "save frame": (regular() + "\nsave_x\n_a 1\nsave_\n", "save frame"),
    "open quote": (regular().replace("000001@s.mrcs", '"000001@s.mrcs'), "line 15"),
    "several lines": (regular().replace(" 0.5 ", "\n;a\nb\n;\n", 1), "several lines"),
    "no images": (OPTICS, "no table has a column rlnImageName"),
    "images in two tables": (
        (regular() + regular().replace("data_", "data_more")).replace("data_particles", "data_a"),
        "all hold images",
    ),
    "text for a number": (changed("rlnDefocusU", "high"), "row 2", "'high'", "rlnDefocusU"),
    "NaN": (changed("rlnDefocusV", "nan"), "row 2", "rlnDefocusV"),
    "infinity": (changed("rlnVoltage", "inf"), "row 2", "rlnVoltage"),
    "too large": (changed("rlnDefocusV", "1e999"), "row 2", "rlnDefocusV"),
    "underscore in a number": (changed("rlnDefocusV", "1_0"), "'1_0'"),
    "nothing for a number": (changed("rlnDefocusV", "?"), "'?'"),
    "empty text for a number": (changed("rlnDefocusV", '""'), "row 2"),
    "decimal comma": (changed("rlnDefocusV", "9000,5"), "row 2"),
    "image 0": (changed("rlnImageName", "0@s.mrcs"), "row 2", "numbers from 1"),
    "image -1": (changed("rlnImageName", "-1@s.mrcs"), "row 2"),
    "image x": (changed("rlnImageName", "x@s.mrcs"), "row 2"),
    "image without a stack": (changed("rlnImageName", "2@"), "row 2"),
    "image of many digits": (changed("rlnImageName", "9" * 30 + "@s.mrcs"), "row 2"),
    "defocus beyond measure": (changed("rlnDefocusU", "1e300"), "row 2", "rlnDefocusU"),
    "voltage 0": (changed("rlnVoltage", "0"), "row 2", "rlnVoltage"),
    "pixel size 0": (changed("rlnImagePixelSize", "0"), "row 2", "rlnImagePixelSize"),
    "amplitude contrast 2": (changed("rlnAmplitudeContrast", "2"), "not between -1 and 1"),
    "half-set 3": (changed("rlnRandomSubset", "3"), "row 2", "rlnRandomSubset"),
    "half-set 1.5": (changed("rlnRandomSubset", "1.5"), "not a whole number"),
    "optics group missing": (
        OPTICS + IN_GROUPS.replace("0 2\n", "0 5\n"), "row 2", "optics group 5"
    ),
    "optics group twice": (
        OPTICS.replace("2 200", "1 200") + IN_GROUPS, "table optics", "occurs twice"
    ),
    "particles without groups": (OPTICS + regular(), "no column rlnOpticsGroup"),
    "optics without groups": (OPTICS.replace("rlnOpticsGroup ", "x ") + IN_GROUPS, "optics"),
    "bad number in the optics": (OPTICS.replace("200", "x") + IN_GROUPS, "table optics", "'x'"),
    "one origin of two": (regular().replace("rlnOther", "rlnOriginXAngst"), "rlnOriginYAngst"),
    "cut gzip": (gzip.compress(regular().encode())[:-9], "gzip data"),
}  # fmt: skip


def write(path, contents):
    path.write_bytes(contents if isinstance(contents, bytes) else contents.encode())


@pytest.mark.parametrize("case", READ)
def test_read_as_it_is_meant(case, tmp_path):
    path = tmp_path / "case.star"
    write(path, READ[case])
    particles = read_particles(path)
    particles.require("ctf", "pixel_size")
    assert particles.image_index.tolist() == [0, 1, 2]
    np.testing.assert_allclose(particles.defocus_u, 1e4)
    np.testing.assert_allclose(particles.pixel_size, 1.5)
    np.testing.assert_allclose(particles.voltage_kv, [300, 200 if "optics" in case else 300, 300])


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_its_reason(case, tmp_path, refuses):
    contents, *words = REFUSED[case]
    path = tmp_path / "case.star"
    write(path, contents)
    refuses(read_particles, path, *words)


def test_a_file_mended_after_a_failure_is_read(tmp_path, refuses):
    path = tmp_path / "case.star"
    write(path, REFUSED["row one short"][0])
    refuses(read_star, path)
    write(path, regular())
    assert len(read_star(path)["particles"]) == 3


def test_an_index_beyond_the_stack_is_refused_when_the_images_are_opened(tmp_path, refuses):
    write_stack(tmp_path / "s.mrcs", np.ones((2, 4, 4)), pixel_size=1.5)
    path = tmp_path / "case.star"
    for index in ("3", "2147483648"):
        write(path, changed("rlnImageName", f"{index}@s.mrcs", row=2))
        table = read_particles(path)
        refuses(lambda _, t=table: open_images(t), path, "row 3", f"image {index}", "which holds 2")


def test_too_many_columns_are_refused(tmp_path, refuses):
    path = tmp_path / "case.star"
    write(path, regular())
    refuses(lambda p: read_star(p, limits=Limits(columns=10)), path, "Limits.columns")


def test_a_packed_bomb_is_refused(tmp_path, refuses, little_memory):
    path = tmp_path / "case.star.gz"
    write(path, gzip.compress(regular().encode() + b" " * 2**26))
    with little_memory():
        refuses(read_star, path, "unpacks to more than 30 times")
    write(path, regular())
    refuses(lambda p: read_star(p, limits=Limits(text_bytes=100)), path, "Limits.text_bytes")
