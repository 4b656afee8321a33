"""``flex`` from files to files, on a hinge that opens."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import gemmi
import numpy as np
import pytest
from hinge import hinge, settings

from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import read_particles, with_columns, write_particles
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.io.trajectories import read_trajectory
from cryojax_graph.jobs.flex import FlexConfig, FlexOutputs, embedding, fitting, flex, plan_flex
from cryojax_graph.jobs.flex.saved import read_saved
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.metrics import spearman
from cryojax_graph.models.backbone_graph.config import MixtureConfig, default

GAIN = "held_out_motion_gain_mean_nats"


@pytest.fixture(scope="module")
def solved(images, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("motion") / "job"
    config = settings(images, half_sets=True, held_out=0.2)
    return flex(config, options=JobOptions(output=str(folder)))


def test_the_motion_is_found(solved):
    metrics = json.loads((solved / "metrics.json").read_text())
    found = metrics["rmsd_superposed_mean_angstrom"]
    assert found < 0.6 * metrics["template_rmsd_superposed_mean_angstrom"]
    assert found < metrics["constant_structure_rmsd_superposed_mean_angstrom"]
    assert found > metrics["pca_rank8_rmsd_superposed_mean_angstrom"]
    assert metrics["held_out_motion_gain_mean_nats"] > 0
    assert 40 < metrics["template_explains_percent"] < 101
    assert 75 < metrics["conformations_explain_percent"] < 110
    assert metrics["c_alpha_step_deviation_rms_angstrom"] < 0.3


def test_the_leading_latent_follows_the_motion(solved, images):
    leading = read_npz(solved / "latents.npz")["latents"][:, 0]
    frame = read_npz(images / "truth.npz")["frame_index"]
    assert abs(spearman(leading, frame.astype(float))) > 0.9


def test_the_movie_is_a_trajectory_of_the_whole_template(solved, images):
    movie = gemmi.read_structure(str(solved / "motion.cif"))
    template = gemmi.read_structure(str(images / "reference.cif"))
    assert len(movie) == 5
    assert {model.count_atom_sites() for model in movie} == {template[0].count_atom_sites()}


def mean_density(density: Map, positions: np.ndarray) -> float:
    x, y, z = np.rint((positions - density.origin) / density.voxel_size).astype(int).T
    return float(density.values[z, y, x].mean())


def test_a_map_has_the_number_of_its_model_in_the_movie(solved):
    files = [solved / f"maps/point_{number:02}.mrc" for number in range(1, 6)]
    assert sorted((solved / "maps").iterdir()) == files
    movie = read_trajectory(solved / "motion.cif")
    alpha = movie.positions[:, movie.atoms.name == "CA"]
    for own, other in ((0, 4), (4, 0)):
        density = read_map(files[own])
        assert mean_density(density, alpha[own]) > mean_density(density, alpha[other])
    outputs = json.loads((solved / "manifest.json").read_text())["outputs"]
    assert (
        outputs["maps/point_05.mrc"]["description"] == "density at point 5 of 5, as in motion.cif"
    )
    assert "point 5 of 5, leading latent" in (solved / "report.html").read_text()


def test_subsets_share_out_all_particles_and_lose_no_column(solved, images):
    whole = read_particles(images / "particles.star")
    parts = [read_particles(solved / f"subsets/region_{i}.star") for i in range(3)]
    numbers = np.concatenate([part.image_index for part in parts])
    assert sorted(numbers.tolist()) == list(range(240))
    assert set(whole.columns) <= set(parts[0].columns)
    leading = [part.columns["cryojaxLatent1"].astype(float) for part in parts]
    assert leading[0].max() <= leading[1].min() <= leading[1].max() <= leading[2].min()


def test_states_along_the_motion_have_maps_of_their_own(solved, tmp_path):
    arrays = read_npz(solved / "latents.npz")
    assert arrays["latent_deviation"].shape == arrays["latents"].shape
    assert (arrays["latent_deviation"] > 0).all()
    job = reconstruct(
        ReconstructConfig(str(solved), states=3), options=JobOptions(output=str(tmp_path / "job"))
    )
    movie = read_trajectory(solved / "motion.cif")
    alpha = movie.positions[:, movie.atoms.name == "CA"]
    first, last = (read_map(job / f"state_{k}/map_unsharpened.mrc") for k in (1, 3))
    # A density holds its own end of the motion better than the other.
    assert mean_density(first, alpha[0]) > mean_density(first, alpha[-1])
    assert mean_density(last, alpha[-1]) > mean_density(last, alpha[0])


def test_arrays_agree_with_each_other(solved):
    arrays = read_npz(solved / "conformations.npz")
    assert arrays["c_alpha"].shape == (240, 32, 3)
    assert np.isfinite(arrays["c_alpha"]).all()
    assert arrays["latents"].shape[0] == len(arrays["c_alpha"])
    assert arrays["residue_number"].tolist() == list(range(1, 33))


def test_new_images_find_their_conformations_with_the_decoder_of_an_earlier_job(
    solved, images, tmp_path
):
    job = flex(
        settings(images, fitted=str(solved), preset="default", epochs=None),
        options=JobOptions(output=str(tmp_path / "job")),
    )
    metrics = json.loads((job / "metrics.json").read_text())
    before = json.loads((solved / "metrics.json").read_text())
    found = metrics["rmsd_superposed_mean_angstrom"]
    assert found < 1.2 * before["rmsd_superposed_mean_angstrom"]
    old, new = read_npz(solved / "model.npz"), read_npz(job / "model.npz")
    assert set(old) == set(new)
    for name in old:
        np.testing.assert_array_equal(old[name], new[name])


@pytest.mark.parametrize(
    ("changes", "cause"),
    [
        ({"preset": "small"}, "finished model"),
        ({"preset": "default", "epochs": 3}, "finished model"),
        ({"preset": "default", "epochs": None, "held_out": 1.5}, "finished model"),
    ],
)
def test_a_fitted_model_takes_no_settings_of_a_fit(solved, images, tmp_path, changes, cause):
    with pytest.raises(InputError, match=cause):
        flex(
            settings(images, fitted=str(solved), **changes),
            options=JobOptions(output=str(tmp_path / "job")),
        )


@pytest.mark.parametrize("poses", ["known", "refine"])
def test_restraints_of_new_images_are_as_stiff_as_in_the_fit(
    solved, images, tmp_path, monkeypatch, poses
):
    """However few the new images are; and given poses get the steps that their error needs."""
    asked = []

    def prepare(problem, config, *_, **settings):
        asked.append(settings | {"config": config})
        raise KeyboardInterrupt

    monkeypatch.setattr(embedding, "prepare", prepare)
    saved = read_npz(solved / "model.npz")
    # As of earlier versions, in which every image stood for itself.
    alone = {name: array for name, array in saved.items() if name != "frequencies"}
    write_npz(tmp_path / "model.npz", alone)
    fitted = str(tmp_path / "model.npz")
    config = settings(images, fitted=fitted, preset="default", epochs=None, poses=poses)
    with pytest.raises(KeyboardInterrupt):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert asked[0]["fitted_images"] == int(saved["images"]) < 240
    epochs, steps = asked[0]["config"].fitting.epochs_for(240)
    assert (steps >= 400) is (poses == "refine")
    assert epochs >= 12


@pytest.fixture(scope="module")
def shared(images, tmp_path_factory) -> Path:
    """Images so noisy that they are better off as a mixture of each other's conformations."""
    folder = tmp_path_factory.mktemp("mixture")
    stack = open_stack(images / "particles.mrcs").read(np.arange(240))
    noise = np.random.default_rng(3).normal(scale=4.0 * stack.std(), size=stack.shape)
    write_stack(folder / "noisy.mrcs", (stack + noise).astype(np.float32), pixel_size=2.2)
    table = read_particles(images / "particles.star")
    table = with_columns(table, {"image_path": np.full(240, "noisy.mrcs")})
    write_particles(table, folder / "noisy.star")
    config = settings(images, particles=str(folder / "noisy.star"), held_out=0.2)
    return flex(config, options=JobOptions(output=str(folder / "job")))


