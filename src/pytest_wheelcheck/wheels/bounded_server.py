"""A program that has imported the parsers, and forks for each task of :mod:`~pytest_wheelcheck.wheels.bounded` (Linux).

``python -m pytest_wheelcheck.wheels.bounded_server MODULE…``. Importing the parsers takes longer than reading a small wheel, so
a release needs them imported once. Each task still has a process of its own, which no other task has touched, with its limits.

Requests and answers are JSON objects, one in a line. A request has the number of a task and what it needs, or the number of a
task to end. An answer has the number and the exit status, negative for a signal.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn

assert sys.platform != "win32"  # noqa: S101  fork() is for Unix only


def serve(requests: int, answers: int) -> None:
    """Serve until the other side closes its end, then kill what still runs.

    :param requests: file descriptor to read from.
    :param answers: file descriptor to write to.
    """
    ended, wake = os.pipe()
    for end in (ended, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    running: dict[int, int] = {}
    lines = _Lines(requests)
    while True:
        readable, _, _ = select.select([requests, ended], [], [])
        if requests in readable:
            try:
                found = lines.read()
            except EOFError:
                for pid in running:
                    os.kill(pid, signal.SIGKILL)
                return
            for request in found:
                if "end" not in request:
                    running[_start(request, [requests, answers, ended, wake])] = request["number"]
                for pid in [pid for pid, number in running.items() if number == request.get("end")]:
                    os.kill(pid, signal.SIGKILL)
        if ended in readable:
            with contextlib.suppress(BlockingIOError):
                os.read(ended, 1024)
        for pid, status in _ended(running):
            answer = {"number": running.pop(pid), "status": os.waitstatus_to_exitcode(status)}
            os.write(answers, json.dumps(answer).encode("ascii") + b"\n")


class _Lines:
    """Reads JSON objects, one in a line."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._data = b""

    def read(self) -> list[dict[str, Any]]:
        """Return those that have arrived.

        :raises EOFError: the other side has closed its end.
        """
        part = os.read(self._fd, 1 << 16)
        if not part:
            raise EOFError
        *lines, self._data = (self._data + part).split(b"\n")
        return [json.loads(line) for line in lines]


def _ended(running: dict[int, int]) -> Iterator[tuple[int, int]]:
    while running:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == 0:
            return
        if pid in running:
            yield pid, status


def _start(request: dict[str, Any], fds: Sequence[int]) -> int:
    """Fork a process that does a task; return its process id."""
    pid = os.fork()
    if pid == 0:
        _do(request, fds)
    return pid


def _do(request: dict[str, Any], fds: Sequence[int]) -> NoReturn:
    status = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fd in fds:
            os.close(fd)
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        os.chdir(request["work"])
        os.environ.update(dict.fromkeys(("TMPDIR", "TEMP", "TMP"), request["work"]))
        tempfile.tempdir = None
        module = importlib.import_module(request["module"])
        from pytest_wheelcheck.wheels import bounded_process

        status = bounded_process.main(request["arguments"], module.run_task)
    except BaseException:  # noqa: BLE001 - a process of its own would print it as well
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with contextlib.suppress(ImportError):  # a task that needs it reports it
            importlib.import_module(name)
    # What is printed is no answer.
    channel = [os.dup(fd) for fd in (0, 1)]
    os.dup2(2, 1)
    serve(*channel)
