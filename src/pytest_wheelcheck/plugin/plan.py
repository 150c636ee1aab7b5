"""The plan of a run: its settings, opened wheels and targets. Built by the process that the user started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pytest_wheelcheck.checks import select_checks
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.plugin import takeover
from pytest_wheelcheck.plugin.arguments import need_no_target
from pytest_wheelcheck.plugin.configuration import read_settings
from pytest_wheelcheck.plugin.terminal_lines import replaced_line
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.changes import WheelChanges
from pytest_wheelcheck.reporting.release import RELEASE
from pytest_wheelcheck.reporting.report import PreviousReport
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import progress
from pytest_wheelcheck.targets.planning.index_names import is_partial, is_spec
from pytest_wheelcheck.targets.planning.left_out import LeftOut, find_left_out
from pytest_wheelcheck.targets.planning.release import Release, locate, open_release, shown_path
from pytest_wheelcheck.targets.planning.shards import Share, divide
from pytest_wheelcheck.targets.preparing.install import install_settings
from pytest_wheelcheck.targets.target import NoTarget, Target


@dataclass(frozen=True, kw_only=True, slots=True)
class Previous:
    """The comparison of the wheels with the previous releases on the index.

    :param step: its result, for the node.
    :param releases: for the report.
    :param changes: of each wheel that has a counterpart, by its path in node ids.
    """

    step: StepResult
    releases: tuple[PreviousReport, ...]
    changes: Mapping[str, WheelChanges]


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What every process of a run needs to know. Workers of xdist read it from a file.

    :param targets: where the wheels are tested, in the order of the nodes.
    :param not_run: wheels and interpreters without a target, with the reason.
    :param left_out: the files of the source tree that each wheel lacks.
    :param previous: the comparison with the previous releases; ``None`` if that was not requested.
    :param selections: node ids of the command line; only these nodes run. Empty for all.
    :param directory: the temporary directory of the run.
    :param share: what the shard tests; ``None`` if this is the whole run. *targets* and *not_run* are those of the shard.
    :param processes: number of the workers of pytest-xdist; 1 without it.
    """

    settings: Settings
    release: Release
    targets: tuple[Target, ...]
    not_run: tuple[NoTarget, ...]
    left_out: Mapping[Wheel, LeftOut]
    previous: Previous | None
    selections: tuple[str, ...]
    directory: Path
    share: Share | None = None
    processes: int = 1

    @property
    def most_workers(self) -> int:
        """The number of targets of one place (the host, a board) that may have a live worker after the collection."""
        jobs = self.settings.jobs
        return max(4, 2 * jobs) if self.processes == 1 else max(2, 2 * jobs // self.processes)


def make_plan(config: pytest.Config, run_directory: Path) -> Plan:
    """Open the wheels and choose their targets.

    :param run_directory: the temporary directory of the run.
    :raises UsageError: an option, an ini value or a path is wrong.
    """
    settings = read_settings(config)
    if not settings.static or config.option.wheel_python or settings.machines or settings.sysroots:
        from pytest_wheelcheck.plugin.choosing import check_names

        check_names(settings)
    selections = config.stash[takeover.COMMAND_LINE].selections
    if need_no_target(selections):
        settings = replace(settings, static=True)
    if not settings.static:
        from pytest_wheelcheck.plugin.choosing import check_tools

        check_tools(settings)
    _check_codes(settings)
    if config.option.wheel_sandbox and config.option.wheel_no_sandbox:
        raise UsageError("--wheel-sandbox and --wheel-no-sandbox are both given", fix="omit one of them")
    with progress.log_to(), progress.lines_to(replaced_line(config)):
        release = open_release(
            settings.wheels,
            cwd=settings.cwd,
            root=settings.root,
            store=run_directory / "wheels",
            index=install_settings(settings),
        )
        settings, previous = _with_previous(settings, release, run_directory / "previous")
    targets: Sequence[Target] = ()
    not_run: Sequence[NoTarget] = ()
    if not settings.static and release.wheels:
        from pytest_wheelcheck.plugin.choosing import choose_targets

        with progress.lines_to(replaced_line(config)):
            settings, targets, not_run = choose_targets(
                settings, release.wheels, sandbox=config.option.wheel_sandbox, no_sandbox=config.option.wheel_no_sandbox
            )
    if settings.strict:
        not_run = [strict(reason, targets) for reason in not_run]
    share = None
    if settings.shard is not None:
        # Only now: whether a wheel runs anywhere is a question about all shards.
        share, targets, not_run = divide(settings.shard, release, targets, not_run)
    return Plan(
        settings=settings,
        release=release,
        targets=tuple(targets),
        not_run=tuple(not_run),
        left_out={wheel: find_left_out(wheel, settings) for wheel in release.wheels},
        previous=previous,
        selections=tuple(_normalized(node_id, settings) for node_id in selections),
        directory=run_directory,
        share=share,
    )


def _check_codes(settings: Settings) -> None:
    """Refuse codes of checks that do not exist, and name where they are written.

    :raises UsageError: a code matches no check.
    """
    for flag, codes in (("--wheel-select", settings.select), ("--wheel-ignore", settings.ignore)):
        for code in codes:
            try:
                select_checks(select=[code])
            except UsageError as error:  # noqa: PERF203
                raise UsageError(f"{settings.named(flag, code)}: {error.message}", fix=error.fix) from None


def _with_previous(settings: Settings, release: Release, store: Path) -> tuple[Settings, Previous | None]:
    """Replace the clause ``previous`` by what the previous releases on the index have, and compare with those."""
    every = list(expect.split(settings.expect))
    if expect.PREVIOUS not in every:
        return settings, None
    own = [clause for clause in every if clause != expect.PREVIOUS]
    from pytest_wheelcheck.reporting.previous import changes_of, clauses, previous_reports, previous_result
    from pytest_wheelcheck.targets.planning.previous import find_previous

    place = settings.named("--wheel-expect", expect.PREVIOUS)
    where = f"{place} {expect.PREVIOUS}" if place.startswith("--") else f"{place}: {expect.PREVIOUS}"
    found = find_previous(release.wheels, install_settings(settings), store, where)
    expected, warnings = clauses(found, release.wheels, partial=any(map(is_partial, settings.wheels)))
    compared = Previous(
        step=previous_result(found, warnings), releases=previous_reports(found), changes=changes_of(found)
    )
    return replace(settings, expect=(*own, *expected)), compared


def strict(reason: NoTarget, targets: Sequence[Target]) -> NoTarget:
    """Make a skipped wheel that has no target at all a failure, and an interpreter without one that was requested or promised."""
    if reason.outcome is not Outcome.SKIPPED:
        return reason
    if all(target.wheel is not reason.wheel for target in targets):
        why = "not run anywhere"
    elif reason.requested and all(target.runtime.interpreter != reason.requested for target in targets):
        # In a release with a wheel for each version, each requested interpreter runs its own.
        why = "requested, and no wheel was run on it"
    elif reason.promised:
        why = "the tag promises it; name versions with --wheel-python to leave it out"
    else:
        return reason
    return replace(reason, outcome=Outcome.FAILED, reason=f"{reason.reason} (--wheel-strict: {why})")


def _normalized(node_id: str, settings: Settings) -> str:
    """Return a node id of the command line as the nodes have it: with a path relative to the root directory."""
    path, _, rest = node_id.partition("::")
    if path == RELEASE or is_spec(path):
        return node_id
    return f"{shown_path(locate(path, settings.cwd, settings.root), settings.root)}::{rest}"
