"""The page of ``check``."""

from collections.abc import Sequence
from pathlib import Path

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.check.findings import Finding
from cryojax_graph.jobs.check.pictures import pictures
from cryojax_graph.jobs.check.terminal import verdict
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table


def check_report(findings: Sequence[Finding], *, image_root: str | None, job: Job) -> str:
    """The page.

    Args:
        findings: of every file.
        image_root: folder under which the image names of a table are looked up first.
        job: whose page it is.

    Returns:
        HTML.
    """
    unusable = sum(bool(finding.problems) for finding in findings)
    told = "none is unusable" if not unusable else f"{unusable} cannot be used as they are"
    return job_page(
        job.manifest,
        title="What is in these files",
        summary=f"{len(findings)} files were looked at; {told}.",
        sections=[_section(finding, image_root) for finding in findings],
        highlights=[
            Highlight(str(len(findings)), "files"),
            Highlight(str(unusable), "not usable as they are"),
            Highlight(str(sum(len(f.notes) for f in findings)), "notes"),
        ],
    )


def _section(finding: Finding, image_root: str | None) -> Section:
    rows = [list(row) for row in finding.rows]
    rows += [["problem", text] for text in finding.problems]
    rows += [["note", text] for text in finding.notes]
    blocks = [paragraph(f"{finding.path}: {finding.kind}, {verdict(finding)}.")]
    blocks.append(table(["", ""], rows))
    if not finding.problems:
        try:
            blocks += pictures(finding, image_root=image_root)
        except InputError as error:
            # The file changed since it was examined.
            blocks.append(paragraph(f"No pictures: {error}"))
    return Section(Path(finding.path).name, tuple(blocks))
