"""Run the tests of one target: collect them, run one after the other, replace a worker that died."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.backends.base import Session
from pytest_wheelcheck.errors import ProcessError, WheelcheckError, WorkerError, WorkerReportsLostError
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.system import timing
from pytest_wheelcheck.system.temporary import LONG_OUTPUT
from pytest_wheelcheck.targets.preparing.preparation import Preparation
from pytest_wheelcheck.targets.preparing.rewriting import RESULTS
from pytest_wheelcheck.targets.running.channel import WorkerProcess
from pytest_wheelcheck.targets.running.collecting import CollectCrashError, await_collected
from pytest_wheelcheck.targets.running.diagnosis import diagnosed, ended_result, usage_text
from pytest_wheelcheck.targets.running.item_results import (
    NOT_AGAIN,
    Collected,
    Crash,
    FailedCollection,
    ItemResult,
    complete_reports,
)
from pytest_wheelcheck.targets.running.launch import launch
from pytest_wheelcheck.targets.running.remains import Remains
from pytest_wheelcheck.targets.running.requests import Requests
from pytest_wheelcheck.targets.running.task import tests_message
from pytest_wheelcheck.targets.running.threads import ThreadUse
from pytest_wheelcheck.targets.target import Target
from pytest_wheelcheck.targets.timeouts import GRACE, deadline, scale
from pytest_wheelcheck.worker import messages as protocol
from pytest_wheelcheck.worker.messages import FromWorker

#: Failed starts of a worker in a row after which no further one is tried.
START_TRIES = 3

#: Test modules that may end the interpreter before collection is abandoned.
MAX_COLLECT_CRASHES = 3


class TargetRun:
    """The tests of one target: a worker, and a fresh one after each that died.

    :param target: the target.
    :param prepared: the result of :func:`~pytest_wheelcheck.targets.preparing.prepare.prepare`.
    :param directory: the target's own directory.
    :param session: the target's session.
    :param token: distinguishes the files of several such runs in one directory.
    :param guarded: the guard is installed in the environment. Otherwise the worker starts it, and :meth:`go_on` follows.

    Attribute ``left_running``: for each worker, the number and command lines of the processes that its tests left running.
    Attribute ``threads``: which tests ran in several threads.
    """

    def __init__(
        self,
        target: Target,
        prepared: Preparation,
        settings: Settings,
        directory: Path,
        session: Session,
        *,
        token: str = "0",
        guarded: bool = True,
    ) -> None:
        self.target = target
        self.prepared = prepared
        self.settings = settings
        self._directory = directory
        self._session = session
        self._token = token
        self._guarded = guarded
        self._worker: WorkerProcess | None = None
        self._booted = False
        self._loads = False
        self._closed = False
        self._lock = threading.Lock()
        self._starting = threading.Lock()
        self._starts = 0
        self._failed_starts = 0
        self._no_worker = ""
        self._skipped_modules: list[str] = []
        self._missing: frozenset[str] = frozenset()
        self.left_running: list[str] = []
        self.threads = ThreadUse()
        self._remains = Remains(directory, session, settings, token)
        self._scale = scale(target, settings)
        signals = session.capabilities.signals
        self._requests = Requests(settings.test_timeout * self._scale, GRACE * self._scale, signals=signals)

    # -- collection ---------------------------------------------------------------------------------------------------

    def collect(self) -> Collected:
        """Start the worker and collect.

        A module that ends the interpreter is reported and skipped. After :data:`MAX_COLLECT_CRASHES` of them, no other is
        collected.
        """
        failures: list[FailedCollection] = []
        messages: list[FromWorker] = []
        while True:
            try:
                self._start_worker()
                found = self._await_collected(messages)
            except _NoWorkerError as error:
                # A full disk, or a connection that was lost: nothing is known about the wheel.
                failures.append(FailedCollection(text=str(error), unchecked=True))
                return Collected(failures=tuple(failures), messages=tuple(messages))
            except CollectCrashError as crash:
                self.end()
                explanation = self._session.explain_failure(str(crash))
                text = self._session.program_output(str(crash))
                text = f"{explanation}\n{text}" if explanation else text
                failures.append(FailedCollection(module=crash.module, text=text, unchecked=bool(explanation)))
                if not crash.module or len(failures) >= MAX_COLLECT_CRASHES:
                    if crash.module:
                        text = f"{len(failures)} modules ended the interpreter: no other was collected"
                        failures.append(FailedCollection(text=text))
                    return Collected(failures=tuple(failures), messages=tuple(messages))
                self._skipped_modules.append(crash.module)
                continue
            if found["type"] == "finished":
                text = self._worker.output() if self._worker else ""
                self.end()
                text = usage_text(self._session.program_output(text), found["status"])
                if found["conftest_failed"]:
                    return Collected(failures=(FailedCollection(text=text),), messages=tuple(messages))
                return Collected(usage=text, messages=tuple(messages))
            self._failed_starts = 0
            self.threads = ThreadUse(found["parallel_threads"], found["items"], found["gil_module"])
            self._requests.timeouts = {item["id"]: (item["timeout"], item["func_only"]) for item in found["items"]}
            return Collected.read(found, failures, messages)

    def _await_collected(self, messages: list[FromWorker]) -> protocol.Collected | protocol.Finished:
        running = self._worker
        assert running is not None  # noqa: S101  _start_worker() made it
        with timing.steps(self.target.node_id, "boot") as change:
            return await_collected(running, messages, self.settings.test_timeout, self._scale, change)

    def _start_worker(self) -> None:
        if self._closed:
            raise _NoWorkerError("the run was stopped")
        try:
            self._start()
        except (OSError, ProcessError) as error:
            # The disk is full, or code under test removed its interpreter.
            text = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            raise _NoWorkerError("no worker can be started in the target", details=text) from error

    @property
    def _temporary(self) -> Path:
        return self._directory / f"t{self._token}"

    def boot(self) -> None:
        """Start the interpreter of a worker, for the next :meth:`collect`: the test tools need not be installed yet.

        :raises OSError: it cannot be started.
        :raises ProcessError: it cannot be started.
        """
        self._set_worker(self._launch())
        self._booted = True

    def boot_again(self) -> None:
        """Start a worker ahead of its turn, in the background, if there is none. It loads pytest, and no code of the project.

        The tests of another target may run, with which that code could collide.
        """
        with self._starting:
            if self._worker is None and not self._closed:
                try:
                    self._load()
                except (OSError, WheelcheckError):
                    # It is tried again at its turn, and reported there.
                    self.end()

    def _launch(self) -> WorkerProcess:
        own = self._remains.variables()
        return launch(self.target, self.prepared, self.settings, self._directory, self._session, self._token, own)

    def _load(self) -> None:
        """Have a worker load pytest: the one that was booted, or a new one."""
        running = self._worker if self._booted else None
        self._booted = False
        if running is None:
            running = self._launch()
            self._set_worker(running)
        running.start(
            tests_message(
                self.target,
                self.prepared,
                self.settings,
                capabilities=self._session.capabilities,
                temporary=self._temporary,
                skip_modules=self._skipped_modules,
                output=self._directory.parent / LONG_OUTPUT,
                rewritten=self._directory / RESULTS,
                guarded=self._guarded,
            )
        )
        self._loads = True

    def _start(self) -> None:
        if not self._loads:
            self._load()
        self._loads = False
        running = self._worker
        if running is None:
            raise _NoWorkerError("the run was stopped")
        self._starts += 1
        basetemp = self._session.paths.to_target(self._temporary / f"b{self._starts}")
        running.send({"type": "collect", "basetemp": basetemp})

    def _set_worker(self, running: WorkerProcess) -> None:
        with self._lock:
            if not self._closed:
                self._worker = running
        if self._closed:
            # The run was stopped while it was started.
            running.end()
            raise _NoWorkerError("the run was stopped")

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, node_id: str, following: Sequence[str | None], left: int) -> ItemResult:
        """Run one test.

        :param node_id: as the target collected it.
        :param following: the tests that come after it in this target, and ``None`` after the last one; see
            :meth:`.requests.Requests.ask`.
        :param left: failures until the run stops; 0 for any number.
        """
        with timing.step(self.target.node_id, "tests", joined=True):
            return self._run(node_id, following, left)

    def _run(self, node_id: str, following: Sequence[str | None], left: int) -> ItemResult:
        failure = self._ready()
        if failure:
            return ItemResult(crash=Crash(when="setup", text=failure, seconds=0.0))
        if node_id in self._missing:
            return ItemResult(crash=Crash(when="setup", text=NOT_AGAIN, seconds=0.0))
        running = self._worker
        assert running is not None  # noqa: S101  _ready() made it
        self._remains.note_test()
        start = time.monotonic()
        end = deadline(self._requests.limit(node_id))
        self._requests.ask(running, node_id, [each for each in following if each not in self._missing], left)
        messages: list[FromWorker] = []
        expired: protocol.Expired | None = None
        try:
            while True:
                message = running.receive(None if end is None else max(end - time.monotonic(), 0.0))
                if message is None:
                    running.request_stacks()
                    text, output = self._requests.describe_hang(node_id), running.output()
                    self.end()
                    return self._ended([*messages, *running.rest()], text, output, start)
                if message["type"] == "phase":
                    end = deadline(self._requests.phase_limit(node_id, message["when"]))
                elif message["type"] == "expired":
                    expired = message
                elif message["type"] == "done":
                    if message["restart"]:
                        self.end()
                    complete_reports(messages)
                    self.threads.add(node_id, messages, message["gil_module"])
                    messages = diagnosed(messages, running, self._session)
                    running.mark(message["log_size"])
                    return ItemResult(messages=tuple(messages), stop=message["stop"], returncode=message["returncode"])
                elif message["type"] == "finished":
                    return self._ended(messages, "the target's pytest ended in the middle of this test", "", start)
                else:
                    messages.append(message)
        except WorkerError as error:
            text = f"{error.message}\nCause: {error.cause}" if error.cause else error.message
            if expired is not None:
                text = f"Timeout (>{expired['seconds']:g}s) from pytest-timeout, whose thread ended the interpreter"
            output, lost = expired["text"] if expired else error.details, isinstance(error, WorkerReportsLostError)
            return self._ended(messages, text, output, start, lost=lost)

    def _ready(self) -> str:
        """Make sure that there is a worker that has collected; return why there cannot be one."""
        with self._starting:
            return "" if self._worker is not None and not self._loads else self._collect_again()

    def _collect_again(self) -> str:
        while self._failed_starts < START_TRIES:
            try:
                self._start_worker()
                found = self._await_collected([])
            except CollectCrashError as crash:
                self.end()
                self._failed_starts += 1
                self._no_worker = str(crash)
                continue
            except _NoWorkerError as error:
                self._failed_starts += 1
                self._no_worker = str(error)
                continue
            if found["type"] == "collected":
                self._failed_starts = 0
                self._missing = frozenset(self._requests.timeouts.keys() - {item["id"] for item in found["items"]})
                return ""
            self._no_worker = self._worker.output() if self._worker else ""
            self.end()
            self._failed_starts += 1
        output = self._session.program_output(self._no_worker)
        return f"no fresh worker could be started ({START_TRIES} tries): this test was not run\n{output}"

    def _ended(
        self, messages: list[FromWorker], text: str, output: str, start: float, *, lost: bool = False
    ) -> ItemResult:
        """Return the result of a test that ended its worker.

        :param lost: the reports of its first phases may be lost.
        """
        self._leave_worker()
        return ended_result(messages, text, output, start, lost=lost, session=self._session)

    def finish(self) -> tuple[str, Crash | None]:
        """End the session in the target.

        :returns: what the user's ``pytest_terminal_summary`` hooks wrote, and a crash if the end itself went wrong.
        """
        with timing.step(self.target.node_id, "end"):
            return self._finish(self._worker)

    def pause(self) -> None:
        """End the session of a worker that has collected and whose turn comes later; its turn starts another one.

        The session ends in the same way as after the last test, so plugins and conftest files can clean up.
        """
        before = list(self.left_running)
        self._finish(self._worker)
        # The worker that runs the tests leaves the same.
        self.left_running[:] = before

    def _finish(self, running: WorkerProcess | None) -> tuple[str, Crash | None]:
        if running is None or self._loads:
            self.end()
            return "", None
        running.mark_end()
        running.send({"type": "finish"})
        limit = self.settings.test_timeout * self._scale or None
        try:
            while True:
                message = running.receive(limit)
                if message is None:
                    running.request_stacks()
                    text = f"the end of the session in the target did not come within {limit:g} s"
                    return "", Crash(when="teardown", text=text, seconds=0.0, sections=(("Stacks", running.output()),))
                if message["type"] == "finished":
                    return message["summary"], None
        except WorkerError as error:
            text = self._session.explain_failure(running.output()) or str(error)
            return "", Crash(when="teardown", text=f"at the end of the session: {text}", seconds=0.0)
        finally:
            self.end()

    def stacks(self) -> str:
        """Return the stacks of all threads of the worker; an empty string if it cannot be asked for them."""
        running = self._worker
        if running is None or not self._session.capabilities.signals:
            return ""
        running.request_stacks()
        return running.output()

    def end(self) -> None:
        """End the worker, if there is one, and what its tests left running."""
        with self._lock:
            running, self._worker, self._loads = self._worker, None, False
            self._requests.forget()
        if running is not None:
            running.end()
            self._remains.keep_cores()
            if left := running.left_running():
                self.left_running.append(left)

    def _leave_worker(self) -> None:
        """Go on with the successor of a worker that has ended, if it has one; otherwise end what is left of it.

        A worker that measures coverage has a data file of its own, which its environment names. So another one is started.
        """
        with self._lock:
            running = self._worker
            succeeded = running is not None and running.has_successor and self.settings.coverage is None
            self._loads = succeeded
            self._requests.forget()
        if running is None or not succeeded:
            self.end()
            return
        self._remains.keep_cores()
        if left := running.left_running():
            self.left_running.append(left)
        running.go_on()

    def go_on(self, prepared: Preparation) -> None:
        """Go on after the preparation has ended, with its result."""
        self.prepared = prepared
        self._guarded = True

    def stop(self) -> None:
        """End the worker and start no other."""
        with self._lock:
            self._closed = True
        self.end()

    def close(self) -> None:
        """End the worker and the session, and start no other."""
        self.stop()
        self._remains.take(self.prepared, self._starts)
        self._session.end()


class _NoWorkerError(WorkerError):
    pass