def test_noisy_images_are_fitted_as_a_mixture(shared):
    assert "conformations of all images than by itself" in (shared / "run.log").read_text()
    metrics = json.loads((shared / "metrics.json").read_text())
    found = metrics["rmsd_superposed_mean_angstrom"]
    assert found < metrics["template_rmsd_superposed_mean_angstrom"]
    model, latents = read_npz(shared / "model.npz"), read_npz(shared / "latents.npz")
    assert model["frequencies"].sum() == pytest.approx(1.0, abs=1e-5)
    assert len(model["frequencies"]) == len(model["candidates"]) == 192 // 16
    assert (latents["position_deviation_angstrom"] >= 0).all()
    assert (latents["latent_deviation"] > 0).all()
    assert "a mixture of 12 conformations" in (shared / "report.html").read_text()


def test_new_images_are_placed_in_a_mixture_without_a_fit(shared, images, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a fit")

    monkeypatch.setattr(embedding, "prepare", refuse)
    table = str(shared.parent / "noisy.star")
    config = settings(images, particles=table, fitted=str(shared), preset="default", epochs=None)
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    before, after = (
        json.loads((folder / "metrics.json").read_text())["rmsd_superposed_mean_angstrom"]
        for folder in (shared, job)
    )
    assert after == pytest.approx(before, rel=0.1)


def test_a_mixture_fits_poses_with_some_conformations_left_out(
    shared, images, tmp_path, monkeypatch
):
    monkeypatch.setattr(fitting, "_gain_of_sharing", lambda *_, **__: 1.0)
    monkeypatch.setattr(fitting, "_IN_ANY_POSE", 3)
    table = str(shared.parent / "noisy.star")
    config = settings(images, particles=table, poses="refine", epochs=2, held_out=0.2)
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "as one of 12 conformations" in (job / "run.log").read_text()
    model, latents = read_npz(job / "model.npz"), read_npz(job / "latents.npz")
    assert model["frequencies"].sum() == pytest.approx(1.0, abs=1e-5)
    assert np.isfinite(latents["latents"]).all()
    assert (latents["position_deviation_angstrom"] >= 0).all()
    # All candidates of images outside the fit are held against them.
    assert np.isfinite(json.loads((job / "metrics.json").read_text())[GAIN])


def test_one_new_image_is_too_few_to_confirm_motion(shared, images, tmp_path):
    one = subset(read_particles(shared.parent / "noisy.star"), np.arange(1))
    write_particles(one, shared.parent / "one.star")
    table = str(shared.parent / "one.star")
    config = settings(images, particles=table, fitted=str(shared), preset="default", epochs=None)
    job = flex(replace(config, truth=None), options=JobOptions(output=str(tmp_path / "job")))
    metrics = json.loads((job / "metrics.json").read_text())
    assert GAIN in metrics
    assert "held_out_motion_gain_standard_error_nats" not in metrics
    assert "are too few to tell" in (job / "run.log").read_text()
    assert [f.name for f in (job / "subsets").iterdir()] == ["region_0.star"]


def test_a_model_that_does_not_say_of_how_many_images_it_is_is_named_as_old(solved, tmp_path):
    arrays = read_npz(solved / "model.npz")
    write_npz(tmp_path / "model.npz", {k: v for k, v in arrays.items() if k != "images"})
    with pytest.raises(InputError, match="an earlier version wrote them"):
        read_saved(tmp_path / "model.npz")


def test_a_fitted_model_of_another_template_is_refused(solved, images, tmp_path):
    atoms, positions = hinge()
    bent = AtomTable(**{**vars(atoms), "positions": positions[-1]})
    write_atoms(tmp_path / "bent.cif", bent)
    config = settings(images, fitted=str(solved), preset="default", epochs=None)
    config = replace(config, template=str(tmp_path / "bent.cif"), truth=None)
    with pytest.raises(InputError, match="another template"):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))


