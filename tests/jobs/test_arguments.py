import json
from dataclasses import dataclass, field
from typing import Literal

import pytest
import tyro

from cryojax_graph.configs import to_dict
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.arguments import main_options, parse_arguments
from cryojax_graph.jobs.options import JobOptions


@dataclass(frozen=True)
class Training:
    """How to train.

    Args:
        epochs: Passes over the images.
    """

    epochs: int = 10


@dataclass(frozen=True)
class ToyConfig:
    """A config.

    Args:
        particles: Table of particles.
        template: Atomic model.
        preset: Named settings.
        weights: Of three things.
        training: How to train.
    """

    particles: tyro.conf.Positional[str]
    template: str
    preset: Literal["paper", "default"] = "default"
    weights: tuple[float, ...] = (1.0, 2.0)
    training: Training = field(default_factory=Training)


NEEDED = ["a.star", "--template", "m.pdb", "-o", "out"]


def parse(arguments, output=None):
    return parse_arguments("toy", ToyConfig, arguments, summary="play", output=output)


def refused(arguments, capsys, code=2, output=None):
    with pytest.raises(SystemExit) as exit_:
        parse(arguments, output)
    assert exit_.value.code == code
    streams = capsys.readouterr()
    return streams.out + streams.err


def test_options_of_verb_and_job_are_one_flat_list():
    config, options = parse([*NEEDED, "--preset", "paper", "--seed", "4", "-v", "--dry-run"])
    assert config == ToyConfig("a.star", "m.pdb", preset="paper")
    assert options == JobOptions("out", seed=4, verbose=True, dry_run=True)


def test_advanced_options_have_the_name_of_their_group():
    config, options = parse(
        [*NEEDED, "--training.epochs", "3", "--weights", "4", "5", "--pipeline.relion-marks"]
    )
    assert config.training.epochs == 3
    assert config.weights == (4.0, 5.0)
    assert options.pipeline.relion_marks


def test_help_hides_advanced_options_and_help_all_shows_them(capsys):
    for arguments in (["--help"], ["-h"], [*NEEDED, "-h"]):
        text = refused(arguments, capsys, code=0)
        assert "Table of particles." in text
        assert "--preset {paper,default}" in text
        assert "--overwrite" in text
        assert "--training.epochs" not in text
        assert "--pipeline" not in text
    text = refused(["--help-all"], capsys, code=0)
    assert "--training.epochs" in text
    assert "--pipeline.relion-marks" in text


def test_missing_and_unknown_options_are_named_together(capsys):
    text = refused(["a.star", "--bogus"], capsys)
    for name in ("--template", "--output", "--bogus"):
        assert name in text
    text = refused([], capsys)
    for name in ("PARTICLES", "--template", "--output"):
        assert name in text


@pytest.mark.parametrize("wrong", [["--preset", "other"], ["--seed", "x"]])
def test_a_wrong_value_is_refused(capsys, wrong):
    assert wrong[0] in refused([*NEEDED, *wrong], capsys)


@pytest.mark.parametrize("output", [None, "demo"])
@pytest.mark.parametrize("empty", ["", " "])
def test_an_empty_folder_is_refused_where_one_is_needed(empty, output):
    with pytest.raises(InputError, match="command line: --output: its name is empty"):
        parse(["a.star", "--template", "m.pdb", "-o", empty], output)
    assert parse(["a.star", "--template", "m.pdb", "-o", ""], output="")[1].output == ""


@pytest.mark.parametrize("seed", ["-1", "4294967296", "99999999999999999999"])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(InputError, match=f"command line: --seed: {seed} is not between 0 and"):
        parse([*NEEDED, "--seed", seed])
    assert parse([*NEEDED, "--seed", "4294967295"])[1].seed == 4294967295


def test_a_verb_may_have_a_folder_of_its_own():
    arguments = ["a.star", "--template", "m.pdb"]
    assert parse(arguments, output="demo")[1].output == "demo"
    assert parse([*arguments, "-o", "x"], output="demo")[1].output == "x"


@pytest.fixture
def stored(tmp_path):
    path = tmp_path / "job.json"
    config = ToyConfig("b.star", "n.pdb", weights=(7.0,), training=Training(99))
    path.write_text(json.dumps({"verb": "toy", "seed": 5, "config": to_dict(config)}))
    return path, config


@pytest.mark.parametrize("form", ["two words", "equals"])
def test_a_config_file_stands_in_for_options(stored, form):
    path, expected = stored
    given = ["--config", str(path)] if form == "two words" else [f"--config={path}"]
    config, options = parse([*given, "-o", "out"])
    assert config == expected
    assert options == JobOptions("out", seed=5)


def test_options_override_the_config_file(stored, capsys):
    path, _ = stored
    given = ["--config", str(path), "-o", "out", "--template", "x.pdb", "--seed", "6"]
    config, options = parse([*given, "--training.epochs", "1"])
    assert config == ToyConfig("b.star", "x.pdb", weights=(7.0,), training=Training(1))
    assert options.seed == 6
    assert "default: n.pdb" in refused([*given[:2], "--help"], capsys, code=0)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("{", "Expecting"),
        ("[]", "no field verb"),
        ('{"verb": "other", "config": {}}', "it is a config of other"),
        ('{"verb": "toy"}', "config"),
        ('{"verb": "toy", "seed": "4", "config": {"particles": "a", "template": "b"}}', "seed is"),
        ('{"verb": "toy", "config": {}, "extra": 1}', "unknown field extra"),
        ('{"verb": "toy", "config": {"bogus": 1}}', "unknown field bogus"),
        ('{"verb": "toy", "config": {"training": {"epochs": "x"}}}', "training.epochs is 'x'"),
        ('{"verb": "toy", "config": {}}', "particles"),
        ('{"verb": "toy", "config": []}', "config"),
    ],
)
def test_a_config_file_that_does_not_fit_is_refused(tmp_path, content, cause):
    path = tmp_path / "job.json"
    path.write_text(content)
    with pytest.raises(InputError) as error:
        parse(["--config", str(path), "-o", "out"])
    assert cause in error.value.cause
    assert error.value.file == str(path)


def test_a_missing_config_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        parse(["--config", str(tmp_path / "none.json")])
    with pytest.raises(InputError, match="no file follows"):
        parse([*NEEDED, "--config"])


def test_main_options_are_those_outside_groups():
    assert main_options(ToyConfig) == ["particles", "template", "preset", "weights"]
    assert "pipeline" not in main_options(JobOptions)
