"""The command line: one table, verb → job.

A verb is a row of ``VERBS`` and a module in ``jobs`` with three names, here for ``flex``:

- ``FlexConfig``, a frozen dataclass: fields are options, ``tyro.conf.Positional`` ones are inputs,
  and the ``Args:`` of its docstring is their help. Paths are strings. Fields that are dataclasses
  themselves are the advanced options: they are left out of ``--help``, shown by ``--help-all`` and
  set by ``--training.epochs 10`` or in a config file.
- ``flex(config, *, options: JobOptions) -> Path`` does the job and returns its folder (None where
  the verb was told to make none).
- ``plan_flex(config, *, options: JobOptions) -> Plan`` answers ``--dry-run`` without doing it.

A verb of two words, ``validate motion``, has these names too: ``ValidateMotionConfig``,
``validate_motion``, ``plan_validate_motion``. Neither jobs nor JAX nor tyro are imported before a
verb is known.
"""

import errno
import importlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cryojax_graph._version import __version__


class Verb(NamedTuple):
    """A row of the table.

    Attributes:
        module: where its config and functions are.
        summary: one line for the list of verbs.
        output: folder when ``-o`` is not given; None for verbs that need it, empty for none.
        writes_file: ``-o`` names a file, and no folder is made.
    """

    module: str
    summary: str
    output: str | None = None
    writes_file: bool = False


VERBS: Mapping[str, Verb] = {
    "check": Verb(
        "cryojax_graph.jobs.check",
        "say what is in a map, particle table, model or sequence file, and what is wrong with it",
        output="",
    ),
    "simulate": Verb(
        "cryojax_graph.jobs.simulate",
        "make particle images of a model or a trajectory, with the truth of every image",
    ),
    "pose": Verb(
        "cryojax_graph.jobs.pose",
        "find orientation and shift of every image, with a map or a model as reference",
    ),
    "reconstruct": Verb(
        "cryojax_graph.jobs.reconstruct",
        "make maps of particles whose poses are known, or of the states of a motion",
    ),
    "refine": Verb(
        "cryojax_graph.jobs.refine",
        "find poses and map of particles from a coarse reference, two halves apart",
    ),
    "flex": Verb(
        "cryojax_graph.jobs.flex",
        "recover the motion of a protein, image by image, from particles and a template model",
    ),
    "locate": Verb(
        "cryojax_graph.jobs.locate",
        "find the peaks of a map as a continuous field, and join them to a graph",
    ),
    "query": Verb(
        "cryojax_graph.jobs.query",
        "tell density and its derivatives of a map or stored field at points or on another grid",
    ),
    "fit": Verb(
        "cryojax_graph.jobs.fit",
        "move the atoms of a model into a map by gradient, its geometry restrained",
    ),
    "validate motion": Verb(
        "cryojax_graph.jobs.validate", "score a recovered motion against the truth"
    ),
    "validate poses": Verb(
        "cryojax_graph.jobs.validate",
        "score the poses of particles against the truth, or against those of another run",
    ),
    "validate fsc": Verb(
        "cryojax_graph.jobs.validate",
        "resolution, B-factor and sharpened map of two half-maps; or a map against a model or map",
    ),
    "validate model": Verb("cryojax_graph.jobs.validate", "score an atomic model against another"),
    "validate graph": Verb(
        "cryojax_graph.jobs.validate",
        "score the peaks that locate found in a map against the atoms of a model",
    ),
    "convert": Verb(
        "cryojax_graph.jobs.convert",
        "write a particle table, model or map in the form that another program reads",
        writes_file=True,
    ),
    "demo": Verb(
        "cryojax_graph.jobs.demo",
        "simulate and solve a small real case from data inside the package, in minutes",
        output="demo",
    ),
}

DONE, OUR_FAULT, WRONG_INPUT, ABORTED, OUT_OF_MEMORY = range(5)


def main(arguments: Sequence[str] | None = None, verbs: Mapping[str, Verb] = VERBS) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; those of the process when not given.
        verbs: the table.

    Returns:
        exit code: 0 done, 1 our fault, 2 wrong input or usage, 3 aborted on request, 4 out of
        memory.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show Å shows a question mark; that is no reason to fail.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview(verbs))
        return DONE if arguments else WRONG_INPUT
    if arguments[0] == "--version":
        from cryojax_graph.jobs.device import describe_devices, share_cores

        share_cores()
        print(f"cryojax-graph {__version__}, Python {sys.version.split()[0]}\n{describe_devices()}")
        return DONE
    for words in (2, 1):
        name = " ".join(arguments[:words])
        if name in verbs:
            return _report_errors(
                partial(_run, name, verbs[name], arguments[words:]),
                verbose=bool({"-v", "--verbose"} & set(arguments)),
            )
    return _unknown(arguments, verbs)


