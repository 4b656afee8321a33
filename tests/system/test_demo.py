"""``demo`` from end to end: begun, interrupted, continued, begun anew."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from cryojax_graph.cli import main
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs import demo as module
from cryojax_graph.jobs.demo import DemoConfig, demo
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions

CONFIG = DemoConfig(images=40, box=48, snr=1.0, preset="small", epochs=2)
FIGURES = ("", "template_", "constant_structure_")


def read(path: Path) -> dict:
    return json.loads(path.read_text())


def stop(*arguments, **options):
    raise KeyboardInterrupt


def step(verb: str, seen: list, *, stops: bool = False):
    """A step that computes nothing, in a real job folder; notes whether it was continued."""

    def run(config, *, options):
        with open_job(config, verb=verb, options=options, inputs={}) as job:
            seen.append((verb, job.resumed))
            if stops:
                raise KeyboardInterrupt
        return job.folder

    return run


def replace_steps(patch: pytest.MonkeyPatch, seen: list, *, stops: str = "") -> None:
    for verb in ("simulate", "flex", "validate motion"):
        name = verb.replace(" ", "_")
        patch.setattr(module, name, step(verb, seen, stops=verb == stops))


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory) -> Path:
    """A demo that was stopped in its last step, in the folder of another with finished steps."""
    folder = tmp_path_factory.mktemp("demo") / "job"
    other = replace(CONFIG, images=50)
    with pytest.MonkeyPatch.context() as patch:
        replace_steps(patch, [])
        # Steps that compute nothing leave no files for the page.
        with pytest.raises(InputError, match="there is no such file"):
            demo(other, options=JobOptions(output=str(folder), seed=1))
    (folder / "flex/notes.txt").write_text("mine")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "validate_motion", stop)
        with pytest.raises(KeyboardInterrupt):
            demo(CONFIG, options=JobOptions(output=str(folder), overwrite=True))
    return folder


@pytest.fixture(scope="module")
def solved(interrupted) -> Path:
    finished = [interrupted / name / "manifest.json" for name in ("simulate", "flex")]
    before = [path.read_bytes() for path in finished]
    folder = demo(CONFIG, options=JobOptions(output=str(interrupted)))
    assert [path.read_bytes() for path in finished] == before
    return folder


def test_a_demo_begun_anew_does_every_step_again(solved):
    for name in ("simulate", "flex", "validate"):
        assert read(solved / name / "job.json")["seed"] == 0
        assert read(solved / name / "metrics.json")["images"] == CONFIG.images
    assert read(solved / "simulate/job.json")["config"]["images"] == CONFIG.images
    assert (solved / "flex/notes.txt").read_text() == "mine"


def test_a_continued_demo_keeps_finished_steps(solved):
    runs = {
        name: len(read(solved / name / "manifest.json")["attempts"])
        for name in ("", "simulate", "flex", "validate")
    }
    assert runs == {"": 2, "simulate": 1, "flex": 1, "validate": 1}


def test_a_continued_demo_goes_on_with_an_unfinished_step(tmp_path, monkeypatch):
    seen = []
    replace_steps(monkeypatch, seen, stops="flex")
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            demo(CONFIG, options=JobOptions(output=str(tmp_path)))
    assert seen == [("simulate", False), ("flex", False), ("flex", True)]


def test_overwriting_an_unfinished_demo_begins_with_the_first_step(tmp_path, monkeypatch):
    seen = []
    replace_steps(monkeypatch, seen, stops="flex")
    for overwrite in (False, True):
        with pytest.raises(KeyboardInterrupt):
            demo(CONFIG, options=JobOptions(output=str(tmp_path), overwrite=overwrite))
    assert seen == 2 * [("simulate", False), ("flex", False)]


def test_a_finished_job_of_another_kind_is_not_taken_for_a_step(tmp_path, monkeypatch):
    seen = []
    replace_steps(monkeypatch, seen)
    step("flex", [])(DemoConfig(), options=JobOptions(output=str(tmp_path / "flex")))
    for _ in range(2):
        with pytest.raises(InputError, match="holds a finished job"):
            demo(CONFIG, options=JobOptions(output=str(tmp_path)))
    assert seen == [("simulate", False)]


def test_figures_of_the_steps_are_metrics_of_the_demo(solved):
    metrics, score = read(solved / "metrics.json"), read(solved / "validate/metrics.json")
    for name in FIGURES:
        name = f"{name}rmsd_superposed_mean_angstrom"
        assert metrics[name] == score[name]
    assert metrics["images"] == CONFIG.images
    assert metrics["units"]["latent_spearman_abs"] == "1"


def test_the_page_shows_the_motion_and_states_what_was_measured(solved):
    page, metrics = (solved / "report.html").read_text(), read(solved / "metrics.json")
    assert page.count('class="backbone"') == 1
    assert page.count('class="plot"') == 1
    for name in FIGURES:
        assert f"{metrics[f'{name}rmsd_superposed_mean_angstrom']:.2f} Å" in page
    constant = metrics["constant_structure_rmsd_superposed_mean_angstrom"]
    assert metrics["rmsd_superposed_mean_low_angstrom"] > constant
    assert "worse than the best single structure" in page
    assert "<h1>Demo: the motion of adenylate kinase was not recovered</h1>" in page
    maps = [path.name for path in sorted((solved / "flex/maps").iterdir())]
    assert maps == [f"point_{number:02}.mrc" for number in (1, 6, 11, 15, 20)]
    assert "follows the true frame" not in (solved / "flex/report.html").read_text()
    links = re.findall(r'href="(\w+/report.html)"', page)
    assert links == [f"{name}/report.html" for name in ("simulate", "flex", "validate")]
    assert all((solved / link).exists() for link in links)


def test_warnings_of_the_steps_are_warnings_of_the_demo(solved):
    warnings = read(solved / "manifest.json")["warnings"]
    of_flex = read(solved / "flex/manifest.json")["warnings"]
    assert of_flex
    assert {f"flex: {text}" for text in of_flex} <= set(warnings)


def test_a_finished_demo_is_not_begun_again_unasked(solved, capsys):
    settings = ["--images", "40", "--box", "48", "--snr", "1", "--preset", "small", "--epochs", "2"]
    assert main(["demo", *settings, "-o", str(solved)]) == 2
    assert "it holds a finished job" in capsys.readouterr().err


def test_a_dry_run_makes_nothing(tmp_path, capsys):
    assert main(["demo", "-o", str(tmp_path / "job"), "--dry-run"]) == 0
    assert "Would write: simulate/, flex/, validate/, report.html" in capsys.readouterr().out
    assert not (tmp_path / "job").exists()


@pytest.mark.parametrize("option", ["images", "box", "epochs", "snr"])
def test_too_small_a_demo_is_refused_at_once(tmp_path, capsys, option):
    assert main(["demo", f"--{option}", "0", "-o", str(tmp_path / "job")]) == 2
    assert f"--{option}: it is 0; give " in capsys.readouterr().err
    assert not (tmp_path / "job").exists()
