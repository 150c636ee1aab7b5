"""Compares the results of one wheel and interpreter on several machines: an emulator and a board, or two boards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pytest_wheelcheck.reporting.report import Report, TargetReport, WheelReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A node whose outcome is not the same on all machines.

    :param name: the part of the node id behind the target.
    :param outcomes: one for each machine that is compared; empty if it has no such node.
    """

    name: str
    outcomes: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """The results of one wheel and interpreter on several machines.

    :param wheel: the name of the wheel.
    :param interpreter: as in the targets.
    :param platform: as in the targets.
    :param machines: those that are compared: ``rpi4``, ``pi@board``, ``this host``.
    :param same: number of tests whose outcome is the same on all of them.
    :param differences: the nodes whose outcome is not.
    :param untested: machines on which no test ran.
    """

    wheel: str
    interpreter: str
    platform: str
    machines: tuple[str, ...]
    same: int
    differences: tuple[Difference, ...]
    untested: tuple[str, ...]


def compare(report: Report) -> tuple[Comparison, ...]:
    """Compare the machines of a report, for each wheel and interpreter that has several."""
    return tuple(found for wheel in report.wheels for found in _compare_wheel(wheel))


def _compare_wheel(wheel: WheelReport) -> Iterator[Comparison]:
    groups: dict[tuple[str, str], list[TargetReport]] = {}
    for target in wheel.targets:
        groups.setdefault((target.interpreter, target.platform), []).append(target)
    for (interpreter, platform), targets in groups.items():
        if len(targets) < 2:
            continue
        names = dict(zip(_names(targets), targets, strict=True))
        tested = {name: target for name, target in names.items() if any(result.is_test for result in target.results)}
        differences, same = _differences(tuple(tested.values()))
        yield Comparison(
            wheel=wheel.filename,
            interpreter=interpreter,
            platform=platform,
            machines=tuple(tested),
            same=same,
            differences=differences,
            untested=tuple(name for name in names if name not in tested),
        )


def _differences(targets: Sequence[TargetReport]) -> tuple[tuple[Difference, ...], int]:
    """Return the nodes whose outcomes differ, and the number of tests whose outcomes do not."""
    if len(targets) < 2:
        return (), 0
    outcomes = [{result.name: result.outcome for result in target.results} for target in targets]
    tests = {result.name: result.is_test for target in targets for result in target.results}
    found = []
    same = 0
    for name, is_test in tests.items():
        row = tuple(known.get(name, "") for known in outcomes)
        if len(set(row)) > 1:
            found.append(Difference(name=name, outcomes=row))
        else:
            same += is_test
    return tuple(found), same


def _names(targets: Sequence[TargetReport]) -> list[str]:
    """Return a name for the machine of each target."""
    names = [
        (target.host or "this host")
        if target.execution == "native"
        else f"emulated {target.machine}"
        if target.machine == target.architecture
        else target.machine
        for target in targets
    ]
    # Reports of several hosts that were merged.
    counts = Counter(names)
    names = [
        f"{name} on {target.host}" if counts[name] > 1 and target.host and name != target.host else name
        for name, target in zip(names, targets, strict=True)
    ]
    counts = Counter(names)
    return [target.name if counts[name] > 1 else name for name, target in zip(names, targets, strict=True)]


def headline(comparison: Comparison) -> str:
    """Return the result of a comparison, without the wheel and the interpreter."""
    machines = _listed(comparison.machines)
    parts = []
    if len(comparison.machines) > 1:
        verb = "test has" if comparison.same == 1 else "tests have"
        parts.append(f"{comparison.same} {verb} the same outcome on {machines}")
        if comparison.differences:
            count = len(comparison.differences)
            parts.append(f"{count} {'outcome differs' if count == 1 else 'outcomes differ'}")
    if comparison.untested:
        parts.append(f"no test ran on {_listed(comparison.untested)}")
    return "; ".join(parts)


def outcomes(comparison: Comparison, difference: Difference) -> str:
    """Return the outcomes of a node: ``failed on pi@board, passed on rpi4``."""
    machines: dict[str, list[str]] = {}
    for name, outcome in zip(comparison.machines, difference.outcomes, strict=True):
        machines.setdefault(outcome or "not run", []).append(name)
    return ", ".join(f"{outcome} on {_listed(names)}" for outcome, names in machines.items())


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))
