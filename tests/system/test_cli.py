import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cryojax_graph import cli
from cryojax_graph._version import __version__
from cryojax_graph.cli import VERBS, Verb, main
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.arguments import main_options
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.training.abort import Aborted

HERE = Path(__file__).parent
PROGRAM = """
import sys
sys.path.insert(0, sys.argv.pop(1))
from cryojax_graph.cli import Verb, main
sys.exit(main(verbs={"count": Verb("count_job", "sum the numbers of a text file")}))
"""
COUNT = {"count": Verb("count_job", "sum the numbers of a text file")}


@pytest.fixture
def numbers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(HERE))
    path = tmp_path / "numbers.txt"
    path.write_text("1\n2\n3\n")
    return path


def start(*arguments, **environment):
    command = [sys.executable, "-c", PROGRAM, str(HERE), *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def test_the_overview_lists_every_verb_and_imports_no_job():
    code = (
        "import sys; from cryojax_graph.cli import main; code = main(['--help'])\n"
        "heavy = {'jax', 'numpy', 'tyro', 'rich', 'cryojax_graph.jobs'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "sys.exit(code)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name, verb in VERBS.items():
        assert f"{name:15}  {verb.summary}" in done.stdout


def test_it_works_without_home_and_under_a_locale_without_utf8(tmp_path):
    environment = {"PATH": os.defpath, "LANG": "C", "LC_ALL": "POSIX", "PYTHONUTF8": "0"}
    command = [sys.executable, "-m", "cryojax_graph", "--help"]
    done = subprocess.run(
        command, env=environment | {"PYTHONIOENCODING": "ascii"}, capture_output=True, cwd=tmp_path
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"usage: cryojax-graph VERB INPUT ? -o FOLDER" in done.stdout


def test_a_job_is_done(numbers, tmp_path, capsys):
    assert main(["count", str(numbers), "-o", str(tmp_path / "job"), "--power", "2"], COUNT) == 0
    assert json.loads((tmp_path / "job" / "sum.json").read_text()) == {"sum": 14}
    assert capsys.readouterr().out == f"Done: {tmp_path / 'job'}\n"


def test_a_job_repeats_from_its_own_config(numbers, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert main(["count", str(numbers), "-o", str(first), "--power", "3"], COUNT) == 0
    assert main(["count", "--config", str(first / "job.json"), "-o", str(second)], COUNT) == 0
    for name in ("job.json", "sum.json"):
        assert (first / name).read_text() == (second / name).read_text()


def test_a_dry_run_says_what_it_would_do_and_makes_nothing(numbers, tmp_path, capsys):
    assert main(["count", str(numbers), "-o", str(tmp_path / "job"), "--dry-run"], COUNT) == 0
    assert "Would write: sum.json" in capsys.readouterr().out
    assert not (tmp_path / "job").exists()


def test_a_dry_run_says_what_is_in_the_folder(numbers, tmp_path, capsys):
    job = tmp_path / "job"

    def said(*options):
        capsys.readouterr()
        assert main(["count", str(numbers), "-o", str(job), "--dry-run", *options], COUNT) == 0
        return capsys.readouterr().out

    assert f"Folder: {job}, to be made" in said()
    assert main(["count", str(numbers), "-o", str(job)], COUNT) == 0
    assert "holds a finished count job: use another folder, or --overwrite" in said()
    assert "which would be replaced" in said("--overwrite")
    manifest = json.loads((job / "manifest.json").read_text())
    (job / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
    assert "holds an unfinished count job, which is continued" in said()
    refused = manifest | {"status": "failed", "outputs": {}, "working": []}
    (job / "manifest.json").write_text(json.dumps(refused))
    (job / "sum.json").unlink()
    assert "failed before it began to work, which is repeated, or replaced if config" in said()
    assert "which would be replaced" in said("--overwrite")


@pytest.mark.parametrize("name", ["x" * 300, "numbers.txt", "numbers.txt/inside"])
def test_a_dry_run_refuses_the_folder_that_the_job_would_refuse(name, numbers, tmp_path, capsys):
    command = ["count", str(numbers), "-o", str(tmp_path / name)]
    assert main(command, COUNT) == 2
    refusal = capsys.readouterr().err
    assert main([*command, "--dry-run"], COUNT) == 2
    assert capsys.readouterr().err == refusal
    assert "output folder" in refusal


def test_an_empty_folder_leaves_the_working_directory_alone(numbers, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["count", str(numbers), "-o", ""], COUNT) == 2
    assert "--output: its name is empty" in capsys.readouterr().err
    assert main(["check", str(numbers), "--pipeline.relion-marks"]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["numbers.txt"]


def test_help_of_a_verb(numbers, capsys):
    assert main(["count", "--help"], COUNT) == 0
    assert "Sum the numbers of a text file." in capsys.readouterr().out


def test_wrong_input_is_one_message_without_a_traceback(numbers, tmp_path, capsys):
    numbers.write_text("1\nx\n")
    assert main(["count", str(numbers), "-o", str(tmp_path / "job")], COUNT) == 2
    error = capsys.readouterr().err
    assert f"Wrong input: {numbers}: line 2: not a number; mend it\n" in error
    assert "Traceback" not in error


def test_wrong_options_are_wrong_input(numbers, capsys):
    assert main(["count", str(numbers), "--bogus"], COUNT) == 2
    assert "--bogus" in capsys.readouterr().err
    assert main(["count", str(numbers), "-o", "x", "--device", "toaster"], COUNT) == 2
    assert "no such device" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ([], 2, "usage:"),
        (["help"], 0, "usage:"),
        (["flx"], 2, "did you mean flex?"),
        (["qqqq"], 2, "no verb 'qqqq'; known: check"),
        (["validate"], 2, "validate motion"),
        (["validate", "--help"], 0, "validate motion"),
        (["validate", "nothing"], 2, "validate model"),
        (["--version"], 0, f"cryojax-graph {__version__}"),
    ],
)
def test_what_is_no_verb(arguments, code, text, capsys):
    assert main(arguments) == code
    streams = capsys.readouterr()
    assert text in streams.out + streams.err


def test_the_arguments_of_the_process_are_the_default(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["cryojax-graph", "--version"])
    assert main() == 0
    assert "JAX" in capsys.readouterr().out


class OutOfDeviceMemory(RuntimeError):
    """Named as XLA names it."""


OutOfDeviceMemory.__name__ = "JaxRuntimeError"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("f", "p", "c", "r"), 2, "Wrong input: f: p: c; r"),
        (OSError(28, "No space left on device"), 2, "The disk is full"),
        (Aborted("stopped by SIGTERM"), 3, "Aborted: stopped by SIGTERM"),
        (KeyboardInterrupt(), 3, "Aborted"),
        (MemoryError(), 4, "Out of memory"),
        (OutOfDeviceMemory("RESOURCE_EXHAUSTED: 3 GB"), 4, "Out of memory"),
        (OutOfDeviceMemory("INTERNAL: no"), 1, "Internal error: JaxRuntimeError: INTERNAL: no"),
        (ZeroDivisionError("x"), 1, "Internal error: ZeroDivisionError: x"),
    ],
)
def test_each_way_to_end_has_its_code(monkeypatch, numbers, capsys, error, code, text):
    def fail(*arguments):
        raise error

    monkeypatch.setattr(cli, "_run", fail)
    assert main(["count", "x"], COUNT) == code
    quiet = capsys.readouterr().err
    assert quiet.startswith(text)
    assert "Traceback" not in quiet
    assert main(["count", "x", "-v"], COUNT) == code
    assert "Traceback" in capsys.readouterr().err


def test_sigterm_saves_and_the_same_command_continues(numbers, tmp_path):
    numbers.write_text("1\n" * 400)
    arguments = ["count", numbers, "-o", tmp_path / "job", "--pace.seconds", "0.01"]
    with start(*arguments) as process:
        done = tmp_path / "job" / "done.txt"
        while not (done.exists() and done.stat().st_size > 3):
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=30)
    assert process.returncode == 3, error
    assert "Aborted: stopped by SIGTERM" in error
    reached = done.stat().st_size
    assert 3 < reached < 400

    done.write_text("." * 399)
    with start(*arguments) as process:
        _, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "Continuing count" in error
    assert "\x1b" not in error
    assert json.loads((tmp_path / "job" / "sum.json").read_text()) == {"sum": 400}


