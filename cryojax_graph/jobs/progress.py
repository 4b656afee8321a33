"""Progress with a time estimate: a bar on a terminal, plain lines in a log."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol, runtime_checkable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from cryojax_graph.jobs.plan import readable_time


@runtime_checkable
class Advance(Protocol):
    """Says how far the work is."""

    def __call__(self, done: int, note: str = "") -> None:
        """Report ``done`` of the total, with a short note such as the loss."""
        ...


@contextmanager
def progress(
    label: str,
    total: int,
    *,
    write_line: Callable[[str], None],
    start: int = 0,
    terminal: bool | None = None,
    seconds_between_lines: float = 30.0,
) -> Iterator[Advance]:
    """Show how far a piece of work is and when it will end.

    Args:
        label: what is being done.
        total: number of units of work.
        write_line: receives a plain line now and then, and one at the end; for a log.
        start: units that an earlier run did; the estimate leaves them out.
        terminal: draw a bar on standard error; by default when it is a terminal.
        seconds_between_lines: between two plain lines.

    Yields:
        a function to be called with the number of units done so far.
    """
    console = Console(stderr=True)
    terminal = console.is_terminal if terminal is None else terminal
    began = last = time.monotonic()
    latest = (start, "")

    def line() -> str:
        done, note = latest
        elapsed = time.monotonic() - began
        left = elapsed / (done - start) * (total - done) if done > start else None
        estimate = f", {readable_time(left)} left" if left else ""
        return f"{label}: {done}/{total}{estimate}{', ' + note if note else ''}"

    with _bar(label, total, start, console if terminal else None) as draw:

        def advance(done: int, note: str = "") -> None:
            nonlocal last, latest
            latest = (done, note)
            draw(done, note)
            # The end has a line of its own.
            if done < total and time.monotonic() - last >= seconds_between_lines:
                last = time.monotonic()
                write_line(line())

        yield advance
    write_line(f"{line()}, took {readable_time(time.monotonic() - began)}")


@contextmanager
def _bar(label: str, total: int, start: int, console: Console | None) -> Iterator[Advance]:
    if console is None:
        yield lambda done, note="": None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(label, total=total, completed=start, note="")
        yield lambda done, note="": bar.update(task, completed=done, note=note)
