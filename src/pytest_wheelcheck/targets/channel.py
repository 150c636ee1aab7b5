"""The controller's half of the worker: start it, exchange messages, keep deadlines, notice its death.

One mechanism for every target: a process whose standard input and output are the channel and whose standard error is a
log file. The messages are those of :mod:`pytest_wheelcheck.worker.messages`.
"""

from __future__ import annotations

import contextlib
import os
import queue
import re
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, cast

from pytest_wheelcheck.backends.wine import diagnosis
from pytest_wheelcheck.backends.wine.paths import Drives
from pytest_wheelcheck.backends.wine.runner import LEFT
from pytest_wheelcheck.errors import WorkerError, WorkerFatalError
from pytest_wheelcheck.system import process
from pytest_wheelcheck.worker import CHANNEL_GONE, LEAVE, LEFT_BEHIND, codec, messages

#: Seconds between two looks at whether a silent worker is still alive.
POLL = 0.1

#: Seconds that a dead worker's last messages may take to arrive.
DRAIN = 0.5

#: Lines of faulthandler's stacks that are ours and pytest's; nobody looks for a fault there.
_OWN_FRAMES = re.compile(
    r'^  File "(?:[^"\n]*(?:[/\\](?:_pytest|pluggy)[/\\][^"\n]*|_wheelcheck_worker[/\\][^"\n]*)|<frozen runpy>)", line .*\n',
    re.MULTILINE,
)

#: Seconds that the keeper of a worker has for ending it and what it left running.
KEEPER_GRACE = 5.0

#: How much of a worker's log goes into a report, in bytes.
LOG_TAIL = 20_000


