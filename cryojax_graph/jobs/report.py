"""A report page: one HTML file that works without a network."""

import base64
import gzip
import html
import shlex
from collections.abc import Mapping, Sequence
from importlib import resources
from numbers import Integral
from pathlib import Path
from typing import Any, NamedTuple, SupportsFloat

from cryojax_graph._version import __version__
from cryojax_graph.jobs.plan import readable_size, readable_time


class Section(NamedTuple):
    """A part of a page.

    Attributes:
        title: its heading.
        blocks: HTML, made by ``figures`` and the functions below.
    """

    title: str
    blocks: tuple[str, ...]


class Command(str):
    """Text of a table cell that is a command."""


class Quantity(str):
    """Text of a table cell that is a number with its unit, kept on one line."""


class Highlight(NamedTuple):
    """A figure that the reader should see first.

    Attributes:
        value: with its unit, as text.
        label: what it is.
    """

    value: str
    label: str


def page(
    title: str,
    summary: str,
    sections: Sequence[Section],
    *,
    highlights: Sequence[Highlight] = (),
    warnings: Sequence[str] = (),
) -> str:
    """A whole page.

    Args:
        title: what was done.
        summary: one or two sentences on what came out.
        sections: in order.
        highlights: a few figures under the summary.
        warnings: what the reader must know before believing the rest.

    Returns:
        an HTML document; Plotly's script is inside, once, when a figure needs it.
    """
    body = "".join(
        f'<section id="s{number}"><h2>{html.escape(section.title)}</h2>'
        f"{''.join(section.blocks)}</section>"
        for number, section in enumerate(sections)
    )
    links = "".join(
        f'<a href="#s{number}">{html.escape(section.title)}</a>'
        for number, section in enumerate(sections)
    )
    cards = "".join(
        f"<div><strong>{html.escape(h.value)}</strong><span>{html.escape(h.label)}</span></div>"
        for h in highlights
    )
    alerts = "".join(f'<p class="warning">{html.escape(text)}</p>' for text in warnings)
    needs_plotly = 'class="plot"' in body or 'class="backbone"' in body
    return "".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{html.escape(title)}</title><style>{_resource('report.css')}</style></head>",
            f"<body><header><h1>{html.escape(title)}</h1>",
            f'<p class="summary">{html.escape(summary)}</p>',
            f'<div class="highlights">{cards}</div>' if cards else "",
            f"</header>{alerts}<nav>{links}</nav><main>{body}</main>",
            f"<footer>cryojax-graph {__version__}</footer>",
            _plotly() if needs_plotly else "",
            "</body></html>\n",
        ]
    )


def job_page(
    manifest: Mapping[str, Any],
    *,
    title: str,
    summary: str,
    sections: Sequence[Section],
    highlights: Sequence[Highlight] = (),
    citations: Sequence[str] = (),
    commands: Mapping[str, str] | None = None,
) -> str:
    """The page of a job: its own sections between what every job reports.

    Args:
        manifest: of the job, ``job.manifest``.
        title: what was done.
        summary: what came out.
        sections: results, in order.
        highlights: a few figures under the summary.
        citations: papers to cite, one line each.
        commands: how to open an output, by its name, where the usual command for its suffix is
            wrong.

    Returns:
        an HTML document, for ``job.write_text("report.html", …)``.
    """
    return page(
        title,
        summary,
        [
            *sections,
            inputs_section(manifest["inputs"]),
            outputs_section(manifest["outputs"], commands or {}),
            run_section(manifest),
            citation_section(citations),
        ],
        highlights=highlights,
        warnings=manifest["warnings"],
    )


def paragraph(text: str) -> str:
    """A paragraph.

    Args:
        text: plain.

    Returns:
        HTML.
    """
    return f"<p>{html.escape(text)}</p>"


def table(
    header: Sequence[str], rows: Sequence[Sequence[str | SupportsFloat]], *, caption: str = ""
) -> str:
    """A table; numbers stand right, with four significant digits.

    Args:
        header: of the columns.
        rows: text or numbers.
        caption: what it shows.

    Returns:
        HTML.
    """
    numeric = [bool(rows) and not isinstance(cell, str) for cell in (rows[0] if rows else header)]
    names = "".join(
        f"<th{' class=number' if right else ''}>{html.escape(name)}</th>"
        for name, right in zip(header, numeric, strict=True)
    )
    head = f"<thead><tr>{names}</tr></thead>" if any(header) else ""
    body = "".join(f"<tr>{''.join(map(_cell, row))}</tr>" for row in rows)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{title}{head}<tbody>{body}</tbody></table></div>'


