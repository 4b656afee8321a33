"""``validate``: figures against their definitions, residues matched by name, refusals."""

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from cryojax_graph.cli import main
from cryojax_graph.io import InputError, write_npz
from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.validate import (
    ValidateModelConfig,
    ValidateMotionConfig,
    plan_validate_model,
    plan_validate_motion,
    validate_model,
    validate_motion,
)
from cryojax_graph.jobs.validate.model_scores import backbone_of, score_model
from cryojax_graph.jobs.validate.motion_input import read_motion
from cryojax_graph.jobs.validate.motion_scores import Motion, score_motion
from cryojax_graph.jobs.validate.residues import ResidueNames, bonded_pairs, match_residues

IMAGES, FRAMES, RESIDUES = 40, 5, 8


def chain():
    """C-alpha atoms 3.8 Å apart, and a motion of the second half away from the first."""
    turn = np.deg2rad(100.0) * np.arange(RESIDUES)
    c_alpha = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(RESIDUES)], axis=1)
    frames = np.repeat(c_alpha[None], FRAMES, axis=0)
    for number in range(FRAMES):
        angle = 0.15 * number
        turned = np.array(
            [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
        )
        frames[number, 4:] = (frames[number, 4:] - frames[number, 3]) @ turned + frames[number, 3]
    return frames


def make_truth():
    """Arrays of a truth.npz."""
    return {
        "c_alpha": chain().astype(np.float32),
        "chain": np.array(["A"] * 5 + ["B"] * 3),
        "residue_number": np.array([1, 2, 3, 4, 5, 1, 2, 3], np.int32),
        "insertion_code": np.full(RESIDUES, ""),
        "residue_name": np.full(RESIDUES, "ALA"),
        "frame_index": np.random.default_rng(0).integers(0, FRAMES, IMAGES),
    }


def make_found(truth):
    """Arrays of a conformations.npz that is off by a little noise, with an ordered latent."""
    random = np.random.default_rng(1)
    conformations = truth["c_alpha"][truth["frame_index"]]
    latent = -truth["frame_index"] + 0.1 * random.normal(size=IMAGES)
    return {
        "c_alpha": (conformations + 0.2 * random.normal(size=conformations.shape)).astype(
            np.float32
        ),
        "latents": np.stack([latent, random.normal(size=IMAGES)], axis=1).astype(np.float32),
        "template": truth["c_alpha"][0],
        "chain": truth["chain"],
        "residue_number": truth["residue_number"],
        "residue_name": truth["residue_name"],
    }


@pytest.fixture
def truth():
    return make_truth()


@pytest.fixture
def found(truth):
    return make_found(truth)


def validated(found, truth, folder, seed=0):
    write_npz(folder / "conformations.npz", found)
    write_npz(folder / "truth.npz", truth)
    job = validate_motion(
        ValidateMotionConfig(str(folder), str(folder / "truth.npz")),
        options=JobOptions(output=str(folder / f"job{seed}"), seed=seed, overwrite=True),
    )
    return json.loads((job / "metrics.json").read_text())


def superposed_rmsd(one, other):
    """Kabsch's, in float64."""
    x, y = (points.astype(float) - points.mean(axis=0, dtype=float) for points in (one, other))
    left, singular, right = np.linalg.svd(x.T @ y)
    singular[2] *= np.sign(np.linalg.det(left @ right))
    return np.sqrt(((x**2).sum() + (y**2).sum() - 2 * singular.sum()) / len(x))


def test_figures_agree_with_their_definitions(found, truth, tmp_path):
    figures = validated(found, truth, tmp_path)
    conformations = truth["c_alpha"][truth["frame_index"]].astype(float)
    squared = ((found["c_alpha"] - conformations) ** 2).sum(axis=-1).mean(axis=1)
    in_frame = np.sqrt(squared)
    after = [superposed_rmsd(*p) for p in zip(found["c_alpha"], conformations, strict=True)]
    template = [superposed_rmsd(found["template"], c) for c in conformations]
    expected = {
        "rmsd_in_frame_mean_angstrom": in_frame.mean(),
        "rmsd_in_frame_median_angstrom": np.median(in_frame),
        "rmsd_in_frame_p90_angstrom": np.quantile(in_frame, 0.9),
        "rmsd_superposed_mean_angstrom": np.mean(after),
        "template_rmsd_superposed_mean_angstrom": np.mean(template),
        "explained_fraction": 1 - np.mean(np.square(after)) / np.mean(np.square(template)),
    }
    for name, value in expected.items():
        assert figures[name] == pytest.approx(value, rel=1e-3), name
    assert (figures["images"], figures["residues"], figures["frames"]) == (40, 8, 5)
    low, high = (figures[f"rmsd_superposed_mean_{end}_angstrom"] for end in ("low", "high"))
    error = np.std(after) / np.sqrt(IMAGES)
    np.testing.assert_allclose(
        [low, high], np.mean(after) + 1.96 * error * np.array([-1, 1]), atol=0.5 * error
    )
    rows = np.loadtxt(tmp_path / "job0" / "errors.csv", delimiter=",", skiprows=1)
    np.testing.assert_allclose(rows[:, 2:].T, [in_frame, after], atol=1e-3)
    np.testing.assert_array_equal(rows[:, 1], truth["frame_index"])


def test_floors_stand_in_order_and_the_order_of_latents_is_seen(found, truth, tmp_path):
    figures = validated(found, truth, tmp_path)
    floors = [figures[f"pca_rank{rank}_rmsd_superposed_mean_angstrom"] for rank in (8, 2, 1)]
    floors.append(figures["constant_structure_rmsd_superposed_mean_angstrom"])
    floors.append(figures["template_rmsd_superposed_mean_angstrom"])
    assert floors == sorted(floors)
    assert figures["latent_spearman_abs"] > 0.95
    assert figures["structure_spearman_abs"] > 0.9
    assert figures["latents_distance_correlation"] > 0.7
    # Noise of 0.2 Å at both ends of a step.
    assert figures["c_alpha_step_deviation_rms_angstrom"] == pytest.approx(0.28, rel=0.2)
    page = (tmp_path / "job0" / "report.html").read_text()
    for words in ("rank-8 floor", "true frame", "lDDT", "95 % interval"):
        assert words in page


def test_a_perfect_recovery_has_no_error(found, truth, tmp_path):
    exact = truth["c_alpha"][truth["frame_index"]]
    perfect = validated({**found, "c_alpha": exact}, truth, tmp_path)
    for name in ("rmsd_in_frame_mean", "rmsd_superposed_p90", "constant_distortion"):
        assert perfect[f"{name}_angstrom"] == pytest.approx(0, abs=2e-3)
    assert perfect["explained_fraction"] == pytest.approx(1, abs=1e-5)
    assert perfect["lddt_ca_mean"] == 1


def test_a_rigid_motion_of_all_images_is_an_error_in_the_frame_only(found, truth, tmp_path):
    moved = truth["c_alpha"][truth["frame_index"]] + np.float32([3, 0, 0])
    figures = validated({**found, "c_alpha": moved}, truth, tmp_path)
    assert figures["rmsd_in_frame_mean_angstrom"] == pytest.approx(3, rel=1e-4)
    assert figures["rmsd_superposed_mean_angstrom"] < 2e-3


def test_one_conformation_has_no_order(found, truth, tmp_path):
    still = {**truth, "c_alpha": truth["c_alpha"][:1], "frame_index": np.zeros(IMAGES, int)}
    figures = validated(found, still, tmp_path)
    assert not any("spearman" in name for name in figures)
    assert "explained_fraction" not in figures


def test_residues_are_matched_by_chain_and_number(found, truth, tmp_path):
    plain = validated(found, truth, tmp_path)
    order = np.random.default_rng(2).permutation(RESIDUES)
    mixed = {
        **truth,
        "c_alpha": truth["c_alpha"][:, order],
        **{n: truth[n][order] for n in list(truth)[1:5]},
    }
    again = validated(found, mixed, tmp_path, seed=1)
    assert again["rmsd_in_frame_mean_angstrom"] == plain["rmsd_in_frame_mean_angstrom"]
    fewer = {
        **truth,
        "c_alpha": truth["c_alpha"][:, :6],
        **{n: truth[n][:6] for n in list(truth)[1:5]},
    }
    fewer["residue_name"] = np.full(6, "GLY")
    assert validated(found, fewer, tmp_path, seed=2)["residues"] == 6
    log = (tmp_path / "job2" / "run.log").read_text()
    assert "2 residues of the template are not in the truth" in log
    assert "6 residues have another name" in log


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("found", {"c_alpha": None}, "no array c_alpha"),
        ("found", {"template": np.zeros((3, 3), np.float32)}, "'template'.*does not fit"),
        (
            "found",
            {"chain": np.array(["X"] * 5 + ["Y"] * 3)},
            "chains 'X', 'Y' here, 'A', 'B' there",
        ),
        ("found", {"residue_number": np.ones(RESIDUES, np.int32)}, "one chain and number"),
        ("found", {"latents": np.full((IMAGES, 2), np.nan)}, "not finite"),
        ("found", {"latents": np.zeros((IMAGES - 1, 2))}, "'latents'"),
        (
            "found",
            {"c_alpha": np.zeros((3, RESIDUES, 3), np.float32), "latents": np.zeros((3, 1))},
            "3 images.*has 40",
        ),
        ("truth", {"frame_index": None}, "no array frame_index"),
    ],
)
def test_what_does_not_belong_together_is_refused(found, truth, tmp_path, file, changes, words):
    arrays = {"found": found, "truth": truth}
    arrays[file] = {k: v for k, v in {**arrays[file], **changes}.items() if v is not None}
    with pytest.raises(InputError, match=words):
        validated(arrays["found"], arrays["truth"], tmp_path)
    # A corrected command must not meet the remains of a refused one.
    assert not (tmp_path / "job0").exists()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_arrays_of_any_kind_are_read_or_refused(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("any")
    good = {"truth": make_truth(), "conformations": make_found(make_truth())}
    file = data.draw(st.sampled_from(sorted(good)))
    name = data.draw(st.sampled_from(sorted(good[file])))
    kinds = st.sampled_from([np.float32, np.float64, np.int64, np.uint8, np.bool_, "U3", "S2"])
    shapes = hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=RESIDUES)
    good[file][name] = data.draw(hnp.arrays(data.draw(kinds), data.draw(shapes)))
    for stem, arrays in good.items():
        write_npz(folder / f"{stem}.npz", arrays)
    with contextlib.suppress(InputError):
        motion, names, _ = read_motion(folder / "conformations.npz", folder / "truth.npz")
        assert motion.recovered.shape == motion.truth.shape
        assert len(names.chain) == motion.recovered.shape[1] >= 3


