"""The output of a program that may be endless, or held open by processes that the program left running."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import IO

#: Bytes read at once.
_CHUNK = 1 << 16


class OutputReader:
    """Reads an output stream of a program in a thread, in bounded memory.

    :param limit: bytes to keep, half of them from the beginning and half from the end.
    """

    def __init__(self, stream: IO[bytes], limit: int) -> None:
        self._stream = stream
        self._half = limit // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._omitted = 0
        self._lock = threading.Lock()
        self.pipe = os.fstat(stream.fileno()).st_ino
        self._thread = threading.Thread(target=self._read, name="wheelcheck-output", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with self._stream, contextlib.suppress(OSError, ValueError):
            while chunk := os.read(self._stream.fileno(), _CHUNK):
                with self._lock:
                    self._add(chunk)

    def _add(self, chunk: bytes) -> None:
        room = max(0, self._half - len(self._head))
        self._head += chunk[:room]
        self._tail += chunk[room:]
        # Not at each chunk: moving the end of a large buffer takes time.
        if len(self._tail) > 2 * self._half + _CHUNK:
            self._shorten()

    def _shorten(self) -> None:
        surplus = len(self._tail) - self._half
        if surplus > 0:
            del self._tail[:surplus]
            self._omitted += surplus

    def wait(self, timeout: float) -> bool:
        """Wait for the end of the output; return whether it came.

        :param timeout: seconds.
        """
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def data(self) -> bytes:
        """Return the output so far."""
        with self._lock:
            self._shorten()
            note = f"\n[{self._omitted} bytes omitted]\n".encode() if self._omitted else b""
            return bytes(self._head) + note + bytes(self._tail)


def find_holders(pipes: Sequence[int]) -> list[str]:
    """List the processes that hold the write end of a pipe open, as process id and command line (Linux).

    :param pipes: inodes of pipes that this process reads.
    """
    return [f"{pid} {name}" for pid, name in _find_holders(pipes).items()]


def kill_holders(pipes: Sequence[int]) -> None:
    """Kill the processes that hold the write end of a pipe open (Linux; elsewhere nothing is killed).

    :param pipes: inodes of pipes that this process reads.
    """
    if sys.platform == "win32":
        return
    # A killed process may have started another one meanwhile.
    for _ in range(3):
        found = _find_holders(pipes)
        for pid in found:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        if not found:
            break


def _find_holders(pipes: Sequence[int]) -> dict[int, str]:
    found: dict[int, str] = {}
    if sys.platform != "linux":
        return found
    names = {f"pipe:[{inode}]" for inode in pipes}
    for directory in Path("/proc").glob("[0-9]*"):
        # Processes of other users cannot be read, and are not ours.
        with contextlib.suppress(OSError):
            if directory.name != str(os.getpid()) and _writes_to(directory / "fd", names):
                command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace").strip()
                found[int(directory.name)] = command[:200]
    return found


def _writes_to(directory: Path, names: set[str]) -> bool:
    """Return whether a process has a descriptor that writes to one of the pipes.

    A program that another thread is just starting has copies of our own descriptors for a moment; these only read.

    :param directory: with the process's descriptors, see proc(5). The permissions of a link show the access mode.
    """
    with os.scandir(directory) as entries:
        return any(
            entry.stat(follow_symlinks=False).st_mode & 0o200 and os.readlink(entry.path) in names  # noqa: PTH115
            for entry in entries
        )
