"""The channel: framed messages over descriptors that nothing else uses."""

from __future__ import annotations

import _thread
import json
import os
import struct
import sys

from . import FRAME_LIMIT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class ChannelClosedError(Exception):
    """The controller is gone."""


class ChildDoneError(BaseException):
    """A process that was there for one import has done its work, and leaves the interpreter the ordinary way."""


class Channel:
    """Framed JSON messages over two descriptors of our own."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._in = read_fd
        self._out = write_fd
        self._pid = os.getpid()
        # pytest-timeout's thread sends, too, while the main thread may.
        self._sending = _thread.allocate_lock()
        self.nonce = ""

    def send(self, kind: str, /, **fields: object) -> None:
        """Send one message; in a forked child of the worker, do nothing."""
        if os.getpid() != self._pid:
            return
        fields["type"] = kind
        fields["nonce"] = self.nonce
        fields["pid"] = self._pid
        data = json.dumps(fields, default=repr).encode("ascii")
        view = memoryview(struct.pack(">I", len(data)) + data)
        with self._sending:
            while view:
                try:
                    view = view[os.write(self._out, view) :]
                except OSError as error:
                    raise ChannelClosedError(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """Wait for one message.

        :raises ChannelClosedError: the controller closed its end.
        """
        if os.getpid() != self._pid:
            # A child that a test forked fell out of the test: it must not take the worker's messages.
            os._exit(70)
        (length,) = struct.unpack(">I", self._exactly(4))
        if length > FRAME_LIMIT:
            raise ChannelClosedError("a frame of %d bytes" % length)
        message: dict[str, Any] = json.loads(self._exactly(length).decode("ascii"))
        return message

    def close(self) -> None:
        """Put the channel out of the reach of what runs in a forked child."""
        os.close(self._in)
        os.close(self._out)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = os.read(self._in, min(count, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise ChannelClosedError("end of file")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def open_channel() -> Channel:
    """Move the channel away from the standard descriptors, before anything else can print there."""
    if sys.platform == "win32":
        import msvcrt

        for fd in (0, 1):
            msvcrt.setmode(fd, os.O_BINARY)
    read_fd = dup_high(0)
    write_fd = dup_high(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    sys.stdin = os.fdopen(os.dup(0), "r")
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.__stdout__ = sys.stdout  # type: ignore[misc]
    return Channel(read_fd, write_fd)


def dup_high(fd: int) -> int:
    """Duplicate a descriptor to a high number, which code under test does not meet by accident."""
    try:
        import fcntl
    except ImportError:
        return os.dup(fd)
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 200)
    except OSError:
        return os.dup(fd)
