"""The coverage of all targets: combined and reported when the last one has ended, shown in the summary."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.targets.coverage.combine import Result, combine
from pytest_wheelcheck.targets.coverage.data import read_all

#: Exit statuses of a session whose targets have ended normally.
_COMPLETE = frozenset({pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED})


class CoverageReports:
    """The coverage reports of a run (``--cov``), in the process that the user started."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._result: Result | None = None

    def make(self, session: pytest.Session) -> None:
        """Combine the data of all targets and make the reports; fail the session if that is impossible."""
        coverage = self._plan.settings.coverage
        if coverage is None or session.config.option.collectonly or session.exitstatus not in _COMPLETE:
            return
        found = read_all(self._plan.directory)
        problems = tuple(
            f"{self._plan.targets[data.number].node_id}: {problem}" for data in found for problem in data.problems
        )
        if any(data.files for data in found):
            report = not (coverage.not_on_failure and session.testsfailed)
            result = combine(found, self._plan.targets, self._plan.settings, self._plan.directory, report=report)
        elif found or coverage.fail_under:
            result = Result(error="no target has left data")
        else:
            result = Result(notes=("no target ran tests, so there is nothing to report",))
        self._result = replace(result, notes=(*problems, *result.notes))
        if (result.error or result.failure) and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Show the report of the terminal, and what is wrong with the data."""
        result, self._result = self._result, None
        if result is None:
            return
        reporter.section("tests coverage")
        if result.text:
            reporter.write_raw(result.text)
        for note in result.notes:
            reporter.write_line(f"coverage: {note}", yellow=True)
        if result.error:
            reporter.write_line(f"ERROR: coverage cannot be reported: {result.error}", red=True)
        if result.failure:
            reporter.write_line(f"FAIL: {result.failure}", red=True)
