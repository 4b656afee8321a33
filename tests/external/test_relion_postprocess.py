"""Curves, B-factor and sharpened map against relion_postprocess on the same half-maps and mask."""

import shutil
import subprocess
from pathlib import Path

import jax
import numpy as np
import pytest
from gemmi import cif

from cryojax_graph.forward import soften
from cryojax_graph.io import Map, read_map, write_map
from cryojax_graph.jobs.map_quality import assess, sharpened_map
from cryojax_graph.metrics import (
    half_spectrum,
    local_correlation,
    real_map,
    spectral_radius,
    sphere_window,
)

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not shutil.which("relion_postprocess"),
        reason="relion_postprocess is not installed (Debian package relion)",
    ),
]

BOX, VOXEL, SEEDS = 64, 2.0, 6
COLUMNS = {
    "unmasked": "FourierShellCorrelationUnmaskedMaps",
    "masked": "FourierShellCorrelationMaskedMaps",
    "randomised": "CorrectedFourierShellCorrelationPhaseRandomizedMaskedMaps",
    "corrected": "FourierShellCorrelationCorrected",
}


def made() -> tuple[np.ndarray, np.ndarray]:
    """Two half-maps of a lump whose detail fades by 80 Å², and a soft mask."""
    random = np.random.default_rng(0)
    axis = (np.arange(BOX) - BOX // 2) ** 2
    inside = np.sqrt(axis[:, None, None] + axis[:, None] + axis) < 14
    detail, *noise = random.standard_normal((3, BOX, BOX, BOX)).astype(np.float32)
    square = (spectral_radius(BOX) / (BOX * VOXEL)) ** 2
    spectrum = half_spectrum((inside * (1 + detail)).astype(np.float32))
    signal = real_map(spectrum * np.exp(-20 * square))
    return signal + 0.5 * np.stack(noise), soften(inside, extend=2.0, edge=8.0)


def postprocess(folder: Path, seed: int, *flags: str, **options: float) -> dict:
    values = {"o": "out", "angpix": VOXEL, "random_seed": seed, **options}
    named = [text for name, value in values.items() for text in (f"--{name}", str(value))]
    maps = ["--i", "half1.mrc", "--i2", "half2.mrc", "--mask", "mask.mrc"]
    if "adhoc_bfac" not in options:
        named.append("--auto_bfac")
    # The exit status speaks of a PDF that needs Ghostscript.
    subprocess.run(["relion_postprocess", *maps, *named, *flags], cwd=folder, capture_output=True)
    document = cif.read(str(folder / "out.star"))
    general, table = document.find_block("general"), document.find_block("fsc")
    curves = {
        name: np.array([float(value) for value in table.find_loop(f"_rln{column}")])
        for name, column in COLUMNS.items()
    }
    numbers = {
        name: float(general.find_value(f"_rln{name}"))
        for name in ("FinalResolution", "BfactorUsedForSharpening", "RandomiseFrom")
    }
    return curves | numbers


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Folder, our results and RELION's, one for each seed."""
    folder = tmp_path_factory.mktemp("postprocess")
    halves, mask = made()
    for name, values in zip(("half1", "half2", "mask"), (*halves, mask), strict=True):
        density = Map(values.astype(np.float32), np.full(3, VOXEL), np.zeros(3))
        write_map(folder / f"{name}.mrc", density)
    ours = [assess(jax.random.key(s), *halves, mask, voxel_size=VOXEL) for s in range(SEEDS)]
    end = ours[0].resolution * 0.999
    theirs = [
        postprocess(folder, s + 1, autob_lowres=10.0, autob_highres=end) for s in range(SEEDS)
    ]
    return folder, ours, theirs


def test_curves_without_randomness_are_relions(both):
    """What is left is that RELION counts the plane kx = 0 of its half spectrum twice.

    It is a random sample of each shell, so this matters less the more coefficients there are.
    """
    _, ours, theirs = both
    for name in ("unmasked", "masked"):
        found = getattr(ours[0].curves, name)
        np.testing.assert_allclose(found, theirs[0][name], atol=0.02)


def test_curves_are_relions_to_five_digits_where_that_plane_is_counted_as_relion_does(both):
    first, second = (half_spectrum(h).ravel() for h in made()[0])
    shell = np.rint(spectral_radius(BOX)).astype(int).ravel()
    cross, one, other = (
        np.bincount(shell, (a * b.conj()).real)[: BOX // 2 + 1]
        for a, b in ((first, second), (first, first), (second, second))
    )
    found = cross / np.sqrt(one * other)
    np.testing.assert_allclose(found, both[2][0]["unmasked"], atol=2e-5)


def test_phases_are_random_from_the_same_shell_on(both):
    _, ours, theirs = both
    start = ours[0].curves.randomised_from
    assert start is not None
    assert theirs[0]["RandomiseFrom"] == pytest.approx(BOX * VOXEL / start, rel=1e-4)


def test_means_of_the_corrected_curves_agree_within_the_noise_of_their_seeds(both):
    _, ours, theirs = both
    for name in ("randomised", "corrected"):
        a = np.stack([getattr(quality.curves, name) for quality in ours])
        b = np.stack([run[name] for run in theirs])
        error = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / SEEDS)
        apart = abs(a.mean(axis=0) - b.mean(axis=0))
        assert (apart < 4.5 * error + 0.01).all(), name


def test_resolution_is_that_of_the_same_shell(both):
    _, ours, theirs = both
    below = [np.flatnonzero(quality.curves.corrected[1:] < 0.143)[0] for quality in ours]
    said = [BOX * VOXEL / run["FinalResolution"] for run in theirs]
    assert abs(np.mean(below) - np.mean(said)) <= 0.5


def test_the_b_factor_is_relions(both):
    _, ours, theirs = both
    found, said = (
        np.mean(values)
        for values in (
            [-quality.b_factor for quality in ours],
            [run["BfactorUsedForSharpening"] for run in theirs],
        )
    )
    assert found == pytest.approx(said, abs=3.0)


def test_the_sharpened_map_is_relions_at_the_same_b_factor_and_filter(both):
    folder, ours, _ = both
    quality = ours[0]
    postprocess(folder, 1, adhoc_bfac=-quality.b_factor, low_pass=quality.resolution)
    theirs = read_map(folder / "out.mrc").values
    assert np.corrcoef(sharpened_map(quality).ravel(), theirs.ravel())[0, 1] > 0.995


def local_curves(path: Path) -> dict[tuple[int, ...], np.ndarray]:
    """Masked curve of each sphere by its place (x, y, z) from the centre.

    gemmi refuses the file, whose loops have no end.
    """
    found = {}
    for block in path.read_text().split("data_fsc_")[1:]:
        name, *lines = block.splitlines()
        rows = [line.split() for line in lines if line.split() and line.split()[0].isdigit()]
        found[tuple(map(int, name.split("_")))] = np.array([float(row[5]) for row in rows])
    return found


def test_curves_of_local_spheres_are_relions(both):
    """RELION transforms each sphere in the whole box, we in the cube around it."""
    folder = both[0]
    postprocess(folder, 1, "--locres", adhoc_bfac=0.0)
    theirs = local_curves(folder / "out_locres_fscs.star")
    maps = made()[0].astype(np.float32)
    window = sphere_window(radius=12.5 / VOXEL, edge=25.0 / VOXEL)
    frequency = np.arange(len(window) // 2 + 1) / len(window)
    compared = 0
    for (x, y, z), curve in theirs.items():
        if max(abs(x), abs(y), abs(z)) > 10:
            continue
        centre = np.array([z, y, x]) + BOX // 2
        found = local_correlation(maps, maps, window, centre, from_shell=BOX)
        said = np.interp(frequency, np.arange(BOX // 2 + 1) / BOX, curve)
        assert np.abs(found - said)[2:].mean() < 0.02
        assert np.corrcoef(found, said)[0, 1] > 0.995
        compared += 1
    assert compared >= 4
