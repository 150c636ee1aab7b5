"""Runs tasks of :mod:`~pytest_wheelcheck.wheels.bounded` in processes: one program for each, or forks of one program."""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process

_SERVER = f"{__package__}.bounded_server"

#: What the server imports: the tasks, and the libraries that they import when they need them.
_PRELOADED = (
    "pytest_wheelcheck.checks.parser_process",
    *(f"pytest_wheelcheck.wheels.{name}" for name in ("elf", "macho", "pe")),
    "auditwheel.wheel_abi",
)

#: Seconds that the server has to end after its input was closed.
_GRACE = 5.0


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task.

    :param module: the program, whose function ``run_task`` does it.
    :param arguments: of the program.
    :param work: an empty directory, for temporary files.
    :param environment: variables of the process.
    :param timeout: seconds.
    """

    module: str
    arguments: Sequence[str]
    work: Path
    environment: Mapping[str, str]
    timeout: float

    def run(self) -> tuple[int, str]:
        """Run it; return the exit status, negative for a signal, and the output.

        :raises ProcessError: it cannot be started, or did not end in time.
        """
        if (server := _current_server(self)) is not None and (found := server.run(self)) is not None:
            return found
        ended = process.run(
            [sys.executable, "-m", self.module, *self.arguments],
            env={**self.environment, **dict.fromkeys(("TMPDIR", "TEMP", "TMP"), os.fspath(self.work))},
            cwd=self.work,
            timeout=self.timeout,
            check=False,
        )
        return ended.returncode, ended.stderr or ended.stdout


class _Server:
    """The program that forks for each task."""

    def __init__(self, task: Task) -> None:
        self.environment = dict(task.environment)
        self._numbers = iter(range(1 << 62))
        self._lock = threading.Lock()
        self._waiting: dict[int, queue.SimpleQueue[int | None]] = {}
        self._process = process.spawn(
            [sys.executable, "-m", _SERVER, *_PRELOADED],
            env=self.environment,
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._read, name="wheelcheck-parsers", daemon=True).start()

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def run(self, task: Task) -> tuple[int, str] | None:
        """Run a task; return ``None`` if the server was lost, so that nothing is known.

        :raises ProcessError: it did not end in time, or the run is being stopped.
        """
        number, arrived = next(self._numbers), queue.SimpleQueue[int | None]()
        output = task.work.with_name("output.txt")
        self._waiting[number] = arrived
        request = {
            "number": number,
            "module": task.module,
            "arguments": list(map(os.fspath, task.arguments)),
            "work": os.fspath(task.work),
            "output": os.fspath(output),
        }
        try:
            if not self._send(request):
                return None
            end = time.monotonic() + task.timeout
            while True:
                with contextlib.suppress(queue.Empty):
                    status = arrived.get(timeout=process.HEARTBEAT)
                    break
                if process.is_stopping():
                    raise ProcessError(f"{task.module} was killed: the run is being stopped")
                if time.monotonic() >= end:
                    self._send({"end": number})
                    raise ProcessError(
                        f"{task.module} did not end within {task.timeout:g} seconds and was killed",
                        details=_read_end(output),
                    )
        finally:
            del self._waiting[number]
        return None if status is None else (status, _read_end(output))

    def close(self) -> None:
        """End the server and its tasks."""
        assert self._process.stdin is not None  # noqa: S101  spawn() made the pipe
        with contextlib.suppress(OSError), self._lock:
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_GRACE)
        process.kill_tree(self._process)

    def _send(self, request: Mapping[str, object]) -> bool:
        assert self._process.stdin is not None  # noqa: S101  spawn() made the pipe
        try:
            with self._lock:
                self._process.stdin.write(json.dumps(request).encode("ascii") + b"\n")
                self._process.stdin.flush()
        except (OSError, ValueError):  # it is gone, or was closed
            return False
        return self.is_alive

    def _read(self) -> None:
        assert self._process.stdout is not None  # noqa: S101  spawn() made the pipe
        with contextlib.suppress(OSError, ValueError), self._process.stdout as stream:
            for line in stream:
                answer = json.loads(line)
                if (arrived := self._waiting.get(answer["number"])) is not None:
                    arrived.put(answer["status"])
        for arrived in list(self._waiting.values()):
            arrived.put(None)


def _read_end(output: Path) -> str:
    """Return the last part of what a task has written."""
    try:
        with output.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - (1 << 16)))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""


# Process-wide, as the programs that the run starts: the threads of all checks use it.
_lock = threading.Lock()
_shared = 0
_server: _Server | None = None


@contextlib.contextmanager
def shared(*, several: bool) -> Iterator[None]:
    """Run the tasks of the context as forks of one program, where that is possible.

    :param several: many tasks are expected: the program takes longer to start than that of one task.
    """
    global _shared  # noqa: PLW0603
    if not several or sys.platform != "linux":
        yield
        return
    with _lock:
        _shared += 1
    try:
        yield
    finally:
        with _lock:
            _shared -= 1
        if _shared == 0:
            _close()


def _current_server(task: Task) -> _Server | None:
    """Return the server for a task; ``None`` if each gets a program of its own."""
    global _server
    with _lock:
        if not _shared:
            return None
        if _server is None or not _server.is_alive or _server.environment != task.environment:
            before, _server = _server, _Server(task)
            if before is not None:
                before.close()
        return _server


def _close() -> None:
    global _server
    with _lock:
        before, _server = _server, None
    if before is not None:
        before.close()


atexit.register(_close)