def test_costly_figures_of_a_large_set_are_of_a_sample(monkeypatch, truth):
    monkeypatch.setattr("cryojax_graph.jobs.validate.motion_scores._SAMPLE", 10)
    frames = truth["c_alpha"]
    motion = Motion(
        recovered=frames[truth["frame_index"]],
        template=frames[0],
        latents=np.zeros((IMAGES, 1)),
        frames=frames,
        frame_index=truth["frame_index"],
        bonded=bonded_pairs(frames[0], truth["chain"]),
    )
    scores = score_motion(jax.random.key(0), motion)
    assert scores.figures["images_of_costly_figures"] == len(scores.direction) == 10
    assert len(scores.superposed) == IMAGES


def test_chain_ends_and_gaps_are_not_bonds():
    c_alpha = np.array([[0, 0, 0], [3.8, 0, 0], [7.6, 0, 0], [15, 0, 0], [18.8, 0, 0]])
    pairs = bonded_pairs(c_alpha, np.array(["A", "A", "B", "B", "B"]))
    assert pairs.tolist() == [[0, 1], [3, 4]]


def test_insertion_codes_tell_residues_apart():
    names = ResidueNames(np.array(["A", "A"]), np.array([5, 5]), np.array(["", "B"]))
    other = ResidueNames(np.array(["A"]), np.array([5]), np.array(["B"]))
    rows, others = match_residues(names, other)
    assert (rows.tolist(), others.tolist()) == ([1], [0])