def _overview(verbs: Mapping[str, Verb], beginning: str = "") -> str:
    width = max(len(name) for name in verbs)
    rows = [f"  {n:{width}}  {v.summary}" for n, v in verbs.items() if n.startswith(beginning)]
    return "\n".join(
        [
            "usage: cryojax-graph VERB INPUT … -o FOLDER [options]",
            "",
            "Cryo-EM data to atomic structure and motion.",
            "",
            *rows,
            "",
            "cryojax-graph VERB --help lists the options; --version says what runs where.",
            "Exit codes: 0 done, 1 our fault, 2 wrong input, 3 aborted on request, 4 no memory.",
        ]
    )


def _unknown(arguments: list[str], verbs: Mapping[str, Verb]) -> int:
    group = f"{arguments[0]} "
    if any(name.startswith(group) for name in verbs):
        asked = len(arguments) > 1 and arguments[1] in ("-h", "--help")
        print(_overview(verbs, group), file=sys.stdout if asked else sys.stderr)
        return DONE if asked else WRONG_INPUT
    import difflib

    near = difflib.get_close_matches(arguments[0], verbs, n=1)
    hint = f"did you mean {near[0]}? " if near else ""
    print(
        f"cryojax-graph: no verb {arguments[0]!r}; {hint}known: {', '.join(verbs)}", file=sys.stderr
    )
    return WRONG_INPUT


def _run(name: str, verb: Verb, arguments: list[str]) -> None:
    from cryojax_graph.jobs.arguments import parse_arguments
    from cryojax_graph.jobs.claim import describe_folder
    from cryojax_graph.jobs.device import select_device, share_cores
    from cryojax_graph.jobs.options import FileOptions, JobOptions
    from cryojax_graph.jobs.plan import describe_plan
    from cryojax_graph.jobs.relion import exit_marks

    share_cores()
    module = importlib.import_module(verb.module)
    function = name.replace(" ", "_")
    config_class = getattr(module, f"{name.title().replace(' ', '')}Config")
    config, options = parse_arguments(
        name,
        config_class,
        arguments,
        summary=verb.summary,
        output=verb.output,
        options_class=FileOptions if verb.writes_file else JobOptions,
    )
    select_device(options.device)
    if options.dry_run:
        plan = getattr(module, f"plan_{function}")(config, options=options)
        print(describe_plan(plan))
        if options.output and not verb.writes_file:
            folder, overwrite = Path(options.output), options.overwrite
            print(describe_folder(folder, overwrite=overwrite, outputs=plan.outputs))
        return
    marked = options.pipeline.relion_marks and options.output and not verb.writes_file
    with exit_marks(Path(options.output)) if marked else nullcontext():
        folder = getattr(module, function)(config, options=options)
    if folder is not None:
        print(f"Done: {folder}")


def _report_errors(work: Callable[[], None], *, verbose: bool) -> int:
    """Run, and turn every way to end into one message and an exit code."""
    try:
        work()
        return DONE
    except BrokenPipeError:
        # The reader of our text, such as head, has seen enough; what is left has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except SystemExit as usage:
        # tyro has printed help, or what is wrong with the options.
        return DONE if usage.code in (None, 0) else WRONG_INPUT
    except (Exception, KeyboardInterrupt) as error:
        if verbose:
            traceback.print_exc()
        code, message = _explain(error)
        print(message, file=sys.stderr)
        return code


def _explain(error: BaseException) -> tuple[int, str]:
    from cryojax_graph.io.errors import InputError
    from cryojax_graph.training.abort import Aborted
    from cryojax_graph.training.loop import TrainingDiverged

    if isinstance(error, InputError):
        return WRONG_INPUT, f"Wrong input: {error}"
    if isinstance(error, TrainingDiverged):
        return WRONG_INPUT, f"The fit diverged: {error}"
    if isinstance(error, Aborted | KeyboardInterrupt):
        return ABORTED, f"Aborted: {error}" if str(error) else "Aborted"
    if _is_out_of_memory(error):
        return OUT_OF_MEMORY, _MEMORY_REMEDY
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return WRONG_INPUT, "The disk is full: free some space and repeat the command."
    return OUR_FAULT, f"Internal error: {type(error).__name__}: {error}\n{_REPORT}"


_MEMORY_REMEDY = (
    "Out of memory. Use a smaller batch or box, a device with more memory, or --device cpu; "
    "--dry-run estimates the need. Work done so far is kept: the same command continues it."
)
_REPORT = "This is a fault of the program. -v shows where; please report it with run.log."


def _is_out_of_memory(error: BaseException) -> bool:
    # XLA has no class of its own for this; its status code stands at the head of the message.
    return isinstance(error, MemoryError) or (
        type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError")
        and "RESOURCE_EXHAUSTED" in str(error)
    )
