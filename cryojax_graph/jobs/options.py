"""Options that every verb shares, kept apart from what the verb computes.

A verb's own config holds all that decides its result but the seed; it is compared when a job
resumes and stored in ``job.json``. ``JobOptions`` holds the seed and everything about where and how
the job runs. The command line merges both to one list of options; library callers pass them side by
side: ``flex(FlexConfig(...), options=JobOptions(...))``.
"""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from cryojax_graph.io.errors import InputError

# JAX keeps the lowest 32 bits of a larger seed, so that two of them would mean the same.
LARGEST_SEED = 2**32 - 1


@dataclass(frozen=True)
class PipelineOptions:
    """For programs that run jobs for a user.

    Args:
        relion_marks: Write RELION_JOB_EXIT_SUCCESS, _FAILURE or _ABORTED in the folder and stop
            when RELION_JOB_ABORT_NOW appears there.
        save_seconds: Seconds of work that a crash may cost: long work is saved this often.
    """

    relion_marks: bool = False
    save_seconds: float = 30.0


@dataclass(frozen=True)
class JobOptions:
    """Where and how a job runs.

    Args:
        output: Folder of the job; made when missing.
        seed: Of all randomness, 0 to 4294967295.
        device: auto, cpu, gpu, tpu, or numbered GPUs such as gpu:0,1.
        overwrite: Replace a finished job, or one of another config, in this folder.
        dry_run: Print what would be done, how long it takes and how much memory and disk, then
            stop.
        verbose: Say more, with tracebacks.
        pipeline: For programs that run jobs.

    Raises:
        InputError: the seed is out of range, or the time between savings negative.
    """

    output: Annotated[str, tyro.conf.arg(aliases=("-o",), metavar="FOLDER")]
    seed: int = 0
    device: str = "auto"
    overwrite: bool = False
    dry_run: bool = False
    verbose: Annotated[bool, tyro.conf.arg(aliases=("-v",))] = False
    pipeline: PipelineOptions = field(default_factory=PipelineOptions)

    def __post_init__(self) -> None:
        """Refuse a seed that the generators of random numbers do not take, and negative time."""
        if not 0 <= self.seed <= LARGEST_SEED:
            cause = f"{self.seed} is not between 0 and {LARGEST_SEED}"
            raise InputError("command line", "--seed", cause, "choose another seed")
        if not self.pipeline.save_seconds >= 0:
            cause = f"{self.pipeline.save_seconds:g} seconds"
            raise InputError("command line", "--pipeline.save-seconds", cause, "give 0 or more")


@dataclass(frozen=True)
class FileOptions(JobOptions):
    """Options of a verb that writes one file and makes no folder.

    Args:
        output: File to write.
        seed: Of all randomness; here there is none.
        device: Here the processor does all.
        overwrite: Replace the file if it is there.
        dry_run: Print what would be done, how long it takes and how much memory and disk, then
            stop.
        verbose: Say more, with tracebacks.
        pipeline: For programs that run jobs.
    """

    output: Annotated[str, tyro.conf.arg(aliases=("-o",), metavar="FILE")]
