"""The collection: static checks, prepared targets and the tests collected in them; and which of them are selected."""

from __future__ import annotations

import bisect
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

import pytest
from packaging.utils import canonicalize_name

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import ContentsEntry, Wheel
from pytest_wheelcheck.plugin.nodes import Child, PreparedTarget, RemoteItem, WheelNode
from pytest_wheelcheck.plugin.plan import Plan
from pytest_wheelcheck.plugin.xdist import SharedFiles
from pytest_wheelcheck.reporting.describe import describe_release
from pytest_wheelcheck.reporting.release import RELEASE, release_results
from pytest_wheelcheck.results import unexpected
from pytest_wheelcheck.system import pools, progress, timing
from pytest_wheelcheck.targets.overrides import matching, unmatched
from pytest_wheelcheck.targets.planning.left_out import LeftOut, project_name, read_configuration
from pytest_wheelcheck.targets.planning.release import BadWheel, StaticResults, check_file
from pytest_wheelcheck.targets.planning.sandboxing import is_published
from pytest_wheelcheck.targets.planning.shards import Share
from pytest_wheelcheck.targets.running.item_results import Collected, FailedCollection
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.wheels.bounded_tasks import shared as shared_parsers

#: The name of the text with the results of one file, for the workers of xdist.
_CHECKS = "checks-{}"

#: What the nodes of the release need that are not in every run.
_RELEASE_FIXES = {
    f"{RELEASE}::expect": "it needs expected wheels: pass --wheel-expect",
    f"{RELEASE}::previous": "it needs the previous release: pass --wheel-expect previous",
}

#: Results of the static checks by file.
Checks = dict[Wheel | BadWheel, StaticResults]


def files(plan: Plan) -> list[Wheel | BadWheel]:
    """Return the files that have nodes in this run: all, except with ``--wheel-shard``."""
    share = plan.share
    if share is None:
        return list(plan.release.files)
    used = [target.wheel for target in plan.targets] + [reason.wheel for reason in plan.not_run]
    return [file for file in plan.release.files if share.checks(file) or any(wheel is file for wheel in used)]


def collect(plan: Plan, shared: SharedFiles, worker_id: str) -> tuple[Checks, tuple[PreparedTarget, ...]]:
    """Check every file, then prepare every target and collect its tests, several at a time.

    :param worker_id: keeps the files of xdist's workers in one directory apart.
    :returns: the results of the checks, and the targets in the order of the plan.
    """
    given = files(plan)
    stopping: dict[Wheel | BadWheel, Future[tuple[str, ...]]] = {file: Future() for file in given}
    several = sum(isinstance(file, Wheel) and file.platforms != ("any",) for file in given) > 1
    with (
        shared_parsers(several=several),
        ThreadPoolExecutor(max_workers=plan.settings.jobs, thread_name_prefix="wheelcheck-prepare") as pool,
    ):
        try:
            check = partial(_check, plan, shared)
            checking = [pool.submit(check, number, file, stopping[file]) for number, file in enumerate(given)]
            preparing: Sequence[Future[PreparedTarget]] = ()
            if plan.targets:
                from pytest_wheelcheck.plugin.preparing import prepare_target

                # Those checks begin first that a preparation waits for, so one of them always goes on.
                preparing = [
                    pool.submit(prepare_target, plan, shared, worker_id, number, target, stopping[target.wheel])
                    for number, target in enumerate(plan.targets)
                ]
            pools.wait_for([*checking, *preparing])
        except BaseException as error:
            if isinstance(error, KeyboardInterrupt):
                for owner, name, seconds in timing.unfinished():
                    progress.log.info("interrupted: %s of %s, after %.1f s", name, owner, seconds)
            # The pool waits for its threads, and these wait for installers and workers.
            pools.abandon(pool)
            raise
    checks = {file: future.result() for file, future in zip(given, checking, strict=True)}
    return checks, tuple(future.result() for future in preparing)


def _check(
    plan: Plan, shared: SharedFiles, number: int, file: Wheel | BadWheel, stopping: Future[tuple[str, ...]]
) -> StaticResults:
    """Check one file.

    :param stopping: gets the names of the checks that forbid an installation, as soon as they are known.
    """

    def run() -> str:
        settings = plan.settings
        with timing.step(file.shown, "checks"):
            return check_file(
                file,
                plan.release,
                select=settings.select,
                ignore=settings.ignore,
                max_size=settings.max_size,
                on_stopping=stopping.set_result,
            ).to_json()

    try:
        results = StaticResults.from_json(shared.get(_CHECKS.format(number), run))
    except BaseException as error:
        if not stopping.done():
            stopping.set_exception(error)
        raise
    if not stopping.done():
        # Another worker of xdist checked the file, or it met an unexpected exception.
        stopping.set_result(results.stopped_by)
    return results


