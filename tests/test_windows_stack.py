"""What the comparison of the scientific stack for Windows with that for Linux accepts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest
from windows_stack import MINIMUM, PROJECTS, compare

from pytest_wheelcheck.reporting.report import NodeResult, Report, TargetReport, WheelReport

NUMPY = next(project for project in PROJECTS if project.name == "numpy")

#: Explained by the different size of long.
EXPLAINED = "numpy/random/tests/test_random.py::test_randint_117"


def report(
    windows: Mapping[str, str], linux: Mapping[str, str], *, passed: int = MINIMUM, imported: str = "passed"
) -> Report:
    """Make a report of two targets, each with enough passed tests and the given ones."""
    targets = []
    for system, more in (("win32", windows), ("linux", linux)):
        outcomes = {"import[numpy]": imported if system == "win32" else "passed"}
        outcomes |= {f"numpy/test_it.py::test_it[{number}]": "passed" for number in range(passed)}
        results = [NodeResult(name=name, outcome=outcome) for name, outcome in {**outcomes, **more}.items()]
        targets.append(
            TargetReport(name=f"cp313-{system}", interpreter="", platform="", system=system, results=tuple(results))
        )
    return Report(wheels=tuple(WheelReport(path="", filename="", targets=(target,)) for target in targets))


def test_equal_sides_and_explained_differences() -> None:
    line, problems = compare(NUMPY, report({EXPLAINED: "skipped"}, {EXPLAINED: "passed"}), 0)
    assert problems == []
    assert line.startswith(f"| numpy {NUMPY.version} | 1001 collected: 1001 passed;")
    assert "1: need a long of 64 bits" in line


@pytest.mark.parametrize("name", ["numpy/test_it.py::test_other", EXPLAINED])
@pytest.mark.parametrize(
    "outcomes", [("failed", "failed"), ("error", "error"), ("failed", "passed"), ("skipped", "error")]
)
def test_a_failure_is_a_problem_also_on_both_sides(name: str, outcomes: tuple[str, str]) -> None:
    _, problems = compare(NUMPY, report({name: outcomes[0]}, {name: outcomes[1]}), 1)
    (problem,) = problems
    assert problem.startswith(f"numpy: {name}: {outcomes[0]}, on Linux {outcomes[1]}")


@pytest.mark.parametrize("outcome", ["skipped", "missing"])
def test_a_difference_that_nothing_explains(outcome: str) -> None:
    name = "numpy/test_it.py::test_other"
    _, problems = compare(NUMPY, report({name: outcome} if outcome == "skipped" else {}, {name: "passed"}), 0)
    (problem,) = problems
    assert problem.startswith(f"numpy: {name}: {outcome}, on Linux passed")


@pytest.mark.parametrize("passed", [0, MINIMUM - 1])
def test_too_few_tests(passed: int) -> None:
    _, problems = compare(NUMPY, report({}, {}, passed=passed), 0)
    assert problems == [
        f"numpy: cp313-{system}: {passed} tests passed, at least {MINIMUM} must" for system in ("win32", "linux")
    ]


def test_what_is_not_a_test() -> None:
    _, problems = compare(NUMPY, report({}, {}, imported="failed"), 1)
    assert problems == ["numpy: cp313-win32::import[numpy]: failed: "]
    sound = report({}, {})
    _, problems = compare(NUMPY, replace(sound, wheels=sound.wheels[:1]), 0)
    assert problems == ["numpy: there are targets for win32"]


@pytest.mark.parametrize(
    ("code", "complete", "problem"),
    [
        (1, True, "exit status 1, and nothing in the report explains it"),
        (2, True, "exit status 2, the report is complete"),
        (0, False, "exit status 0, the report is not complete"),
    ],
)
def test_the_end_of_the_run(code: int, complete: bool, problem: str) -> None:
    _, problems = compare(NUMPY, replace(report({}, {}), complete=complete), code)
    assert problems == [f"numpy: {problem}"]