def test_a_model_agrees_with_itself(peptide):
    figures = score_model(backbone_of(peptide), backbone_of(peptide)).figures
    assert figures["ca_recall_3A_percent"] == figures["ca_precision_3A_percent"] == 100
    assert figures["sequence_recall_percent"] == 100
    assert figures["rmsd_in_frame_angstrom"] == 0
    assert figures["lddt_ca"] == 1
    assert figures["clashes"] == figures["true_clashes"]


def test_recall_and_precision_count_what_is_near(peptide):
    truth = backbone_of(peptide)
    # Two residues are left out, one is 2 Å off and of another type, and one stands far away.
    model = truth._replace(
        names=ResidueNames(*(part[:4] for part in truth.names)),
        residue_name=np.array(["MET", "TRP", *truth.residue_name[2:4]]),
        c_alpha=truth.c_alpha[:4] + np.float32([[0] * 3, [0, 0, -1.0], [0] * 3, [50, 0, 0]]),
    )
    scores = score_model(model, truth)
    assert scores.figures["ca_recall_3A_percent"] == 50
    assert scores.figures["ca_precision_3A_percent"] == 75
    assert scores.figures["residues_of_same_name"] == 4
    assert truth.residue_name[1] != "TRP"
    assert scores.figures["sequence_recall_percent"] == pytest.approx(100 * 2 / 6)
    assert scores.figures["ca_matched_rms_angstrom"] == pytest.approx(3**-0.5)
    np.testing.assert_allclose(scores.distance, [0, 1, 0, 50], atol=1e-5)


def test_atoms_that_crowd_at_one_place_count_once(peptide):
    """By place as nodes of a graph are counted: each atom is paired at most once."""
    truth = backbone_of(peptide)
    crowd = np.tile(truth.c_alpha[:1], (4, 1)) + np.float32([[0, 0, d] for d in (0, 1, -1, 2)])
    model = truth._replace(
        names=ResidueNames(*(part[:4] for part in truth.names)),
        residue_name=truth.residue_name[:4],
        c_alpha=crowd,
    )
    apart = np.linalg.norm(crowd[:, None] - truth.c_alpha[1:], axis=-1)
    assert apart.min() > 3
    figures = score_model(model, truth).figures
    assert figures["ca_recall_3A_percent"] == pytest.approx(100 / 6)
    assert figures["ca_precision_3A_percent"] == 25


