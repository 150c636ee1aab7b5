"""The controller's half of the worker: start it, exchange messages, keep deadlines, notice its death.

One mechanism for every target: a process whose standard input and output are the channel and whose standard error is a
log file. The messages are those of :mod:`pytest_wheelcheck.worker.messages`.
"""

from __future__ import annotations

import collections
import contextlib
import os
import queue
import re
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pytest_wheelcheck.backends.base import Environment, Session
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError, WorkerReportsLostError
from pytest_wheelcheck.system import process
from pytest_wheelcheck.targets.running.deaths import death_error
from pytest_wheelcheck.targets.running.own_frames import without_own_frames
from pytest_wheelcheck.worker import codec, messages
from pytest_wheelcheck.worker.channel import CHANNEL_CLOSED, HELD
from pytest_wheelcheck.worker.supervisor import EXIT_GRACE, LEFT_BEHIND, TEST_LINE

#: Seconds between two looks at whether a silent worker is still alive.
POLL = 0.1

#: Seconds that a dead worker's last messages may take to arrive.
DRAIN = 0.5

#: Seconds within which a worker whose output shows a death must send a message to prove that a child of it died.
CHILD_GRACE = 3.0

#: Seconds between the ends of two tests that are quick.
QUICK = 0.008

#: Tests that keep a worker busy while results of quick ones are collected.
ENOUGH = 8

#: Follows the last frame to a worker.
_CLOSE = b""

#: How much of a worker's log goes into a report, in bytes.
LOG_TAIL = 20_000


