"""The table of wheels and targets at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from pytest_wheelcheck.reporting.matrix import COLUMNS, Row
from pytest_wheelcheck.targets.target import NoTarget, Target

#: Categories of pytest's terminal, in the order in which they are told, and how they are coloured.
_CATEGORIES = (
    ("failed", {"red": True}),
    ("error", {"red": True}),
    ("passed", {"green": True}),
    ("skipped", {"yellow": True}),
    ("xfailed", {"yellow": True}),
    ("xpassed", {"yellow": True}),
)


class _File(Protocol):
    @property
    def shown(self) -> str: ...


def summary_lines(
    files: Iterable[_File],
    targets: Sequence[Target],
    missing: Sequence[NoTarget],
    stats: Mapping[str, Sequence[Any]],
) -> list[tuple[str, dict[str, bool]]]:
    """Say of each wheel where it was run and how that went.

    :param stats: reports by category, as pytest's terminal reporter keeps them.
    :returns: lines with their markup.
    """
    reports = [
        (kind, report.nodeid) for kind, _ in _CATEGORIES for report in stats.get(kind, ()) if hasattr(report, "nodeid")
    ]
    lines: list[tuple[str, dict[str, bool]]] = []
    width = max((len(target.name) for target in targets), default=0)
    for file in files:
        lines.append((file.shown, {"bold": True}))
        own = [target for target in targets if target.wheel is file]
        prefixes = [f"{target.node_id}::" for target in own]
        for target, prefix in zip(own, prefixes, strict=True):
            kinds = [kind for kind, nodeid in reports if nodeid.startswith(prefix)]
            lines.append(
                (f"  {target.name:{width}}  {_counts(kinds)}  ({target.runtime.installation.how})", _markup(kinds))
            )
        reasons = [one for one in missing if one.wheel is file]
        told = (*prefixes, *(f"{file.shown}::{one.name}" for one in reasons))
        rest = [
            kind
            for kind, nodeid in reports
            if nodeid.startswith(f"{file.shown}::") and not (told and nodeid.startswith(told))
        ]
        lines += [(f"  not run: {one.reason}", {"yellow": True}) for one in reasons]
        if rest:
            lines.append((f"  the file itself  {_counts(rest)}", _markup(rest)))
    return lines


def _counts(kinds: Sequence[str]) -> str:
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind, _ in _CATEGORIES if kind in kinds) or "nothing was run"


def _markup(kinds: Sequence[str]) -> dict[str, bool]:
    return next((dict(markup) for kind, markup in _CATEGORIES if kind in kinds), {"yellow": True})


def matrix_lines(found: Sequence[Row]) -> list[tuple[str, dict[str, bool]]]:
    """Show the coverage matrix as lines with their markup. Columns in which nothing stands are left out."""
    used = [at for at in range(len(COLUMNS)) if any(row.marks[at].text for row in found)]
    heads = ["platform", "interpreter", *(COLUMNS[at] for at in used)]
    table = [[row.platform, row.interpreter, *(row.marks[at].text or "-" for at in used)] for row in found]
    for lower, above in zip(table[:0:-1], table[-2::-1], strict=True):
        if lower[0] == above[0]:
            lower[0] = ""
    widths = [max(map(len, column)) for column in zip(heads, *table, strict=True)]
    lines: list[tuple[str, dict[str, bool]]] = [(_joined(heads, widths), {"bold": True})]
    for cells, row in zip(table, found, strict=True):
        states = {mark.state for mark in row.marks}
        tested = states & {"passed", "imported"} and any(mark.text for mark in row.marks[2:5])
        markup = {"red": True} if states & {"failed", "missing"} else {"green": True} if tested else {"yellow": True}
        lines.append((_joined(cells, widths), markup))
    return lines if found else []


def _joined(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
