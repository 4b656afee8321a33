"""``convert`` from end to end.

Other verbs make a job folder; this one writes one file under the name that it is given, because
the other program looks for it there, and because a table that stands in a RELION or cryoSPARC
project must not be wrapped in a folder of ours. What was done is told on the terminal.
"""

import os
from pathlib import Path

from cryojax_graph.io.describe import FileKind, file_kind
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particles import is_cs
from cryojax_graph.io.unpack import file_size
from cryojax_graph.jobs.convert.config import ConvertConfig, check_options
from cryojax_graph.jobs.convert.maps import convert_map
from cryojax_graph.jobs.convert.models import convert_model
from cryojax_graph.jobs.convert.tables import convert_table
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan, bytes_of_table

# Of the size of a .cs table.
_RECORDS_AS_TEXT = 14
_CONVERTERS = {"particles": convert_table, "model": convert_model, "map": convert_map}


def convert(config: ConvertConfig, *, options: JobOptions) -> Path:
    """Write a particle table, a model or a map in the form that the output's ending names.

    Args:
        config: what is converted, and how.
        options: ``output`` is the file to write, replaced only with ``overwrite``.

    Returns:
        the file written.

    Raises:
        InputError: the input cannot be used, an option does not go with it, or the output is there
            already; nothing has been written then.
    """
    output = Path(options.output)
    kind = _checked(config, output, overwrite=options.overwrite)
    done, notes = _CONVERTERS[kind](config, output)
    for line in done:
        print(line)
    for note in notes:
        print(f"Note: {note}")
    return output


def plan_convert(config: ConvertConfig, *, options: JobOptions) -> Plan:
    """Say what ``convert`` would do.

    Args:
        config: what is converted, and how.
        options: names the output.

    Returns:
        the plan.

    Raises:
        InputError: the input is missing, an option does not go with it, or the output is there
            already.
    """
    output = Path(options.output)
    kind = _checked(config, output, overwrite=options.overwrite)
    size = file_size(config.input)
    selection = [f"keep the rows that {config.select} names"] if config.select else []
    return Plan(
        actions=(f"read {kind} from {config.input}", *selection, f"write {output}"),
        outputs=(str(output),),
        seconds=1.0 + size / (5e6 if kind == "particles" else 5e7),
        memory_bytes=int(
            1e8 + (_memory_of_table(config, output) if kind == "particles" else 3 * size)
        ),
        disk_bytes=2 * size,
    )


def _memory_of_table(config: ConvertConfig, output: Path) -> int:
    """As in jobs that read it, and the text that records become."""
    becomes_text = is_cs(config.input) and output.suffix == ".star"
    return bytes_of_table(config.input) + becomes_text * _RECORDS_AS_TEXT * file_size(config.input)


def _checked(config: ConvertConfig, output: Path, *, overwrite: bool) -> FileKind:
    kind = file_kind(config.input)
    check_options(config, kind, output.suffix)
    if output.exists() and os.path.samefile(output, config.input):
        cause = "it is the input itself"
        raise InputError(output, "--output", cause, "give the output a name of its own")
    if output.is_dir():
        raise InputError(output, "--output", "it is a folder", "name the file to write")
    if output.exists() and not overwrite:
        raise InputError(
            output, "--output", "it is there already", "use another name, or --overwrite"
        )
    if not output.absolute().parent.is_dir():
        cause = f"there is no folder {output.parent}"
        raise InputError(output, "--output", cause, "make the folder, or name another")
    return kind
