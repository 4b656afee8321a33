"""Facts about a run: program, machine, inputs and their SHA-256."""

import hashlib
import os
import platform
import resource
import shlex
import socket
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from cryojax_graph._version import __version__
from cryojax_graph.io.errors import InputError

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "e3nn-jax", "numpy", "scipy")


def describe_program() -> dict[str, Any]:
    """Version, command line, and versions of what the program stands on.

    Returns:
        plain JSON values.
    """
    return {
        "program": "cryojax-graph",
        "version": __version__,
        "command": shlex.join([_name_of_command(Path(sys.argv[0])), *sys.argv[1:]]),
        "folder_of_command": str(Path.cwd()),
        "versions": {"python": platform.python_version()} | package_versions(),
    }


def _name_of_command(script: Path) -> str:
    # ``python -m cryojax_graph`` leaves the path of its ``__main__.py``, which no shell finds.
    own = script.parts[-2:] == ("cryojax_graph", "__main__.py")
    return "cryojax-graph" if own else script.name


def package_versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on, read without importing them.

    Returns:
        by package name.
    """
    return {name: metadata.version(name) for name in _PACKAGES}


def describe_machine() -> dict[str, Any]:
    """Host and devices; JAX is asked only when the job uses it.

    Returns:
        plain JSON values.
    """
    jax = sys.modules.get("jax")
    return {
        "host": socket.gethostname(),
        "system": platform.platform(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "devices": [device.device_kind for device in jax.devices()] if jax else [],
    }


def peak_memory_bytes() -> int:
    """Largest memory of this process so far.

    Returns:
        bytes.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def describe_inputs(inputs: Mapping[str, str | Path]) -> dict[str, dict[str, Any]]:
    """Path, size and date of every input file.

    Args:
        inputs: files by the name of the option that gave them.

    Returns:
        plain JSON values by the same names.

    Raises:
        InputError: a file is missing.
    """
    described = {}
    for name, path in inputs.items():
        try:
            status = Path(path).stat()
        except OSError as error:
            raise InputError(
                path, name, error.strerror or "cannot be read", "check the path"
            ) from None
        described[name] = {
            "path": str(Path(path).absolute()),
            "bytes": status.st_size,
            "modified_ns": status.st_mtime_ns,
        }
    return described


def sha256_of(path: str | Path) -> str | None:
    """SHA-256 of a file, or of nothing for a folder.

    Args:
        path: of an input or output.

    Returns:
        hexadecimal digits; None for a folder.
    """
    if Path(path).is_dir():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def now() -> str:
    """The time, UTC, to the millisecond.

    Returns:
        ISO 8601.
    """
    return datetime.now(UTC).isoformat(timespec="milliseconds")
