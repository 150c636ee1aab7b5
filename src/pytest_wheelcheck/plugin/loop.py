"""The run loop: runs the tests of several targets, and reports the outcomes in the order of collection."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import pytest

from pytest_wheelcheck.plugin.nodes import RemoteItem, ReplayedItem
from pytest_wheelcheck.results import describe_unexpected, format_traceback
from pytest_wheelcheck.targets.running.item_results import Crash, ItemResult, unexpected_crash

if TYPE_CHECKING:
    from pytest_wheelcheck.targets.running.run import TargetRun


def run_session(
    session: pytest.Session,
    parallel: int,
    most: int,
    runs: Sequence[TargetRun],
    on_summary: Callable[[TargetRun, str], None],
) -> None:
    """Run all items, one test at a time in each target.

    :param parallel: number of targets whose tests run in parallel.
    :param most: targets of one place that may have a live worker.
    :param runs: all targets, also those without a test that is selected.
    :param on_summary: receives the terminal summary of a target's plugins.
    """
    maxfail = int(session.config.getvalue("maxfail") or 0)
    used = {item.target_run for item in session.items if isinstance(item, RemoteItem)}
    for run in runs:
        if run not in used:
            run.end()
    if not used:
        _replay_in_order(session, iter(()), maxfail)
        return
    from pytest_wheelcheck.targets.running.schedule import Queue, SideBySide

    queues: dict[int, Queue] = {}
    for index, item in enumerate(session.items):
        if isinstance(item, RemoteItem):
            run = item.target_run
            queues.setdefault(id(run), Queue(run=run)).entries.append((index, item.remote_id))
    scheduler = SideBySide(list(queues.values()), maxfail, on_summary)
    with contextlib.closing(scheduler.results(parallel, most)) as results:
        try:
            _replay_in_order(session, results, maxfail)
        except KeyboardInterrupt as interrupt:
            if not isinstance(interrupt, session.Interrupted):
                scheduler.abandon()
                _show_running(session, scheduler.running())
            raise


def _show_running(session: pytest.Session, running: Sequence[tuple[int, str]]) -> None:
    """Show which tests were running when Ctrl-C came, and where: pytest shows where this process was."""
    reporter = session.config.pluginmanager.getplugin("terminalreporter")
    for index, stacks in running:
        if reporter is not None:
            reporter.ensure_newline()
            reporter.write_sep("_", f"interrupted: {session.items[index].nodeid}")
            for line in stacks.splitlines():
                reporter.write_line(line)


def _replay_in_order(session: pytest.Session, results: Iterator[tuple[int, ItemResult]], maxfail: int) -> None:
    """Replay results in the order of collection, although several targets deliver them in any order."""
    arrived: dict[int, ItemResult] = {}
    position = _replay_from(session, 0, arrived)
    stopped = False
    failures = 0
    for index, result in results:
        arrived[index] = result
        failures += result.failed
        stopped = stopped or bool(result.stop) or bool(maxfail and failures >= maxfail)
        position = _replay_from(session, position, arrived)
    lost = ItemResult(crash=Crash(when="call", text="no result arrived from the target", seconds=0.0))
    for index in range(position, len(session.items)):
        item = session.items[index]
        if not isinstance(item, RemoteItem):
            _replay_or_stop(session, item, None)
        elif index in arrived or not stopped:
            _replay_or_stop(session, item, arrived.get(index, lost))


def _replay_from(session: pytest.Session, position: int, arrived: dict[int, ItemResult]) -> int:
    """Replay the results from *position* on up to the first gap.

    :returns: the position of the gap.
    """
    while position < len(session.items):
        item = session.items[position]
        if isinstance(item, RemoteItem) and position not in arrived:
            break
        _replay_or_stop(session, item, arrived.pop(position, None))
        position += 1
    return position


def _replay_or_stop(session: pytest.Session, item: pytest.Item, result: ItemResult | None) -> None:
    replay(item, result)  # type: ignore[arg-type]
    if result is not None and result.returncode is not None:
        raise pytest.exit.Exception(result.stop, result.returncode)
    if session.shouldfail:
        raise session.Failed(session.shouldfail)
    if session.shouldstop:
        raise session.Interrupted(session.shouldstop)


def replay(item: ReplayedItem, result: ItemResult | None) -> None:
    """Report the outcome of an item through the hooks that pytest calls for its own items."""
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    for report in _reports(item, result):
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    if result is not None and result.stop and not item.session.shouldstop:
        item.session.shouldstop = result.stop


def _reports(item: ReplayedItem, result: ItemResult | None) -> Iterator[pytest.TestReport]:
    """Return the reports of an item. If one cannot be made, the item is an error, and the run goes on."""
    reports: Iterator[pytest.TestReport] | None = None
    while True:
        try:
            reports = reports or item.reports(result)
            report = next(reports)
        except StopIteration:
            return
        except Exception as error:  # noqa: BLE001 - a bug that one item meets
            yield from item.error_reports(describe_unexpected(error), traceback=format_traceback(error))
            return
        yield report


def run_item(item: ReplayedItem, nextitem: pytest.Item | None, finish: Callable[[], Crash | None]) -> None:
    """Run one item and report its outcome, where another plugin (xdist) owns the loop.

    :param finish: ends the sessions in the targets, after the last item; returns a crash if that went wrong.
    """
    try:
        result = item.run(nextitem)
    except Exception as error:  # noqa: BLE001 - a bug that one item meets
        result = ItemResult(crash=unexpected_crash(error))
    if nextitem is None:
        try:
            crash = finish()
        except Exception as error:  # noqa: BLE001 - as above
            crash = unexpected_crash(error, when="teardown")
        if crash is not None and (result is None or result.crash is None):
            before = result or ItemResult()
            result = ItemResult(messages=before.messages, crash=crash, stop=before.stop)
    replay(item, result)
