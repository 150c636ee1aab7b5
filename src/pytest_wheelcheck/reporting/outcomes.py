"""Gathers the outcome of each node from pytest's reports of its phases."""

from __future__ import annotations

from dataclasses import replace

from pytest_wheelcheck.reporting.report import OUTCOMES, NodeResult

#: Characters of a text that a report keeps: its beginning and its end.
_MAX_TEXT = 8000


class Outcomes:
    """The outcome of each node, gathered from pytest's reports as they arrive."""

    def __init__(self) -> None:
        self._results: dict[str, NodeResult] = {}
        self._warnings: dict[str, list[str]] = {}
        self._properties: dict[tuple[str, str], str] = {}

    def add(self, node_id: str, *, when: str, outcome: str, expected: bool, text: str, seconds: float) -> None:
        """Add the report of one phase.

        :param when: ``setup``, ``call`` or ``teardown``.
        :param outcome: ``passed``, ``failed``, ``skipped``; any other (``rerun``) is not final and is ignored.
        :param expected: the test is marked as one that fails.
        :param seconds: duration of the phase.
        """
        if outcome not in {"passed", "failed", "skipped"}:
            return
        if expected:
            outcome = {"passed": "xpassed", "skipped": "xfailed"}.get(outcome, outcome)
        elif outcome == "failed" and when != "call":
            outcome = "error"
        elif outcome == "passed" and when != "call" and node_id not in self._results:
            return  # a setup or teardown alone is no outcome
        before = self._results.get(node_id)
        if before is None:
            self._results[node_id] = NodeResult(name=node_id, outcome=outcome, text=_shortened(text), seconds=seconds)
            return
        worse = OUTCOMES.index(outcome) < OUTCOMES.index(before.outcome) and not (
            outcome == "passed" and when != "call"
        )
        self._results[node_id] = replace(
            before,
            outcome=outcome if worse else before.outcome,
            text=_shortened(text if worse else before.text or text),
            seconds=before.seconds + seconds,
        )

    def __contains__(self, node_id: str) -> bool:
        """Return whether a node has an outcome."""
        return node_id in self._results

    def add_warning(self, node_id: str, text: str) -> None:
        """Add a warning about a node."""
        self._warnings.setdefault(node_id, []).append(_shortened(text))

    def add_property(self, node_id: str, name: str, value: str) -> None:
        """Add a property of a node."""
        self._properties[node_id, name] = value

    def property_of(self, node_id: str, name: str) -> str:
        """Return a property of a node; empty if it has none."""
        return self._properties.get((node_id, name), "")

    def below(self, prefix: str) -> list[NodeResult]:
        """Return the results of the nodes whose ids begin with *prefix*, without it, in the order in which they ended."""
        return [
            replace(result, name=node_id.removeprefix(prefix), warnings=tuple(self._warnings.get(node_id, ())))
            for node_id, result in self._results.items()
            if node_id.startswith(prefix)
        ]


def _shortened(text: str) -> str:
    omitted = len(text) - _MAX_TEXT
    if omitted <= 0:
        return text
    return f"{text[: _MAX_TEXT // 2]}\n[{omitted} characters omitted]\n{text[-_MAX_TEXT // 2 :]}"
