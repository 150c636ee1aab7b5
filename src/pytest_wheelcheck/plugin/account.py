"""The account of a run: gathers the outcomes of its nodes, shows the coverage, writes the reports that were asked for.

Everything that is told is computed from outcomes by :mod:`~pytest_wheelcheck.reporting`; this only carries them there.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from packaging.utils import InvalidSdistFilename, canonicalize_name, parse_sdist_filename

from pytest_wheelcheck import __version__
from pytest_wheelcheck.errors import UsageError, WheelError
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.plugin.items import WheelWarning
from pytest_wheelcheck.reporting import expect, html, markdown, matrix, report, terminal
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.targets.release import BadWheel, Release
from pytest_wheelcheck.targets.target import NoTarget, Target
from pytest_wheelcheck.wheels.reader import parse_name

#: The node below which what concerns the release as a whole stands.
RELEASE = "release"
#: How a report is written, by the ending of its file's name.
SUFFIXES = (".json", ".md", ".html")


def parse_report_path(text: str, cwd: Path) -> Path:
    """Read the value of ``--wheel-report``.

    :raises UsageError: its ending names no form of a report.
    """
    path = cwd / Path(text).expanduser()
    if path.suffix not in SUFFIXES or path.is_dir():
        raise UsageError(
            f"--wheel-report {text}: the ending of the name tells the form of the report",
            fix=f"give a file whose name ends with {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}",
        )
    return path


def write_reports(paths: Sequence[Path], found: report.Report, *, located: report.Report | None = None) -> list[Path]:
    """Write a report in every form that was asked for.

    :param located: the same with the name of this host in it, for the form that is joined with others.
    :returns: the files written.
    :raises UsageError: a file cannot be written.
    """
    lacking = expectation(found).missing_cells
    for path in paths:
        if path.suffix == ".json":
            text = report.to_json(located or found)
        elif path.suffix == ".md":
            text = markdown.render(found, lacking)
        else:
            text = html.render(found, lacking)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            side = path.with_name(f".{path.name}.part")
            side.write_text(text, encoding="utf-8")
            side.replace(path)
        except OSError as error:
            raise UsageError(
                f"--wheel-report {path}: it cannot be written: {error.strerror or error}",
                fix="name a file in a folder that may be written to",
            ) from error
    return list(paths)


def expectation(found: report.Report) -> expect.Comparison:
    """Compare a report's files with what it says is expected of them."""
    if not found.expect:
        return expect.Comparison()
    return expect.compare(expect.parse(found.expect), given_files(found))


def given_files(found: report.Report) -> list[expect.Given]:
    """List the wheels and source distributions of a report."""
    wheels = [expect.Given(file=file.file, name=file.name, tags=file.tags) for file in found.files if file.name]
    known = {(canonicalize_name(file.name), file.version) for file in found.files if file.name}
    sdists = []
    for name in found.others:
        try:
            project, version = parse_sdist_filename(name)
        except InvalidSdistFilename:
            continue
        if any(project == other for other, _ in known) and str(version):
            sdists.append(expect.Given(file=name, name=project))
    return [*wheels, *sdists]


def release_steps(found: report.Report) -> list[StepResult]:
    """Judge the release as a whole: one step for each node below ``release``."""
    steps = []
    if found.expect:
        comparison = expectation(found)
        lines = [f"missing: {one}" for one in comparison.missing]
        lines += [f"unexpected: {one}" for one in comparison.unexpected]
        if lines:
            lines = [_in_short(comparison), *lines]
            lines.append("Fix: build the missing wheels, remove the unexpected ones, or correct wheel_expect")
        outcome = Outcome.FAILED if lines else Outcome.PASSED
        steps.append(StepResult(name="expect", outcome=outcome, text="\n".join(lines)))
    projects = [canonicalize_name(file.name) for file in found.files if file.name]
    native = any(not tag.endswith("-any") for file in found.files for tag in file.tags)
    if native and (found.expect or len(set(projects)) < len(projects)):
        # With one wheel of a project, the others are on their way from other machines as a rule.
        warnings = tuple(matrix.metadata_warnings(found.files))
        steps.append(StepResult(name="pythons", outcome=Outcome.PASSED, warnings=warnings))
    return steps


def _in_short(found: expect.Comparison) -> str:
    parts = [f"{len(found.missing)} missing"] * bool(found.missing)
    parts += [f"{len(found.unexpected)} unexpected"] * bool(found.unexpected)
    return f"the release is not what is expected of it: {', '.join(parts)}"