@pytest.mark.parametrize(("lines", "mark"), [("1\n", "SUCCESS"), ("x\n", "FAILURE")])
def test_relion_marks_are_left_only_when_asked_for(numbers, tmp_path, lines, mark):
    numbers.write_text(lines)
    arguments = ["count", str(numbers), "-o", str(tmp_path / "job")]
    main(arguments, COUNT)
    assert not list((tmp_path / "job").glob("RELION*"))
    main([*arguments, "--overwrite", "--pipeline.relion-marks"], COUNT)
    marks = [path.name for path in (tmp_path / "job").glob("RELION*")]
    assert marks == [f"RELION_JOB_EXIT_{mark}"]


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_keeps_the_contract_of_the_table(name):
    module = importlib.import_module(VERBS[name].module)
    function = name.replace(" ", "_")
    config = getattr(module, f"{name.title().replace(' ', '')}Config")
    assert dataclasses.is_dataclass(config)
    assert config.__dataclass_params__.frozen
    assert callable(getattr(module, function))
    assert callable(getattr(module, f"plan_{function}"))
    assert len(main_options(config)) <= 12
    fields = [f.name for kind in (config, JobOptions) for f in dataclasses.fields(kind)]
    assert len(set(fields)) == len(fields), "a field of the verb hides one of every job"


