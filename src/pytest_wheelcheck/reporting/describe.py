"""Builds the report of a run from its release, its targets and the outcomes of its nodes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from pytest_wheelcheck import __version__
from pytest_wheelcheck.backends.base import HOST_MACHINE
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import ContentsEntry, Wheel
from pytest_wheelcheck.reporting.changes import WheelChanges
from pytest_wheelcheck.reporting.outcomes import Outcomes
from pytest_wheelcheck.reporting.release import RELEASE
from pytest_wheelcheck.reporting.report import (
    NotRun,
    PreviousReport,
    Report,
    ShardReport,
    TargetReport,
    Timing,
    WheelReport,
)
from pytest_wheelcheck.results import THREADS
from pytest_wheelcheck.settings import Override
from pytest_wheelcheck.system.timing import Span
from pytest_wheelcheck.targets.overrides import matching
from pytest_wheelcheck.targets.planning.release import BadWheel, Release
from pytest_wheelcheck.targets.planning.shards import Share
from pytest_wheelcheck.targets.target import NoTarget, Target
from pytest_wheelcheck.wheels.reader import parse_name


class Timings:
    """What was recorded in a run.

    :param began: when the run began.
    """

    def __init__(self, began: float, spans: Iterable[Span]) -> None:
        self._began = began
        self._spans: dict[Hashable, list[Span]] = {}
        for span in spans:
            self._spans.setdefault(span.owner, []).append(span)

    def of(self, *owners: Hashable) -> tuple[Timing, ...]:
        """Return the steps of some owners, by their start."""
        spans = [span for owner in owners for span in self._spans.get(owner, ())]
        return tuple(
            Timing(name=span.name, start=round(span.start - self._began, 3), end=round(span.end - self._began, 3))
            for span in sorted(spans, key=lambda span: span.start)
        )


def describe_release(
    release: Release,
    targets: Sequence[Target] = (),
    not_run: Sequence[NoTarget] = (),
    outcomes: Outcomes | None = None,
    *,
    overrides: Sequence[Override] = (),
    expected: Sequence[str] = (),
    complete: bool = True,
    host: str = "",
    timings: Timings | None = None,
    share: Share | None = None,
) -> Report:
    """Build the report of a run.

    :param outcomes: outcomes of the nodes; none yet if omitted.
    :param overrides: those of the settings.
    :param expected: the clauses of ``--wheel-expect``.
    :param complete: whether the run ended normally.
    :param host: the name of this host.
    :param timings: what was recorded; nothing if omitted.
    :param share: what the shard tests; ``None`` for a whole run.
    """
    outcomes = outcomes or Outcomes()
    timings = timings or Timings(0.0, ())
    wheels = tuple(
        _describe_wheel(file, targets, not_run, outcomes, overrides, host, timings)
        if isinstance(file, Wheel)
        else replace(_describe_bad_wheel(file, outcomes), timings=timings.of(file.shown))
        for file in release.files
    )
    return Report(
        wheels=wheels,
        other_files=_other_files(release),
        release=tuple(outcomes.below(f"{RELEASE}::")),
        expect=tuple(expected),
        complete=complete,
        program=f"pytest-wheelcheck {__version__}",
        timings=timings.of(""),
        shards=() if share is None else (_describe_share(share, wheels, host),),
    )


def _describe_share(share: Share, wheels: Sequence[WheelReport], host: str) -> ShardReport:
    return ShardReport(
        shard=str(share.shard),
        host=host,
        files=tuple(f"{wheel.filename} {wheel.sha256}".strip() for wheel in wheels),
        elsewhere=tuple(f"{target.wheel.path.name}::{target.name}" for target in share.targets_elsewhere),
    )


def with_artifacts(report: Report, artifacts: Mapping[str, tuple[str, ...]]) -> Report:
    """Return a report that names the collected files.

    :param artifacts: their paths, by node ids of targets.
    """
    wheels = [
        replace(
            wheel,
            targets=tuple(
                replace(target, artifacts=artifacts.get(f"{wheel.path}::{target.name}", ())) for target in wheel.targets
            ),
        )
        for wheel in report.wheels
    ]
    return replace(report, wheels=tuple(wheels))


def with_contents(report: Report, contents: Mapping[str, tuple[ContentsEntry, ...]]) -> Report:
    """Return a report that says what native files consist of.

    :param contents: those of wheels whose native files were read, by their paths in node ids.
    """
    wheels = (replace(wheel, contents=contents.get(wheel.path, wheel.contents)) for wheel in report.wheels)
    return replace(report, wheels=tuple(wheels))


def with_changes(report: Report, previous: tuple[PreviousReport, ...], changes: Mapping[str, WheelChanges]) -> Report:
    """Return a report that says what changed since the previous release.

    :param changes: those of wheels that have a counterpart there, by their paths in node ids.
    """
    wheels = (replace(wheel, changes=changes.get(wheel.path)) for wheel in report.wheels)
    return replace(report, wheels=tuple(wheels), previous=previous)


def _describe_wheel(
    wheel: Wheel,
    targets: Sequence[Target],
    not_run: Sequence[NoTarget],
    outcomes: Outcomes,
    overrides: Sequence[Override],
    host: str,
    timings: Timings,
) -> WheelReport:
    own_targets = [target for target in targets if target.wheel is wheel]
    own_not_run = [reason for reason in not_run if reason.wheel is wheel]
    target_prefixes = tuple(f"{target.name}::" for target in own_targets)
    not_run_names = {reason.name for reason in own_not_run}
    return WheelReport(
        path=wheel.shown,
        filename=wheel.path.name,
        sha256=wheel.sha256,
        size=wheel.size,
        project=wheel.name,
        version=wheel.version,
        tags=tuple(map(str, wheel.tags)),
        requires_python=wheel.requires_python,
        classifiers=wheel.classifiers,
        checks=tuple(
            result
            for result in outcomes.below(f"{wheel.shown}::")
            if not result.name.startswith(target_prefixes) and result.name not in not_run_names
        ),
        targets=tuple(
            replace(
                describe_target(target, host),
                overrides=tuple(override.line for override in matching(target, overrides)),
                threads=outcomes.property_of(f"{target.node_id}::{THREADS}", THREADS),
                results=tuple(outcomes.below(f"{target.node_id}::")),
                timings=timings.of(target.runtime.installation, target.node_id),
            )
            for target in own_targets
        ),
        not_run=tuple(
            NotRun(name=reason.name, outcome=reason.outcome.value, reason=reason.reason, host=host)
            for reason in own_not_run
        ),
        timings=timings.of(wheel.shown),
        contents=wheel.contents,
    )


def _describe_bad_wheel(file: BadWheel, outcomes: Outcomes) -> WheelReport:
    """Describe a file that is not a readable wheel, with the project and tags in its name."""
    report = WheelReport(path=file.shown, filename=file.path.name, checks=tuple(outcomes.below(f"{file.shown}::")))
    try:
        name, version, _, tags = parse_name(file.path.name)
    except WheelError:
        return report
    return replace(report, project=name, version=version, tags=tuple(map(str, tags)))


def describe_target(target: Target, host: str) -> TargetReport:
    """Describe a target without results.

    :param host: the name of this host.
    """
    runtime, platform = target.runtime, target.runtime.platform
    execution = runtime.backend.category
    profile = "" if target.machine.name == HOST_MACHINE else target.machine.name
    return TargetReport(
        name=target.name,
        interpreter=runtime.interpreter,
        platform=platform.name,
        system=platform.system,
        libc=platform.libc,
        architecture=platform.architecture,
        execution=execution,
        machine=profile or ("" if execution == "native" else platform.architecture),
        source=runtime.installation.how,
        assembled=runtime.installation.assembled,
        board=dict(target.machine.facts),
        host=host,
        lacks=runtime.capabilities.missing,
    )


def _other_files(release: Release) -> tuple[str, ...]:
    """Return the names of the other files in the given directories, and of source distributions next to the wheels."""
    paths = [file.source if isinstance(file, Wheel) else file.path for file in release.files]
    sdists = {
        sdist
        for directory in {path.parent for path in paths}
        if directory.is_dir()
        for sdist in directory.glob("*.tar.gz")
    }
    return tuple(dict.fromkeys(path.name for path in [*release.others, *sorted(sdists)]))
