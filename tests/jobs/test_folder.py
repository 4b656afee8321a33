import json
import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path

import pytest

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs import folder as module
from cryojax_graph.jobs.claim import describe_folder
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions, PipelineOptions
from cryojax_graph.training.abort import Aborted


@dataclass(frozen=True)
class Inner:
    epochs: int = 10


@dataclass(frozen=True)
class Config:
    preset: str = "default"
    training: Inner = field(default_factory=Inner)


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "particles.star"
    path.write_text("data_\n")
    return path


@pytest.fixture
def options(tmp_path):
    return JobOptions(output=str(tmp_path / "job"))


def run(source, options, config=Config(), work=lambda job: None):
    with open_job(config, verb="flex", options=options, inputs={"particles": source}) as job:
        work(job)
    return job


def interrupted(source, options, config=Config(), work=lambda job: None):
    """A run that ends as a crash would leave it: without a last word in the manifest."""

    class Crash(Exception):
        pass

    def crash(job):
        work(job)
        job.save_manifest()
        manifest = (job.folder / "manifest.json").read_text()
        raise Crash(manifest)

    with pytest.raises(Crash) as crashed:
        run(source, options, config, crash)
    (module.Path(options.output) / "manifest.json").write_text(str(crashed.value))


def manifest_of(options):
    return json.loads((module.Path(options.output) / "manifest.json").read_text())


def test_a_finished_job_tells_all_about_itself(source, options):
    def work(job):
        job.log("reading")
        job.warn("odd")
        job.warn("odd")
        job.metric("rmsd_mean_angstrom", 0.5)
        job.metric("images", 12, unit="1")
        with job.output("maps/one.mrc", "a map") as path:
            path.write_bytes(b"1234")

    job = run(source, replace(options, seed=3), work=work)
    folder = job.folder
    assert not job.resumed
    assert job.seed == 3
    assert json.loads((folder / "job.json").read_text()) == {
        "verb": "flex",
        "seed": 3,
        "config": {"preset": "default", "training": {"epochs": 10}},
    }
    manifest = manifest_of(options)
    assert manifest["status"] == "done"
    assert manifest["inputs"]["particles"]["sha256"] == sha256(source.read_bytes()).hexdigest()
    assert manifest["outputs"]["maps/one.mrc"] == {"description": "a map", "bytes": 4}
    assert manifest["warnings"] == ["odd"]
    assert manifest["versions"]["jax"]
    (attempt,) = manifest["attempts"]
    assert attempt["outcome"] == "done"
    assert attempt["started"] <= attempt["ended"]
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["rmsd_mean_angstrom"] == 0.5
    assert metrics["images"] == 12
    assert metrics["units"] == {"images": "1"}
    assert metrics["wall_seconds"] >= 0
    assert metrics["peak_memory_bytes"] > 2**20
    log = (folder / "run.log").read_text()
    assert "reading\n" in log
    assert log.count("Warning: odd\n") == 2
    assert (folder / "maps" / "one.mrc").read_bytes() == b"1234"
    assert not (folder / ".partial").exists()


def test_a_finished_job_is_refused_and_left_as_it_is(source, options):
    run(source, options)
    before = manifest_of(options)
    with pytest.raises(InputError, match=r"it holds a finished job; .*--overwrite"):
        run(source, options)
    assert manifest_of(options) == before


def test_overwriting_removes_what_the_job_made_and_nothing_else(source, options):
    def work(job):
        job.write_text("old.txt", "x")
        (job.working("checkpoints") / "3").mkdir(parents=True)
        (job.folder / "notes.txt").write_text("of the user")

    folder = run(source, options, work=work).folder
    job = run(source, replace(options, overwrite=True), replace(Config(), preset="paper"))
    assert not job.resumed
    left = sorted(path.name for path in folder.iterdir())
    own = [".lock", "job.json", "manifest.json", "metrics.json", "run.log"]
    assert left == [*own[:3], "metrics.json", "notes.txt", "run.log"]
    assert (folder / "run.log").read_text().count("Starting") == 1


def test_a_manifest_cannot_make_overwriting_reach_out_of_the_folder(source, options):
    folder = run(source, options).folder
    manifest = manifest_of(options)
    manifest["working"] += ["../particles.star", str(source), "..", "."]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    run(source, replace(options, overwrite=True))
    assert source.exists()


def test_an_interrupted_job_continues_with_what_it_kept(source, options):
    interrupted(source, options, work=lambda job: job.working("done.txt").write_text("4"))
    seen = []
    job = run(source, options, work=lambda job: seen.append(job.working("done.txt").read_text()))
    assert job.resumed
    assert seen == ["4"]
    outcomes = [attempt["outcome"] for attempt in manifest_of(options)["attempts"]]
    assert outcomes == ["interrupted", "done"]


