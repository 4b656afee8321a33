"""``reconstruct --tilt-pairs`` on simulated pairs, and ``--bootstrap``."""

import json
from functools import partial
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.forward.fourier import to_image
from cryojax_graph.forward.image import gaussian_spectrum
from cryojax_graph.io import (
    new_particles,
    read_map,
    read_particles,
    to_cryosparc,
    with_columns,
    write_particles,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import ParticleTable, subset
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import (
    PairingConfig,
    ReconstructConfig,
    plan_reconstruct,
    reconstruct,
)
from cryojax_graph.metrics import half_spectrum, outside_cone

PAIRS, BOX, PIXEL, TILT, AXIS, BEFORE = 240, 32, 4.0, 50.0, 20.0, -65.0
DEFOCUS = 15_000.0


def about_z(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def about_y(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]])


class Case(NamedTuple):
    tilted: Path
    untilted: Path
    densities: dict[int, np.ndarray]


@jax.jit
def images_of(key, positions, rotation):
    """Clean images of residues in given views, and noise of three times their deviation."""
    n = len(positions)
    ctf = CTF(DEFOCUS, DEFOCUS)
    draw = partial(gaussian_spectrum, box=BOX, pixel_size=PIXEL)

    def image(matrix):
        zero = jnp.zeros(2)
        return to_image(draw(positions, jnp.ones(n), jnp.full(n, 3.2), matrix, zero, ctf))

    clean = jax.lax.map(image, rotation)
    return clean + clean.std() * jax.random.normal(key, clean.shape)


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Two classes: a protein, and the same protein lying on its side."""
    folder = tmp_path_factory.mktemp("pairs")
    atoms = read_demo_molecule()[0]
    calpha = atoms.positions[atoms.name == "CA"].astype(np.float64)
    calpha -= calpha.mean(axis=0)
    objects = {1: calpha, 3: calpha @ about_y(90.0).T}
    number = np.where(np.arange(PAIRS) % 3 == 0, 3, 1)
    in_plane = np.random.default_rng(0).uniform(-180, 180, PAIRS)
    tilting = about_z(AXIS) @ about_y(TILT) @ about_z(-BEFORE)
    rotation = np.stack([tilting @ about_z(phi) for phi in in_plane])
    images = np.empty((PAIRS, BOX, BOX), np.float32)
    for name, positions in objects.items():
        rows = number == name
        made = images_of(
            jax.random.key(name), jnp.asarray(positions, jnp.float32),
            jnp.asarray(rotation[rows], jnp.float32),
        )  # fmt: skip
        images[rows] = np.asarray(made)
    write_stack(folder / "tilted.mrcs", images, pixel_size=PIXEL)
    common = {
        "defocus_u": np.full(PAIRS, DEFOCUS),
        "defocus_v": np.full(PAIRS, DEFOCUS),
        "defocus_angle_degrees": np.zeros(PAIRS),
        "voltage_kv": np.full(PAIRS, 300.0),
        "spherical_aberration_mm": np.full(PAIRS, 2.7),
        "amplitude_contrast": np.full(PAIRS, 0.1),
        "pixel_size": np.full(PAIRS, PIXEL),
        "box": np.full(PAIRS, BOX),
        "image_index": np.arange(PAIRS),
    }
    micrograph = np.array([f"grid_{row // 60}" for row in range(PAIRS)])
    for which in ("tilted", "untilted"):
        fields = {**common, "image_path": np.full(PAIRS, f"{which}.mrcs")}
        if which == "untilted":
            fields["euler_degrees"] = np.stack([0 * in_plane, 0 * in_plane, in_plane], axis=1)
            fields["shift_angstrom"] = np.zeros((PAIRS, 2))
            fields["class_number"] = number
        table = with_columns(
            new_particles(folder / f"{which}.star", fields),
            {
                "rlnMicrographName": np.array([f"{name}_{which}.mrc" for name in micrograph]),
                "rlnImageId": np.arange(PAIRS),
            },
        )
        write_particles(table, folder / f"{which}.star")
    densities = {
        name: np.asarray(
            density_of_gaussians(
                jnp.asarray(positions, jnp.float32), jnp.ones(len(positions)),
                jnp.full(len(positions), 3.2), box=BOX, voxel_size=PIXEL,
            )
        )
        for name, positions in objects.items()
    }  # fmt: skip
    return Case(folder / "tilted.star", folder / "untilted.star", densities)


ANGLES = {"tilt_angle": TILT, "tilt_axis": AXIS, "untilted_axis": BEFORE}


def settings(case: Case, **changes) -> ReconstructConfig:
    given = {"tilt_pairs": str(case.untilted), **ANGLES, **changes}
    told = {"by": given.pop("pair_by", None), "untilted_axis": given.pop("untilted_axis")}
    return ReconstructConfig(str(case.tilted), pairs=PairingConfig(**told), **given)


def run(case: Case, folder: Path, **changes) -> tuple[Path, dict, dict]:
    config = settings(case, **({"padding": 1} | changes))
    job = reconstruct(config, options=JobOptions(output=str(folder)))
    read = (json.loads((job / f"{name}.json").read_text()) for name in ("metrics", "manifest"))
    return job, *read


def rewritten(case: Case, folder: Path, which: str, change) -> Case:
    """The tables beside the same images, one of them changed."""
    folder.mkdir()
    (folder / "tilted.mrcs").hardlink_to(case.tilted.parent / "tilted.mrcs")
    paths = {}
    for name, path in (("tilted", case.tilted), ("untilted", case.untilted)):
        table = read_particles(path)
        paths[name] = folder / path.name
        write_particles(change(table) if name == which else table, paths[name])
    return case._replace(**paths)


def agreement(found: np.ndarray, density: np.ndarray, region: np.ndarray | None = None) -> float:
    """Correlation of coefficients down to 12 Å; outside the missing cone where not said."""
    k = np.fft.fftfreq(BOX) * BOX
    square = k[:, None, None] ** 2 + k[:, None] ** 2 + k[: BOX // 2 + 1] ** 2
    band = (square > 4) & (square < (BOX * PIXEL / 12) ** 2)
    band &= outside_cone(BOX, 90 - TILT) if region is None else region
    first, second = (half_spectrum(volume)[band] for volume in (found, density))
    overlap = (first * second.conj()).real.sum()
    return float(overlap / np.linalg.norm(first) / np.linalg.norm(second))


@pytest.fixture(scope="module")
def solved(case, tmp_path_factory):
    return run(case, tmp_path_factory.mktemp("solved") / "job", bootstrap=8)


def test_each_class_gives_the_map_of_what_was_measured(case, solved):
    folder, metrics, manifest = solved
    for number, density in case.densities.items():
        found = read_map(folder / f"class{number}/map.mrc")
        assert found.voxel_size.tolist() == [PIXEL] * 3
        assert agreement(found.values, density) > 0.9
        # Coarse coefficients, as wide as the particle is small, reach into the cone from its edge.
        middle = ~outside_cone(BOX, (90 - TILT) / 2)
        assert agreement(found.values, density, middle) < 0.75
        # Maps of the other class are another matter.
        other = case.densities[4 - number]
        assert agreement(found.values, other) < 0.8
        assert metrics[f"class{number}_missing_cone_half_angle_degrees"] == pytest.approx(40.0)
        assert metrics[f"class{number}_resolution_fsc0143_angstrom"] < 14
        halves = [read_map(folder / f"class{number}/half{n}.mrc").values for n in (1, 2)]
        assert agreement(sum(halves), density) > 0.85
    assert (metrics["classes"], metrics["tilt_pairs"], metrics["inverted"]) == (2, PAIRS, 0)
    assert metrics["class1_images"] == 160
    assert manifest["inputs"].keys() == {"particles", "untilted"}


def test_the_table_states_the_views_that_were_used(case, solved):
    table = read_particles(solved[0] / "particles.star")
    untilted = read_particles(case.untilted)
    rot, tilt, psi = table.euler_degrees.T
    np.testing.assert_allclose(tilt, TILT)
    np.testing.assert_allclose(psi, AXIS)
    turn = rot - (untilted.euler_degrees[:, 2] - BEFORE)
    np.testing.assert_allclose((turn + 180) % 360 - 180, 0, atol=1e-3)
    np.testing.assert_array_equal(table.class_number, untilted.class_number)
    for number in (1, 3):
        counts = np.bincount(table.half_set[table.class_number == number])
        assert abs(int(counts[1]) - int(counts[2])) <= 1


def test_page_curves_and_deviations_are_written(solved):
    folder, metrics, _ = solved
    page = (folder / "report.html").read_text()
    for text in ("Random conical tilt", "Missing cone", "tilt pairs"):
        assert text in page
    lines = (folder / "fsc.csv").read_text().splitlines()
    assert lines[0] == "shell,frequency_per_angstrom,fsc_class1,fsc_class3"
    assert len(lines) == BOX // 2 + 2
    deviation = read_map(folder / "class1/artefact_deviation.mrc").values
    assert (deviation >= 0).all()
    assert 0 < metrics["class1_artefact_percent"] < 100


def test_a_wrong_sign_of_the_tilt_gives_the_other_hand(case, tmp_path):
    folder, _, _ = run(case, tmp_path / "job", tilt_angle=-TILT, contrast="white")
    found = read_map(folder / "class1/map.mrc").values
    # z to -z, about the centre.
    mirrored = np.roll(found[::-1], 1, axis=0)
    assert agreement(found, case.densities[1]) < 0.8
    assert agreement(mirrored, case.densities[1]) > 0.9


def test_pairs_in_any_order_are_found_by_a_common_column(case, solved, tmp_path):
    order = np.random.default_rng(1).permutation(PAIRS)[: PAIRS - 3]
    shuffled = rewritten(case, tmp_path / "in", "tilted", lambda t: subset(t, order))
    folder, metrics, _ = run(shuffled, tmp_path / "job", pair_by="rlnImageId", contrast="white")
    assert metrics["untilted_without_partner"] == 3
    first, second = (read_map(job / "class1/map.mrc").values for job in (folder, solved[0]))
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.97


def test_angles_and_halves_may_stand_in_the_tables(case, tmp_path):
    def with_angles(table: ParticleTable) -> ParticleTable:
        return with_columns(
            table,
            {
                "rlnMicrographTiltAngle": np.full(PAIRS, -TILT),
                "rlnMicrographTiltAxisDirection": np.full(PAIRS, AXIS + 180),
                "half_set": 1 + np.arange(PAIRS) // 3 % 2,
            },
        )

    stated = rewritten(case, tmp_path / "in", "tilted", with_angles)
    nothing = dict.fromkeys(("tilt_angle", "tilt_axis"))
    folder, _, _ = run(stated, tmp_path / "job", **nothing, untilted_axis=BEFORE + 180)
    table = read_particles(folder / "particles.star")
    np.testing.assert_array_equal(table.half_set, 1 + np.arange(PAIRS) // 3 % 2)
    # A negative tilt about the reversed axis is the same.
    found = read_map(folder / "class1/map.mrc").values
    assert agreement(found, case.densities[1]) > 0.9


def changed(columns: dict) -> object:
    return lambda table: with_columns(table, columns)


SLIPPED = np.r_[np.arange(59), np.arange(60, PAIRS), 59]


@pytest.mark.parametrize(
    ("which", "change", "options", "message"),
    [
        ("tilted", lambda t: subset(t, np.arange(9)), {}, "it has 240 rows, and .* 9"),
        ("tilted", lambda t: subset(t, SLIPPED), {}, "row 60 of table particles: micrograph"),
        ("", None, {"pair_by": "rlnNothing"}, "there is no column rlnNothing"),
        ("", None, {"pair_by": "rlnMicrographName"}, "occurs again in row"),
        (
            "untilted",
            lambda t: subset(t, np.arange(1, PAIRS)),
            {"pair_by": "rlnImageId"},
            "row 1 of table particles, column rlnImageId: no image of",
        ),
        ("", None, {"tilt_angle": None}, "--tilt-angle: neither it nor a column"),
        ("", None, {"tilt_axis": None}, "--tilt-axis: neither it nor a column"),
        ("", None, {"tilt_angle": 0.0}, "--tilt-angle: a tilt of 0° leaves no tilt pair"),
        ("", None, {"tilt_angle": 95.0}, "--tilt-angle: it is 95"),
        (
            "tilted",
            changed({"rlnMicrographTiltAngle": np.r_[50.0, np.zeros(PAIRS - 1)]}),
            {"tilt_angle": None},
            "row 2 of table particles, column rlnMicrographTiltAngle: a tilt of 0",
        ),
        (
            "tilted",
            changed({"rlnMicrographTiltAngle": np.full(PAIRS, "steep")}),
            {"tilt_angle": None},
            "does not hold numbers",
        ),
        (
            "untilted",
            changed({"euler_degrees": np.full((PAIRS, 3), 50.0)}),
            {},
            "row 1 .* the untilted image is seen at a tilt of 50",
        ),
        ("", None, {"symmetry": "D2"}, "no axis of D2 but that along z"),
        ("", None, {"tilt_pairs": None}, "--pairs.by|--tilt-angle: it says something of tilt"),
        ("", None, {"bootstrap": 2}, "--bootstrap: it is 2"),
        ("", None, {"bootstrap": 500}, "240 images cannot be dealt into 500 parts"),
        (
            "tilted",
            changed({"half_set": np.ones(PAIRS, int)}),
            {},
            "no class has images in both halves",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(
    case, tmp_path, which, change, options, message
):
    given = rewritten(case, tmp_path / "in", which, change)
    with pytest.raises(InputError, match=message):
        run(given, tmp_path / "job", **options)
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("option", ["bootstrap", "tilt_pairs"])
def test_the_folder_of_a_motion_takes_neither(tmp_path, option):
    given = {"bootstrap": 6} if option == "bootstrap" else {"tilt_pairs": "untilted.star"}
    with pytest.raises(InputError, match="the folder of a flex job is named"):
        reconstruct(
            ReconstructConfig(str(tmp_path), **given),
            options=JobOptions(output=str(tmp_path / "job")),
        )


def test_tables_of_cryosparc_and_particles_that_were_never_classified_will_do(case, tmp_path):
    given = rewritten(case, tmp_path / "in", "untilted", lambda table: table)
    write_particles(to_cryosparc(read_particles(given.tilted)), tmp_path / "in/tilted.cs")
    number = np.where(read_particles(given.untilted).class_number == 1, 0, 3)
    write_particles(
        with_columns(read_particles(given.untilted), {"class_number": number}), given.untilted
    )
    joined = given._replace(tilted=tmp_path / "in/tilted.cs")
    folder, metrics, _ = run(joined, tmp_path / "job", contrast="white")
    assert metrics["class0_images"] == 160
    assert agreement(read_map(folder / "class0/map.mrc").values, case.densities[1]) > 0.9
    table = read_particles(folder / "particles.cs")
    assert table.has("poses")
    assert table.has("half_sets")


def test_classes_of_one_image_are_left_out_with_a_warning(case, tmp_path):
    number = np.ones(PAIRS, int)
    number[7] = 9
    lone = rewritten(case, tmp_path / "in", "untilted", changed({"class_number": number}))
    folder, metrics, manifest = run(lone, tmp_path / "job", contrast="white")
    assert metrics["classes"] == 1
    assert any("class 9" in text for text in manifest["warnings"])
    assert not (folder / "class9").exists()


def test_a_class_of_fewer_images_than_parts_has_no_deviation(case, tmp_path):
    # Eight rows of class 9 show four images.
    number, rows = np.ones(PAIRS, int), np.arange(PAIRS)
    number[:8], rows[1:8:2] = 9, rows[0:8:2]
    given = rewritten(case, tmp_path / "a", "untilted", changed({"class_number": number}))
    given = rewritten(given, tmp_path / "b", "tilted", lambda table: subset(table, rows))
    folder, _, manifest = run(given, tmp_path / "job", contrast="white", bootstrap=6)
    assert any(text.startswith("Class 9 has fewer images") for text in manifest["warnings"])
    assert not (folder / "class9/artefact_deviation.mrc").exists()
    assert (folder / "class1/artefact_deviation.mrc").exists()


def test_classes_may_have_negative_numbers(case, tmp_path):
    number = np.where(np.arange(PAIRS) % 2, -1, 2)
    given = rewritten(case, tmp_path / "in", "untilted", changed({"class_number": number}))
    plan = plan_reconstruct(settings(given), options=JobOptions(output="map"))
    assert {"class-1/map.mrc", "class2/map.mrc"} <= set(plan.outputs)


def test_the_plan_says_what_is_made(case):
    plan = plan_reconstruct(settings(case, bootstrap=8), options=JobOptions(output="map"))
    assert "240 tilt pairs" in plan.actions[0]
    assert {"class1/half1.mrc", "class3/artefact_deviation.mrc"} <= set(plan.outputs)
