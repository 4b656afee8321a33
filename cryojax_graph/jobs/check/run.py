"""``check`` from end to end."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.check.findings import Finding, examine
from cryojax_graph.jobs.check.report import check_report
from cryojax_graph.jobs.check.terminal import print_findings
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan


@dataclass(frozen=True)
class CheckConfig:
    """Settings of the verb.

    Args:
        files: Maps, stacks, STAR or .cs tables, models, trajectories, FASTA files.
        image_root: Folder that image names of a table are relative to.
    """

    files: tyro.conf.Positional[tuple[str, ...]]
    image_root: str | None = None


def check(config: CheckConfig, *, options: JobOptions) -> Path | None:
    """Say what is in some files, and what is wrong with them.

    Args:
        config: which files.
        options: without an output folder, the terminal is all that is written.

    Returns:
        the job folder, if one was asked for.

    Raises:
        InputError: no file was named, or one of them cannot be used as it is; what was found is
            told before.
    """
    if not config.files:
        raise InputError("command line", "FILES", "there are none", "name a file")
    folder = None
    if options.output:
        inputs = {f"file {number}": path for number, path in enumerate(config.files, 1)}
        with open_job(config, verb="check", options=options, inputs=inputs) as job:
            findings = _examined(config)
            job.write_json(
                "findings.json", [f._asdict() for f in findings], "all that is told here"
            )
            job.metric("files", len(findings), "1")
            job.metric("unusable_files", len(_unusable(findings)), "1")
            report = check_report(findings, image_root=config.image_root, job=job)
            job.write_text("report.html", report, "this page")
        folder = job.folder
    else:
        findings = _examined(config)
    print_findings(findings)
    if unusable := _unusable(findings):
        where = f" (see {folder}/report.html)" if folder else ""
        cause = "it cannot be used as it is" + where
        raise InputError(", ".join(unusable), "check", cause, "see what is wrong above")
    return folder


def plan_check(config: CheckConfig, *, options: JobOptions) -> Plan:
    """Say what ``check`` would do.

    Args:
        config: which files.
        options: of the job.

    Returns:
        the plan.

    Raises:
        InputError: a file is missing.
    """
    sizes = []
    for path in config.files:
        if not Path(path).is_file():
            raise InputError(path, "opening it", "there is no such file", "check the name")
        sizes.append(Path(path).stat().st_size)
    return Plan(
        actions=tuple(f"look at {path}" for path in config.files),
        outputs=("findings.json", "report.html") if options.output else ("nothing",),
        seconds=1.0 + sum(sizes) / 2e8,
        memory_bytes=int(1e8 + 4 * max(sizes, default=0)),
        disk_bytes=int(3e6) if options.output else 0,
    )


def _examined(config: CheckConfig) -> list[Finding]:
    return [examine(path, image_root=config.image_root) for path in config.files]


def _unusable(findings: list[Finding]) -> list[str]:
    return [finding.path for finding in findings if finding.problems]
