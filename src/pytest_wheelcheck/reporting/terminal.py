"""The tables of the terminal summary: wheels and targets, and the release matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pytest_wheelcheck.reporting.compact import MAX_ROWS, compact_lines
from pytest_wheelcheck.reporting.compare import Comparison, headline, outcomes
from pytest_wheelcheck.reporting.counts import count_outcomes, counted
from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow
from pytest_wheelcheck.reporting.report import is_test
from pytest_wheelcheck.results import THREADS
from pytest_wheelcheck.settings import Override
from pytest_wheelcheck.targets.overrides import matching
from pytest_wheelcheck.targets.target import NoTarget, Target

#: Categories of pytest's terminal reporter, in the order of the counts, and their markup.
_CATEGORIES = (
    ("failed", {"red": True}),
    ("error", {"red": True}),
    ("passed", {"green": True}),
    ("skipped", {"yellow": True}),
    ("xfailed", {"yellow": True}),
    ("xpassed", {"yellow": True}),
)

#: Differences between machines that are listed for one wheel and interpreter.
_MAX_DIFFERENCES = 30


class _File(Protocol):
    @property
    def shown(self) -> str: ...


def summary_lines(
    files: Iterable[_File],
    targets: Sequence[Target],
    not_run: Sequence[NoTarget],
    stats: Mapping[str, Sequence[Any]],
    versions: Mapping[str, str],
    *,
    overrides: Sequence[Override] = (),
    short: bool = False,
) -> list[tuple[str, dict[str, bool]]]:
    """Return lines that list the targets of each wheel and count their outcomes.

    :param stats: reports by category, as in pytest's terminal reporter.
    :param versions: versions of the targets' pytest that differ from the host's, by the node ids of the targets.
    :param overrides: those of the settings.
    :param short: one line for each target, and for each wheel without one.
    :returns: lines with their markup.
    """
    reports = [
        (category, report.nodeid)
        for category, _ in _CATEGORIES
        for report in stats.get(category, ())
        if hasattr(report, "nodeid")
    ]
    lines: list[tuple[str, dict[str, bool]]] = []
    width = max((len(target.name) for target in targets), default=0)
    for file in files:
        lines += [] if short else [(file.shown, {"bold": True})]
        start = f"{file.shown}::" if short else "  "
        own = [target for target in targets if target.wheel is file]
        prefixes = [f"{target.node_id}::" for target in own]
        for target, prefix in zip(own, prefixes, strict=True):
            found = [
                (is_test(node_id.removeprefix(prefix)), category)
                for category, node_id in reports
                if node_id.startswith(prefix)
            ]
            version = f"pytest {versions[target.node_id]}" if target.node_id in versions else ""
            details = "; ".join(filter(None, ["" if short else target.runtime.installation.how, version]))
            text = f"{start}{target.name:{0 if short else width}}  {count_outcomes(found)}"
            lines.append((f"{text}  ({details})" if details else text, _markup([category for _, category in found])))
            if short:
                continue
            if applied := matching(target, overrides):
                lines.append((f"    wheel_overrides: {'; '.join(override.line for override in applied)}", {}))
            if counts := _threads(f"{prefix}{THREADS}", stats):
                lines.append((f"    {counts}", {}))
        reasons = [reason for reason in not_run if reason.wheel is file]
        listed = (*prefixes, *(f"{file.shown}::{reason.name}" for reason in reasons))
        static = [
            category
            for category, node_id in reports
            if node_id.startswith(f"{file.shown}::") and not node_id.startswith(listed)
        ]
        for reason in reasons:
            text = reason.reason.partition("\n")[0]
            lines.append((f"{f'{start}{reason.name}  ' if short else start}not run: {text}", {"yellow": True}))
        if static and not (short and (own or reasons)):
            lines.append((f"{f'{file.shown}  ' if short else start}{counted(static, 'static check')}", _markup(static)))
    return lines


def _threads(node_id: str, stats: Mapping[str, Sequence[Any]]) -> str:
    """Return how many tests of a target ran in several threads; empty if that was not asked for."""
    reports = (report for reports in stats.values() for report in reports if getattr(report, "nodeid", "") == node_id)
    return next((str(dict(report.user_properties).get(THREADS, "")) for report in reports), "")


def _markup(categories: Sequence[str]) -> dict[str, bool]:
    return next((dict(markup) for name, markup in _CATEGORIES if name in categories), {"yellow": True})


def matrix_lines(rows: Sequence[MatrixRow], width: int = 80) -> list[tuple[str, dict[str, bool]]]:
    """Return the release matrix as lines with their markup, without its empty columns.

    :param width: of the terminal. The matrix of many rows is compact, and its lines are not longer.
    """
    if len(rows) > MAX_ROWS:
        return compact_lines(rows, width)
    if not rows:
        return []
    used = [index for index in range(len(COLUMNS)) if any(row.cells[index].text for row in rows)]
    headings = ["platform", "interpreter", *(COLUMNS[index] for index in used)]
    table = [[row.platform, row.interpreter, *(row.cells[index].text or "-" for index in used)] for row in rows]
    for lower, upper in zip(table[:0:-1], table[-2::-1], strict=True):
        if lower[0] == upper[0]:
            lower[0] = ""
    widths = [max(map(len, column)) for column in zip(headings, *table, strict=True)]
    lines: list[tuple[str, dict[str, bool]]] = [(_aligned(headings, widths), {"bold": True})]
    for texts, row in zip(table, rows, strict=True):
        states = {cell.state for cell in row.cells}
        good = row.is_tested and states & {"passed", "imported"}
        markup = {"red": True} if states & {"failed", "missing"} else {"green": True} if good else {"yellow": True}
        lines.append((_aligned(texts, widths), markup))
    return lines


def comparison_lines(comparisons: Sequence[Comparison]) -> list[tuple[str, dict[str, bool]]]:
    """Return the differences between machines as lines with their markup."""
    lines: list[tuple[str, dict[str, bool]]] = []
    for comparison in comparisons:
        good = not comparison.differences and not comparison.untested
        markup = {"green": True} if good else {"yellow": True}
        lines.append((f"{comparison.wheel}, {comparison.interpreter}: {headline(comparison)}", markup))
        shown = comparison.differences[:_MAX_DIFFERENCES]
        lines += [(f"  {each.name}: {outcomes(comparison, each)}", markup) for each in shown]
        if left := len(comparison.differences) - len(shown):
            lines.append((f"  and {left} more, which --wheel-report lists", markup))
    return lines


def _aligned(texts: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(text.ljust(width) for text, width in zip(texts, widths, strict=True)).rstrip()
