"""The connection to a board: one login of OpenSSH, shared by everything that a process of the run does there.

The first ``ssh`` starts the agent and is the control master; programs are started through it. OpenSSH does the connecting
with the user's own configuration, keys, agent, jump hosts and known hosts. Nothing is weakened, and nothing asks for a
password: ``BatchMode``, and no ``SSH_ASKPASS``.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import secrets
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.ssh import bootstrap, diagnosis
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.diagnosis import BoardError, ConnectionLostError
from pytest_wheelcheck.backends.ssh.onboard import protocol
from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process, temporary

#: Seconds between two beats; the agent ends after :data:`protocol.SILENCE` seconds without one.
BEAT = 4.0

#: Seconds that the agent may take to start, and to answer a request. A slow link delays an answer; a dead one is noticed by
#: ssh (``ServerAliveInterval``).
START_TIMEOUT, ANSWER_TIMEOUT = 180.0, 1800.0

#: Bytes of the messages of ssh, and of what a board's shell may print before the agent starts.
_MAX_OUTPUT = 1 << 16

#: Bytes of an answer's JSON and data.
_MAX_ANSWER = 128 << 20

_OPTIONS = (
    *("-T", "-a", "-x"),
    *("-o", "BatchMode=yes"),
    *("-o", "ClearAllForwardings=yes"),
    *("-o", "PermitLocalCommand=no"),
    *("-o", "RequestTTY=no"),
    *("-o", "RemoteCommand=none"),
    *("-o", "ConnectTimeout=20"),
    *("-o", "ServerAliveInterval=5"),
    *("-o", "ServerAliveCountMax=4"),
    *("-o", "ControlPersist=no"),
)


def ssh_environment() -> dict[str, str]:
    """Return the environment of ssh: the one that it starts for a jump host (``ProxyJump``) does not get its options."""
    return {**os.environ, "SSH_ASKPASS_REQUIRE": "never"}


class Connection:
    """A connection, from its login to its end.

    :param run: the name of the directory of this process's files on the board.
    """

    def __init__(self, destination: Destination, run: str) -> None:
        self.destination = destination
        self.run = run
        #: The agent's Python, which also starts programs; where the board keeps files; this process's directory there.
        self.python = self.base = self.directory = ""
        self.facts: dict[str, Any] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._write_lock = threading.Lock()
        self._answers: queue.Queue[tuple[dict[str, Any], bytes] | None] = queue.Queue()
        self._messages = bytearray()
        self._before = b""
        self._closing, self._messages_end = threading.Event(), threading.Event()
        self._lost = False
        self._sockets = None if sys.platform == "win32" else _socket_directory()
        try:
            self._process = self._start()
        except ProcessError:
            self._remove_sockets()
            raise

    # -- the login ------------------------------------------------------------------------------------------------

    def _start(self) -> subprocess.Popen[bytes]:
        ssh = shutil.which("ssh")
        if ssh is None:
            raise BoardError(
                "there is no ssh on this host",
                cause="the client of OpenSSH is not installed, or not on PATH",
                fix="install it (apt install openssh-client)",
            )
        self._ssh = ssh
        master = ("-o", "ControlMaster=yes", "-o", f"ControlPath={self._sockets.path}/s") if self._sockets else ()
        return process.spawn(
            [ssh, *_OPTIONS, *master, *self.destination.arguments, bootstrap.command()],
            env=ssh_environment(),
            stdin=subprocess.PIPE,
        )

    def open(self, query: str = "") -> None:
        """Log in, start the agent and make the directory of the run.

        :param query: a program that prints what an interpreter is; the board's facts are gathered if it is given.
        :raises BoardError: that is impossible.
        """
        answer = self._first("hello", run=self.run, query=query)
        self.python, self.base, self.directory = answer["python"], answer["base"], answer["run"]
        self.facts = answer["facts"]
        threading.Thread(target=self._beat, name="wheelcheck-board-beat", daemon=True).start()

    def clean(self) -> int:
        """Log in and remove what runs have cached on the board; return how many bytes that were.

        :raises BoardError: that is impossible.
        """
        return int(self._first("clean")["freed"])

    def _first(self, operation: str, **fields: Any) -> dict[str, Any]:
        """Start the agent and send the first request.

        :raises BoardError: that is impossible; the connection is closed.
        """
        for name, target in (("reader", self._read), ("messages", self._read_messages)):
            threading.Thread(target=target, name=f"wheelcheck-board-{name}", daemon=True).start()
        try:
            self._write(bootstrap.payload())
            answer, _ = self.request(operation, timeout=START_TIMEOUT, base=self.destination.directory, **fields)
        except ConnectionLostError:
            self.close()
            raise diagnosis.connecting(self.destination, self.messages()) from None
        except BaseException:
            self.close()
            raise
        if self._before.strip():
            self.close()
            raise diagnosis.talkative(self.destination, self._before.decode("utf-8", "replace"))
        return answer

    def messages(self) -> str:
        """Return what ssh and the agent wrote to standard error."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            # The last message arrives with the end.
            self._process.wait(0.5)
            self._messages_end.wait(1.0)
        return self._messages.decode("utf-8", "replace")

    # -- requests -------------------------------------------------------------------------------------------------

    def request(
        self, operation: str, *, timeout: float = ANSWER_TIMEOUT, **fields: Any
    ) -> tuple[dict[str, Any], bytes]:
        """Send one request and wait for its answer.

        :raises BoardError: the board cannot do it.
        :raises ConnectionLostError: the connection was lost.
        """
        with self._lock:
            number = next(self._numbers)
            self._send({"op": operation, "id": number, **fields})
            end = time.monotonic() + timeout
            while True:
                try:
                    found = self._answers.get(timeout=max(0.0, min(0.2, end - time.monotonic())))
                except queue.Empty:
                    if self._process.poll() is not None:
                        # The reader may still have an answer.
                        with contextlib.suppress(queue.Empty):
                            if (found := self._answers.get(timeout=0.5)) is not None and found[0].get("id") == number:
                                break
                        found = None
                    elif time.monotonic() < end:
                        continue
                    else:
                        found = None
                if found is None:
                    self._lost = True
                    raise diagnosis.lost(self.destination, self.messages())
                if found[0].get("id") == number:
                    break
        header, data = found
        if error := header.get("error"):
            raise diagnosis.refused(self.destination, str(error[0]), str(error[1]))
        return header, data

    def send_files(self, files: Sequence[tuple[str, int, Path]], report: Any = None) -> None:
        """Send files to the store. An error on the board is raised by the next request.

        :param files: digest, size and path of each.
        :param report: called with the number of bytes of each part that was sent, before compression.
        :raises ConnectionLostError: the connection was lost.
        """
        with self._lock:
            self._send({"op": "blobs", "files": [[digest, size] for digest, size, _ in files]})
            stream = zlib.compressobj(6)
            for _, size, path in files:
                left = size
                with path.open("rb") as file:
                    while left:
                        # A file that shrinks meanwhile has another digest, so the board does not keep it.
                        part = file.read(min(left, 1 << 18)) or bytes(min(left, 1 << 18))
                        left -= len(part)
                        if packed := stream.compress(part):
                            self._send({"op": "data"}, packed)
                        if report is not None:
                            report(len(part))
            self._send({"op": "data"}, stream.flush())

    def _send(self, header: dict[str, Any], data: bytes = b"") -> None:
        text = zlib.compress(json.dumps(header).encode("ascii"))
        self._write(protocol.HEADER.pack(len(text), len(data)) + text + data)

    def _write(self, data: bytes) -> None:
        stream = self._process.stdin
        assert stream is not None  # noqa: S101  spawn() made the pipe
        try:
            with self._write_lock:
                stream.write(data)
                stream.flush()
        except (OSError, ValueError):
            self._lost = True
            raise diagnosis.lost(self.destination, self.messages()) from None

    def _beat(self) -> None:
        with contextlib.suppress(ProcessError):
            while not self._closing.wait(BEAT):
                self._send({"op": "beat"})

    # -- reading --------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  spawn() made the pipe
        try:
            before = b""
            while not before.endswith(bootstrap.MARK):
                part = stream.readline(_MAX_OUTPUT)
                before += part
                if not part or len(before) > _MAX_OUTPUT:
                    self._before = before
                    return
            self._before = before[: -len(bootstrap.MARK)]
            while True:
                sizes = self._exactly(stream, protocol.HEADER.size)
                json_size, data_size = protocol.HEADER.unpack(sizes)
                if json_size + data_size > _MAX_ANSWER:
                    return
                header = json.loads(_inflated(self._exactly(stream, json_size)))
                data = self._exactly(stream, data_size)
                self._answers.put((header, data))
        except (EOFError, OSError, ValueError):
            pass
        finally:
            self._lost = True
            self._answers.put(None)
            with contextlib.suppress(OSError):
                stream.close()

    def _exactly(self, stream: Any, count: int) -> bytes:
        data: bytes = stream.read(count)
        if len(data) != count:
            raise EOFError
        return data

    def _read_messages(self) -> None:
        stream = self._process.stderr
        assert stream is not None  # noqa: S101  spawn() made the pipe
        with contextlib.suppress(OSError, ValueError):
            while part := os.read(stream.fileno(), 4096):
                self._messages += part
                del self._messages[:-_MAX_OUTPUT]
        self._messages_end.set()
        with contextlib.suppress(OSError):
            stream.close()

    # -- programs -------------------------------------------------------------------------------------------------

    def program(self, description: dict[str, Any]) -> list[str]:
        """Prepare a program; return the argv that starts it, which ends with its token.

        :raises BoardError: the board cannot do it, or the connection was lost.
        """
        token = secrets.token_hex(8)
        self.request("program", token=token, program=description)
        command = (
            f"exec {shlex.quote(self.python)} -I -S -B {shlex.quote(f'{self.directory}/{protocol.PACKAGE}')} {token}"
        )
        shared = ("-o", "ControlMaster=no", "-o", f"ControlPath={self._sockets.path}/s") if self._sockets else ()
        return [self._ssh, *_OPTIONS, *shared, *self.destination.arguments, command]

    def is_lost(self, *, ask: bool = False) -> bool:
        """Return whether the connection was lost.

        :param ask: ask the agent, since a program's own ``ssh`` may notice it first.
        """
        if ask and not self._lost:
            with contextlib.suppress(BoardError):
                self.request("ping", timeout=15.0)
        return self._lost or self._process.poll() is not None

    # -- the end --------------------------------------------------------------------------------------------------

    def close(self, *, timeout: float = 12.0) -> None:
        """End the connection. The agent ends what runs on the board and removes the directory of the run.

        :param timeout: seconds that it may take.
        """
        self._closing.set()
        stream = self._process.stdin
        with contextlib.suppress(OSError, ValueError):
            if stream is not None:
                stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.0 if self._lost else timeout)
        process.kill_tree(self._process)
        self._remove_sockets()

    def _remove_sockets(self) -> None:
        if self._sockets:
            self._sockets.remove()


def _inflated(data: bytes) -> bytes:
    """Decompress what a board has sent.

    :raises ValueError: it is too large, or not compressed.
    """
    stream = zlib.decompressobj()
    try:
        found = stream.decompress(data, _MAX_ANSWER)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    if not stream.eof:
        raise ValueError("an answer is too large")
    return found


def _socket_directory() -> temporary.TemporaryDirectory:
    """Return a new directory for the control socket. The path of a socket is short (108 bytes on Linux, 104 on macOS)."""
    parents: Iterable[str] = (tempfile.gettempdir(), "/tmp")  # noqa: S108  it is a directory of this user alone
    parent = next((path for path in parents if len(path) < 60 and os.access(path, os.W_OK)), None)
    return temporary.make(None if parent is None else Path(parent))
