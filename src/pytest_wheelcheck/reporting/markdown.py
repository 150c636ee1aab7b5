"""The report as Markdown: the release matrix, and the failures."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pytest_wheelcheck.reporting.compare import Comparison, compare, headline, outcomes
from pytest_wheelcheck.reporting.counts import count_outcomes
from pytest_wheelcheck.reporting.failure_line import failure_line
from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow, matrix_rows
from pytest_wheelcheck.reporting.report import BAD, NodeResult, Report, WheelReport
from pytest_wheelcheck.reporting.since import Line, Since, since

#: Prefixes of the texts of cells, by state.
SIGNS = {"passed": "✓ ", "failed": "✗ ", "missing": "✗ ", "imported": "○ ", "skipped": "○ ", "yes": "", "no": ""}

#: Characters of a text that a list item shows.
_MAX_TEXT = 600


def render(report: Report, missing: Sequence[tuple[str, str]] = ()) -> str:
    """Render a report.

    :param missing: as for :func:`~pytest_wheelcheck.reporting.matrix.matrix_rows`.
    """
    lines = [f"# Wheels: {title(report)}", "", verdict(report), ""]
    if about := origin(report):
        lines += [_inline(about), ""]
    lines += ["## Release matrix", ""]
    lines += table(matrix_rows(report, missing))
    if comparisons := compare(report):
        lines += ["", "## Machines", "", *(line for each in comparisons for line in _comparison(each))]
    if report.release:
        lines += ["", "## Release", ""]
        for result in report.release:
            lines.append(f"- `{result.name}`: {result.outcome}")
            lines += [f"  - {_inline(text)}" for text in (*result.text.splitlines(), *result.warnings) if text]
    for found in since(report):
        lines += ["", f"## Changes since {_inline(found.release)}", "", *_since(found)]
    lines += ["", "## Wheels", ""]
    for wheel in report.wheels:
        lines += [f"### {wheel.filename}", "", *_wheel(wheel), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def title(report: Report) -> str:
    """Return the projects and versions of a report."""
    names = dict.fromkeys(f"{wheel.project} {wheel.version}" for wheel in report.wheels if wheel.project)
    return ", ".join(names) or "no readable wheel"


def verdict(report: Report) -> str:
    """Summarize a report in one sentence."""
    wheels = f"{len(report.wheels)} wheel{'s' * (len(report.wheels) != 1)}"
    count = sum(len(wheel.targets) for wheel in report.wheels)
    targets = f"{count} target{'s' * (count != 1)}"
    text = f"{wheels}, {targets}: {f'{report.failures} failed' if report.failures else 'no failures'}."
    return text if report.complete else f"{text} The run was interrupted."


def origin(report: Report) -> str:
    """Return in one line where a report comes from."""
    dependencies = f"dependencies: {report.resolution}" if report.resolution else ""
    shards = ", ".join(f"shard {shard.shard}" for shard in report.shards)
    commit = f"commit {report.commit}" if report.commit else ""
    parts = [report.program, report.started, commit, shards, dependencies, report.command]
    return "; ".join(filter(None, parts)) if report.started else ""


def table(rows: Sequence[MatrixRow]) -> list[str]:
    """Render the matrix as a table."""
    lines = [f"| platform | interpreter | {' | '.join(COLUMNS)} |", f"|{' --- |' * (len(COLUMNS) + 2)}"]
    previous = ""
    for row in rows:
        texts = [SIGNS[cell.state] + cell.text for cell in row.cells]
        platform = row.platform if row.platform != previous else ""
        previous = row.platform
        lines.append(f"| {' | '.join(map(_cell, (platform, row.interpreter, *texts)))} |")
    return lines


def _comparison(comparison: Comparison) -> list[str]:
    lines = [f"- {_inline(comparison.wheel)}, {comparison.interpreter}: {_inline(headline(comparison))}"]
    return lines + [f"  - `{each.name}`: {_inline(outcomes(comparison, each))}" for each in comparison.differences]


def _since(found: Since) -> list[str]:
    """Return the changes: those of the release, and of each wheel what users may miss. The JSON report has all of them."""
    lines = [f"- {_marked(line)}" for line in found.lines]
    lines += [f"- in every wheel: {_marked(line)}" for line in found.common]
    for wheel in found.wheels:
        lines.append(f"- {_inline(wheel.filename)}: {_inline(wheel.text)}")
        lines += [f"  - {_marked(line)}" for line in wheel.lines if line.bad]
    return lines


def _marked(line: Line) -> str:
    return f"**{_inline(line.text)}**" if line.bad else _inline(line.text)


def _wheel(wheel: WheelReport) -> list[str]:
    lines = [f"sha256 `{wheel.sha256}`, {wheel.size} bytes", ""] if wheel.sha256 else []
    for check in wheel.checks:
        if check.outcome in BAD:
            lines += _failure(check, "")
    lines += [f"- {check.name}: warning: {_inline(text)}" for check in wheel.checks for text in check.warnings]
    for target in wheel.targets:
        on_host = f" on {target.host}" if target.host else ""
        lines.append(f"- {target.name}{on_host} ({_inline(target.source)}): {counts(target.results)}")
        lines += [f"  - wheel\\_overrides: {_inline(override)}" for override in target.overrides]
        lines += [f"  - {_inline(target.threads)}"] if target.threads else []
        for result in target.results:
            if result.outcome in BAD:
                lines += _failure(result, "  ")
    lines += [f"- not run: {_inline(entry.reason)}" for entry in wheel.not_run]
    return lines or ["No results."]


def _failure(result: NodeResult, indent: str) -> list[str]:
    """Return an item of a list: what happened in its first line, and the whole text in a block that opens with a click."""
    text = result.text.strip("\n")
    lines = [f"{indent}- **{_inline(result.name)}**: {result.outcome}: {_inline(failure_line(text))}"]
    if "\n" in text:
        # Longer than any row of backticks in the text.
        fence = "`" * max(3, *(len(row) + 1 for row in re.findall("`+", text)), 3)
        inside = ["<details><summary>details</summary>", "", fence, *text.splitlines(), fence, "", "</details>", ""]
        lines += ["", *(f"{indent}  {line}".rstrip() for line in inside)]
    return lines


def counts(results: Sequence[NodeResult]) -> str:
    """Count results by outcome, tests apart from checks."""
    return count_outcomes((result.is_test, result.outcome) for result in results)


def _inline(text: str) -> str:
    """Return a text on one line, with the special characters of Markdown escaped."""
    short = " ".join(text.split())
    short = short if len(short) <= _MAX_TEXT else f"{short[:_MAX_TEXT]} …"
    for character in "\\`*_<>[]":
        short = short.replace(character, f"\\{character}")
    return short


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