class Worker:
    """A worker process, seen from the controller.

    :param argv: the target's interpreter and what it is to run.
    :param env: the process's whole environment.
    :param cwd: its working directory.
    :param log: file that takes its standard error, and whatever is printed there.
    :param drives: of a program for Windows that runs here: where what it calls by its drive lies.
    :param enclosed: it runs in a sandbox, where processes have other numbers; what was started only waits for it.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        drives: Drives | None = None,
        enclosed: bool = False,
    ) -> None:
        self._log = log
        self._drives = drives
        self._enclosed = enclosed
        self._nonce = secrets.token_hex(16)
        self._messages: queue.Queue[messages.FromWorker | None] = queue.Queue()
        self._invalid = ""
        self._pid: int | None = None
        self._left: list[str] = []
        self._looked_at = -1
        with log.open("ab") as file:
            self._mark = file.tell()
            self._process = process.spawn(argv, env=env, cwd=cwd, stdin=subprocess.PIPE, stderr=file)
        threading.Thread(target=self._read, name="wheelcheck-reader", daemon=True).start()

    def send(self, message: messages.FromController) -> None:
        """Send one message. A worker that is gone is noticed by :meth:`receive`, not here.

        :raises InvalidMessageError: it does not follow the protocol.
        """
        if self._drives and message["type"] == "run":
            following = message["next"]
            message = {
                **message,
                "id": self._drives.id_going_in(message["id"]),
                "next": self._drives.id_going_in(following) if following else following,
            }
        frame = codec.encode(message, codec.FROM_CONTROLLER)
        stream = self._process.stdin
        if stream is None:
            return
        with contextlib.suppress(OSError, ValueError):
            stream.write(frame)
            stream.flush()

    def start(self, task: messages.Imports | messages.Tests) -> None:
        """Send the first messages."""
        self.send({"type": "start", "protocol": messages.PROTOCOL, "nonce": self._nonce})
        self.send(self._drives.going_in(task) if self._drives else task)

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
                message = self._messages.get(timeout=max(left, 0.001))
            except queue.Empty:
                if self._process.poll() is not None:
                    # A child of the test may hold the pipe open, so end of file need not come.
                    with contextlib.suppress(queue.Empty):
                        message = self._messages.get(timeout=DRAIN)
                        if message is not None:
                            return self._checked(message)
                    raise self._death() from None
                if self._drives and self._overflowed():
                    self._signal_keeper(signal.SIGTERM)
                    raise self._death() from None
                if end is not None and time.monotonic() >= end:
                    return None
                continue
            if message is None:
                raise self._death()
            return self._checked(message)

    def _overflowed(self) -> bool:
        """Say whether a thread ran over the end of its stack under Wine, which ends that thread alone."""
        size = self._size()
        if size == self._looked_at:
            return False
        self._looked_at = size
        return diagnosis.overflowed(self.said())

    def _checked(self, message: messages.FromWorker) -> messages.FromWorker:
        if message["type"] == "fatal":
            raise WorkerFatalError(
                "the worker in the target could not go on",
                cause="a plugin or conftest that does not work on this target, or a fault of ours",
                details=message["text"],
            )
        return message

    def stacks(self, wait: float = 1.0) -> None:
        """Ask the worker to write the stacks of all its threads into its log, also when native code holds the GIL.

        On Windows nothing can be asked; there the watchdog that every test arms writes them.
        """
        if hasattr(signal, "SIGUSR1") and not self._drives:
            before = self._size()
            self._signal_keeper(signal.SIGUSR1)
            end = time.monotonic() + wait
            while self._size() == before and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(0.1)

    def ending(self, timeout: float) -> str | None:
        """Wait until the worker ends by itself.

        :param timeout: seconds.
        :returns: how it ended, in words; empty where it ended well, ``None`` where it still runs.
        """
        try:
            # Windows counts milliseconds in 32 bits.
            code = self._process.wait(min(timeout, 1e6))
        except subprocess.TimeoutExpired:
            return None
        return self._words(code) if code else ""

    def end(self, *, grace: float = 0.0) -> int | None:
        """End the worker and all that is left of its session.

        :param grace: seconds that it may take to end by itself first.
        :returns: its exit status.
        """
        stream = self._process.stdin
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.close()
        if sys.platform == "win32":
            grace = max(grace, LEAVE)
        if grace > 0:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace)
        if self._pid is not None:
            # Of the first end; what is ended again has left nothing more.
            self._left = self._left or process.remaining_processes(self._process, exclude_pid=self._pid)
        kept = sys.platform == "linux" and self._process.poll() is None
        if kept and self._enclosed:
            # A signal to the group would end what waits for the sandbox, before the keeper has done its work.
            self._signal_keeper(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(KEEPER_GRACE)
                kept = False
        process.kill_tree(self._process, grace=KEEPER_GRACE if kept else 0.0)
        killed = sys.platform == "linux" and self._process.returncode == -signal.SIGKILL
        # The number of a Windows process, or of one in a sandbox, is not one of this system's.
        if killed and isinstance(self._pid, int) and not self._drives and not self._enclosed:
            # The keeper itself was killed, by code under test or because it did not manage.
            process.kill_group(self._pid)
        return self._process.returncode

    def _signal_keeper(self, number: signal.Signals) -> None:
        pid = self._process.pid
        with contextlib.suppress(OSError, IndexError):
            if self._enclosed:
                # proc(5); bubblewrap has one child, the first process of the sandbox.
                pid = int(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()[0])
            os.kill(pid, number)

    def left_behind(self) -> str:
        """Name the processes that were ended after the worker; empty where there were none. Ask after the end."""
        if self._left:
            more = f" and {len(self._left) - 5} more" if len(self._left) > 5 else ""
            return f"{len(self._left)}: {'; '.join(self._left[:5])}{more}"
        begin = (LEFT if self._drives else f"{LEFT_BEHIND}{self._nonce} ").encode("ascii")
        try:
            with self._log.open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - LOG_TAIL))
                lines = file.read().splitlines()
        except OSError:
            return ""
        found = next((line[len(begin) :].decode("utf-8", "replace") for line in lines if line.startswith(begin)), "")
        return self._drives.from_windows(found) if self._drives else found

    def mark(self, at: int = -1) -> None:
        """Remember a place of the log: what follows belongs to the next test.

        :param at: in bytes, where the worker told it, which may have died since; its end otherwise.
        """
        self._mark = self._size() if at < 0 else at

    def _size(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            # Code under test removed it.
            return 0

    def said(self) -> str:
        """Return what was written to the log since :meth:`mark`, its end if it is long."""
        try:
            with self._log.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(self._mark, size - LOG_TAIL)
                file.seek(start)
                text = file.read().decode("utf-8", "backslashreplace")
        except OSError:
            return ""
        text = _OWN_FRAMES.sub("", self._drives.from_windows(text) if self._drives else text)
        text = text.replace(f"{LEFT_BEHIND}{self._nonce} ", "[what was left running, and was ended] ")
        cut = f"[{start - self._mark} bytes before this are in {self._log}]\n" if start > self._mark else ""
        return cut + text

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
        elif alive or self._process.returncode == CHANNEL_GONE:
            what, cause = "the worker in the target closed its channel", "code under test closed all file descriptors"
        else:
            code = self._process.returncode
            if self._enclosed and code > 128:
                # As a shell tells a signal (bwrap(1)).
                code = 128 - code
            what = f"the interpreter died: {self._words(code)}"
            cause = (
                "a crash in native code"
                if self._known_death()
                else "code under test ended the process at once (os._exit, or exit in native code)"
                if code >= 0
                else "the kernel was out of memory, or code under test sent the signal"
                if sys.platform != "win32" and code == -signal.SIGKILL
                else "a crash in native code"
            )
        return WorkerError(what, cause=cause, details=self.said())

    def _words(self, code: int) -> str:
        return self._known_death() or process.describe_status(code)

    def _known_death(self) -> str:
        return diagnosis.death(self.said()) if self._drives or sys.platform == "win32" else ""

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  spawn() made the pipe
        try:
            while True:
                header = _exactly(stream, codec.HEADER)
                if header is None:
                    break
                body = _exactly(stream, codec.body_length(header))
                if body is None:
                    break
                message = codec.decode(body)
                # A forked child of a test, or a forgery: not the worker that was asked.
                if message.pop("nonce", None) != self._nonce or not self._is_worker(message.pop("pid", None)):
                    continue
                codec.check(message, codec.FROM_WORKER)
                if self._drives:
                    message = self._drives.coming_out(message)
                self._messages.put(cast("messages.FromWorker", message))
        except codec.InvalidMessageError as error:
            self._invalid = str(error)
        except (ValueError, OSError):
            pass  # The pipe is broken or closed: as at its end.
        finally:
            self._messages.put(None)
            with contextlib.suppress(OSError):
                stream.close()

    def _is_worker(self, pid: object) -> bool:
        # Behind a launcher or ssh the worker's process id is not that of the started process: its first message has it.
        if self._pid is None and isinstance(pid, int):
            self._pid = pid
        return pid is not None and pid == self._pid


def _exactly(stream: IO[bytes], count: int) -> bytes | None:
    data = stream.read(count)
    return data if len(data) == count else None