def contents_of(checks: Checks) -> dict[str, tuple[ContentsEntry, ...]]:
    """Return the contents of the wheels whose native files the checks have read, by their paths in node ids."""
    return {file.shown: results.contents for file, results in checks.items() if results.contents}


def shared_checks(plan: Plan, shared: SharedFiles) -> Checks:
    """Return the results that the workers of xdist have left for each other."""
    found: Checks = {}
    for number, file in enumerate(files(plan)):
        path = shared.path(_CHECKS.format(number))
        if path.exists():
            found[file] = StaticResults.from_json(path.read_text(encoding="utf-8"))
    return found


def resolve_usage_errors(
    targets: Sequence[PreparedTarget], explain: Callable[[Target, str], str]
) -> tuple[PreparedTarget, ...]:
    """Turn usage errors of the targets' pytest into failed collections.

    :param explain: returns the cause and fix of a usage error; empty if they are not known.
    :raises UsageError: every target's pytest reports a usage error.
    """
    usage_errors = [target.collected.usage for target in targets if target.run is not None]
    if usage_errors and all(usage_errors):
        first = next(target for target in targets if target.run is not None)
        usage = first.collected.usage
        if hint := explain(first.target, usage):
            # It names what the project has, which is better than a general fix.
            usage = "\n".join([*(line for line in usage.splitlines() if not line.startswith("Fix: ")), hint])
        raise UsageError(f"{first.target.node_id}\n{usage}")
    return tuple(
        replace(
            target,
            collected=Collected(
                failures=(FailedCollection(text=target.collected.usage),), messages=target.collected.messages
            ),
        )
        if target.collected.usage
        else target
        for target in targets
    )


def nodes(
    session: pytest.Session, plan: Plan, checks: Checks, targets: Sequence[PreparedTarget]
) -> Iterator[WheelNode]:
    """Make a node for each wheel, and one for the release."""
    share = plan.share
    for file in checks:
        steps = checks[file].steps if share is None or share.checks(file) else ()
        if isinstance(file, BadWheel):
            children: Sequence[Child] = steps
            path = file.path
            left_out = LeftOut(files={})
        else:
            left_out = plan.left_out[file]
            step = left_out.step() if share is None or share.checks(file) else None
            children = [
                *steps,
                *((step,) if step else ()),
                *(target for target in targets if target.target.wheel is file),
                *(reason for reason in plan.not_run if reason.wheel is file),
            ]
            path = file.source
        yield WheelNode.from_parent(session, path=path, shown=file.shown, children=children, left_out=left_out)
    if share is not None and not share.has_release:
        return
    try:
        described = describe_release(plan.release, expected=plan.settings.expect)
        results = release_results(replace(described, previous=plan.previous.releases if plan.previous else ()))
        results += [plan.previous.step] if plan.previous is not None else []
    except Exception as error:  # noqa: BLE001  a bug that the release meets; the wheels are tested
        results = [unexpected("release", error)]
    if results:
        path = session.config.rootpath / RELEASE
        yield WheelNode.from_parent(session, path=path, shown=RELEASE, children=results, left_out=LeftOut(files={}))


def notes(plan: Plan, targets: Sequence[PreparedTarget], *, verbosity: int) -> list[str]:
    """Return the header lines of the user's conftest files, and notes on the targets.

    :param verbosity: as pytest counts ``-v`` and ``-q``.
    """
    lines: list[str] = []
    several = len({target.wheel.shown for target in plan.targets}) > 1
    for target in targets:
        # pytest shows no header with -q, and this is a part of it.
        if verbosity >= 0:
            name = target.target.node_id if several else target.target.name
            lines += [f"{name}: {line}" for line in target.collected.header]
        lines += target.preparation.notes
        if (count := target.collected.deselected) and matching(target.target, plan.settings.overrides):
            lines.append(
                f"{target.target.node_id}: {count} of {count + len(target.collected.items)} tests deselected there"
            )
    lines += _tests_of_another_project(plan, targets)
    if verbosity >= 1:
        every = (*plan.targets, *(plan.share.targets_elsewhere if plan.share is not None else ()))
        names = ", ".join(dict.fromkeys(target.name for target in every)) or "there are none"
        for override in unmatched(every, plan.settings.overrides):
            lines.append(f"wheel_overrides: {override.line}: matches no target of this run ({names})")
    unknown = [" ".join(argument.argv) for argument in plan.settings.target_args if not argument.known_to_host]
    is_empty = plan.share is not None and not targets
    if unknown and not is_empty and not any(target.run is not None for target in targets):
        reason = "no target could be prepared" if targets else "no target can run this wheel"
        lines.append(f"not checked: {', '.join(unknown)}: {reason}")
    return lines


