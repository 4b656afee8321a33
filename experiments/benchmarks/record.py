"""Figures of several benchmarks in one JSON file."""

import json
import os
import platform
from pathlib import Path
from typing import Any


def record(path: Path, benchmark: str, figures: dict[str, Any]) -> None:
    """Put the figures of one benchmark into the file, with the machine; leave the others alone."""
    known = json.loads(path.read_text()) if path.exists() else {}
    machine = f"{platform.machine()}, {os.cpu_count()} processors, no accelerator used"
    known[benchmark] = {"machine": machine, **figures}
    path.write_text(json.dumps(known, indent=1) + "\n")