def describe(
    release: Release,
    targets: Sequence[Target] = (),
    missing: Sequence[NoTarget] = (),
    outcomes: report.Outcomes | None = None,
    *,
    expected: Sequence[str] = (),
    complete: bool = True,
    host: str = "",
) -> report.Report:
    """Make the report of a run.

    :param outcomes: what happened; nothing yet where it is left out.
    :param expected: the clauses of what is expected.
    :param host: the name of this host.
    """
    seen = outcomes or report.Outcomes()
    files = tuple(_describe_file(file, targets, missing, seen, host) for file in release.files)
    return report.Report(
        files=files,
        others=_others(release),
        release=tuple(seen.below(f"{RELEASE}::")),
        expect=tuple(expected),
        complete=complete,
        program=f"pytest-wheelcheck {__version__}",
    )


def _describe_file(
    file: Wheel | BadWheel,
    targets: Sequence[Target],
    missing: Sequence[NoTarget],
    outcomes: report.Outcomes,
    host: str,
) -> report.File:
    if isinstance(file, Wheel):
        own = [target for target in targets if target.wheel is file]
        left_out = [one for one in missing if one.wheel is file]
        return report.describe_file(file.shown, file.path.name, file, own, left_out, outcomes, host)
    found = report.describe_file(file.shown, file.path.name, None, (), (), outcomes, host)
    try:
        name, version, _, tags = parse_name(file.path.name)
    except WheelError:
        return found
    return report.named(found, name=name, version=version, tags=tuple(map(str, tags)))


def _others(release: Release) -> tuple[str, ...]:
    """Name the other files of the folders given, and source distributions that lie beside the wheels."""
    beside = {
        one
        for folder in dict.fromkeys(
            (file.source if isinstance(file, Wheel) else file.path).parent for file in release.files
        )
        if folder.is_dir()
        for one in folder.glob("*.tar.gz")
    }
    return tuple(dict.fromkeys(path.name for path in [*release.others, *sorted(beside)]))


class Account:
    """Takes note of every outcome, where the run is told: in the process that the user started."""

    def __init__(
        self,
        config: pytest.Config,
        release: Release,
        targets: Sequence[Target],
        missing: Sequence[NoTarget],
        *,
        expected: Sequence[str],
        paths: Sequence[Path],
    ) -> None:
        self._config = config
        self._release = release
        self._targets = targets
        self._missing = missing
        self._expected = expected
        self._paths = paths
        self._outcomes = report.Outcomes()
        self._complete = True
        self._written: list[Path] = []

    def report(self, *, host: str = "") -> report.Report:
        """Make the report of what is known by now."""
        return describe(
            self._release,
            self._targets,
            self._missing,
            self._outcomes,
            expected=self._expected,
            complete=self._complete,
            host=host,
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take note of a report."""
        longrepr: Any = report.longrepr
        if report.outcome == "skipped" and isinstance(longrepr, tuple):
            text = str(longrepr[2]).removeprefix("Skipped: ")
        else:
            text = report.longreprtext if report.outcome in {"failed", "skipped"} else ""
        self._outcomes.add(
            report.nodeid,
            when=report.when or "call",
            outcome=report.outcome,
            expected=hasattr(report, "wasxfail"),
            text=text,
            seconds=report.duration,
        )

    def pytest_warning_recorded(self, warning_message: Any, nodeid: str) -> None:
        """Take note of what the checks warn of."""
        if isinstance(warning_message.message, WheelWarning):
            self._outcomes.add_warning(nodeid, str(warning_message.message))

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Write the reports."""
        codes = {pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED, pytest.ExitCode.NO_TESTS_COLLECTED}
        self._complete = exitstatus in codes and not session.shouldstop and not session.shouldfail
        if not self._paths or self._config.option.collectonly:
            return
        host = f"{sys.platform}-{platform.machine().lower()}"
        try:
            self._written = write_reports(self._paths, self.report(), located=self.report(host=host))
        except UsageError as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show the coverage matrix, and where the reports are."""
        if self._config.option.collectonly or terminalreporter.verbosity < 0:
            return
        found = self.report()
        lines = terminal.matrix_lines(matrix.rows(found, expectation(found).missing_cells))
        if lines:
            terminalreporter.section("coverage")
            for line, markup in lines:
                terminalreporter.write_line(line, **markup)
        for path in self._written:
            shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
            terminalreporter.write_line(f"report: {shown}")
