"""The job folder: config, manifest, log, metrics, and outputs that are whole or absent.

A verb works inside ``open_job``::

    with open_job(config, verb="flex", options=options, inputs={"particles": path}) as job:
        job.log("5,100 images of 64 px")
        with job.output("motion.cif", "path through the conformations") as path:
            write_atoms(path, ...)
        job.metric("rmsd_superposed_mean_angstrom", 0.93)
        job.write_text("report.html", page)
    return job.folder

A folder that holds a finished job is refused unless ``options.overwrite``. An unfinished one is
continued when verb, config, seed and inputs are the same (``job.resumed``), and refused, naming the
differing fields, when they are not.
"""

import json
import shutil
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryojax_graph.configs import to_dict
from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.jobs.abort import abort_requests
from cryojax_graph.jobs.claim import claim, locked
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.manifest import (
    describe_inputs,
    describe_machine,
    describe_program,
    now,
    peak_memory_bytes,
)
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.relion import ABORT_NOW
from cryojax_graph.training.abort import Aborted


@contextmanager
def open_job(
    config: Any,
    *,
    verb: str,
    options: JobOptions,
    inputs: Mapping[str, str | Path],
    outputs: Sequence[str] = (),
) -> Iterator[Job]:
    """Work in a job folder; the folder holds a finished job only when the block ends well.

    Args:
        config: frozen dataclass of the verb.
        verb: its name.
        options: folder, seed, and whether an earlier job may be replaced.
        inputs: files and folders that are read, by the name of the option that gave them.
        outputs: names of files that will be written, beside ``metrics.json``: a file of that name
            that is not of a job is refused before the work, not after it.

    Yields:
        the job.

    Raises:
        InputError: an input is missing, or the folder is refused; nothing has been changed then.
    """
    folder = Path(options.output)
    request = {"verb": verb, "seed": options.seed, "config": to_dict(config)}
    described = describe_inputs(inputs)
    mark = folder / ABORT_NOW if options.pipeline.relion_marks else None
    with locked(folder), abort_requests(mark) as abort_reason:
        earlier = claim(
            folder,
            request,
            described,
            overwrite=options.overwrite,
            outputs=("metrics.json", *outputs),
        )
        manifest = {
            **describe_program(),
            "request": request,
            "status": "running",
            "inputs": described,
            **_carried_over(earlier),
        }
        attempt = {**describe_machine(), "started": now(), "ended": None, "outcome": "interrupted"}
        manifest["attempts"].append(attempt)
        text = json.dumps(request, indent=2) + "\n"
        write_atomically(folder / "job.json", text.encode())
        job = Job(
            folder,
            manifest,
            resumed=earlier is not None,
            abort_reason=abort_reason,
            save_seconds=options.pipeline.save_seconds,
        )
        job.save_manifest()
        job.log(f"{'Continuing' if job.resumed else 'Starting'} {verb} in {folder}")
        if earlier and earlier["version"] != manifest["version"]:
            job.warn(f"begun by version {earlier['version']}, continued by {manifest['version']}")
        with _recorded(job, attempt):
            yield job


def _carried_over(earlier: dict[str, Any] | None) -> dict[str, Any]:
    """What a continued job keeps of its earlier manifest."""
    if earlier is None:
        return {"attempts": [], "outputs": {}, "working": [], "warnings": [], "fingerprints": {}}
    kept = ("attempts", "outputs", "working", "warnings")
    return {name: earlier[name] for name in kept} | {
        "fingerprints": earlier.get("fingerprints", {})
    }


@contextmanager
def _recorded(job: Job, attempt: dict[str, Any]) -> Iterator[None]:
    """Write down how the block ends; ``done`` is written last of all."""
    began = time.monotonic()
    outcome = "failed"
    try:
        yield
        earlier = sum(a.get("seconds", 0.0) for a in job.manifest["attempts"])
        job.metric("wall_seconds", round(earlier + time.monotonic() - began, 3))
        job.metric("peak_memory_bytes", peak_memory_bytes())
        job.finish()
        outcome = "done"
    except (Aborted, KeyboardInterrupt) as error:
        outcome = "aborted"
        job.log(f"Aborted: {error or 'interrupted'}", echo=False)
        raise
    except BaseException:
        job.log(f"Failed\n{traceback.format_exc()}", echo=False)
        raise
    finally:
        seconds = round(time.monotonic() - began, 3)
        attempt.update(ended=now(), outcome=outcome, seconds=seconds)
        job.manifest["status"] = outcome
        shutil.rmtree(job.folder / ".partial", ignore_errors=True)
        job.save_manifest()