def _tests_of_another_project(plan: Plan, targets: Sequence[PreparedTarget]) -> list[str]:
    """Say that the tests at hand are not those of a wheel from the package index."""
    own = project_name(read_configuration(plan.settings.root))
    if not own:
        return []
    others = {
        target.target.wheel.name: None
        for target in targets
        if is_published(target.target.wheel)
        and canonicalize_name(target.target.wheel.name) != canonicalize_name(own)
        and (target.collected.items or target.collected.reports or target.collected.failures)
    }
    return [
        f"the tests here are those of {own}, so a failing one need not be a fault of {name}: to check only the wheel, run this "
        "in a directory without tests"
        for name in others
    ]


def deselect(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Drop the nodes that ``--deselect`` names by their ids, or by their ids in the target, as an ordinary run does."""
    prefixes = _Prefixes(config.getoption("deselect") or ())
    if not prefixes:
        return
    # pytest would compare each item with each prefix again.
    config.option.deselect = None
    selected: list[pytest.Item] = []
    named: list[pytest.Item] = []
    for item in items:
        ids = (item.nodeid, item.remote_id) if isinstance(item, RemoteItem) else (item.nodeid,)
        (named if any(map(prefixes.match, ids)) else selected).append(item)
    if named:
        items[:] = selected
        config.hook.pytest_deselected(items=named)


class _Prefixes:
    """Finds out quickly whether a text begins with one of many prefixes."""

    def __init__(self, prefixes: Iterable[str]) -> None:
        # In this order, a prefix comes before all texts that begin with it.
        self._sorted: list[str] = []
        for prefix in sorted(prefixes):
            if not (self._sorted and prefix.startswith(self._sorted[-1])):
                self._sorted.append(prefix)

    def __bool__(self) -> bool:
        return bool(self._sorted)

    def match(self, text: str) -> bool:
        """Return whether *text* begins with one of the prefixes."""
        position = bisect.bisect_right(self._sorted, text)
        return position > 0 and text.startswith(self._sorted[position - 1])


def select(config: pytest.Config, items: list[pytest.Item], plan: Plan) -> None:
    """Keep the items that the node ids of the command line select.

    :raises UsageError: a node id selects nothing, here or in another shard.
    """
    selections = plan.selections
    if not selections:
        return
    wanted = set(selections)
    unused = dict.fromkeys(selections)
    selected: list[pytest.Item] = []
    deselected: list[pytest.Item] = []
    for item in items:
        chosen = wanted.intersection(_selecting(item.nodeid))
        for node_id in chosen:
            unused.pop(node_id, None)
        (selected if chosen else deselected).append(item)
    for node_id in unused:
        if plan.share is not None and _is_elsewhere(plan, plan.share, node_id):
            continue
        raise UsageError(
            f"no such node: {node_id}", fix=_RELEASE_FIXES.get(node_id, "use --collect-only to list the nodes")
        )
    config.hook.pytest_deselected(items=deselected)
    items[:] = selected


def accept_empty_share(session: pytest.Session, plan: Plan) -> None:
    """End with success if this shard has nothing to test, which is no mistake of the user's."""
    nothing = session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED
    if nothing and plan.share is not None and not files(plan):
        session.exitstatus = pytest.ExitCode.OK


def _is_elsewhere(plan: Plan, share: Share, node_id: str) -> bool:
    if node_id.partition("::")[0] == RELEASE:
        return not share.has_release
    return share.is_elsewhere(node_id, plan.targets)


def _selecting(node_id: str) -> Iterator[str]:
    """Yield the node ids that select a node: its own, those of its parents, and that of a test without its parameters."""
    yield node_id
    for match in re.finditer(r"::|\[", node_id):
        yield node_id[: match.start()]