def test_a_job_of_another_version_continues_with_a_warning(source, options):
    interrupted(source, options)
    old = manifest_of(options) | {"version": "0.0.1"}
    (module.Path(options.output) / "manifest.json").write_text(json.dumps(old))
    assert run(source, options).resumed
    assert manifest_of(options)["warnings"][0].startswith("begun by version 0.0.1")


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"config": Config(preset="paper")}, "config.preset is 'paper', was 'default'"),
        ({"config": Config(training=Inner(20))}, "config.training.epochs is 20, was 10"),
        ({"seed": 1}, "seed is 1, was 0"),
    ],
)
def test_an_interrupted_job_of_another_config_is_refused(source, options, change, difference):
    interrupted(source, options)
    config = change.pop("config", Config())
    with pytest.raises(InputError) as refused:
        run(source, replace(options, **change), config)
    assert difference in refused.value.cause


def test_a_job_refused_before_it_worked_does_not_block_its_folder(source, options):
    def refuse(job):
        raise InputError("template.pdb", "its residues", "too few", "give more")

    with pytest.raises(InputError, match="too few"):
        run(source, options, work=refuse)
    job = run(source, options, Config(preset="paper"))
    assert not job.resumed
    assert manifest_of(options)["request"]["config"]["preset"] == "paper"


def test_an_input_mended_after_it_was_refused_is_taken(source, options):
    def refuse(job):
        raise InputError("particles", "row 1", "not a number", "correct it")

    with pytest.raises(InputError, match="not a number"):
        run(source, options, work=refuse)
    source.write_text("mended\n")
    assert not run(source, options).resumed


def test_data_that_changed_between_attempts_are_refused(source, options):
    def work(job):
        job.require_unchanged("images", "a")
        job.require_unchanged("images", "a")

    interrupted(source, options, work=work)
    with pytest.raises(InputError, match="the images are not those with which the job began"):
        run(source, options, work=lambda job: job.require_unchanged("images", "b"))
    assert run(source, options, work=work).resumed


def test_an_interrupted_job_whose_input_changed_is_refused(source, options):
    interrupted(source, options)
    source.write_text("data_particles\n")
    with pytest.raises(InputError, match="not the one with which the job"):
        run(source, options)


def test_an_input_that_was_only_touched_is_the_same(source, options):
    interrupted(source, options, work=lambda job: job._hashing.join())
    os.utime(source, ns=(1, 1))
    assert run(source, options).resumed


def test_outputs_are_whole_or_absent(source, options):
    def work(job):
        with job.output("a.txt") as path:
            path.write_text("half")
            assert not (job.folder / "a.txt").exists()
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        run(source, options, work=work)
    folder = module.Path(options.output)
    assert not (folder / "a.txt").exists()
    manifest = manifest_of(options)
    assert manifest["status"] == "failed"
    assert manifest["outputs"] == {}
    assert "in the middle" in (folder / "run.log").read_text()
    assert run(source, options).resumed


def test_a_file_of_somebody_else_is_not_overwritten(source, options):
    folder = module.Path(options.output)
    folder.mkdir()
    (folder / "map.mrc").write_text("precious")
    with pytest.raises(InputError, match="not of this job"):
        run(source, options, work=lambda job: job.write_text("map.mrc", "mine"))
    assert (folder / "map.mrc").read_text() == "precious"


def test_a_file_in_the_way_of_an_output_is_found_before_the_work(source, options):
    folder = module.Path(options.output)
    folder.mkdir()
    (folder / "map.mrc").write_text("precious")
    for overwrite in (False, True):
        with pytest.raises(InputError, match=r"map\.mrc: output: .* not of this job"):
            describe_folder(folder, overwrite=overwrite, outputs=("map.mrc",))
        again = replace(options, overwrite=overwrite)
        with (
            pytest.raises(InputError, match="not of this job"),
            open_job(Config(), verb="flex", options=again, inputs={}, outputs=("maps/", "map.mrc")),
        ):
            pytest.fail("the work began")
    assert not (folder / "job.json").exists()
    (folder / "map.mrc").rename(folder / "metrics.json")
    with pytest.raises(InputError, match=r"metrics\.json"):
        run(source, options, work=lambda job: pytest.fail("the work began"))


def test_an_output_of_an_earlier_attempt_is_no_file_in_the_way(source, options):
    interrupted(source, options, work=lambda job: job.write_text("a.txt", "first"))
    with open_job(
        Config(), verb="flex", options=options, inputs={"particles": source}, outputs=("a.txt",)
    ) as job:
        job.write_text("a.txt", "second")
    assert job.resumed


