"""The tables of the terminal summary: wheels and targets, and the coverage matrix."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pytest_wheelcheck.reporting.compare import Comparison, headline, outcomes
from pytest_wheelcheck.reporting.matrix import COLUMNS, MatrixRow
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
    *,
    overrides: Sequence[Override] = (),
) -> list[tuple[str, dict[str, bool]]]:
    """Return lines that list the targets of each wheel and count their outcomes.

    :param stats: reports by category, as in pytest's terminal reporter.
    :param overrides: those of the settings.
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
        lines.append((file.shown, {"bold": True}))
        own = [target for target in targets if target.wheel is file]
        prefixes = [f"{target.node_id}::" for target in own]
        for target, prefix in zip(own, prefixes, strict=True):
            categories = [category for category, node_id in reports if node_id.startswith(prefix)]
            lines.append(
                (
                    f"  {target.name:{width}}  {_counts(categories)}  ({target.runtime.installation.how})",
                    _markup(categories),
                )
            )
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
        lines += [(f"  not run: {reason.reason.partition(chr(10))[0]}", {"yellow": True}) for reason in reasons]
        if static:
            lines.append((f"  static checks  {_counts(static)}", _markup(static)))
    return lines


def _threads(node_id: str, stats: Mapping[str, Sequence[Any]]) -> str:
    """Return how many tests of a target ran in several threads; empty if that was not asked for."""
    reports = (report for reports in stats.values() for report in reports if getattr(report, "nodeid", "") == node_id)
    return next((str(dict(report.user_properties).get(THREADS, "")) for report in reports), "")


def _counts(categories: Sequence[str]) -> str:
    counts = [f"{categories.count(name)} {name}" for name, _ in _CATEGORIES if name in categories]
    return ", ".join(counts) or "nothing was run"


def _markup(categories: Sequence[str]) -> dict[str, bool]:
    return next((dict(markup) for name, markup in _CATEGORIES if name in categories), {"yellow": True})


def matrix_lines(rows: Sequence[MatrixRow]) -> list[tuple[str, dict[str, bool]]]:
    """Return the coverage matrix as lines with their markup, without its empty columns."""
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
