"""Findings on a terminal, or as plain lines for a pipe."""

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding
from rich.table import Table

from cryojax_graph.jobs.check.findings import Finding


def print_findings(findings: Sequence[Finding], console: Console | None = None) -> None:
    """Print what was found, on standard output.

    Args:
        findings: of one or more files.
        console: of standard output when not given; without a terminal, lines are plain and whole.
    """
    console = console or Console()
    for finding in findings:
        if console.is_terminal:
            _print_table(finding, console)
        else:
            print("\n".join(plain_lines(finding)), file=console.file)


def plain_lines(finding: Finding) -> list[str]:
    """A finding as lines of text.

    Args:
        finding: of one file.

    Returns:
        lines without colours, one property each.
    """
    return [
        f"{finding.path}: {finding.kind}",
        *(f"  {name}: {value}" for name, value in finding.rows),
        *(f"  problem: {text}" for text in finding.problems),
        *(f"  note: {text}" for text in finding.notes),
        f"  verdict: {verdict(finding)}",
    ]


def verdict(finding: Finding) -> str:
    """The finding in a word or two.

    Args:
        finding: of one file.

    Returns:
        ``usable``, ``usable, with notes`` or ``not usable as it is``.
    """
    if finding.problems:
        return "not usable as it is"
    return "usable, with notes" if finding.notes else "usable"


def _print_table(finding: Finding, console: Console) -> None:
    # A path may hold brackets, which rich would take for markup.
    console.print(f"\n[bold]{escape(finding.path)}[/bold]: {escape(finding.kind)}", highlight=False)
    table = Table(box=None, show_header=False, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    for name, value in finding.rows:
        table.add_row(escape(name), escape(value))
    console.print(table, highlight=False)
    for style, mark, texts in (("red", "✗", finding.problems), ("yellow", "!", finding.notes)):
        for text in texts:
            line = Padding(f"[{style}]{mark}[/{style}] {escape(text)}", (0, 0, 0, 2))
            console.print(line, highlight=False)
    console.print(f"  [bold]{verdict(finding)}[/bold]", highlight=False)
