"""The table of tests: each test side by side on all targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from pytest_wheelcheck.reporting.across import Column, Row, columns, rows
from pytest_wheelcheck.reporting.failure_line import failure_line
from pytest_wheelcheck.reporting.html.parts import (
    FAILED,
    PASSED,
    SKIPPED,
    WARNING,
    Limits,
    code,
    count,
    mark,
    more,
    show,
    show_name,
    state_of,
)
from pytest_wheelcheck.reporting.report import BAD, NodeResult, Report

#: Targets up to which each has a column of its own; more of them are drawn as a strip.
_MAX_COLUMNS = 24
#: What stands for an outcome in a column.
_SIGNS = {FAILED: "✗", WARNING: "!", SKIPPED: "○", PASSED: "✓"}
#: Seconds above which the time of a test is shown.
_MIN_SECONDS = 0.1
#: Characters of the message of a failure.
_MAX_MESSAGE = 200
#: Targets of a row whose times are shown.
_MAX_TIMES = 30

_GROUPS = ("Fails on some targets only", "Fails everywhere", "Slow on one target", "The other tests")


def tests_across(report: Report, limits: Limits) -> Iterator[str]:
    """Yield the tables; nothing if no test ran."""
    found = columns(report)
    table = rows(found)
    left = limits.tests
    for number, group in groupby(table, _group):
        own = list(group)
        shown = own[:left]
        left -= len(shown)
        opened = " open" * (number < len(_GROUPS) - 1)
        yield f"<details{opened}><summary>{_GROUPS[number]}: {count(len(own), 'test')}</summary><div>"
        if shown:
            yield from _table(shown, found, limits)
        yield from more(len(own) - len(shown), "test", "p")
        yield "</div></details>"


def _group(row: Row) -> int:
    return 0 if row.differs else 1 if row.outcome in BAD else 2 if row.slow else 3


def _table(shown: Sequence[Row], found: Sequence[Column], limits: Limits) -> Iterator[str]:
    single = len(found) <= _MAX_COLUMNS
    heads = "<th>targets</th>"
    if single:
        heads = "".join(f'<th class="up"><span>{show_name(column.name, limits)}</span></th>' for column in found)
    yield '<div class="scroll" tabindex="0" role="region" aria-label="Tests and targets"><table class="tests">'
    yield f"<thead><tr><th>test</th>{heads}</tr></thead><tbody>"
    for row in shown:
        state = FAILED if row.outcome in BAD else SKIPPED if row.outcome in {"skipped", "xfailed"} else PASSED
        cells = "".join(map(_cell, row.results)) if single else f"<td>{_strip(row, found)}</td>"
        yield f'<tr data-o="{state}"><th>{code(row.name, limits)}<p>{show(row.summary)}</p>{_notes(row)}</th>{cells}</tr>'
    yield "</tbody></table></div>"


def _notes(row: Row) -> str:
    """Return the message of the first failure, and where a test is slow."""
    failed = next((result for result in row.results if result and result.outcome in BAD), None)
    message = failure_line(failed.text) if failed else ""
    note = f"<code>{show(message[:_MAX_MESSAGE])}</code>" if message else ""
    if row.slow:
        text = (
            f"{row.slow.seconds:.1f} s on {row.slow.column.name}, {row.slow.ratio:.0f} times the median of the others"
        )
        note += mark("warning", text)
    return note


def _cell(result: NodeResult | None) -> str:
    if result is None:
        return "<td></td>"
    state = state_of(result)
    seconds = f" in {result.seconds:.2f} s" if result.seconds >= _MIN_SECONDS else ""
    return f'<td class="c"><i class="{state}" title="{result.outcome}{seconds}">{_SIGNS[state]}</i></td>'


def _strip(row: Row, found: Sequence[Column]) -> str:
    """Draw a square for each target, with neighbors of one state as one shape."""
    states = [state_of(result) if result else "" for result in row.results]
    shapes = []
    position = 0
    for state, run in groupby(states):
        length = len(list(run))
        if state:
            shapes.append(f'<rect class="o-{state}" x="{position}" width="{length}" height="1"/>')
        position += length
    names = [
        f"{column.name} ({result.outcome})"
        for column, result in zip(found, row.results, strict=True)
        if result and result.outcome in BAD
    ]
    title = f"fails on {', '.join(names[:_MAX_TIMES])}" if names else ""
    named = f"<title>{show(title)}</title>" if title else ""
    box = f'viewBox="0 0 {len(states)} 1" preserveAspectRatio="none"'
    return f'<svg class="strip" {box} role="img">{named}{"".join(shapes)}</svg>'
