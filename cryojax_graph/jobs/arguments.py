"""Options of a verb from its config dataclass, by tyro; a config file gives their defaults."""

import json
from dataclasses import field, fields, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from cryojax_graph.configs import from_dict
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.options import JobOptions

_MARKERS = (tyro.conf.FlagCreatePairsOff, tyro.conf.PositionalMetavarFromFieldName)


def parse_arguments(
    verb: str,
    config_class: type,
    arguments: list[str],
    *,
    summary: str,
    output: str | None,
    options_class: type[JobOptions] = JobOptions,
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
        output: folder when none is given; None when one must be, empty when none need be.
        options_class: ``JobOptions``, or ``FileOptions`` for a verb that writes one file.

    Returns:
        the verb's config, and the options of the job.

    Raises:
        InputError: the config file is not one of this verb, the folder has an empty name, or the
            seed is out of range.
        SystemExit: help was asked for (code 0), or an option is wrong or missing (2); tyro has
            printed it.
    """
    everything = "--help-all" in arguments
    shorten = not everything and bool({"-h", "--help"} & set(arguments))
    path, arguments = _take_config_option(arguments)
    config, seed = _read_config(path, verb, config_class) if path else ({}, 0)
    job = {"seed": seed} if output is None else {"seed": seed, "output": output}

    parts = tuple(
        _with_defaults(kind, main_options(kind) if shorten else _names(kind), defaults)
        for kind, defaults in ((config_class, config), (options_class, job))
    )
    parsed = tyro.cli(
        # Inherited, not nested: the fields are one list, those of the last base first, no prefix.
        make_dataclass("Request", [], bases=parts[::-1], kw_only=True),
        prog=f"cryojax-graph {verb}",
        description=f"{summary[0].upper()}{summary[1:]}. --config FILE takes the job.json of a job "
        "in place of options; --help-all shows the advanced options too.",
        # tyro leaves out of its help what other arguments have given already.
        args=["--help"] if shorten or everything else arguments,
        config=_MARKERS,
    )
    values = vars(parsed)
    # An unset shell variable would else make the working directory the job's folder.
    if output != "" and not values["output"].strip():
        what = "folder" if options_class is JobOptions else "file"
        raise InputError("command line", "--output", "its name is empty", f"name a {what}")
    return (
        config_class(**{name: values[name] for name in _names(config_class)}),
        options_class(**{name: values[name] for name in _names(options_class)}),
    )


def main_options(kind: type) -> list[str]:
    """Names of the fields that ``--help`` shows.

    Args:
        kind: dataclass of a verb, or ``JobOptions``.

    Returns:
        all fields that are no dataclasses themselves.
    """
    hints = get_type_hints(kind)
    return [f.name for f in fields(kind) if not is_dataclass(hints[f.name])]


def _names(kind: type) -> list[str]:
    return [f.name for f in fields(kind)]


def _with_defaults(kind: type, names: list[str], defaults: dict[str, Any]) -> type:
    """Some fields of a dataclass as one of its own, with other defaults."""
    hints = get_type_hints(kind, include_extras=True)
    own = {f.name: f for f in fields(kind)}

    def default_of(name: str) -> Any:
        if name in defaults:
            return field(default=defaults[name])
        return field(default=own[name].default, default_factory=own[name].default_factory)

    made = make_dataclass(
        kind.__name__, [(name, hints[name], default_of(name)) for name in names], kw_only=True
    )
    made.__doc__ = kind.__doc__
    return made


def _take_config_option(arguments: list[str]) -> tuple[Path | None, list[str]]:
    for i, argument in enumerate(arguments):
        if argument.startswith("--config="):
            return Path(argument.partition("=")[2]), arguments[:i] + arguments[i + 1 :]
        if argument == "--config":
            if i + 1 == len(arguments):
                raise InputError("command line", "--config", "no file follows", "name a job.json")
            return Path(arguments[i + 1]), arguments[:i] + arguments[i + 2 :]
    return None, arguments


def _read_config(path: Path, verb: str, config_class: type) -> tuple[dict[str, Any], int]:
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        unknown = sorted(set(stored) - {"verb", "seed", "config"})
        if unknown or "verb" not in stored:
            fault = f"unknown field {unknown[0]}" if unknown else "no field verb"
            raise ValueError(f"{fault}; known: verb, seed, config")
        if stored["verb"] != verb:
            raise ValueError(f"it is a config of {stored['verb']}")
        config, seed = from_dict(config_class, stored["config"]), stored.get("seed", 0)
        if type(seed) is not int:
            raise ValueError(f"seed is {seed!r}, not a whole number")
        return {f.name: getattr(config, f.name) for f in fields(config)}, seed
    except OSError as error:
        raise InputError(path, "config", error.strerror or str(error), "check the path") from None
    except (ValueError, TypeError, KeyError) as error:
        remedy = f"give the job.json of a {verb} job, or write one with these fields"
        raise InputError(path, "config", str(error), remedy) from None
