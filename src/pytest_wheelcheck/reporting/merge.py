"""Merges the reports of several hosts, and lists the failures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_wheelcheck.model import Outcome
from pytest_wheelcheck.reporting.failure_line import failure_line
from pytest_wheelcheck.reporting.report import BAD, OUTCOMES, NodeResult, Report, TargetReport, WheelReport
from pytest_wheelcheck.reporting.shards import shard_problems


def merge(reports: Sequence[Report]) -> Report:
    """Merge the reports of several runs by the digests of their wheels.

    A result of one host replaces a skip on another. A failure on any host stays a failure.
    """
    wheels: dict[str, WheelReport] = {}
    for report in reports:
        for wheel in report.wheels:
            key = wheel.sha256 or f"unreadable {wheel.filename}"
            wheels[key] = _merge_wheels(wheels[key], wheel) if key in wheels else wheel
    return Report(
        wheels=tuple(wheels.values()),
        other_files=tuple(dict.fromkeys(name for report in reports for name in report.other_files)),
        expect=tuple(dict.fromkeys(clause for report in reports for clause in report.expect)),
        complete=all(report.complete for report in reports),
        program=reports[0].program if reports else "",
        started=min((report.started for report in reports), default=""),
        command="; ".join(dict.fromkeys(report.command for report in reports if report.command)),
        timings=reports[0].timings if len(reports) == 1 else (),
        options=reports[0].options if len({report.options for report in reports}) == 1 else (),
        previous=tuple(dict.fromkeys(release for report in reports for release in report.previous)),
        shards=tuple(shard for report in reports for shard in report.shards),
        commit=", ".join(dict.fromkeys(report.commit for report in reports if report.commit)),
        resolution=", ".join(dict.fromkeys(report.resolution for report in reports if report.resolution)),
    )


def _merge_wheels(first: WheelReport, second: WheelReport) -> WheelReport:
    return replace(
        first,
        checks=_merge_results((*first.checks, *second.checks)),
        targets=_merge_targets((*first.targets, *second.targets)),
        not_run=tuple(dict.fromkeys((*first.not_run, *second.not_run))),
        changes=first.changes or second.changes,
        # One run may have read the native files, and the other not.
        contents=max(first.contents, second.contents, key=lambda found: sum(len(entry.sections) for entry in found)),
    )


def _merge_targets(targets: Iterable[TargetReport]) -> tuple[TargetReport, ...]:
    """Merge the results of one target on one host, such as those of the shards of a run."""
    merged: dict[tuple[str, str, str, str], TargetReport] = {}
    for target in targets:
        key = (target.name, target.execution, target.machine, target.host)
        before = merged.get(key)
        if before is None:
            merged[key] = target
            continue
        merged[key] = replace(
            before,
            overrides=tuple(dict.fromkeys((*before.overrides, *target.overrides))),
            threads="; ".join(dict.fromkeys(filter(None, (before.threads, target.threads)))),
            artifacts=tuple(dict.fromkeys((*before.artifacts, *target.artifacts))),
            results=_merge_results((*before.results, *target.results)),
            timings=(*before.timings, *target.timings),
        )
    return tuple(merged.values())


def _merge_results(results: Iterable[NodeResult]) -> tuple[NodeResult, ...]:
    """Keep the worst result of each node, with the warnings of all."""
    merged: dict[str, NodeResult] = {}
    for result in results:
        before = merged.get(result.name)
        if before is None:
            merged[result.name] = result
        else:
            is_worse = OUTCOMES.index(result.outcome) < OUTCOMES.index(before.outcome)
            warnings = tuple(dict.fromkeys((*before.warnings, *result.warnings)))
            merged[result.name] = replace(result if is_worse else before, warnings=warnings)
    return tuple(merged.values())


def problems(report: Report, *, strict: bool = False) -> list[str]:
    """List the failures of a report, one line each.

    :param strict: a wheel that was not run anywhere fails.
    """
    lines: list[str] = []
    digests: dict[str, set[str]] = {}
    if not report.complete:
        lines.append("a run was interrupted")
    lines += shard_problems(report)
    for wheel in report.wheels:
        digests.setdefault(wheel.filename, set()).add(wheel.sha256)
        lines += _problems_of(wheel, strict=strict)
    lines += [
        f"{name}: {len(found)} different files have this name" for name, found in digests.items() if len(found) > 1
    ]
    lines += [f"release::{result.name}{_failure(result)}" for result in report.release if result.outcome in BAD]
    return lines


def _problems_of(wheel: WheelReport, *, strict: bool) -> list[str]:
    lines = [] if wheel.checks or wheel.targets else [f"{wheel.path}: no results"]
    lines += [f"{wheel.path}::{result.name}{_failure(result)}" for result in wheel.checks if result.outcome in BAD]
    for target in wheel.targets:
        on_host = f" on {target.host}" if target.host else ""
        lines += [
            f"{wheel.path}::{target.name}::{result.name}{on_host}{_failure(result)}"
            for result in target.results
            if result.outcome in BAD
        ]
        if not target.results:
            lines.append(f"{wheel.path}::{target.name}: nothing was run{on_host}")
    ran = any(result.outcome != "skipped" for target in wheel.targets for result in target.results)
    for entry in wheel.not_run:
        # A wheel that failed because one host could not run it is repaired by a host that did.
        if entry.outcome == Outcome.ERROR.value or (entry.outcome == Outcome.FAILED.value and not ran):
            lines.append(f"{wheel.path}::{entry.name}: {entry.outcome}: {entry.reason}")
    if strict and not ran and wheel.sha256:
        reasons = "; ".join(dict.fromkeys(entry.reason for entry in wheel.not_run))
        lines.append(f"{wheel.path}: not run anywhere{f' ({reasons})' if reasons else ''}")
    return lines


def _failure(result: NodeResult) -> str:
    line = failure_line(result.text)
    return f": {result.outcome}{f': {line}' if line else ''}"