def command_block(command: str) -> str:
    """A command to copy.

    Args:
        command: for a shell.

    Returns:
        HTML.
    """
    return f"<pre><code>{html.escape(command)}</code></pre>"


def inputs_section(inputs: Mapping[str, Mapping[str, Any]]) -> Section:
    """What was read.

    Args:
        inputs: of the manifest.

    Returns:
        a table of files with size and SHA-256, as far as it is known yet.
    """
    rows = [
        [name, file["path"], _size(file["bytes"]), (file.get("sha256") or "")[:16]]
        for name, file in inputs.items()
    ]
    if not rows:
        return Section("Inputs", (paragraph("None: everything comes with the program."),))
    return Section("Inputs", (table(["option", "file", "size", "SHA-256 begins"], rows),))


def outputs_section(
    outputs: Mapping[str, Mapping[str, Any]], commands: Mapping[str, str]
) -> Section:
    """What was written, and how to open it.

    Args:
        outputs: of the manifest.
        commands: by name of the output, in place of the usual one for its suffix.

    Returns:
        a table of files.
    """
    rows = [
        [
            name,
            file["description"],
            _size(file["bytes"]),
            Command(commands.get(name, _open_command(name))),
        ]
        for name, file in outputs.items()
    ]
    header = ["file", "what it is", "size", "open with"]
    return Section("Outputs", (table(header, rows, caption="Commands for the job folder."),))


def run_section(manifest: Mapping[str, Any]) -> Section:
    """What ran, where, for how long.

    Args:
        manifest: of the job.

    Returns:
        the command, versions, devices and times.
    """
    attempts = manifest["attempts"]
    machine = attempts[-1]
    seconds = sum(attempt.get("seconds", 0.0) for attempt in attempts)
    versions = ", ".join(f"{name} {version}" for name, version in manifest["versions"].items())
    rows = [
        ["program", f"{manifest['program']} {manifest['version']}"],
        ["seed", str(manifest["request"]["seed"])],
        ["started", attempts[0]["started"]],
        ["runs", f"{len(attempts)} (continued after interruptions)" if attempts[1:] else "1"],
        ["host", f"{machine['host']}, {machine['cores']} cores, {machine['system']}"],
        ["devices", ", ".join(machine["devices"]) or "processor"],
        ["versions", versions],
    ]
    if seconds:
        rows.append(["time of earlier runs", readable_time(seconds)])
    return Section("What ran", (command_block(manifest["command"]), table(["", ""], rows)))


def citation_section(citations: Sequence[str]) -> Section:
    """How to cite.

    Args:
        citations: papers, one line each; the program is added.

    Returns:
        a list.
    """
    items = [*citations, f"cryojax-graph, version {__version__}."]
    return Section(
        "How to cite", (f"<ul>{''.join(f'<li>{html.escape(i)}</li>' for i in items)}</ul>",)
    )


def _cell(value: str | SupportsFloat) -> str:
    if isinstance(value, Command):
        return f"<td><code>{html.escape(value)}</code></td>"
    if isinstance(value, Quantity):
        return f'<td class="quantity">{html.escape(value)}</td>'
    if isinstance(value, str):
        return f"<td>{html.escape(value)}</td>"
    text = f"{int(value):,}" if isinstance(value, Integral) else f"{float(value):.4g}"
    return f'<td class="number">{text}</td>'


def _size(size: int) -> Quantity:
    return Quantity(readable_size(size).replace(" ", "\u00a0"))


def _open_command(name: str) -> str:
    quoted = shlex.quote(name)
    return {
        ".cif": f"chimerax {quoted}",
        ".pdb": f"chimerax {quoted}",
        ".mrc": f"chimerax {quoted}",
        ".cxc": f"chimerax {quoted}",
        ".star": f"cryojax-graph check {quoted}",
        ".mrcs": f"relion_display --i {quoted}",
        ".npz": f"cryojax-graph check {quoted}",
        ".csv": f"column -s, -t {quoted} | less -S",
        ".json": f"less {quoted}",
    }.get(Path(name).suffix, f"less {quoted}")


def _resource(name: str) -> str:
    return (resources.files("cryojax_graph") / "data" / name).read_text(encoding="utf-8")


def _plotly() -> str:
    """Plotly's script, compressed: 1.9 MiB in place of 4.6."""
    source = (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
    packed = base64.b64encode(gzip.compress(source, mtime=0)).decode()
    return (
        f'<script type="text/plain" id="plotly">{packed}</script>'
        f"<script>{_resource('report.js')}</script>"
    )
