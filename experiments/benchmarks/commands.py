"""Seconds that a user waits: import, help and the demo, each as a process of its own.

python experiments/benchmarks/commands.py --out experiments/benchmarks/expected.json
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

from record import record

COMMANDS = {
    "python_alone": ["-c", "pass"],
    "import": ["-c", "import cryojax_graph"],
    "help": ["-m", "cryojax_graph", "--help"],
    "flex_help": ["-m", "cryojax_graph", "flex", "--help"],
}


def seconds(command: list[str]) -> float:
    """Wall time of a process of this interpreter that must succeed."""
    started = time.perf_counter()
    subprocess.run([sys.executable, *command], check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    turns = [
        {name: seconds(command) for name, command in COMMANDS.items()}
        for _ in range(arguments.repeats)
    ]
    figures: dict[str, Any] = {
        f"{name}_seconds": round(median(turn[name] for turn in turns), 3) for name in COMMANDS
    }
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        figures["demo_seconds"] = round(
            seconds(["-m", "cryojax_graph", "demo", "-o", str(demo)]), 1
        )
        scores = json.loads((demo / "metrics.json").read_text())
    figures["demo"] = {name: value for name, value in scores.items() if "rmsd" in name}
    print(json.dumps(figures, indent=1))
    if arguments.out:
        record(arguments.out, "commands", figures)


if __name__ == "__main__":
    main()
