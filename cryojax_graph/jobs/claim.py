"""May this job use this folder: start in it, continue what is there, or neither."""

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.manifest import sha256_of
from cryojax_graph.training.same_config import differing_fields

MANIFEST = "manifest.json"
FOREIGN = "a file of this name is there already and is not of this job"
MOVE_AWAY = "move it away, or use another folder"
_OWN_FILES = ("job.json", MANIFEST, "metrics.json", "run.log", ".partial")
_FRESH = "use another folder, or --overwrite to start again"
_UNUSABLE = "choose a folder that you own"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep other processes of this program out of a folder; a crash frees it.

    Args:
        folder: of the job; made when missing.

    Yields:
        nothing.

    Raises:
        InputError: another process works there, or the folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        cause = error.strerror or "cannot be made"
        raise InputError(folder, "output folder", cause, _UNUSABLE) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            # Some network file systems have no locks; there the user has to take care.
            if error.errno in (errno.EAGAIN, errno.EACCES):
                cause = "another process is working in it"
                raise InputError(folder, "output folder", cause, "wait for it or stop it") from None
        yield


def claim(
    folder: Path,
    request: dict[str, Any],
    inputs: dict[str, dict[str, Any]],
    *,
    overwrite: bool,
    outputs: Sequence[str] = (),
) -> dict[str, Any] | None:
    """Decide whether to start, to continue or to refuse.

    Args:
        folder: of the job, locked.
        request: verb, seed and config, as JSON values.
        inputs: description of every input file of now.
        overwrite: remove what an earlier job left.
        outputs: names of files that the job will write.

    Returns:
        the manifest of the unfinished job to be continued, or None for a new one, also in place of
        one that failed before it began to work.

    Raises:
        InputError: the folder holds a finished job, or one with another config or other inputs, or
            somebody's file with the name of an output.
    """
    manifest = read_manifest(folder)
    _refuse_foreign(folder, manifest, outputs)
    if manifest is None:
        return None
    if overwrite:
        remove_job(folder, manifest)
        return None
    if manifest["status"] == "done":
        raise InputError(folder, "output folder", "it holds a finished job", _FRESH)
    differences = differing_fields(manifest["request"], request)
    stored = manifest["inputs"]
    changed = [name for name in inputs if not _same_file(stored.get(name, {}), inputs[name])]
    if (differences or changed) and _never_began(manifest):
        remove_job(folder, manifest)
        return None
    if differences:
        cause = f"it holds an unfinished job of another config: {'; '.join(differences)}"
        raise InputError(folder, "output folder", cause, f"repeat that config, {_FRESH}")
    if changed:
        cause = f"the file is not the one with which the job in {folder} began"
        raise InputError(inputs[changed[0]]["path"], changed[0], cause, _FRESH)
    return manifest


def describe_folder(folder: Path, *, overwrite: bool, outputs: Sequence[str] = ()) -> str:
    """What a job would find in its folder.

    Args:
        folder: of the job.
        overwrite: whether the job may replace what is there.
        outputs: names of files that the job will write.

    Returns:
        one line.

    Raises:
        InputError: no job can work in the folder, its manifest is damaged, or somebody's file has
            the name of an output.
    """
    _check_usable(folder)
    manifest = read_manifest(folder)
    _refuse_foreign(folder, manifest, outputs)
    if manifest is None:
        return f"Folder: {folder}, " + ("which holds no job" if folder.exists() else "to be made")
    verb, done = manifest["request"]["verb"], manifest["status"] == "done"
    if _never_began(manifest):
        found = f"Folder: {folder} holds a {verb} job that failed before it began to work"
        fate = "which is repeated, or replaced if config or inputs differ"
    else:
        found = f"Folder: {folder} holds {'a finished' if done else 'an unfinished'} {verb} job"
        fate = "which is continued if config and inputs agree"
    if overwrite:
        return f"{found}, which would be replaced"
    return f"{found}: {_FRESH}" if done else f"{found}, {fate}"


def _check_usable(folder: Path) -> None:
    """Refuse a folder that ``locked`` could not make or write to, without making it."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        cause = error.strerror or "cannot be made"
    else:
        if nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK):
            return
        fault = errno.EACCES if nearest.is_dir() else errno.ENOTDIR
        cause = os.strerror(errno.EEXIST if nearest.is_file() and nearest == folder else fault)
    raise InputError(folder, "output folder", cause, _UNUSABLE)


def _refuse_foreign(folder: Path, manifest: dict[str, Any] | None, outputs: Sequence[str]) -> None:
    """Find a file in the way of an output now, and not when the work of hours is written."""
    own = manifest["outputs"] if manifest else {}
    for name in outputs:
        if name not in own and (folder / name).is_file():
            raise InputError(folder / name, "output", FOREIGN, MOVE_AWAY)


def _never_began(manifest: dict[str, Any]) -> bool:
    """Whether a job was refused before it did anything, so that no work can be lost."""
    return manifest["status"] == "failed" and not (manifest["outputs"] or manifest["working"])


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """Manifest of the job in a folder.

    Args:
        folder: of the job.

    Returns:
        plain JSON values, or None where no job is.

    Raises:
        InputError: the file is not a manifest.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_bytes())
        if {"version", "status", "request", "inputs", "outputs", "working"} <= set(manifest):
            return manifest
        cause = "fields are missing"
    except (ValueError, TypeError) as error:
        cause = str(error)
    raise InputError(path, "manifest", cause, "use another folder, or remove the file")


def finished_manifest(folder: Path, verb: str, *, remedy: str) -> dict[str, Any]:
    """Manifest of a job that has to be finished before another can use it.

    Args:
        folder: of the job.
        verb: that made it.
        remedy: what to name in place of a folder that is not of such a job.

    Returns:
        plain JSON values.

    Raises:
        InputError: the folder holds no finished job of that verb.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(folder, MANIFEST, "there is no such file in the folder", remedy)
    request = manifest["request"]
    if not isinstance(request, dict):
        cause = f"fields are missing, or are not what a {verb} job writes"
        raise InputError(folder / MANIFEST, "manifest", cause, f"run {verb} again")
    found = request.get("verb")
    if found != verb:
        cause = f"the folder is of a {found} job"
        raise InputError(folder / MANIFEST, "verb", cause, remedy)
    if manifest["status"] != "done":
        cause = f"the {verb} job is {manifest['status']}, not done"
        again = "finish it with the same command"
        raise InputError(folder / MANIFEST, "status", cause, again)
    return manifest


def remove_job(folder: Path, manifest: dict[str, Any]) -> None:
    """Remove the files that a job made, and nothing else.

    Args:
        folder: of the job.
        manifest: names its files.
    """
    remove_files(folder, (*manifest["outputs"], *manifest["working"], *_OWN_FILES))


def remove_files(folder: Path, names: Iterable[str]) -> None:
    """Remove files and folders of a job.

    Args:
        folder: of the job.
        names: of what is in it; of nothing outside.
    """
    root = folder.resolve()
    for name in names:
        path = folder / name
        # A manifest is a file that anybody can write: what points out of the folder stays.
        if root not in path.resolve().parents:
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _same_file(stored: dict[str, Any], current: dict[str, Any]) -> bool:
    if any(stored.get(name) != current[name] for name in ("path", "bytes")):
        return False
    if stored["modified_ns"] == current["modified_ns"]:
        return True
    return "sha256" in stored and stored["sha256"] == sha256_of(current["path"])
