"""Requests to stop: SIGTERM, Ctrl-C, or a mark that a pipeline leaves in the job folder."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


@contextmanager
def abort_requests(mark: Path | None) -> Iterator[Callable[[], str | None]]:
    """Turn requests to stop into a question that loops ask between steps.

    The first signal is remembered; a second Ctrl-C interrupts at once. Outside the main thread,
    where Python takes no signals, only the mark counts.

    Args:
        mark: file whose presence asks to stop, if a pipeline may leave one.

    Yields:
        a function that returns why to stop, or None.
    """
    received: list[str] = []

    def remember(number: int, frame: FrameType | None) -> None:
        if received and number == signal.SIGINT:
            raise KeyboardInterrupt
        received.append(signal.Signals(number).name)
        print(f"\n{received[-1]}: saving, then stopping (Ctrl-C stops at once)", file=sys.stderr)

    def reason() -> str | None:
        if received:
            return f"stopped by {received[0]}"
        return f"stopped by {mark.name}" if mark and mark.exists() else None

    if threading.current_thread() is not threading.main_thread():
        yield reason
        return
    before = {s: signal.signal(s, remember) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield reason
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
