"""The page of a report: one HTML file that needs no other and no network, and that runs no code but its own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import Final

from pytest_wheelcheck.reporting.compare import Comparison, compare, headline, outcomes
from pytest_wheelcheck.reporting.html.across import tests_across
from pytest_wheelcheck.reporting.html.findings import findings
from pytest_wheelcheck.reporting.html.parts import (
    FAILED,
    LIMITS,
    PASSED,
    SKIPPED,
    STATES,
    WARNING,
    Limits,
    code,
    mark,
    more,
    node,
    show,
    show_name,
)
from pytest_wheelcheck.reporting.html.since import changes
from pytest_wheelcheck.reporting.html.waterfall import waterfall
from pytest_wheelcheck.reporting.html.wheels import wheels
from pytest_wheelcheck.reporting.markdown import origin, title, verdict
from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow, matrix_rows
from pytest_wheelcheck.reporting.report import Report

#: Bytes of a page; less of a large report is shown.
MAX_SIZE: Final = 1_000_000


def render(report: Report, missing: Sequence[tuple[str, str]] = ()) -> str:
    """Render a report.

    :param missing: as for :func:`~pytest_wheelcheck.reporting.matrix.matrix_rows`.
    """
    text = ""
    for limits in LIMITS:
        text = "\n".join(_page(report, missing, limits)) + "\n"
        if len(text.encode()) <= MAX_SIZE:
            break
    return text


def _page(report: Report, missing: Sequence[tuple[str, str]], limits: Limits) -> Iterator[str]:
    state = PASSED if report.complete and not report.failures else FAILED
    style, script = _file("report.css"), _file("report.js")
    own = f"style-src '{_digest(style)}'; script-src '{_digest(script)}'"
    policy = f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"
    yield "<!DOCTYPE html>"
    yield '<html lang="en"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>Wheels: {show(title(report), limits.name)}</title><style>{style}</style></head><body>"
    yield f"<header><h1>{show(title(report), limits.name)}</h1>"
    yield f'<p class="verdict {state}">{show(verdict(report))}</p></header>'
    release = (line for result in report.release for line in node(result, limits))
    machines = (line for each in compare(report) for line in _comparison(each, limits))
    sections = {
        "Release matrix": _table(matrix_rows(report, missing), limits),
        "Release": _listed(release),
        "Changes": changes(report, limits),
        "Findings": findings(report, limits),
        "Tests": tests_across(report, limits),
        "Machines": _listed(machines),
        "Wheels": wheels(report, limits),
        "Time": waterfall(report, limits),
    }
    filled = {name: content for name, lines in sections.items() if (content := list(lines))}
    links = " ".join(f'<a href="#{_anchor(name)}">{name}</a>' for name in filled)
    yield f'<nav aria-label="Sections">{links}</nav>'
    yield from _filter()
    yield "<main>"
    for name, content in filled.items():
        yield f'<section id="{_anchor(name)}"><h2>{name}</h2>'
        yield from content
        yield "</section>"
    yield "</main>"
    about = origin(report) or f"Written by {report.program or 'pytest-wheelcheck'}"
    yield f"<footer>{show(about, limits.text)}</footer><script>{script}</script></body></html>"


@cache
def _file(name: str) -> str:
    """Return a file of the page."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """Return the name of a style or script in a content security policy."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _filter() -> Iterator[str]:
    """Yield the filter, which the script shows."""
    yield '<form id="filter" role="search" hidden>'
    yield '<input type="search" aria-label="Filter by words" placeholder="Filter: words in names and texts ( / )">'
    yield "<fieldset><legend>Show</legend>"
    for state in STATES:
        yield f'<label class="{state}"><input type="checkbox" value="{state}" checked>{state}</label>'
    yield '</fieldset><output aria-live="polite"></output></form>'


def _table(rows: Sequence[MatrixRow], limits: Limits) -> Iterator[str]:
    used = [index for index, _ in enumerate(COLUMNS) if any(row.cells[index].text for row in rows)]
    names = ("platform", "interpreter", *(COLUMNS[index] for index in used))
    headings = "".join(f"<th>{show(name)}</th>" for name in names)
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Release matrix"><table class="matrix">'
    yield f"<thead><tr>{headings}</tr></thead><tbody>"
    previous = ""
    for row in rows:
        states = {cell.state for cell in row.cells}
        state = FAILED if states & {"failed", "missing"} else PASSED if "passed" in states else SKIPPED
        same = row.platform == previous
        previous = row.platform
        cells = "".join(f"<td>{mark(row.cells[index].state, row.cells[index].text)}</td>" for index in used)
        yield (
            f'<tr class="{"same" if same else "new"}" data-o="{state}" title="{show_name(", ".join(row.filenames), limits)}">'
            f"<th>{show(row.platform)}</th><td><code>{show(row.interpreter)}</code></td>{cells}</tr>"
        )
    yield "</tbody></table></div>"


def _listed(lines: Iterator[str]) -> Iterator[str]:
    content = list(lines)
    if content:
        yield from ("<ul>", *content, "</ul>")


def _comparison(comparison: Comparison, limits: Limits) -> Iterator[str]:
    state = WARNING if comparison.differences or comparison.untested else PASSED
    yield f'<li data-o="{state}">{code(comparison.wheel, limits)}, <code>{show(comparison.interpreter)}</code>: '
    yield mark(state, headline(comparison))
    if comparison.differences:
        yield "<ul>"
        for each in comparison.differences[: limits.nodes]:
            yield f"<li>{code(each.name, limits)}: {show(outcomes(comparison, each))}</li>"
        yield from more(len(comparison.differences) - limits.nodes, "node", "li")
        yield "</ul>"
    yield "</li>"


def _anchor(name: str) -> str:
    """Return the id of a section: without a space, which a link cannot have."""
    return name.lower().replace(" ", "-")
