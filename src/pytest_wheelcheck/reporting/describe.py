"""Builds the report of a run from its release, its targets and the outcomes of its nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pytest_wheelcheck import __version__
from pytest_wheelcheck.backends.base import HOST_MACHINE
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.reporting.outcomes import Outcomes
from pytest_wheelcheck.reporting.release import RELEASE
from pytest_wheelcheck.reporting.report import NotRun, Report, TargetReport, WheelReport
from pytest_wheelcheck.targets.planning.release import BadWheel, Release
from pytest_wheelcheck.targets.target import NoTarget, Target
from pytest_wheelcheck.wheels.reader import parse_name


def describe_release(
    release: Release,
    targets: Sequence[Target] = (),
    not_run: Sequence[NoTarget] = (),
    outcomes: Outcomes | None = None,
    *,
    expected: Sequence[str] = (),
    complete: bool = True,
    host: str = "",
) -> Report:
    """Build the report of a run.

    :param outcomes: outcomes of the nodes; none yet if omitted.
    :param expected: the clauses of ``--wheel-expect``.
    :param complete: whether the run ended normally.
    :param host: the name of this host.
    """
    outcomes = outcomes or Outcomes()
    wheels = tuple(
        _describe_wheel(file, targets, not_run, outcomes, host)
        if isinstance(file, Wheel)
        else _describe_bad_wheel(file, outcomes)
        for file in release.files
    )
    return Report(
        wheels=wheels,
        other_files=_other_files(release),
        release=tuple(outcomes.below(f"{RELEASE}::")),
        expect=tuple(expected),
        complete=complete,
        program=f"pytest-wheelcheck {__version__}",
    )


def _describe_wheel(
    wheel: Wheel, targets: Sequence[Target], not_run: Sequence[NoTarget], outcomes: Outcomes, host: str
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
            replace(describe_target(target, host), results=tuple(outcomes.below(f"{target.node_id}::")))
            for target in own_targets
        ),
        not_run=tuple(
            NotRun(name=reason.name, outcome=reason.outcome.value, reason=reason.reason, host=host)
            for reason in own_not_run
        ),
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
