"""RELION reads what ``convert`` writes, and reconstructs the same map from it."""

import shutil
import subprocess

import mrcfile
import numpy as np
import pytest

from cryojax_graph.cli import main
from cryojax_graph.io import (
    new_particles,
    read_cs,
    read_particles,
    read_star,
    with_columns,
    write_cs,
    write_particles,
    write_stack,
)

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not (shutil.which("relion_reconstruct") and shutil.which("relion_star_printtable")),
        reason="relion_reconstruct and relion_star_printtable are not installed",
    ),
]
BOX, COUNT, PIXEL = 24, 40, 3.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Particles whose images are smooth noise, so that every pose and shift counts."""
    folder = tmp_path_factory.mktemp("relion")
    rng = np.random.default_rng(0)
    spectrum = np.fft.rfft2(rng.normal(size=(COUNT, BOX, BOX)))
    radius = np.hypot(np.fft.fftfreq(BOX)[:, None], np.fft.rfftfreq(BOX)[None])
    images = np.fft.irfft2(spectrum * np.exp(-((radius * 6) ** 2)), s=(BOX, BOX))
    write_stack(folder / "a.mrcs", images.astype(np.float32), pixel_size=PIXEL)
    shutil.copy(folder / "a.mrcs", folder / "b.mrc")
    fields = {
        "image_path": np.full(COUNT, "a.mrcs"),
        "image_index": np.arange(COUNT),
        "euler_degrees": rng.uniform((-180, 0, -180), 180, (COUNT, 3)),
        "shift_angstrom": rng.uniform(-6, 6, (COUNT, 2)),
        "defocus_u": rng.uniform(9000, 20000, COUNT),
        "defocus_v": rng.uniform(9000, 20000, COUNT),
        "defocus_angle_degrees": rng.uniform(-90, 90, COUNT),
        "phase_shift_degrees": rng.uniform(0, 180, COUNT),
        "voltage_kv": np.full(COUNT, 300.0),
        "spherical_aberration_mm": np.full(COUNT, 2.7),
        "amplitude_contrast": np.full(COUNT, 0.1),
        "pixel_size": np.full(COUNT, PIXEL),
        "box": np.full(COUNT, BOX),
        "half_set": np.arange(COUNT) % 2 + 1,
        "class_number": np.arange(COUNT) % 3 + 1,
    }
    write_particles(new_particles("a.star", fields), folder / "a.star")
    return folder


def convert(source, target):
    assert main(["convert", str(source), "-o", str(target), "--overwrite"]) == 0
    return target


def cryosparcs_own(folder, stack):
    """The particles as cryoSPARC would write them, with nothing of RELION's left."""
    columns = read_cs(convert(folder / "a.star", folder / "a.cs"))
    own = {k: v for k, v in columns.items() if not k.startswith("relion")}
    write_cs(folder / "own.cs", own | {"blob/path": np.array([stack] * COUNT)})
    return folder / "own.cs"


def reconstructed(folder, table):
    command = ["relion_reconstruct", "--i", table.name, "--o", "map.mrc", "--ctf"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
    with mrcfile.open(folder / "map.mrc") as mrc:
        return mrc.data.astype(np.float64)


def correlation(first, second):
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def test_relion_prints_every_column_of_a_converted_table(folder):
    star = convert(cryosparcs_own(folder, b"b.mrc"), folder / "own.star")
    table = read_star(star)["particles"].columns
    for label in ("rlnImageName", "rlnAngleRot", "rlnRandomSubset", "cs/uid"):
        command = ["relion_star_printtable", star.name, "data_particles", f"_{label}"]
        printed = subprocess.run(
            command, cwd=folder, check=True, capture_output=True, text=True, timeout=60
        )
        assert printed.stdout.split() == table[label].tolist()


def test_the_map_is_the_same_after_cryosparc_and_another_where_shifts_are_not(folder):
    expected = reconstructed(folder, folder / "a.star")
    back = convert(convert(folder / "a.star", folder / "a.cs"), folder / "back.star")
    np.testing.assert_array_equal(reconstructed(folder, back), expected)
    through = convert(convert(folder / "a.star", folder / "a.npz"), folder / "back.star")
    np.testing.assert_array_equal(reconstructed(folder, through), expected)
    # Poses through axis and angle, shifts through pixels, a stack that RELION has to be told of.
    own = convert(cryosparcs_own(folder, b"b.mrc"), folder / "own.star")
    scale = np.abs(expected).max()
    np.testing.assert_allclose(reconstructed(folder, own), expected, atol=2e-3 * scale)
    table = read_particles(own)
    wrong = with_columns(table, {"shift_angstrom": -table.shift_angstrom})
    write_particles(wrong, folder / "wrong.star")
    assert correlation(reconstructed(folder, folder / "wrong.star"), expected) < 0.9


def test_relion_refuses_the_stack_without_the_mark(folder):
    own = cryosparcs_own(folder, b"b.mrc")
    plain = folder / "plain.star"
    assert main(["convert", str(own), "-o", str(plain), "--plain-stack-names", "--overwrite"]) == 0
    with pytest.raises(subprocess.CalledProcessError) as refused:
        reconstructed(folder, plain)
    assert b"stacks of images in MRC-format should have extension .mrcs" in refused.value.stderr
