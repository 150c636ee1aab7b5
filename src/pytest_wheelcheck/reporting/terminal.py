"""The table of wheels and targets at the end of a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ..model import NoTarget, Target

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
    reports = [(kind, report.nodeid) for kind, _ in _CATEGORIES for report in stats.get(kind, ()) if hasattr(report, "nodeid")]
    lines: list[tuple[str, dict[str, bool]]] = []
    width = max((len(target.name) for target in targets), default=0)
    for file in files:
        lines.append((file.shown, {"bold": True}))
        own = [target for target in targets if target.wheel is file]
        prefixes = [f"{target.node_id}::" for target in own]
        for target, prefix in zip(own, prefixes, strict=True):
            kinds = [kind for kind, nodeid in reports if nodeid.startswith(prefix)]
            lines.append((f"  {target.name:{width}}  {_counts(kinds)}  ({target.runtime.how})", _markup(kinds)))
        rest = [
            kind
            for kind, nodeid in reports
            if nodeid.startswith(f"{file.shown}::") and not nodeid.startswith(tuple(prefixes) or ("\0",))
        ]
        reasons = [one for one in missing if one.wheel is file]
        lines += [(f"  not run: {one.reason}", {"yellow": True}) for one in reasons]
        if rest and not reasons:
            lines.append((f"  the file itself  {_counts(rest)}", _markup(rest)))
    return lines


def _counts(kinds: Sequence[str]) -> str:
    return ", ".join(f"{kinds.count(kind)} {kind}" for kind, _ in _CATEGORIES if kind in kinds) or "nothing was run"


def _markup(kinds: Sequence[str]) -> dict[str, bool]:
    return next((dict(markup) for kind, markup in _CATEGORIES if kind in kinds), {"yellow": True})
