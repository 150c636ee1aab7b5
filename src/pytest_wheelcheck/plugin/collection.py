"""The collection: static checks, prepared targets and the tests collected in them; and which of them are selected."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Outcome, Wheel
from pytest_wheelcheck.plugin.nodes import Child, PreparedTarget, RemoteItem, WheelNode
from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.plugin.xdist import SharedFiles
from pytest_wheelcheck.reporting.describe import describe_release
from pytest_wheelcheck.reporting.release import RELEASE, release_results
from pytest_wheelcheck.results import StepResult
from pytest_wheelcheck.system import process
from pytest_wheelcheck.targets.planning.release import BadWheel, StaticResults, check_file
from pytest_wheelcheck.targets.preparing.prepare import Preparation, prepare
from pytest_wheelcheck.targets.running.item_results import Collected
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.target import Target

#: Results of the static checks by file.
Checks = dict[Wheel | BadWheel, StaticResults]


def collect(plan: Plan, shared: SharedFiles, worker_id: str) -> tuple[Checks, tuple[PreparedTarget, ...]]:
    """Check every file, then prepare every target and collect its tests, several at a time.

    :param worker_id: keeps the files of xdist's workers in one directory apart.
    :returns: the results of the checks, and the targets in the order of the plan.
    """
    files = plan.release.files
    with ThreadPoolExecutor(max_workers=plan.settings.jobs, thread_name_prefix="wheelcheck-prepare") as pool:
        try:
            check = partial(_check, plan, shared)
            results = process.map_concurrently(pool, check, range(len(files)), files)
            checks = dict(zip(files, results, strict=True))
            failures = [checks[target.wheel].stopped_by for target in plan.targets]
            prepare_target = partial(_prepare, plan, shared, worker_id)
            targets = process.map_concurrently(pool, prepare_target, range(len(plan.targets)), plan.targets, failures)
        except BaseException:
            # Ctrl-C: the pool waits for its threads, and these wait for installers and workers.
            process.stop_all()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return checks, tuple(targets)


def _check(plan: Plan, shared: SharedFiles, number: int, file: Wheel | BadWheel) -> StaticResults:
    def run() -> str:
        settings = plan.settings
        return check_file(
            file, plan.release, select=settings.select, ignore=settings.ignore, max_size=settings.max_size
        ).to_json()

    return StaticResults.from_json(shared.get(f"checks-{number}", run))


def _prepare(
    plan: Plan, shared: SharedFiles, worker_id: str, number: int, target: Target, failed_checks: Sequence[str]
) -> PreparedTarget:
    """Prepare one target and collect its tests.

    :param failed_checks: failed checks that forbid an installation.
    """
    if failed_checks:
        text = f"not installed: {', '.join(failed_checks)} failed"
        step = StepResult(name="install", outcome=Outcome.FAILED, text=text)
        return PreparedTarget(target, Preparation(steps=(step,)), None, Collected())
    settings, directory = plan.settings, plan.directory / str(number)
    session = target.runtime.backend.open_session(target.runtime, target.machine, settings, directory)

    def run() -> str:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
        return prepare(target, settings, directory, session).to_json()

    preparation = Preparation.from_json(shared.get(str(number), run))
    if preparation.environment is None:
        return PreparedTarget(target, preparation, None, Collected())
    target_run = TargetRun(target, preparation, settings, directory, session, token=worker_id)
    return PreparedTarget(target, preparation, target_run, target_run.collect())


def resolve_usage_errors(targets: Sequence[PreparedTarget]) -> tuple[PreparedTarget, ...]:
    """Turn usage errors of the targets' pytest into failed collections.

    :raises UsageError: every target's pytest reports a usage error.
    """
    usage_errors = [target.collected.usage for target in targets if target.run is not None]
    if usage_errors and all(usage_errors):
        first = next(target for target in targets if target.run is not None)
        raise UsageError(f"{first.target.node_id}\n{first.collected.usage}")
    return tuple(
        replace(
            target,
            collected=Collected(crashes=(("", target.collected.usage),), messages=target.collected.messages),
        )
        if target.collected.usage
        else target
        for target in targets
    )


def nodes(
    session: pytest.Session, plan: Plan, checks: Checks, targets: Sequence[PreparedTarget]
) -> Iterator[WheelNode]:
    """Make a node for each wheel, and one for the release."""
    for file in plan.release.files:
        steps = checks[file].steps
        if isinstance(file, BadWheel):
            children: Sequence[Child] = steps
            path = file.path
        else:
            children = [
                *steps,
                *(target for target in targets if target.target.wheel is file),
                *(reason for reason in plan.not_run if reason.wheel is file),
            ]
            path = file.source
        yield WheelNode.from_parent(session, path=path, shown=file.shown, children=children)
    if results := release_results(describe_release(plan.release, expected=plan.settings.expect)):
        path = session.config.rootpath / RELEASE
        yield WheelNode.from_parent(session, path=path, shown=RELEASE, children=results)


def notes(plan: Plan, targets: Sequence[PreparedTarget]) -> list[str]:
    """Return the header lines of the user's conftest files, and notes on the targets."""
    lines: list[str] = []
    for target in targets:
        lines += [f"{target.target.name}: {line}" for line in target.collected.header]
        lines += target.preparation.notes
    unknown = [" ".join(argument.argv) for argument in plan.settings.target_args if not argument.known_to_host]
    if unknown and not any(target.run is not None for target in targets):
        lines.append(f"not checked: {', '.join(unknown)}: no target can run this wheel")
    return lines


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the tests that ``--deselect`` names by their ids in the target, as an ordinary run does."""
    prefixes = tuple(config.getoption("deselect") or ())
    if not prefixes:
        return
    named = {item: None for item in items if isinstance(item, RemoteItem) and item.remote_id.startswith(prefixes)}
    if named:
        items[:] = [item for item in items if item not in named]
        config.hook.pytest_deselected(items=list(named))


def select(config: pytest.Config, items: list[pytest.Item], selections: Sequence[str]) -> None:
    """Keep the items that the node ids of the command line select.

    :raises UsageError: a node id selects nothing.
    """
    if not selections:
        return
    for node_id in selections:
        if not any(_selects(node_id, item.nodeid) for item in items):
            raise UsageError(f"no such node: {node_id}", fix="use --collect-only to list the nodes")
    selected: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        chosen = any(_selects(node_id, item.nodeid) for node_id in selections)
        (selected if chosen else deselected).append(item)
    config.hook.pytest_deselected(items=deselected)
    items[:] = selected


def _selects(selection: str, node_id: str) -> bool:
    return node_id == selection or node_id.startswith((f"{selection}::", f"{selection}["))
