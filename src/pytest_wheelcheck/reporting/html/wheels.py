"""The wheels of a report, each with its checks, its targets, and what failed there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from pytest_wheelcheck.reporting.html.findings import explanation
from pytest_wheelcheck.reporting.html.parts import (
    FAILED,
    PASSED,
    SKIPPED,
    STATES,
    WARNING,
    Limits,
    code,
    count,
    mark,
    more,
    node,
    show,
    show_name,
    size,
    state_of,
)
from pytest_wheelcheck.reporting.html.treemap import treemap
from pytest_wheelcheck.reporting.markdown import counts
from pytest_wheelcheck.reporting.matrix import target_state
from pytest_wheelcheck.reporting.report import BAD, NodeResult, Report, TargetReport, WheelReport
from pytest_wheelcheck.reporting.reproduce import command

#: Failing wheels up to which all of them are open at first.
_MAX_OPEN = 8
#: Failing targets of a wheel up to which all of them are open at first.
_MAX_OPEN_TARGETS = 3
#: Targets up to which the heading of a wheel names each.
_MAX_MARKS = 4


def wheels(report: Report, limits: Limits) -> Iterator[str]:
    """Yield the wheels."""
    failing = sum(wheel.failures > 0 for wheel in report.wheels)
    for wheel in report.wheels:
        opened = " open" * (wheel.failures > 0 and failing <= _MAX_OPEN)
        yield f"<details{opened}><summary>{code(wheel.filename, limits)} {''.join(_marks(wheel))}</summary><div>"
        if wheel.sha256:
            yield f'<p class="soft">sha256 <code>{show(wheel.sha256)}</code>, {size(wheel.size)}</p>'
        yield from treemap(wheel, limits, sections=limits.sections // len(report.wheels))
        yield "<ul>"
        yield from _nodes(report, wheel, None, wheel.checks, limits)
        for entry in wheel.not_run:
            state = SKIPPED if entry.outcome == "skipped" else FAILED
            yield f'<li data-o="{state}">{mark(state, "not run")} {show(entry.reason, limits.text)}</li>'
        yield "</ul>"
        failed = sum(any(result.outcome in BAD for result in target.results) for target in wheel.targets)
        for target in wheel.targets:
            yield from _target(report, wheel, target, limits, opened=failed <= _MAX_OPEN_TARGETS)
        yield "</div></details>"


def _marks(wheel: WheelReport) -> Iterator[str]:
    """Yield the marks of a wheel's heading."""
    failed = sum(check.outcome in BAD for check in wheel.checks)
    if wheel.checks:
        checks = count(len(wheel.checks), "check")
        yield mark(FAILED if failed else PASSED, f"{failed} of {checks} failed" if failed else checks)
    if warnings := sum(len(check.warnings) for check in wheel.checks):
        yield mark(WARNING, count(warnings, "warning"))
    found = [(target.name, target_state(target)) for target in wheel.targets]
    if len(found) <= _MAX_MARKS:
        yield from (mark(each.state, f"{name}: {each.text}") for name, each in found)
        return
    states = Counter(each.state for _, each in found)
    yield from (mark(state, f"{count(number, 'target')} {state}") for state, number in sorted(states.items()))


def _target(report: Report, wheel: WheelReport, target: TargetReport, limits: Limits, *, opened: bool) -> Iterator[str]:
    on_host = f" on {target.host}" if target.host else ""
    found = target_state(target)
    is_open = " open" * (opened and any(result.outcome in BAD for result in target.results))
    yield f"<details{is_open}><summary>{code(target.name, limits)}{show(on_host)} {mark(found.state, counts(target.results))}"
    yield f' <span class="soft">{show(target.source)}</span></summary><div><ul>'
    for override in target.overrides:
        yield f"<li>wheel_overrides: {code(override, limits)}</li>"
    if target.threads:
        yield f"<li>{show(target.threads)}</li>"
    yield from _nodes(report, wheel, target, target.results, limits)
    yield "</ul></div></details>"


def _nodes(
    report: Report, wheel: WheelReport, target: TargetReport | None, results: Sequence[NodeResult], limits: Limits
) -> Iterator[str]:
    """Yield the nodes of a wheel or target, the worst first; those that passed in one line."""
    states: dict[str, list[NodeResult]] = {state: [] for state in STATES}
    for result in results:
        states[state_of(result)].append(result)
    for state in (FAILED, WARNING, SKIPPED):
        for result in states[state][: limits.nodes]:
            yield from node(
                result, limits, link=explanation(result), command=command(report, wheel, target, result.name)
            )
        yield from more(len(states[state]) - limits.nodes, f"{state} node", "li")
    steps = [result.name for result in states[PASSED] if target is None or not result.is_test]
    tests = len(states[PASSED]) - len(steps)
    if steps or tests:
        noun = "check" if target is None else "step"
        words = [count(len(steps), noun)] * bool(steps) + [count(tests, "test")] * bool(tests)
        yield f'<li data-o="{PASSED}"><details class="plain"><summary>{mark(PASSED, "passed")} {", ".join(words)}</summary>'
        yield f"<div>{', '.join(show_name(name, limits) for name in steps[: limits.nodes])}"
        yield from more(len(steps) - limits.nodes, noun, "p")
        yield f"{' The tests are in the table of tests.' * bool(tests)}</div></details></li>"
