"""Options of a verb from its config dataclass, by tyro; a config file gives their defaults."""

import json
from dataclasses import field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import tyro

from cryojax_graph.configs import from_dict
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.options import JobOptions

_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


def parse_arguments(
    verb: str, config_class: type, arguments: list[str], *, summary: str, output: str | None
) -> tuple[Any, JobOptions]:
    """Read the options of one verb.

    Fields of ``config_class`` and of ``JobOptions`` form one flat list. ``--help`` leaves out the
    advanced options, those of nested dataclasses; ``--help-all`` shows them. ``--config FILE``
    takes a ``job.json``, whose values other options override.

    Args:
        verb: its name.
        config_class: frozen dataclass.
        arguments: what follows the verb.
        summary: what the verb does.
        output: folder when none is given; None when one must be.

    Returns:
        the verb's config, and the options of the job.

    Raises:
        InputError: the config file is not one of this verb.
        SystemExit: help was asked for (code 0), or an option is wrong or missing (2); tyro has
            printed it.
    """
    everything = "--help-all" in arguments
    shorten = not everything and bool({"-h", "--help"} & set(arguments))
    path, arguments = _take_config_option(arguments)
    config, seed = _read_config(path, verb, config_class) if path else (tyro.MISSING, 0)
    options = JobOptions(output=tyro.MISSING if output is None else output, seed=seed)

    def part(name: str, kind: type, default: Any) -> tuple[str, Any, Any]:
        kind, default = _without_advanced(kind, default) if shorten else (kind, default)
        # An empty name keeps the fields free of a prefix.
        annotation = Annotated[kind, tyro.conf.arg(name="")]
        no_default = default is tyro.MISSING
        return name, annotation, field() if no_default else field(default=default)

    parsed = tyro.cli(
        make_dataclass(
            "Request",
            [part("config", config_class, config), part("options", JobOptions, options)],
            frozen=True,
        ),
        prog=f"cryojax-graph {verb}",
        description=f"{summary[0].upper()}{summary[1:]}. --config FILE takes the job.json of a job "
        "in place of options; --help-all shows the advanced options too.",
        args=["--help" if argument == "--help-all" else argument for argument in arguments],
        config=_MARKERS,
    )
    return parsed.config, parsed.options


def main_options(kind: type) -> list[str]:
    """Names of the fields that ``--help`` shows.

    Args:
        kind: dataclass of a verb, or ``JobOptions``.

    Returns:
        all fields that are no dataclasses themselves.
    """
    hints = get_type_hints(kind)
    return [f.name for f in fields(kind) if not is_dataclass(hints[f.name])]


def _without_advanced(kind: type, default: Any) -> tuple[type, Any]:
    """The same dataclass, and an instance of it, without fields that are dataclasses."""
    hints = get_type_hints(kind, include_extras=True)
    own = {f.name: f for f in fields(kind)}
    names = main_options(kind)
    shown = make_dataclass(
        kind.__name__, [(n, hints[n], field(default=own[n].default)) for n in names], frozen=True
    )
    shown.__doc__ = kind.__doc__
    if default is tyro.MISSING:
        return shown, default
    return shown, shown(**{name: getattr(default, name) for name in names})


def _take_config_option(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for i, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return Path(argument.partition("=")[2]), arguments[:i] + arguments[i + 1 :]
        if argument == "--config":
            if i + 1 == len(arguments):
                raise InputError("--config", "command line", "no file follows", "name a job.json")
            return Path(arguments[i + 1]), arguments[:i] + arguments[i + 2 :]
    return None, arguments


def _read_config(path: Path, verb: str, config_class: type) -> tuple[Any, int]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(stored) - {"verb", "seed", "config"})
        if unknown:
            raise ValueError(f"unknown field {unknown[0]}; known: verb, seed, config")
        if stored["verb"] != verb:
            raise ValueError(f"it is a config of {stored['verb']}")
        return from_dict(config_class, stored["config"]), int(stored.get("seed", 0))
    except OSError as error:
        raise InputError(path, "config", error.strerror or str(error), "check the path") from None
    except (ValueError, TypeError, KeyError) as error:
        remedy = f"give the job.json of a {verb} job, or write one with these fields"
        raise InputError(path, "config", str(error), remedy) from None