def test_an_output_of_an_earlier_attempt_is_written_again(source, options):
    interrupted(source, options, work=lambda job: job.write_text("a.txt", "first"))
    job = run(source, options, work=lambda job: job.write_text("a.txt", "second"))
    assert (job.folder / "a.txt").read_text() == "second"


@pytest.mark.parametrize("name", ["../out.txt", "/tmp/out.txt", "a/../../b", "."])
def test_outputs_stay_inside_the_folder(source, options, name):
    with pytest.raises(ValueError, match="not inside the job folder"):
        run(source, options, work=lambda job: job.write_text(name, "x"))


def test_a_job_that_is_asked_to_stop_is_aborted_and_continues_later(source, options):
    pipeline = replace(options, pipeline=PipelineOptions(relion_marks=True))

    def work(job):
        job.check_abort()
        (job.folder / "RELION_JOB_ABORT_NOW").touch()
        job.check_abort()

    with pytest.raises(Aborted, match="RELION_JOB_ABORT_NOW"):
        run(source, pipeline, work=work)
    assert manifest_of(options)["status"] == "aborted"
    assert run(source, options).resumed


def test_without_the_flag_marks_mean_nothing(source, options):
    def work(job):
        (job.folder / "RELION_JOB_ABORT_NOW").touch()
        job.check_abort()

    run(source, options, work=work)


@pytest.mark.parametrize(
    ("name", "value", "unit", "message"),
    [
        ("accuracy", 0.5, None, "has no unit"),
        ("rmsd_angstrom", float("nan"), None, "is nan"),
        ("rmsd_angstrom", float("inf"), None, "is inf"),
    ],
)
def test_a_metric_without_a_unit_or_a_value_is_refused(source, options, name, value, unit, message):
    with pytest.raises(ValueError, match=message):
        run(source, options, work=lambda job: job.metric(name, value, unit))


def test_json_outputs_hold_no_nan(source, options):
    with pytest.raises(ValueError, match="JSON"):
        run(source, options, work=lambda job: job.write_json("a.json", [float("nan")]))


def test_a_missing_input_is_refused_before_anything_is_made(tmp_path, options):
    with pytest.raises(InputError, match=r"nowhere\.star: particles: No such file"):
        run(tmp_path / "nowhere.star", options)
    assert not module.Path(options.output).exists()


def test_an_input_may_be_a_folder(tmp_path, options):
    run(tmp_path, options)
    assert manifest_of(options)["inputs"]["particles"]["sha256"] is None


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"status": "done"}', "\x00"])
def test_a_manifest_that_is_none_is_refused(source, options, content):
    folder = module.Path(options.output)
    folder.mkdir()
    (folder / "manifest.json").write_text(content)
    with pytest.raises(InputError, match="manifest"):
        run(source, replace(options, overwrite=True))


def test_a_file_in_place_of_the_folder_is_refused(source, tmp_path):
    with pytest.raises(InputError, match="output folder"):
        run(source, JobOptions(output=str(source)))


def test_two_processes_cannot_share_a_folder(source, options):
    code = (
        "import sys; from pathlib import Path; from cryojax_graph.jobs.claim import locked\n"
        "with locked(Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, options.output],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        with pytest.raises(InputError, match="another process is working in it"):
            run(source, options)
        other.kill()
    run(source, options)


def test_progress_goes_to_the_log_and_to_a_screen_that_is_no_terminal(source, options, capsys):
    def work(job):
        with job.progress("Fitting", 2) as advance:
            advance(2)

    job = run(source, options, work=work)
    assert "Fitting: 2/2, took" in (job.folder / "run.log").read_text()
    assert "Fitting: 2/2, took" in capsys.readouterr().err


def test_the_memory_of_this_process_is_counted_in_bytes():
    assert 2**24 < module.peak_memory_bytes() < 2**38


def test_a_file_in_the_way_of_what_a_job_keeps_is_refused(source, options):
    folder = Path(options.output)
    folder.mkdir(exist_ok=True)
    (folder / "networks.csv").write_text("mine")
    with pytest.raises(InputError, match=r"networks\.csv"):
        run(source, options, work=lambda job: job.working("networks.csv").write_text("4"))
    assert (folder / "networks.csv").read_text() == "mine"


def test_what_a_job_kept_goes_when_it_says_so(source, options):
    def work(job):
        job.working("sums.npz").write_text("4")
        (job.working("parts") / "1").mkdir(parents=True)
        job.working("never.npz")
        (job.folder / "notes.txt").write_text("of the user")
        job.discard_working()

    folder = run(source, options, work=work).folder
    assert not (folder / "sums.npz").exists()
    assert not (folder / "parts").exists()
    assert (folder / "notes.txt").exists()
    assert manifest_of(options)["working"] == []
