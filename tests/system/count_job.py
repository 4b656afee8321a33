"""A verb as small as a verb can be: sums the numbers of a text file."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan


@dataclass(frozen=True)
class Pace:
    """How fast to work.

    Args:
        seconds: Pause after each number.
    """

    seconds: float = 0.0


@dataclass(frozen=True)
class CountConfig:
    """Sum numbers.

    Args:
        numbers: Text file, one number per line.
        power: Exponent of every number.
        pace: How fast to work.
    """

    numbers: tyro.conf.Positional[str]
    power: int = 1
    pace: Pace = field(default_factory=Pace)


def count(config: CountConfig, *, options: JobOptions) -> Path:
    """Sum the numbers; remembers how far it was."""
    inputs = {"numbers": config.numbers}
    with open_job(config, verb="count", options=options, inputs=inputs) as job:
        lines = Path(config.numbers).read_text().split()
        done = job.working("done.txt")
        begin = len(done.read_text()) if done.exists() else 0
        with job.progress("Counting", len(lines), start=begin) as advance:
            for i in range(begin, len(lines)):
                job.check_abort()
                if not lines[i].isdigit():
                    raise InputError(config.numbers, f"line {i + 1}", "not a number", "mend it")
                time.sleep(config.pace.seconds)
                with done.open("a") as file:
                    file.write(".")
                advance(i + 1)
        total = sum(int(line) ** config.power for line in lines)
        job.metric("total", total, unit="1")
        job.write_json("sum.json", {"sum": total}, "the sum")
    return job.folder


def plan_count(config: CountConfig, *, options: JobOptions) -> Plan:
    """Say what would be done."""
    return Plan(("sum the numbers",), ("sum.json",), 1.0, 2**20, 100)
