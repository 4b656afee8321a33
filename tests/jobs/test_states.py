"""``reconstruct`` with the folder of a ``flex`` job: one map for each state of the motion."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.io import read_map, read_particles, with_columns, write_particles
from cryojax_graph.io.atoms import write_models
from cryojax_graph.io.cs import read_cs, write_cs
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.images import open_images
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import subset
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.flex import FlexConfig
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, plan_reconstruct, reconstruct
from cryojax_graph.jobs.simulate import SimulateConfig, simulate

IMAGES, BOX, PIXEL = 300, 32, 3.2
ORIGIN = np.array([-51.2, -51.2, -50.0])


class Case(NamedTuple):
    folder: Path
    densities: list[np.ndarray]
    frame: np.ndarray


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    """Images of a closed and an open molecule, and a folder as ``flex`` leaves it."""
    root = tmp_path_factory.mktemp("states")
    _, transition = read_demo_molecule()
    ends = transition.positions[[0, -1]]
    write_models(root / "ends.cif", transition.atoms, ends)
    config = SimulateConfig(
        input=str(root / "ends.cif"), images=IMAGES, box=BOX, pixel_size=PIXEL, snr=1.0
    )
    images = simulate(config, options=JobOptions(output=str(root / "images"), seed=3))
    truth = read_npz(images / "truth.npz")
    frame = truth["frame_index"]
    rng = np.random.default_rng(0)
    latents = np.stack([np.where(frame == 0, -1.0, 1.0), np.zeros(IMAGES)], axis=1)
    latents += rng.normal(0.0, 0.2, latents.shape)
    arrays = {
        "latents": latents.astype(np.float32),
        "latent_deviation": np.full(latents.shape, 0.2, np.float32),
    }
    folder = make_flex_folder(images / "particles.star", root / "flex", arrays)
    densities = [
        np.asarray(
            density_of_gaussians(
                jnp.asarray(end - ends[0].mean(axis=0), jnp.float32),
                jnp.ones(len(end)),
                jnp.full(len(end), 2.4),
                box=BOX,
                voxel_size=PIXEL,
            )
        )
        for end in ends
    ]
    return Case(folder, densities, frame)


def make_flex_folder(
    particles: Path,
    folder: Path,
    arrays: dict[str, np.ndarray],
    *,
    preset: str = "default",
    written: bool = False,
) -> Path:
    """What ``reconstruct`` reads of a ``flex`` job, without the fit."""
    table = read_particles(particles)
    config = FlexConfig(particles=str(particles), template=str(particles), preset=preset)
    with open_job(
        config,
        verb="flex",
        options=JobOptions(output=str(folder)),
        inputs={"particles": particles},
    ) as job:
        fingerprint = open_images(table, image_root=particles.parent).fingerprint()
        job.require_unchanged("images", fingerprint)
        with job.output("latents.npz") as path:
            write_npz(path, arrays)
        with job.output("maps/point_01.mrc") as path:
            density = np.zeros((BOX,) * 3, np.float32)
            write_map(path, Map(density, np.full(3, PIXEL), ORIGIN))
        if written:
            with job.output("particles.star") as path:
                write_particles(table, path)
        job.warn("No motion was found")
    return folder


def run(folder: Path, output: Path, **changes) -> tuple[Path, dict, dict]:
    config = ReconstructConfig(str(folder), **changes)
    job = reconstruct(config, options=JobOptions(output=str(output)))
    read = (json.loads((job / f"{name}.json").read_text()) for name in ("metrics", "manifest"))
    return job, *read


@pytest.fixture(scope="module")
def solved(case, tmp_path_factory) -> tuple[Path, dict, dict]:
    return run(case.folder, tmp_path_factory.mktemp("solved") / "job", states=2)


def both_halves(folder: Path) -> np.ndarray:
    return sum(read_map(folder / f"half{n}.mrc").values for n in (1, 2))


def test_each_state_has_its_own_map(case, solved):
    folder, metrics, manifest = solved
    closed, opened = case.densities
    for number, own, other in ((1, closed, opened), (2, opened, closed)):
        density = both_halves(folder / f"state_{number}")
        # Up to a factor, the difference of the truths is in the map with the right sign.
        assert np.corrcoef(density.ravel(), own.ravel())[0, 1] > 0.6
        assert (density * (own - other)).sum() > 0
        assert metrics[f"state_{number}_resolution_fsc0143_angstrom"] < 14
        assert 110 < metrics[f"state_{number}_effective_images"] < 200
    assert metrics["states"] == 2
    assert 1.9 < metrics["states_told_apart"] <= 2.0
    assert manifest["warnings"][0] == "The flex job warned: No motion was found"


def test_maps_lie_on_the_conformations_of_flex(solved):
    for name in ("half1.mrc", "map.mrc", "map_unsharpened.mrc"):
        read = read_map(solved[0] / "state_2" / name)
        np.testing.assert_allclose(read.origin, ORIGIN, atol=1e-4)
        assert read.voxel_size.tolist() == pytest.approx([PIXEL] * 3)


def test_the_page_and_the_list_tell_of_every_state(solved):
    page = (solved[0] / "report.html").read_text()
    assert "Central slices across z" in page
    assert "states told apart by an image" in page
    rows = (solved[0] / "states.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["state", "1", "2"]
    assert rows[1].split(",")[1] == "-inf"


def test_weights_of_an_image_add_up_to_one_and_halves_share_no_image(solved):
    tables = [read_particles(solved[0] / f"state_{k}/particles.star") for k in (1, 2)]
    total = np.zeros(IMAGES)
    for table in tables:
        total[table.image_index] += table.columns["rlnParticleFigureOfMerit"].astype(float)
        first, second = (set(table.image_index[table.half_set == n]) for n in (1, 2))
        assert first
        assert second
        assert not first & second
    np.testing.assert_allclose(total, 1.0, atol=2e-6)


def test_the_weighed_particles_give_the_same_map_again(case, solved, tmp_path):
    folder, _, _ = run(
        solved[0] / "state_1/particles.star",
        tmp_path / "again",
        weights="rlnParticleFigureOfMerit",
        image_root=str(case.folder.parent / "images"),
        contrast="white",
    )
    for name in ("half1.mrc", "half2.mrc"):
        first, second = (read_map(job / name).values for job in (folder, solved[0] / "state_1"))
        # Images of no weight are left out of the table, and of the estimate of its noise.
        assert np.corrcoef(first.ravel(), second.ravel())[0, 1] > 0.9999


def test_states_that_do_not_fit_into_memory_together_are_done_in_turns(
    case, solved, tmp_path, monkeypatch
):
    monkeypatch.setattr("cryojax_graph.jobs.reconstruct.states._AT_ONCE", 1)
    folder, _, _ = run(case.folder, tmp_path / "job", states=2)
    for name in ("state_1/half1.mrc", "state_2/half2.mrc"):
        first, second = (read_map(job / name).values for job in (folder, solved[0]))
        np.testing.assert_allclose(first, second, atol=1e-4 * np.abs(second).max())


def test_poses_that_flex_corrected_are_taken(case, tmp_path):
    images = case.folder.parent / "images"
    arrays = read_npz(case.folder / "latents.npz")
    folder = make_flex_folder(images / "particles.star", tmp_path / "flex", arrays, written=True)
    plan = plan_reconstruct(
        ReconstructConfig(str(folder)), options=JobOptions(output=str(tmp_path / "job"))
    )
    assert "5 states" in plan.actions[0]
    job, _, manifest = run(folder, tmp_path / "job", states=2)
    assert manifest["inputs"]["particles"]["path"] == str(folder / "particles.star")
    assert (job / "state_2/map.mrc").exists()


def test_images_that_know_nothing_are_told_of(case, tmp_path):
    arrays = read_npz(case.folder / "latents.npz")
    arrays["latent_deviation"] = arrays["latent_deviation"] + 30
    particles = case.folder.parent / "images/particles.star"
    folder = make_flex_folder(particles, tmp_path / "flex", arrays)
    _, metrics, manifest = run(folder, tmp_path / "job", states=2)
    assert metrics["states_told_apart"] == pytest.approx(1.0, abs=0.01)
    assert any("tells 1.0 of 2 states apart" in text for text in manifest["warnings"])


def refused(folder: Path, output: Path, **changes) -> InputError:
    with pytest.raises(InputError) as caught:
        run(folder, output, **changes)
    assert not output.exists()
    return caught.value


@pytest.mark.parametrize(
    ("changes", "place"),
    [
        ({"states": 1}, "--states"),
        ({"states": 10**9}, "--states"),
        ({"contrast": "dark"}, "--contrast"),
    ],
)
def test_options_that_mean_nothing_are_refused(case, tmp_path, changes, place):
    assert refused(case.folder, tmp_path / "job", **changes).place == place


def test_more_states_than_places_are_refused(case, tmp_path):
    latents = np.zeros((IMAGES, 2), np.float32)
    latents[IMAGES // 2 :] = 1.0
    arrays = {"latents": latents, "latent_deviation": np.zeros_like(latents)}
    particles = case.folder.parent / "images/particles.star"
    folder = make_flex_folder(particles, tmp_path / "flex", arrays)
    error = refused(folder, tmp_path / "job", states=5)
    assert error.place == "--states"
    assert "2 of 5 states would be without any image" in str(error)


def test_a_state_that_one_half_lacks_is_told_of(case, tmp_path):
    half = np.where(np.arange(IMAGES) < IMAGES // 2, 1, 2)
    latents = np.repeat(half[:, None], 2, axis=1).astype(np.float32)
    arrays = {"latents": latents, "latent_deviation": np.zeros_like(latents)}
    images = case.folder.parent / "images"
    table = with_columns(read_particles(images / "particles.star"), {"half_set": half})
    write_particles(table, images / "halved.star")
    folder = make_flex_folder(images / "halved.star", tmp_path / "flex", arrays)
    _, _, manifest = run(folder, tmp_path / "job", states=2, padding=1)
    for state, lacking in ((1, 2), (2, 1)):
        text = f"State {state}: half {lacking} has no image"
        assert any(warning.startswith(text) for warning in manifest["warnings"])


def test_a_table_has_no_states(case, tmp_path):
    error = refused(case.folder.parent / "images/particles.star", tmp_path / "job", states=3)
    assert "name the folder of a flex job" in str(error)


def changed_manifest(folder: Path, change: Callable[[dict], None]) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def changed_arrays(folder: Path, change: Callable[[dict], None]) -> None:
    arrays = read_npz(folder / "latents.npz")
    change(arrays)
    write_npz(folder / "latents.npz", arrays)


def not_a_number(arrays: dict) -> None:
    arrays["latents"][7, 0] = np.nan


FOLDERS = {
    "no job": (lambda f: (f / "manifest.json").unlink(), "there is no such file"),
    "another verb": (
        lambda f: changed_manifest(f, lambda m: m["request"].update(verb="pose")),
        "the folder is of a pose job",
    ),
    "manifest without fingerprints": (
        lambda f: changed_manifest(f, lambda m: m.pop("fingerprints")),
        "fields are missing",
    ),
    "manifest with a list for the request": (
        lambda f: changed_manifest(f, lambda m: m.update(request=[])),
        "fields are missing",
    ),
    "unfinished": (
        lambda f: changed_manifest(f, lambda m: m.update(status="aborted")),
        "the flex job is aborted, not done",
    ),
    "no latents": (lambda f: (f / "latents.npz").unlink(), "latents.npz"),
    "published preset": (
        lambda f: (
            changed_arrays(f, lambda a: a.pop("latent_deviation")),
            changed_manifest(f, lambda m: m["request"]["config"].update(preset="paper")),
        ),
        "the preset paper gives each image one place",
    ),
    "earlier version": (
        lambda f: changed_arrays(f, lambda a: a.pop("latent_deviation")),
        "does not say how certain",
    ),
    "no rows": (
        lambda f: changed_arrays(f, lambda a: a.update(latents=np.zeros((0, 2), np.float32))),
        "not one row of numbers",
    ),
    "another shape": (
        lambda f: changed_arrays(f, lambda a: a.update(latent_deviation=a["latents"][:3])),
        "shape (3, 2) beside (300, 2)",
    ),
    "not finite": (lambda f: changed_arrays(f, not_a_number), "image 8"),
    "fewer rows": (
        lambda f: changed_arrays(f, lambda a: a.update({k: v[:90] for k, v in a.items()})),
        "300 particles, the flex job had 90",
    ),
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_cannot_be_used_is_refused(case, tmp_path, name):
    folder = tmp_path / "flex"
    shutil.copytree(case.folder, folder)
    damage, cause = FOLDERS[name]
    damage(folder)
    assert cause in str(refused(folder, tmp_path / "job"))


@pytest.mark.parametrize("what", ["table gone", "table changed", "images changed"])
def test_particles_that_are_not_those_of_then_are_refused(case, tmp_path, what):
    images = tmp_path / "images"
    shutil.copytree(case.folder.parent / "images", images)
    arrays = read_npz(case.folder / "latents.npz")
    folder = make_flex_folder(images / "particles.star", tmp_path / "flex", arrays)
    table = images / "particles.star"
    if what == "table gone":
        table.unlink()
    elif what == "table changed":
        write_particles(subset(read_particles(table), np.arange(IMAGES)[::-1]), table)
    else:
        with (images / "particles.mrcs").open("r+b") as stack:
            stack.seek(-4, 2)
            stack.write(b"\0\0\0\0")
    cause = {
        "table gone": "is not there any more",
        "table changed": "has changed since",
        "images changed": "put them back (--image-root says where they are)",
    }[what]
    assert cause in str(refused(folder, tmp_path / "job"))


@pytest.mark.parametrize("native", [True, False])
def test_a_cryosparc_table_is_weighed_for_relion(case, tmp_path, native):
    images = case.folder.parent / "images"
    table = images / f"particles_{native}.cs"
    write_particles(with_columns(read_particles(images / "particles.star"), {}), table)
    if native:
        # As cryoSPARC writes it: it carries nothing of RELION.
        own = {k: v for k, v in read_cs(table).items() if not k.startswith("relion")}
        write_cs(table, own)
    arrays = read_npz(case.folder / "latents.npz")
    folder = make_flex_folder(table, tmp_path / "flex", arrays)
    job, _, _ = run(folder, tmp_path / "job", states=2)
    star = read_particles(job / "state_1/particles.star")
    assert star.kind == "star"
    merit = star.columns["rlnParticleFigureOfMerit"].astype(float)
    assert 0 < merit.min() <= merit.max() <= 1
