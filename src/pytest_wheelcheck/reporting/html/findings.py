"""The findings of the static checks: each check once, with its explanation and the wheels that it is about."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_wheelcheck.checks.table import CHECKS
from pytest_wheelcheck.reporting.html.parts import (
    FAILED,
    WARNING,
    Limits,
    code,
    count,
    mark,
    more,
    pasted,
    show,
    state_of,
)
from pytest_wheelcheck.reporting.report import NodeResult, Report, WheelReport

_EXPLAINED = {check.name: check for check in CHECKS}


def findings(report: Report, limits: Limits) -> Iterator[str]:
    """Yield the checks that found something, failures first; nothing if none did."""
    found: dict[str, list[tuple[WheelReport, NodeResult]]] = {}
    for wheel in report.wheels:
        for check in wheel.checks:
            if check.name in _EXPLAINED and state_of(check) in {FAILED, WARNING}:
                found.setdefault(check.name, []).append((wheel, check))

    def order(name: str) -> tuple[bool, int]:
        states = [state_of(check) for _, check in found[name]]
        return FAILED not in states, -len(states)

    for name in sorted(found, key=order):
        yield from _finding(name, found[name], len(report.wheels), limits)


def _finding(name: str, found: list[tuple[WheelReport, NodeResult]], wheels: int, limits: Limits) -> Iterator[str]:
    check = _EXPLAINED[name]
    states = [state_of(result) for _, result in found]
    state = FAILED if FAILED in states else WARNING
    where = f"{len(found)} of {count(wheels, 'wheel')}"
    heading = f"{mark(state, where)} <code>{name}</code> {show(check.title)}"
    yield f'<details id="{name}" data-o="{state}"><summary>{heading}</summary><div>'
    for label, text in (
        ("Problem", check.problem),
        ("Why it matters", check.reason),
        ("Fix", check.fix),
        ("Source", check.source),
    ):
        yield f"<p><b>{label}:</b> {show(text)}</p>"
    yield pasted(f"wheelcheck checks {check.code}")
    yield "<ul>"
    for wheel, result in found[: limits.nodes]:
        yield f"<li>{mark(state_of(result), result.outcome)} {code(wheel.filename, limits)}</li>"
    yield from more(len(found) - limits.nodes, "wheel", "li")
    yield "</ul></div></details>"


def explanation(result: NodeResult) -> str:
    """Return the anchor of the explanation of a check; empty if there is none."""
    return result.name if result.name in _EXPLAINED and state_of(result) in {FAILED, WARNING} else ""