def test_the_published_preset_fits_every_image_and_claims_no_more_than_it_knows(images, tmp_path):
    config = settings(images, preset="paper", epochs=1)
    folder = flex(config, options=JobOptions(output=str(tmp_path / "paper")))
    metrics = json.loads((folder / "metrics.json").read_text())
    assert not {"position_deviation_median_angstrom", "held_out_motion_gain_mean_nats"} & set(
        metrics
    )
    assert "No image is held out" in (folder / "run.log").read_text()
    assert "posterior" not in (folder / "report.html").read_text()
    with pytest.raises(InputError, match="no way to find conformations of new images"):
        flex(
            FlexConfig(particles=config.particles, template=config.template, fitted=str(folder)),
            options=JobOptions(output=str(tmp_path / "new")),
        )


@pytest.fixture(scope="module")
def short(images, tmp_path_factory) -> Path:
    """One pass, with a template whose zero is the corner of the box."""
    folder = tmp_path_factory.mktemp("short")
    atoms, positions = hinge()
    moved = positions[0] - positions[0, 1::4].mean(0) + 18 * 2.2
    write_atoms(folder / "corner.cif", AtomTable(**{**vars(atoms), "positions": moved}))
    config = settings(images, template=str(folder / "corner.cif"), epochs=1, truth=None)
    return flex(config, options=JobOptions(output=str(folder / "job")))