def test_models_without_common_names_are_compared_by_place(peptide, tmp_path):
    write_atoms(tmp_path / "a.cif", replace(peptide, residue_number=peptide.residue_number + 100))
    write_atoms(tmp_path / "b.cif", peptide)
    config = ValidateModelConfig(str(tmp_path / "a.cif"), str(tmp_path / "b.cif"))
    job = validate_model(config, options=JobOptions(output=str(tmp_path / "job")))
    figures = json.loads((job / "metrics.json").read_text())
    assert figures["ca_recall_3A_percent"] == 100
    assert "rmsd_superposed_angstrom" not in figures
    assert "by place only" in (job / "report.html").read_text()


def test_the_command_scores_a_model(peptide, tmp_path, capsys):
    moved = replace(peptide, positions=peptide.positions + np.float32(1))
    for name, atoms in {"a.pdb": moved, "b.cif": peptide}.items():
        write_atoms(tmp_path / name, atoms)
    files = [str(tmp_path / "a.pdb"), "--truth", str(tmp_path / "b.cif")]
    assert main(["validate", "model", *files, "-o", str(tmp_path / "job")]) == 0
    figures = json.loads((tmp_path / "job" / "metrics.json").read_text())
    assert figures["rmsd_in_frame_angstrom"] == pytest.approx(np.sqrt(3), rel=1e-4)
    assert figures["rmsd_superposed_angstrom"] < 2e-3
    rows = Path(tmp_path / "job" / "distances.csv").read_text().splitlines()
    assert rows[0] == "chain,residue,name,distance_angstrom"
    assert rows[1].startswith("A,1,MET,1.73")


def said_of(model, truth, folder, capsys):
    for name, atoms in {"a.cif": model, "b.cif": truth}.items():
        write_atoms(folder / name, atoms)
    files = [str(folder / "a.cif"), "--truth", str(folder / "b.cif")]
    assert main(["validate", "model", *files, "-o", str(folder / "job"), "--overwrite"]) == 0
    return capsys.readouterr().err


def test_models_in_different_frames_are_told(peptide, tmp_path, capsys):
    def moved(shift):
        return replace(peptide, positions=peptide.positions + np.float32([0, 0, shift]))

    near = said_of(moved(2.0), peptide, tmp_path, capsys)
    assert "6 residues of the same name: 2.00 Å as they stand, 0.00 Å superposed" in near
    assert "Warning" not in near
    apart = said_of(moved(5.0), peptide, tmp_path, capsys)
    assert "different frames: the C-alpha RMSD is 5.00 Å, and 0.00 Å after" in apart
    assert "Hardly anything matches" not in apart
    assert "Hardly anything matches" in said_of(moved(90.0), peptide, tmp_path, capsys)
    bent = replace(peptide, positions=peptide.positions * np.float32([1, 1, -1]))
    assert "different frames" not in said_of(bent, peptide, tmp_path, capsys)


def test_models_without_common_names_or_places_are_told(peptide, tmp_path, capsys):
    other = replace(
        peptide,
        positions=peptide.positions + np.float32(90),
        residue_number=peptide.residue_number + 100,
    )
    said = said_of(other, peptide, tmp_path, capsys)
    assert "Hardly anything matches: the models may be of different proteins" in said
    assert "superposed" not in said


def test_a_file_without_protein_is_refused(peptide, tmp_path):
    water = select_atoms(peptide, peptide.name == "O")
    write_atoms(tmp_path / "w.cif", replace(water, residue_name=np.full(len(water), "HOH")))
    config = ValidateModelConfig(str(tmp_path / "w.cif"), str(tmp_path / "w.cif"))
    with pytest.raises(InputError, match="no amino acid with a C-alpha"):
        plan_validate_model(config, options=JobOptions(output=str(tmp_path / "job")))


def test_plans_write_nothing(found, truth, peptide, tmp_path):
    write_npz(tmp_path / "conformations.npz", found)
    write_npz(tmp_path / "truth.npz", truth)
    write_atoms(tmp_path / "a.cif", peptide)
    options = JobOptions(output=str(tmp_path / "job"))
    motion = ValidateMotionConfig(str(tmp_path / "conformations.npz"), str(tmp_path / "truth.npz"))
    assert (
        "40 conformations of 8 residues" in plan_validate_motion(motion, options=options).actions[0]
    )
    model = ValidateModelConfig(str(tmp_path / "a.cif"), str(tmp_path / "a.cif"))
    assert "6 residues with 6" in plan_validate_model(model, options=options).actions[0]
    assert not (tmp_path / "job").exists()