class WorkerProcess:
    """A worker process, seen from the controller.

    :param session: the target's session, which starts it.
    :param argv: the target's interpreter and its arguments.
    :param environment: the virtual environment of the interpreter.
    :param cwd: its working directory.
    :param log: file that receives its standard error, and everything that is printed.
    :param variables: further environment variables.
    :param temporary: see :meth:`pytest_wheelcheck.backends.base.Session.command`.
    """

    def __init__(
        self,
        session: Session,
        argv: Sequence[str | Path],
        *,
        environment: Environment,
        cwd: Path,
        log: Path,
        variables: Mapping[str, str] | None = None,
        temporary: Path | None = None,
    ) -> None:
        self._session = session
        self._log = log
        self._nonce = secrets.token_hex(16)
        self._received: collections.deque[messages.FromWorker | None] = collections.deque()
        self._complete: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._invalid = ""
        self._pid: int | None = None
        self._left_running: list[str] = []
        self._left_from = 0
        #: The worker has ended, and another process of the same program waits to collect.
        self.has_successor = False
        self._checked_size = -1
        self._test = 0
        #: Tests: one thread counts the requests, and another one the results.
        self._requested = 0
        self._completed = 0
        command = session.command(
            argv,
            environment=environment,
            cwd=cwd,
            variables=variables or {},
            supervised=True,
            temporary=temporary,
        )
        with log.open("ab") as file:
            self._mark = file.tell()
            self._process = process.spawn(
                command.argv, env=command.env, cwd=command.cwd, stdin=subprocess.PIPE, stderr=file
            )
        threading.Thread(target=self._read, name="wheelcheck-reader", daemon=True).start()
        threading.Thread(target=self._write, name="wheelcheck-writer", daemon=True).start()

    def send(self, message: messages.FromController) -> None:
        """Send one message, in the background: a worker that hangs reads none, and the pipe may be full.

        :meth:`receive` notices that a worker hangs or is gone, not this method.

        :raises InvalidMessageError: it does not follow the protocol.
        """
        codec.check(message, codec.FROM_CONTROLLER)
        if message["type"] == "run":
            self._requested += 1
            paths, following = self._session.paths, message["next"]
            message = {
                **message,
                "id": paths.node_id_to_target(message["id"]),
                "next": paths.node_id_to_target(following) if following else following,
            }
        self._frames.put(codec.frame(message))

    def start(self, task: messages.Imports | messages.Modules | messages.Tests) -> None:
        """Send the first messages."""
        self.send({"type": "start", "protocol": messages.PROTOCOL, "nonce": self._nonce})
        self.send(self._session.paths.settings_to_target(task))

    def receive(self, timeout: float | None) -> messages.FromWorker | None:
        """Wait for one message.

        :param timeout: seconds, or ``None`` for as long as the worker lives.
        :returns: the message, or ``None`` when *timeout* has passed.
        :raises WorkerError: the worker died, closed its channel, or sent an invalid message.
        """
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            left = POLL if end is None else min(POLL, end - time.monotonic())
            try:
                message = self._next(max(left, 0.001))
            except queue.Empty:
                if self._process.poll() is not None:
                    # A child of the test may hold the pipe open, so end of file need not come.
                    with contextlib.suppress(queue.Empty):
                        message = self._next(DRAIN)
                        if message is not None:
                            return self._checked(message)
                    raise self._death() from None
                if self._is_dead():
                    # The output may be that of a child, after which the worker goes on.
                    with contextlib.suppress(queue.Empty):
                        message = self._next(CHILD_GRACE)
                        if message is not None:
                            return self._checked(message)
                    self._session.end_worker(self._process, self._pid)
                    raise self._death() from None
                if end is not None and time.monotonic() >= end:
                    return None
                continue
            if message is None:
                raise self._death()
            return self._checked(message)

    def rest(self) -> list[messages.FromWorker]:
        """Return the messages of the running test that arrive after :meth:`end`."""
        found: list[messages.FromWorker] = []
        with contextlib.suppress(queue.Empty):
            # The test may have ended meanwhile, and the next one begun.
            while (message := self._next(DRAIN)) is not None and message["type"] != "done":
                found.append(message)
        return found

    def _next(self, timeout: float) -> messages.FromWorker | None:
        """Return the next message; ``None`` at the end of the channel.

        :param timeout: seconds.
        :raises queue.Empty: none arrived in time.
        """
        while not self._received:
            with contextlib.suppress(queue.Empty):
                self._complete.get(timeout=timeout)
                continue
            if not self._received:
                raise queue.Empty
        return self._received.popleft()

    def _is_dead(self) -> bool:
        """Return whether the new output shows that the worker is lost although its process still runs."""
        size = self._size()
        if size == self._checked_size:
            return False
        self._checked_size = size
        return self._session.is_dead(self.output())

    def _checked(self, message: messages.FromWorker) -> messages.FromWorker:
        if message["type"] == "fatal":
            raise WorkerFatalError(
                "the worker in the target stopped with an error",
                cause="a plugin or conftest that does not work on this target, or a bug in pytest-wheelcheck",
                details=message["text"],
            )
        if message["type"] == "ended":
            self.has_successor = True
            raise death_error(message["status"], self.output())
        return message

    def request_stacks(self, wait: float = 1.0) -> None:
        """Ask the worker to write the stacks of all its threads to its log, also when native code holds the GIL.

        Without the capability ``signals`` nothing can be asked; there the watchdog of every test writes them.
        """
        if self._session.capabilities.signals:
            before = self._size()
            self._session.request_stacks(self._process)
            end = time.monotonic() + wait
            while self._size() == before and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(0.1)

    def ending(self, timeout: float) -> str | None:
        """Wait until the worker ends by itself.

        :param timeout: seconds.
        :returns: how it ended; empty if it ended normally, ``None`` if it still runs.
        """
        try:
            # Windows counts milliseconds in 32 bits.
            code = self._process.wait(min(timeout, 1e6))
        except subprocess.TimeoutExpired:
            return None
        return self._describe(code) if code else ""

    def end(self, *, grace: float = 0.0) -> int | None:
        """End the worker and all that is left of its session.

        :param grace: seconds that it may take to end by itself first.
        :returns: its exit status.
        """
        self._frames.put(_CLOSE)
        if sys.platform == "win32":
            grace = max(grace, EXIT_GRACE)
        if grace > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        if self._pid is not None:
            # Of the first end; a process that is ended again has left nothing more.
            self._left_running = self._left_running or process.remaining_processes(self._process, exclude_pid=self._pid)
        self._session.end_worker(self._process, self._pid)
        return self._process.returncode

    def go_on(self) -> None:
        """Go on with the process that follows the worker; it waits to collect."""
        self.has_successor = False
        self._left_from = self._size()

    def left_running(self) -> str:
        """Name the processes that were ended after the worker; empty if there were none. Call it after the end."""
        if self._left_running:
            more = f" and {len(self._left_running) - 5} more" if len(self._left_running) > 5 else ""
            return f"{len(self._left_running)}: {'; '.join(self._left_running[:5])}{more}"
        prefix = self._session.left_running_prefix(self._nonce).encode("ascii")
        try:
            with self._log.open("rb") as file:
                file.seek(max(self._left_from, file.seek(0, os.SEEK_END) - LOG_TAIL))
                lines = file.read().splitlines()
        except OSError:
            return ""
        found = next((line[len(prefix) :].decode("utf-8", "replace") for line in lines if line.startswith(prefix)), "")
        return self._session.paths.text_from_target(found)

    def mark(self, at: int) -> None:
        """Remember an offset of the log: later output belongs to the next test.

        :param at: offset in bytes, as the worker reported it (it may have died since); negative where it does not know it.
            Then it writes a line before each test; see :meth:`begin`.
        """
        if at >= 0:
            self._mark = at

    def mark_end(self) -> None:
        """Remember the end of the log: only later output is shown."""
        self._mark = self._size()
        self._test = 0

    def begin(self, number: int) -> None:
        """Remember which test runs.

        :param number: as in the message that asks for it.
        """
        self._test = number

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            # Code under test removed it.
            return 0

    def output(self) -> str:
        """Return what was written to the log since :meth:`mark`, its end if it is long."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(self._mark, size - LOG_TAIL)
                file.seek(start)
                text = file.read().decode("utf-8", "backslashreplace")
        except OSError:
            return ""
        text = self._of_test(text)
        text = without_own_frames(self._session.paths.text_from_target(text))
        text = text.replace(f"{LEFT_BEHIND}{self._nonce} ", "[left running and ended] ")
        cut = f"[{start - self._mark} bytes before this are in {self._log}]\n" if start > self._mark else ""
        return cut + text

    def _of_test(self, text: str) -> str:
        """Return the part of the output that belongs to the running test, where a line precedes each test."""
        line = f"\n{TEST_LINE}{self._nonce} "
        _, found, after = text.rpartition(f"{line}{self._test}\n")
        parts = re.split(rf"{re.escape(line)}\d+\n", after if found else text)
        return parts[0] if found else "\n".join(parts)

    @property
    def log(self) -> Path:
        """The file that takes the worker's standard error."""
        return self._log

    def _death(self) -> WorkerError:
        if self._process.poll() is None and not self._invalid:
            # The channel was closed or broken while the process lives: code under test closed descriptors.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(2.0)
        alive = self._process.poll() is None
        if self._invalid:
            what = f"the worker sent an invalid message: {self._invalid}"
            cause = "code under test wrote to the worker's file descriptors"
        elif alive or self._process.returncode == CHANNEL_CLOSED:
            what, cause = "the worker in the target closed its channel", "code under test closed all file descriptors"
        else:
            code = self._session.exit_status(self._process.returncode)
            return death_error(code, self.output(), self._known_death())
        kind = WorkerReportsLostError if self._invalid else WorkerError
        return kind(what, cause=cause, details=self.output())

    def _describe(self, code: int) -> str:
        return self._known_death() or process.describe_status(code)

    def _known_death(self) -> str:
        return self._session.describe_death(self.output())

    def _write(self) -> None:
        """Write frames, and close the channel after the last one. A blocked write fails when the worker ends."""
        stream = self._process.stdin
        assert stream is not None  # noqa: S101  spawn() made the pipe
        with contextlib.suppress(OSError, ValueError), stream:
            while (frame := self._frames.get()) is not _CLOSE:
                stream.write(frame)
                if self._frames.empty():
                    stream.flush()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  spawn() made the pipe
        data = bytearray()
        before = 0.0
        try:
            while part := os.read(stream.fileno(), 1 << 16):
                data += part
                completed = self._completed
                for message in codec.take_messages(data):
                    self._take(message)
                ended = self._completed > completed
                now = time.monotonic()
                if ended and now - before < QUICK and self._requested - self._completed > ENOUGH:
                    # Three threads hand over each result, which takes longer than a trivial test. So wait for more of them.
                    time.sleep(QUICK)
                before = now if ended else before
        except codec.InvalidMessageError as error:
            self._invalid = str(error)
        except (ValueError, OSError):
            pass  # The pipe is broken or closed: as at its end.
        finally:
            self._received.append(None)
            self._complete.put(None)
            with contextlib.suppress(OSError):
                stream.close()

    def _take(self, message: dict[str, Any]) -> None:
        """Take a message from the channel.

        :raises InvalidMessageError: it does not follow the protocol.
        """
        # A forked child of a test, or a forgery: not the worker that was asked.
        if message.pop("nonce", None) != self._nonce or not self._is_worker(message.pop("pid", None)):
            return
        codec.check(message, codec.FROM_WORKER)
        if message["type"] == "ended":
            self._pid = message["successor"]
            self._requested = self._completed = 0
        message = self._session.paths.message_from_target(message)
        self._received.append(cast("messages.FromWorker", message))
        # Nobody waits for the parts of a test's result: waking the receiver for each of them takes longer than they do.
        if message["type"] not in HELD:
            self._complete.put(None)
        self._completed += message["type"] == "done"

    def _is_worker(self, pid: object) -> bool:
        # Behind a launcher or ssh the worker's process id is not that of the started process: its first message has it.
        if self._pid is None and isinstance(pid, int):
            self._pid = pid
        return pid is not None and pid == self._pid
