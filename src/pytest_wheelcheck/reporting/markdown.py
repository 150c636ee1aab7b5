"""The report as Markdown: the matrix, and what is wrong."""

from __future__ import annotations

from collections.abc import Sequence

from pytest_wheelcheck.reporting.matrix import COLUMNS, Row, rows
from pytest_wheelcheck.reporting.report import BAD, File, Node, Report

#: What stands before the text of a mark.
SIGNS = {"passed": "✓ ", "failed": "✗ ", "missing": "✗ ", "imported": "○ ", "skipped": "○ ", "yes": "", "no": ""}


def render(report: Report, missing: Sequence[tuple[str, str]] = ()) -> str:
    """Write a report.

    :param missing: as :func:`~pytest_wheelcheck.reporting.matrix.rows` takes it.
    """
    lines = [f"# Wheels: {title(report)}", "", verdict(report), "", "## Coverage", ""]
    lines += table(rows(report, missing))
    if report.release:
        lines += ["", "## The release", ""]
        for node in report.release:
            lines.append(f"- `{node.name}`: {node.outcome}")
            lines += [f"  - {_inline(text)}" for text in (*node.text.splitlines(), *node.warnings) if text]
    lines += ["", "## Wheels", ""]
    for file in report.files:
        lines += [f"### {file.file}", "", *_file(file), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def title(report: Report) -> str:
    """Name the projects and versions of a report."""
    names = dict.fromkeys(f"{file.name} {file.version}" for file in report.files if file.name)
    return ", ".join(names) or "nothing that could be opened"


def verdict(report: Report) -> str:
    """Sum a report up in one sentence."""
    bad = sum(node.outcome in BAD for node in every_node(report))
    bad += sum(one.outcome in BAD for file in report.files for one in file.untested)
    wheels = f"{len(report.files)} wheel{'s' * (len(report.files) != 1)}"
    places = sum(len(file.places) for file in report.files)
    where = f"{places} target{'s' * (places != 1)}"
    text = f"{wheels}, {where}: {f'{bad} failed' if bad else 'nothing failed'}."
    return text if report.complete else f"{text} The run was interrupted."


def every_node(report: Report) -> list[Node]:
    """List every node of a report."""
    return [
        *report.release,
        *(node for file in report.files for node in file.checks),
        *(node for file in report.files for place in file.places for node in place.nodes),
    ]


def table(found: Sequence[Row]) -> list[str]:
    """Write the matrix as a table."""
    lines = [f"| platform | interpreter | {' | '.join(COLUMNS)} |", f"|{' --- |' * (len(COLUMNS) + 2)}"]
    last = ""
    for row in found:
        cells = [SIGNS[mark.state] + mark.text for mark in row.marks]
        platform = row.platform if row.platform != last else ""
        last = row.platform
        lines.append(f"| {' | '.join(map(_cell, (platform, row.interpreter, *cells)))} |")
    return lines


def _file(file: File) -> list[str]:
    lines = [f"sha256 `{file.sha256}`, {file.size} bytes", ""] if file.sha256 else []
    lines += [f"- **{node.name}**: {node.outcome}: {_inline(node.text)}" for node in file.checks if node.outcome in BAD]
    lines += [f"- {node.name}: warning: {_inline(text)}" for node in file.checks for text in node.warnings]
    for place in file.places:
        lines.append(
            f"- {place.name}{f' on {place.host}' if place.host else ''} ({_inline(place.where)}): {counts(place.nodes)}"
        )
        lines += [
            f"  - **{node.name}**: {node.outcome}: {_inline(node.text)}" for node in place.nodes if node.outcome in BAD
        ]
    lines += [f"- not run: {_inline(one.reason)}" for one in file.untested]
    return lines or ["Nothing to tell."]


def counts(nodes: Sequence[Node]) -> str:
    """Count the outcomes of nodes."""
    found: dict[str, int] = {}
    for node in nodes:
        found[node.outcome] = found.get(node.outcome, 0) + 1
    return ", ".join(f"{number} {outcome}" for outcome, number in sorted(found.items())) or "nothing was run"


def _inline(text: str) -> str:
    """Keep a text in one line, and its characters from meaning anything."""
    short = " ".join(text.split())
    short = short if len(short) <= 600 else f"{short[:600]} …"
    for character in "\\`*_<>[]":
        short = short.replace(character, f"\\{character}")
    return short


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