def test_the_tiny_verb_is_a_plan_too(numbers):
    import count_job

    plan = count_job.plan_count(count_job.CountConfig(str(numbers)), options=JobOptions("x"))
    assert isinstance(plan, Plan)


# Every verb in a process of its own, all forked from one that has imported what they need: JAX
# settles its devices at the first use, not when it is imported.
REAL_VERBS = """
import importlib, json, os, sys
import cryojax_graph.cli as cli
for module in {verb.module for verb in cli.VERBS.values()}:
    importlib.import_module(module)
for arguments in json.loads(sys.argv[1]):
    if not os.fork():
        code = cli.main(arguments)
        import jax
        print("ends", code, jax.default_backend(), len(jax.devices()), flush=True)
        os._exit(0)
    os.wait()
    print("next", flush=True)
"""


def run_every_verb(folder: Path, device: str, **environment: str) -> list[str]:
    """What each verb printed, in the order of ``ENDS_EARLY``."""
    commands = [
        [*verb.split(), *needed, "-o", str(folder / verb), "--device", device]
        for verb, needed in ENDS_EARLY.items()
    ]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", REAL_VERBS, json.dumps(commands)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={k: v for k, v in os.environ.items() if not k.startswith("JAX_")} | environment,
    )
    return done.stdout.split("next\n")[:-1]


# A missing input ends a verb early; by then it has had every chance to wake JAX.
ENDS_EARLY = {
    "check": ["none.mrc"],
    "simulate": ["none.npz"],
    "flex": ["none.star", "--template", "none.pdb"],
    "pose": ["none.star", "--reference", "none.mrc"],
    "reconstruct": ["none.star"],
    "refine": ["none.star", "--reference", "none.mrc"],
    "locate": ["none.mrc"],
    "query": ["none.npz"],
    "fit": ["none.cif", "--map", "none.mrc"],
    "validate fsc": ["none.mrc", "none.mrc"],
    "validate motion": ["none", "--truth", "none.npz"],
    "validate poses": ["none.star", "--truth", "none.npz"],
    "validate model": ["none.pdb", "--truth", "none.pdb"],
    "validate graph": ["none", "--model", "none.pdb"],
    "convert": ["none.star"],
    "demo": ["--dry-run"],
}


def test_devices_are_settled_before_any_verb_looks_for_them(tmp_path):
    assert ENDS_EARLY.keys() == VERBS.keys()
    printed = run_every_verb(tmp_path, "cpu", JAX_NUM_CPU_DEVICES="3")
    ends = {
        verb: text.split("ends ")[-1].strip()
        for verb, text in zip(ENDS_EARLY, printed, strict=True)
    }
    assert ends == dict.fromkeys(ENDS_EARLY, "2 cpu 3") | {"demo": "0 cpu 3"}


def test_a_device_that_is_not_there_is_refused_by_every_verb(tmp_path):
    printed = run_every_verb(tmp_path, "tpu")
    assert all("install JAX for the device" in text for text in printed)
    assert len(printed) == len(ENDS_EARLY)


def test_a_reader_that_has_seen_enough_is_no_error():
    command = [
        sys.executable,
        "-c",
        "from cryojax_graph.cli import main; import sys; sys.exit(main())",
    ]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [*command, "simulate", "--help-all"], stdout=writing, stderr=subprocess.PIPE, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, b"")
