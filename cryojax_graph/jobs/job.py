"""What a verb can do while it works in its folder."""

import json
import math
import os
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from numbers import Integral
from pathlib import Path
from typing import Any, SupportsFloat

from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.claim import FOREIGN, MANIFEST, MOVE_AWAY, remove_files
from cryojax_graph.jobs.manifest import now, sha256_of
from cryojax_graph.jobs.progress import Advance, progress
from cryojax_graph.training.abort import Aborted

UNITS = (
    "angstrom",
    "degrees",
    "seconds",
    "bytes",
    "percent",
    "pixels",
    "electrons",
    "nats",
    "images_per_second",
)
"""A metric whose name ends with one of these says its unit itself."""


class Job:
    """A job at work in its folder; made by ``open_job``.

    Attributes:
        folder: where all outputs go.
        seed: of all randomness.
        resumed: an earlier run of the same job was interrupted here.
        manifest: facts about the run, as JSON values; what is in ``manifest.json``.
        save_seconds: of work that a crash may cost.
    """

    def __init__(
        self,
        folder: Path,
        manifest: dict[str, Any],
        *,
        resumed: bool,
        abort_reason: Callable[[], str | None],
        save_seconds: float,
    ) -> None:
        """Begin in a claimed folder."""
        self.folder = folder
        self.manifest = manifest
        self.resumed = resumed
        self.seed: int = manifest["request"]["seed"]
        self.abort_reason = abort_reason
        self.save_seconds = save_seconds
        self._metrics: dict[str, float] = {}
        self._units: dict[str, str] = {}
        self._partial = folder / ".partial"
        shutil.rmtree(self._partial, ignore_errors=True)
        self._hashes: dict[str, str | None] = {}
        # In the background: a stack of 100 GB takes minutes, and nothing waits for it but the end.
        self._hashing = threading.Thread(target=self._hash_inputs, daemon=True)
        self._hashing.start()

    def log(self, message: str, *, echo: bool = True) -> None:
        """Write a line to ``run.log`` and, with ``echo``, to standard error."""
        with (self.folder / "run.log").open("a", encoding="utf-8") as file:
            file.write(f"{now()} {message}\n")
        if echo:
            print(message, file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        """Log a warning, and keep it for the manifest and the report."""
        if message not in self.manifest["warnings"]:
            self.manifest["warnings"].append(message)
        self.log(f"Warning: {message}")

    def progress(
        self, label: str, total: int, *, start: int = 0
    ) -> AbstractContextManager[Advance]:
        """Show progress as a bar on a terminal, and as lines in the log."""
        terminal = sys.stderr.isatty()

        def write_line(line: str) -> None:
            self.log(line, echo=not terminal)

        return progress(label, total, start=start, write_line=write_line, terminal=terminal)

    def check_abort(self) -> None:
        """Raise ``Aborted`` when asked to stop; for work outside the training loop."""
        if reason := self.abort_reason():
            raise Aborted(reason)

    def working(self, name: str) -> Path:
        """Path of what the job itself keeps across interruptions, such as checkpoints.

        Args:
            name: of a file or folder.

        Returns:
            where it is, or is to be.

        Raises:
            InputError: somebody's file has that name.
        """
        if name not in self.manifest["working"]:
            if (self.folder / name).exists():
                raise InputError(self.folder / name, "working file", FOREIGN, MOVE_AWAY)
            self.manifest["working"].append(name)
            self.save_manifest()
        return self.folder / name

    def discard_working(self) -> None:
        """Remove all that was kept for going on; the last thing that a job does, if it is large."""
        remove_files(self.folder, self.manifest["working"])
        self.manifest["working"] = []
        self.save_manifest()

    def require_unchanged(self, name: str, fingerprint: str) -> None:
        """Refuse to continue with other data than the job began with.

        Args:
            name: of the data, for the message.
            fingerprint: equal for equal data.

        Raises:
            InputError: an earlier attempt saw another fingerprint.
        """
        if self.manifest["fingerprints"].setdefault(name, fingerprint) != fingerprint:
            raise InputError(
                self.folder,
                name,
                f"the {name} are not those with which the job began",
                "put them back, use another folder, or --overwrite to start again",
            )
        self.save_manifest()

    @contextmanager
    def output(self, name: str, description: str = "") -> Iterator[Path]:
        """Give a temporary path of the same name; it becomes the output when the block ends well.

        Args:
            name: relative path inside the job folder.
            description: for the report's list of outputs.

        Yields:
            where to write.

        Raises:
            InputError: a file of that name is there that this job did not make.
        """
        final, temporary = self.folder / name, self._partial / name
        if self.folder.resolve() not in final.resolve().parents:
            raise ValueError(f"the output {name} is not inside the job folder")
        if final.exists() and name not in self.manifest["outputs"]:
            raise InputError(final, "output", FOREIGN, MOVE_AWAY)
        temporary.parent.mkdir(parents=True, exist_ok=True)
        final.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        # Listed before the rename, so that a crash in between leaves no file that nobody owns.
        self.manifest["outputs"][name] = {
            "description": description,
            "bytes": temporary.stat().st_size,
        }
        self.save_manifest()
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(final)

    def write_text(self, name: str, text: str, description: str = "") -> None:
        """Write a text file as an output."""
        with self.output(name, description) as path:
            path.write_text(text, encoding="utf-8")

    def write_json(self, name: str, values: Any, description: str = "") -> None:
        """Write plain values as a JSON output; numbers that are not finite are refused."""
        self.write_text(name, json.dumps(values, indent=2, allow_nan=False) + "\n", description)

    def metric(self, name: str, value: SupportsFloat, unit: str | None = None) -> None:
        """Note a figure for ``metrics.json``.

        Args:
            name: flat, lower case; ends with its unit where it has one of ``UNITS``.
            value: finite.
            unit: for names that do not say it; ``"1"`` for numbers and ratios.

        Raises:
            ValueError: neither name nor ``unit`` says the unit, or the value is not finite.
        """
        if unit is None and not name.endswith(UNITS):
            raise ValueError(f"the metric {name} has no unit: end its name with one, or give it")
        if not math.isfinite(float(value)):
            raise ValueError(f"the metric {name} is {value}")
        self._metrics[name] = int(value) if isinstance(value, Integral) else float(value)
        if unit is not None:
            self._units[name] = unit

    def save_manifest(self) -> None:
        """Write ``manifest.json`` as it is now; inputs have their hash when it is ready."""
        for name, digest in self._hashes.copy().items():
            self.manifest["inputs"][name]["sha256"] = digest
        text = json.dumps(self.manifest, indent=2, allow_nan=False) + "\n"
        write_atomically(self.folder / MANIFEST, text.encode())

    def finish(self) -> None:
        """Write the metrics and wait for the hashes of inputs; for the frame, at the end."""
        self._hashing.join()
        values = {**dict(sorted(self._metrics.items())), "units": self._units}
        self.write_json("metrics.json", values, "every figure that the job measured")

    def _hash_inputs(self) -> None:
        for name, described in self.manifest["inputs"].items():
            # An input that vanishes while the job runs leaves the job its say about that.
            with suppress(OSError):
                self._hashes[name] = sha256_of(described["path"])
