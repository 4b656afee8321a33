"""The long form of the tests that damage things: files by bytes, ``flex`` by ``kill -9``.

python experiments/robustness/run.py --results experiments/robustness/expected.json
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


def outcome(selection: list[str], **environment: str) -> dict[str, float]:
    """How many of the chosen tests passed, failed and were skipped, and how long they took."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *selection]
        subprocess.run(command, cwd=ROOT, env=os.environ | environment, check=False)
        suite = next(ElementTree.parse(report).iter("testsuite"))
    count = {name: int(suite.get(name, "0")) for name in ("tests", "failures", "errors", "skipped")}
    failed = count["failures"] + count["errors"]
    return {
        "passed": count["tests"] - failed - count["skipped"],
        "failed": failed,
        "skipped": count["skipped"],
        "seconds": round(time.monotonic() - started),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mutants", type=int, default=20_000, help="damaged files per reader")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--results", type=Path)
    arguments = parser.parse_args()
    figures = {
        "malformed_files": outcome(["tests/corpus", "tests/io"]),
        "damaged_bytes": {"mutants_per_reader": arguments.mutants}
        | outcome(
            ["tests/properties/test_fuzz_readers.py", "-k", "damaged"],
            CRYOJAX_GRAPH_FUZZ=str(arguments.mutants),
        ),
        "killed_flex": {"kills": arguments.kills}
        | outcome(
            ["tests/system/test_flex.py", "-k", "killed"], CRYOJAX_GRAPH_KILLS=str(arguments.kills)
        ),
    }
    print(json.dumps(figures, indent=1))
    if arguments.results:
        arguments.results.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
