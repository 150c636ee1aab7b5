"""Gathers the outcomes of a run, shows the release matrix, and writes the report files.

Every form of the report is computed by :mod:`~pytest_wheelcheck.reporting`.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import ContentsEntry
from pytest_wheelcheck.plugin.hints import PluginHints
from pytest_wheelcheck.plugin.options import REPEATED
from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.plugin.replay import EXPLANATION, WheelWarning, explain_in_junit
from pytest_wheelcheck.plugin.unexpected import UnexpectedErrors
from pytest_wheelcheck.reporting import github, origin
from pytest_wheelcheck.reporting.compare import compare
from pytest_wheelcheck.reporting.describe import Timings, describe_release, with_artifacts, with_changes, with_contents
from pytest_wheelcheck.reporting.matrix import matrix_rows
from pytest_wheelcheck.reporting.outcomes import Outcomes
from pytest_wheelcheck.reporting.release import expected_files
from pytest_wheelcheck.reporting.report import Report
from pytest_wheelcheck.reporting.terminal import comparison_lines, matrix_lines
from pytest_wheelcheck.reporting.write import write_reports
from pytest_wheelcheck.results import THREADS
from pytest_wheelcheck.system.timing import Span, recorded

#: Exit statuses of a session that ended normally.
_COMPLETE = frozenset({pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED})


class RunReport:
    """The report of a run, in the process that the user started.

    :param errors: collects unexpected exceptions.
    :param began: when the run began, by the clock of :mod:`pytest_wheelcheck.system.timing`.
    """

    def __init__(self, config: pytest.Config, plan: Plan, errors: UnexpectedErrors, began: float) -> None:
        self._began = began
        self._spans: list[Span] = []
        self._errors = errors
        self._config = config
        self._plan = plan
        self._outcomes = Outcomes()
        self.hints = PluginHints(config, plan.settings, plan.targets)
        self._complete = True
        self._without_result = self._known = 0
        self._started = origin.now()
        self._origin: dict[str, Any] = {}
        self._written: tuple[Path, ...] = ()
        #: Contents of wheels with the sections of their native files, by their paths in node ids.
        self.contents: dict[str, tuple[ContentsEntry, ...]] = {}
        #: Paths of collected files, by node ids of targets.
        self.artifacts: dict[str, tuple[str, ...]] = {}

    def _build(self, *, host: str = "") -> Report:
        report = describe_release(
            self._plan.release,
            self._plan.targets,
            self._plan.not_run,
            self._outcomes,
            overrides=self._plan.settings.overrides,
            expected=self._plan.settings.expect,
            complete=self._complete,
            host=host,
            share=self._plan.share,
            timings=Timings(self._began, [*recorded(), *self._spans]),
        )
        report = with_contents(report, self.contents)
        if (previous := self._plan.previous) is not None:
            report = with_changes(report, previous.releases, previous.changes)
        return with_artifacts(report, self.artifacts) if self.artifacts else report

    def _build_with_origin(self, *, host: str = "") -> Report:
        """Build it for a file: with the time, the command and the commit, which git is asked for once."""
        if not self._origin:
            self._origin = {
                "started": self._started,
                "command": origin.command(self._config.invocation_params.args),
                "commit": origin.commit(self._plan.settings.root),
                "options": origin.options(self._config.invocation_params.args, REPEATED),
            }
        return replace(self._build(host=host), **self._origin, resolution=self._plan.settings.resolution)

    def add_spans(self, spans: Iterable[Span]) -> None:
        """Add the times of the steps of a worker of xdist."""
        self._spans.extend(spans)

    def add_report(self, report: pytest.TestReport) -> None:
        """Add the outcome of a phase."""
        with self._errors.caught(f"recording the outcome of {report.nodeid}"):
            self._add_report(report)
            explain_in_junit(report)

    def _add_report(self, report: pytest.TestReport) -> None:
        longrepr: Any = report.longrepr
        if report.outcome == "skipped" and isinstance(longrepr, tuple):
            text = str(longrepr[2]).removeprefix("Skipped: ")
        else:
            text = report.longreprtext if report.outcome in {"failed", "skipped"} else ""
            if report.outcome == "failed":
                if hint := self.hints.tell(report.nodeid, text):
                    report.sections.append((EXPLANATION, hint))
                text = _with_sections(text, report.sections)
        if report.nodeid.endswith(f"::{THREADS}"):
            for name, value in report.user_properties:
                self._outcomes.add_property(report.nodeid, name, str(value))
        self._outcomes.add(
            report.nodeid,
            when=report.when or "call",
            outcome=report.outcome,
            expected=hasattr(report, "wasxfail"),
            text=text,
            seconds=report.duration,
        )

    def add_warning(self, recorded: Any, node_id: str) -> None:
        """Add a warning of a static check.

        :param recorded: the :class:`warnings.WarningMessage`; of other warnings, only unknown keys and markers matter.
        """
        if isinstance(recorded.message, WheelWarning):
            self._outcomes.add_warning(node_id, str(recorded.message))
        else:
            self.hints.tell(node_id, str(recorded.message))

    def write(self, session: pytest.Session, exit_status: int) -> None:
        """Write the report files. One that cannot be written is an error that the summary shows."""
        self._complete = exit_status in _COMPLETE and not session.shouldstop and not session.shouldfail
        if not self._complete:
            items = getattr(session, "items", ())
            self._known = len(items)
            self._without_result = sum(item.nodeid not in self._outcomes for item in items)
        paths = self._plan.settings.reports
        if self._config.option.collectonly:
            return
        with self._errors.caught("writing the summary of the step"):
            try:
                github.write_summary(self._build_with_origin, os.environ)
            except OSError as error:
                self._errors.add("the summary of the step cannot be written", str(error))
        if not paths:
            return
        host = f"{sys.platform}-{platform.machine().lower()}"
        with self._errors.caught("writing the report"):
            report, for_merge = self._build_with_origin(), self._build_with_origin(host=host)
            for path in paths:
                try:
                    write_reports([path], report, for_merge=for_merge)
                    self._written = (*self._written, path)
                except UsageError as error:  # noqa: PERF203  the other files are written
                    self._errors.add("ERROR", str(error))

    def show(self, reporter: pytest.TerminalReporter) -> None:
        """Show the release matrix, the paths of the report files, and annotations for the CI service."""
        if not self._config.option.collectonly:
            with self._errors.caught("showing the release matrix"):
                if reporter.verbosity >= 0:
                    self._show(reporter)
                if reporter.verbosity >= -1 and (hint := self.hints.summary()):
                    reporter.section("missing plugins")
                    reporter.write_line(hint, yellow=True)
                for line in github.commands(self._build, os.environ):
                    reporter.write_line(line)
        self._errors.show(reporter)

    def _show(self, reporter: pytest.TerminalReporter) -> None:
        report = self._build()
        rows = matrix_rows(report, expected_files(report).missing_pairs)
        lines = matrix_lines(rows, self._plan.settings.width)
        if lines:
            reporter.section("release matrix")
            for line, markup in lines:
                reporter.write_line(line, **markup)
        if self._without_result:
            text = f"the run ended early: {self._without_result} of {self._known} tests and checks have no result"
            reporter.write_line(text, yellow=True)
        comparisons = compare(report)
        if comparisons:
            differ = any(each.differences or each.untested for each in comparisons)
            reporter.section("differs between machines" if differ else "same on all machines")
            for line, markup in comparison_lines(comparisons):
                reporter.write_line(line, **markup)
        for path in self._written:
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            reporter.write_line(f"report: {shown}")


def _with_sections(text: str, sections: Sequence[tuple[str, str]]) -> str:
    """Return the text of a failure as the terminal shows it, the explanation first: it is what a reader needs."""
    first = [content.strip("\n") for name, content in sections if name == EXPLANATION]
    rest = [
        f"--- {name} ---\n{content.strip(chr(10))}" for name, content in sections if name != EXPLANATION and content
    ]
    return "\n\n".join(filter(None, [*first, text, *rest]))
