"""What a run tells GitHub Actions: the report in the summary of the step, and an annotation for each fault.

Source: "Workflow commands for GitHub Actions" and "Adding a job summary" in GitHub's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pytest_wheelcheck.reporting import markdown
from pytest_wheelcheck.reporting.failure_line import failure_line
from pytest_wheelcheck.reporting.release import expected_files
from pytest_wheelcheck.reporting.report import BAD, Report

#: Annotations of one kind that GitHub shows for a step.
_MAX_ANNOTATIONS = 10

#: Bytes of a summary that GitHub accepts for a step, with some room for those of other commands.
_MAX_SUMMARY = 900_000

#: Places of a fault that an annotation lists.
_MAX_PLACES = 6


@dataclass(slots=True)
class _Fault:
    """One fault, in one or more wheels or targets."""

    text: str
    file: str = ""
    line: int = 0
    places: list[str] = field(default_factory=list)


def write_summary(build: Callable[[], Report], environ: Mapping[str, str]) -> None:
    """Append the report to the summary of the step; nothing if there is no such file.

    :param build: returns the report.
    :raises OSError: it cannot be written.
    """
    path = environ.get("GITHUB_STEP_SUMMARY", "")
    if not path:
        return
    report = build()
    text = markdown.render(report, expected_files(report).missing_pairs)
    data = text.encode("utf-8", "replace")
    if len(data) > _MAX_SUMMARY:
        data = (
            data[:_MAX_SUMMARY].rpartition(b"\n")[0] + b"\n\nThe rest is too long for a summary: use --wheel-report.\n"
        )
    with Path(path).open("ab") as file:
        file.write(data + b"\n")


def commands(build: Callable[[], Report], environ: Mapping[str, str]) -> list[str]:
    """Return the lines that make GitHub show the faults of a run; none elsewhere.

    :param build: returns the report.
    """
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    faults = list(_faults(build()).items())
    lines = [_command(name, fault) for name, fault in faults[:_MAX_ANNOTATIONS]]
    if len(faults) > _MAX_ANNOTATIONS:
        text = f"{len(faults) - _MAX_ANNOTATIONS} more faults are in the log and in the summary"
        lines[-1] = f"::error title=pytest-wheelcheck::{_escaped(f'{faults[_MAX_ANNOTATIONS - 1][0]}; {text}')}"
    return lines


def _faults(report: Report) -> dict[str, _Fault]:
    """Return the faults by the names of their nodes: the same test on several targets is one."""
    found: dict[str, _Fault] = {}
    for name, text, place in _failed_nodes(report):
        fault = found.get(name)
        if fault is None:
            fault = found[name] = _Fault(text=failure_line(text) or "no text")
            file = name.partition("::")[0]
            if "::" in name and file.endswith(".py"):
                fault.file = file
                lines = re.findall(rf"^(?:.*[/\\])?{re.escape(file)}:(\d+): ", text, re.MULTILINE)
                fault.line = int(lines[-1]) if lines else 0
        fault.places.append(place)
    return found


def _failed_nodes(report: Report) -> Iterator[tuple[str, str, str]]:
    """Yield name, text and place of each failed node."""
    for wheel in report.wheels:
        for result in wheel.checks:
            if result.outcome in BAD:
                yield result.name, result.text, wheel.filename
        for target in wheel.targets:
            for result in target.results:
                if result.outcome in BAD:
                    yield result.name, result.text, f"{target.name} of {wheel.filename}"
        for reason in wheel.not_run:
            if reason.outcome in BAD:
                yield reason.name, reason.reason, wheel.filename
    for result in report.release:
        if result.outcome in BAD:
            yield f"release::{result.name}", result.text, "the release"


def _command(name: str, fault: _Fault) -> str:
    shown = "; ".join(fault.places[:_MAX_PLACES])
    more = f" and {len(fault.places) - _MAX_PLACES} more" if len(fault.places) > _MAX_PLACES else ""
    properties = {"title": name, "file": fault.file, "line": str(fault.line or "")}
    listed = ",".join(f"{key}={_escaped(value, more=True)}" for key, value in properties.items() if value)
    return f"::error {listed}::{_escaped(f'{fault.text}{chr(10)}{shown}{more}')}"


def _escaped(text: str, *, more: bool = False) -> str:
    """Escape a text of a command.

    :param more: it is a property.
    """
    for char in "%\r\n" + (":," if more else ""):
        text = text.replace(char, f"%{ord(char):02X}")
    return text
