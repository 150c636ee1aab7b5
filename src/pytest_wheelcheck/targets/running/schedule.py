"""Run the tests of several targets side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace

from pytest_wheelcheck.targets.running.item_results import ItemResult, unexpected_crash
from pytest_wheelcheck.targets.running.requests import AHEAD
from pytest_wheelcheck.targets.running.run import TargetRun
from pytest_wheelcheck.targets.running.window import Window
from pytest_wheelcheck.targets.timeouts import GRACE


@dataclass(slots=True)
class Queue:
    """The tests of one target in the order in which they run.

    :param entries: pairs of a key of the caller's and the node id in the target.
    """

    run: TargetRun
    entries: list[tuple[int, str]] = field(default_factory=list)


class SideBySide:
    """Runs the tests of several targets, one in flight in each of a number of targets.

    :param maxfail: failures after which no further test is started; 0 for any number.
    :param on_summary: receives what a target's plugins print at the end; called from other threads.
    """

    def __init__(self, queues: Sequence[Queue], maxfail: int, on_summary: Callable[[TargetRun, str], None]) -> None:
        self._queues = queues
        self._maxfail = maxfail
        self._on_summary = on_summary
        self._results: queue.SimpleQueue[tuple[int, ItemResult] | BaseException | None] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._abandoned = False
        self._running: dict[int, TargetRun] = {}
        self._interrupted: list[tuple[int, str]] | None = None
        self._lock = threading.Lock()
        self._failures = 0

    def results(self, lanes: int, most: int) -> Generator[tuple[int, ItemResult], None, None]:
        """Run everything.

        :param lanes: targets of this host whose tests run at the same time. A board has lanes of its own, since it shares
            neither files nor ports with others.
        :param most: targets of one place that may have a live worker, those whose tests run among them.
        :returns: results as they come, with the caller's keys; the last of a target carries what its end brought.
        """
        with contextlib.ExitStack() as stack:
            try:
                pools: dict[str, ThreadPoolExecutor] = {}
                futures = []
                windows: dict[str, Window] = {}
                for one in self._queues:
                    place = one.run.target.runtime.backend.place
                    if place not in pools:
                        parallel = max(1, one.run.target.runtime.backend.place_jobs or lanes)
                        pools[place] = stack.enter_context(
                            ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="wheelcheck-target")
                        )
                        runs = [each.run for each in self._queues if each.run.target.runtime.backend.place == place]
                        windows[place] = Window(runs, max(1, most - parallel))
                    futures.append(pools[place].submit(self._work, one, windows[place]))
                yield from self._as_they_come()
            except KeyboardInterrupt:
                # The workers must still be alive.
                self.running()
                raise
            except GeneratorExit:
                # The caller stopped (--stepwise), or Ctrl-C came while it reported outcomes.
                self._stop.set()
                if not self._abandoned:
                    wait(futures, GRACE)
                raise
            finally:
                self._stop.set()
                for one in self._queues:
                    with contextlib.suppress(OSError):
                        one.run.close()

    def abandon(self) -> None:
        """Do not wait for tests that run when the results are closed."""
        self._abandoned = True

    def running(self) -> list[tuple[int, str]]:
        """Return the key of each test that runs, or ran when Ctrl-C came, and the stacks of its threads; empty if not known."""
        if self._interrupted is None:
            with self._lock:
                found = sorted(self._running.items())
            self._interrupted = [(key, run.stacks()) for key, run in found]
        return self._interrupted

    def _as_they_come(self) -> Iterator[tuple[int, ItemResult]]:
        running = len(self._queues)
        while running:
            # With a timeout, because a wait without one ignores Ctrl-C on Windows.
            try:
                found = self._results.get(timeout=1.0)
            except queue.Empty:
                continue
            if found is None:
                running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found

    def _work(self, one: Queue, window: Window) -> None:
        """Run the tests of one target; in a thread of its own."""
        try:
            if not self._stop.is_set():
                window.boot_next(one.run)
            ids = [*(node_id for _, node_id in one.entries), None]
            for position, (key, node_id) in enumerate(one.entries):
                if self._stop.is_set():
                    # Fixtures that are set up are torn down, as when an ordinary run stops early.
                    _with_end(one.run, ItemResult(), self._on_summary)
                    break
                following = ids[position + 1 : position + 2 + AHEAD]
                with self._lock:
                    self._running[key] = one.run
                result = self._run_one(one.run, node_id, following)
                with self._lock:
                    del self._running[key]
                self._results.put((key, result))
        except BaseException as error:  # noqa: BLE001  crosses to the caller's thread, where it is raised
            if not self._stop.is_set():
                self._results.put(error)
        finally:
            one.run.close()
            self._results.put(None)

    def _run_one(self, run: TargetRun, node_id: str, following: Sequence[str | None]) -> ItemResult:
        left = max(self._maxfail - self._failures, 1) if self._maxfail else 0
        try:
            result = run.run(node_id, following, left)
        except Exception as error:  # noqa: BLE001  a bug that one test meets: the others are run, with a new worker
            run.end()
            result = ItemResult(crash=unexpected_crash(error))
        if following[0] is None or result.stop or (left and result.failed and left == 1):
            result = _with_end(run, result, self._on_summary)
        with self._lock:
            self._failures += result.failed
            if result.stop or (self._maxfail and self._failures >= self._maxfail):
                self._stop.set()
        return result


def _with_end(run: TargetRun, result: ItemResult, on_summary: Callable[[TargetRun, str], None]) -> ItemResult:
    try:
        summary, crash = run.finish()
    except Exception as error:  # noqa: BLE001  as in SideBySide
        summary, crash = "", unexpected_crash(error, when="teardown")
    if summary.strip():
        on_summary(run, summary)
    if crash is None or result.crash is not None:
        return result
    return replace(result, crash=crash)
