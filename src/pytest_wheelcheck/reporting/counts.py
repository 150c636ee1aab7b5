"""Counts of outcomes in words: the project's tests apart from the checks of this package."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

#: Outcomes in the order in which they are counted, the worst first.
ORDER = ("failed", "error", "passed", "skipped", "xfailed", "xpassed")


def count_outcomes(results: Iterable[tuple[bool, str]]) -> str:
    """Count outcomes: ``82 tests passed, 1 skipped; 5 checks passed``.

    :param results: of each node, whether it is a test of the project, and its outcome.
    """
    every = list(results)
    texts = [
        counted([outcome for is_test, outcome in every if is_test == wanted], noun)
        for wanted, noun in ((True, "test"), (False, "check"))
    ]
    return "; ".join(filter(None, texts)) or "nothing was run"


def counted(outcomes: Sequence[str], noun: str) -> str:
    """Count the outcomes of nodes of one kind: ``21 static checks passed, 1 skipped``; an empty string for none."""
    parts: list[str] = []
    for outcome in sorted(set(outcomes), key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER)):
        number = outcomes.count(outcome)
        # A node with an error is one that has an error: "1 test error" would be another thing.
        what = f" {noun}{'' if number == 1 else 's'}" if not parts else ""
        word = {"error": "with an error" if number == 1 else "with errors"}.get(outcome, outcome)
        parts.append(f"{number}{what} {word}")
    return ", ".join(parts)