def test_a_short_run_is_not_taken_for_evidence_against_motion(short):
    warnings = " ".join(json.loads((short / "manifest.json").read_text())["warnings"])
    assert "the fit is not finished" in warnings
    assert "No motion" not in warnings


def test_a_template_in_the_frame_of_the_map_is_recognised(short):
    assert "coordinates: corner" in (short / "run.log").read_text()
    given = gemmi.read_structure(str(short.parent / "corner.cif"))
    movie = gemmi.read_structure(str(short / "motion.cif"))
    # The movie is in the frame of the template that the user gave.
    centres = [
        np.mean([[*cra.atom.pos] for cra in model.all()], axis=0) for model in (given[0], movie[0])
    ]
    np.testing.assert_allclose(*centres, atol=2.0)


def test_few_images_are_passed_more_often():
    fitting = default().fitting
    assert fitting.epochs_for(5100) == (50, 2000)
    # But not so often that they are fitted to their noise, unless there were hardly any steps.
    assert fitting.epochs_for(2000) == (67, 67 * 16)
    assert fitting.epochs_for(300) == (167, 501)


def test_unknown_poses_take_more_passes_where_images_are_not_seen_too_often():
    fitting = replace(default().fitting, repeats=2)
    assert fitting.epochs_for(20_000) == (50, 50 * 157)
    assert fitting.epochs_for(5100) == (100, 4000)
    assert fitting.epochs_for(3800) == (100, 3000)
    assert fitting.epochs_for(300) == replace(fitting, repeats=1).epochs_for(300)


def test_halves_of_the_images_tell_the_same_motion(solved):
    metrics = json.loads((solved / "metrics.json").read_text())
    agreement = metrics["half_set_rmsd_median_angstrom"]
    assert 0 < agreement < 0.7 * metrics["half_set_rmsd_by_chance_median_angstrom"]
    assert "Is it real?" in (solved / "report.html").read_text()


def test_pure_noise_shows_no_motion(images, tmp_path):
    table = read_particles(images / "particles.star")
    noise = np.random.default_rng(0).normal(size=(240, 36, 36)).astype(np.float32)
    write_stack(tmp_path / "noise.mrcs", noise, pixel_size=2.2)
    table = with_columns(table, {"image_path": np.full(240, "noise.mrcs")})
    write_particles(table, tmp_path / "noise.star")
    job = flex(
        settings(
            images, particles=str(tmp_path / "noise.star"), truth=None, held_out=0.2, epochs=90
        ),
        options=JobOptions(output=str(tmp_path / "job")),
    )
    metrics = json.loads((job / "metrics.json").read_text())
    error = metrics["held_out_motion_gain_standard_error_nats"]
    assert metrics["held_out_motion_gain_mean_nats"] < 2 * error
    warnings = json.loads((job / "manifest.json").read_text())["warnings"]
    assert any("No motion was found" in warning for warning in warnings)


def with_images(images: Path, folder: Path, change) -> str:
    """A table whose images are changed copies."""
    table = read_particles(images / "particles.star")
    stack = open_stack(images / "particles.mrcs").read(np.arange(240))
    write_stack(folder / "changed.mrcs", change(stack).astype(np.float32), pixel_size=2.2)
    table = with_columns(table, {"image_path": np.full(240, "changed.mrcs")})
    write_particles(table, folder / "changed.star")
    return str(folder / "changed.star")


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (lambda x: -x, "images are dark"),
        (lambda x: 0 * x + 3, "is blank"),
        (lambda x: np.where(x == x.max(), 3e38, x), "whose squares cannot be added up"),
    ],
)
def test_images_that_cannot_be_right_are_refused(images, tmp_path, change, cause):
    particles = with_images(images, tmp_path, change)
    with pytest.raises(InputError, match=cause):
        flex(
            settings(images, particles=particles, truth=None),
            options=JobOptions(output=str(tmp_path / "job")),
        )


@pytest.mark.parametrize("column", ["rlnCtfDataAreCtfPremultiplied", "rlnCtfDataArePhaseFlipped"])
def test_images_corrected_for_their_ctf_are_refused(images, tmp_path, column):
    lines = (images / "particles.star").read_text().splitlines()
    last = max(i for i, line in enumerate(lines[:40]) if line.startswith("_rlnImageSize"))
    last = next(i for i in range(last, 40) if not lines[i + 1].startswith("_"))
    for value in (0, 1):
        names, row, rest = lines[: last + 1], lines[last + 1], lines[last + 2 :]
        changed = [*names, f"_{column} #99", f"{row} {value}", *rest]
        (tmp_path / "p.star").write_text("\n".join(changed) + "\n")
        config = settings(images, particles=str(tmp_path / "p.star"), image_root=str(images))
        if value:
            with pytest.raises(InputError, match=rf"the images were .* \({column}\)"):
                plan_flex(config, options=JobOptions(output=str(tmp_path / "job")))
        else:
            plan_flex(config, options=JobOptions(output=str(tmp_path / "job")))


def test_rows_that_show_one_image_are_held_out_together(images, tmp_path, monkeypatch):
    table = read_particles(images / "particles.star")
    twice = subset(table, np.repeat(np.arange(120), 2))
    assert twice.image_of_row().tolist() == np.repeat(np.arange(120), 2).tolist()
    write_particles(twice, tmp_path / "twice.star")
    config = settings(
        images, particles=str(tmp_path / "twice.star"), image_root=str(images), truth=None
    )

    def stop_before_the_fit(problem, *_):
        fitted, held = set(problem.fitted // 2), set(problem.held // 2)
        assert held
        assert not fitted & held
        raise KeyboardInterrupt

    monkeypatch.setattr("cryojax_graph.jobs.flex.run._fitted", stop_before_the_fit)
    with pytest.raises(KeyboardInterrupt):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "240 rows show 120 images" in (tmp_path / "job/run.log").read_text()


def test_a_template_in_nanometres_is_refused(images, tmp_path):
    atoms, positions = hinge()
    small = AtomTable(**{**vars(atoms), "positions": 0.1 * positions[0]})
    write_atoms(tmp_path / "nm.cif", small)
    with pytest.raises(InputError, match=r"are 0\.38 Å apart, in a protein"):
        flex(
            settings(images, template=str(tmp_path / "nm.cif"), truth=None),
            options=JobOptions(output=str(tmp_path / "job")),
        )


@pytest.fixture
def stop_before_the_fit(monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("cryojax_graph.jobs.flex.run._fitted", stop)


def test_masked_images_do_not_tell_how_much_is_explained(images, tmp_path, stop_before_the_fit):
    y, x = np.mgrid[:36, :36] - 18
    particles = with_images(images, tmp_path, lambda stack: stack * (np.hypot(x, y) < 16))
    config = settings(images, particles=particles, truth=None)
    with pytest.raises(KeyboardInterrupt):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "their corners are empty" in (tmp_path / "job/run.log").read_text()
    manifest = json.loads((tmp_path / "job/manifest.json").read_text())
    assert not any("explains" in warning for warning in manifest["warnings"])


def test_what_is_left_out_of_the_template_is_told(images, tmp_path, stop_before_the_fit):
    atoms, _ = hinge()
    # Its last residues: water, a nucleotide, and an amino acid without its C-alpha atom.
    names = atoms.residue_name.astype("U3")
    names[-4:], names[-8:-4] = "HOH", "  A"
    kept = np.arange(len(names)) != len(names) - 11
    changed = {**vars(atoms), "residue_name": np.strings.strip(names)}
    write_atoms(tmp_path / "parts.cif", AtomTable(**{name: a[kept] for name, a in changed.items()}))
    config = settings(images, template=str(tmp_path / "parts.cif"), truth=None)
    with pytest.raises(KeyboardInterrupt):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    (told,) = json.loads((tmp_path / "job/manifest.json").read_text())["warnings"][:1]
    for part in (
        "1 nucleotides",
        "1 amino acids without a C-alpha atom",
        "1 ligands, ions or water molecules",
    ):
        assert part in told


def test_water_in_the_template_is_no_warning(images, tmp_path, stop_before_the_fit):
    atoms, _ = hinge()
    names = atoms.residue_name.astype("U3")
    names[-4:] = "HOH"
    write_atoms(tmp_path / "water.cif", AtomTable(**{**vars(atoms), "residue_name": names}))
    config = settings(images, template=str(tmp_path / "water.cif"), truth=None)
    with pytest.raises(KeyboardInterrupt):
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert "left out" in (tmp_path / "job/run.log").read_text()
    manifest = json.loads((tmp_path / "job/manifest.json").read_text())
    assert not any("left out" in warning for warning in manifest["warnings"])


def test_images_in_another_unit_give_the_same_motion(solved, images, tmp_path):
    particles = with_images(images, tmp_path, lambda x: 1000 * x)
    job = flex(
        settings(images, particles=particles, held_out=0.2),
        options=JobOptions(output=str(tmp_path / "job")),
    )
    found, before = (
        json.loads((folder / "metrics.json").read_text())["rmsd_superposed_mean_angstrom"]
        for folder in (job, solved)
    )
    assert found == pytest.approx(before, rel=0.1)


@pytest.mark.parametrize(
    "changes",
    [
        {"outputs": FlexOutputs(points=0)},
        {"outputs": FlexOutputs(points=-3)},
        {"outputs": FlexOutputs(subsets=0)},
        *(
            {"preset": "default", "model": replace(default(), mixture=MixtureConfig(**{name: -1}))}
            for name in ("turns", "conformations", "images_per_conformation")
        ),
    ],
)
def test_numbers_out_of_range_are_refused_before_the_fit(images, tmp_path, changes):
    with pytest.raises(InputError, match="at least"):
        flex(settings(images, **changes), options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_a_template_without_coordinates_is_refused(images, tmp_path):
    atoms, positions = hinge()
    write_atoms(tmp_path / "zero.cif", AtomTable(**{**vars(atoms), "positions": 0 * positions[0]}))
    with pytest.raises(InputError, match="in one place"):
        flex(
            settings(images, template=str(tmp_path / "zero.cif"), truth=None),
            options=JobOptions(output=str(tmp_path / "job")),
        )


def test_swapped_files_are_named_as_what_they_are(images, tmp_path):
    options = JobOptions(output=str(tmp_path / "job"))
    table, model = str(images / "particles.star"), str(images / "reference.cif")
    with pytest.raises(InputError, match="an atomic model, not a table of particles"):
        flex(settings(images, particles=model), options=options)
    with pytest.raises(InputError, match="a table of particles, not an atomic model"):
        flex(settings(images, template=table), options=options)


def test_a_template_that_lists_a_residue_twice_is_refused(images, tmp_path):
    lines = (images / "reference.cif").read_text().splitlines(keepends=True)
    atoms = [line for line in lines if line.startswith("ATOM")]
    last = max(i for i, line in enumerate(lines) if line.startswith("ATOM"))
    (tmp_path / "twice.cif").write_text("".join(lines[: last + 1] + atoms + lines[last + 1 :]))
    with pytest.raises(InputError, match="listed twice"):
        flex(
            settings(images, template=str(tmp_path / "twice.cif"), truth=None),
            options=JobOptions(output=str(tmp_path / "job")),
        )


def test_the_plan_names_what_will_be_done(images):
    plan = plan_flex(settings(images), options=JobOptions(output="unused"))
    assert "240 images of 36 px" in plan.actions[0]
    assert plan.seconds > 0
    assert plan.memory_bytes > 1e8


def broken(images: Path, folder: Path, case: str) -> FlexConfig:
    table = read_particles(images / "particles.star")
    star = images / "broken.star"
    if case == "no poses":
        lines = (images / "particles.star").read_text().replace("_rlnAngleRot", "_rlnOther")
        star.write_text(lines)
    elif case == "no CTF":
        star.write_text((images / "particles.star").read_text().replace("_rlnDefocusU", "_rlnX"))
    elif case == "other pixel size":
        write_particles(with_columns(table, {"pixel_size": np.full(240, 1.5)}), star)
    elif case == "few images":
        from cryojax_graph.io.particle_table import subset

        write_particles(subset(table, np.arange(5)), star)
    elif case == "short template":
        atoms, positions = hinge()
        keep = np.arange(12)
        short = {name: value[keep] for name, value in vars(atoms).items()}
        write_atoms(folder / "short.cif", AtomTable(**short))
        return settings(images, template=str(folder / "short.cif"))
    elif case == "far template":
        atoms, positions = hinge()
        far = {**vars(atoms), "positions": positions[0] + np.float32(500)}
        write_atoms(folder / "far.cif", AtomTable(**far))
        return settings(images, template=str(folder / "far.cif"))
    elif case == "NaN in an image":
        stack = bytearray((images / "particles.mrcs").read_bytes())
        stack[1024 + 4 * 36 * 36 * 187 : 1028 + 4 * 36 * 36 * 187] = np.float32(np.nan).tobytes()
        (images / "nan.mrcs").write_bytes(stack)
        write_particles(with_columns(table, {"image_path": np.full(240, "nan.mrcs")}), star)
    elif case == "wrong truth":
        truth = read_npz(images / "truth.npz")
        short = {**truth, "frame_index": truth["frame_index"][:7]}
        del short["euler_degrees"]
        write_npz(folder / "truth.npz", short)
        return settings(images, truth=str(folder / "truth.npz"), epochs=1)
    elif case == "truth of other images":
        truth = read_npz(images / "truth.npz")
        other = {**truth, "euler_degrees": truth["euler_degrees"][::-1]}
        write_npz(folder / "truth.npz", other)
        return settings(images, truth=str(folder / "truth.npz"), epochs=1)
    return settings(images, particles=str(star))


@pytest.mark.parametrize(
    ("case", "place"),
    [
        ("no poses", "AngleRot"),
        ("no CTF", "DefocusU"),
        ("other pixel size", "pixel"),
        ("few images", "too few"),
        ("short template", "residues"),
        ("far template", "box"),
        ("NaN in an image", "image 188"),
        ("wrong truth", "truth"),
        ("truth of other images", "truth of other images"),
    ],
)
def test_bad_input_is_refused_in_one_message(images, tmp_path, case, place):
    config = broken(images, tmp_path, case)
    with pytest.raises(InputError, match=place) as caught:
        flex(config, options=JobOptions(output=str(tmp_path / "job")))
    assert caught.value.remedy
    assert not (tmp_path / "job/report.html").exists()
    # A refused file leaves no folder that would stand in the way of the corrected command.
    assert not (tmp_path / "job").exists() or case in ("far template", "NaN in an image")


def test_killed_at_random_moments_it_ends_with_the_same_bits(images, tmp_path):
    arguments = [
        sys.executable, "-m", "cryojax_graph", "flex", str(images / "particles.star"),
        "--template", str(images / "reference.cif"), "--preset", "small", "--epochs", "40",
        "--pipeline.save-seconds", "0.3",
    ]  # fmt: skip

    def start(folder: str) -> subprocess.Popen:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "compiled"),
        }
        return subprocess.Popen(
            [*arguments, "-o", str(tmp_path / folder)], env=environment, **quiet
        )

    def steps_taken(folder: str) -> int:
        logs = (tmp_path / folder / name for name in ("fit.csv", "embedding.csv"))
        return sum(len(log.read_text().splitlines()) for log in logs if log.exists())

    assert start("undisturbed").wait(timeout=300) == 0
    whole, moments = steps_taken("undisturbed"), random.Random(0)
    kills = int(os.environ.get("CRYOJAX_GRAPH_KILLS", "2"))
    # By steps, not by the clock: how fast the machine is now says little of what it will be.
    for share in sorted(moments.uniform(0.0, 0.95) for _ in range(kills)):
        job = start("killed")
        while steps_taken("killed") < share * whole:
            assert job.poll() is None
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.2))
        job.send_signal(signal.SIGKILL)
        assert job.wait() == -signal.SIGKILL
    assert start("killed").wait(timeout=300) == 0
    for name in ("model.npz", "latents.npz"):
        expected, found = (read_npz(tmp_path / f / name) for f in ("undisturbed", "killed"))
        assert expected.keys() == found.keys()
        for key, values in expected.items():
            np.testing.assert_array_equal(values, found[key], err_msg=f"{name}: {key}")
