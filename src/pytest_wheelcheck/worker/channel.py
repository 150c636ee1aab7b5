"""The channel to the controller: messages over file descriptors that nothing else uses."""

from __future__ import annotations

import _thread
import os
import sys

# Bound here: fixtures and tests replace the functions of the module, and reports are sent while they do.
from os import getpid, read, write

from . import codec
from .descriptors import dup_high
from .held import HeldFrames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import messages


if sys.platform == "win32":
    _select = None
else:
    from select import select as _select

#: Messages of a running test, which wait until it ends.
HELD = frozenset({"report", "warning", "text", "property"})

#: Exit status of a worker whose channel was closed, by the controller or by code under test.
CHANNEL_CLOSED = 71

#: Exit status of a forked child of the worker that returned from the test that forked it.
STRAY_CHILD = 70


class ChannelClosedError(Exception):
    """The controller is gone."""


class ImportDoneError(BaseException):
    """The process of one import has sent its result, and exits like any other program."""


class Channel:
    """Sends and receives messages.

    :param read_fd: descriptor to read from.
    :param write_fd: descriptor to write to.
    :param held: descriptor of the messages that are held back; -1 to send each at once.
    :param supervised: this process has a supervisor.
    """

    def __init__(self, read_fd: int, write_fd: int, held: int = -1, *, supervised: bool = False) -> None:
        self._in = read_fd
        self._out = write_fd
        self._held = HeldFrames(held)
        self.supervised = supervised
        self._pid = getpid()
        # The thread of pytest-timeout sends at the same time as the main thread.
        self._sending = _thread.allocate_lock()
        self.nonce = ""

    def send(self, message: messages.FromWorker) -> None:
        """Send one message; in a forked child of the worker, do nothing.

        Those that a test sends while it runs are sent together, when it ends.

        :raises ChannelClosedError: the controller closed its end.
        :raises InvalidMessageError: it does not follow the protocol.
        """
        if getpid() != self._pid:
            return
        frame = codec.encode(message, codec.FROM_WORKER, nonce=self.nonce, pid=self._pid)
        with self._sending:
            if message["type"] in HELD and self._held.add(frame):
                return
            view = memoryview(self._held.take() + frame)
            while view:
                try:
                    view = view[write(self._out, view) :]
                except OSError as error:
                    raise ChannelClosedError(str(error)) from error

    def accept(self) -> None:
        """Wait for the first message, and take the run's nonce from it.

        :raises ChannelClosedError: the controller closed its end.
        :raises InvalidMessageError: it is no :class:`~.messages.Start` of this protocol.
        """
        message = self._decode()
        # Before the check: without the nonce the controller would ignore the error message as well.
        self.nonce = str(message.get("nonce", ""))
        if _checked(message)["type"] != "start":
            raise codec.InvalidMessageError("the controller sent %s before start" % message["type"])

    def take_over(self) -> None:
        """Send from this process, the copy of one that has ended."""
        self._pid = getpid()

    def is_idle(self) -> bool:
        """Return whether no message has arrived; always true on Windows, where a pipe cannot be asked."""
        return _select is None or not _select([self._in], [], [], 0)[0]

    def receive(self) -> messages.FromController:
        """Wait for one message.

        :raises ChannelClosedError: the controller closed its end.
        :raises InvalidMessageError: it does not follow the protocol.
        """
        self.end_stray_child()
        return _checked(self._decode())

    def end_stray_child(self) -> None:
        """End this process if a test forked it, and it returned from the test: it must not run the worker's tests."""
        if getpid() != self._pid:
            os._exit(STRAY_CHILD)

    def _decode(self) -> dict[str, Any]:
        return codec.decode(self._exactly(codec.body_length(self._exactly(codec.HEADER))))

    def close(self) -> None:
        """Close the descriptors, so that the code that runs in a forked child cannot use them."""
        os.close(self._in)
        os.close(self._out)

    def _exactly(self, count: int) -> bytes:
        parts = []
        while count:
            try:
                part = read(self._in, min(count, 1 << 20))
            except OSError:
                part = b""
            if not part:
                raise ChannelClosedError("end of file")
            parts.append(part)
            count -= len(part)
        return b"".join(parts)


def _checked(message: Any) -> Any:
    try:
        codec.check(message, codec.FROM_CONTROLLER)
    except codec.InvalidMessageError as error:
        raise codec.InvalidMessageError("the controller sent an invalid message: %s" % error) from None
    return message


def open_channel(held: int, *, supervised: bool) -> Channel:
    """Move the channel away from the standard descriptors, before other code can print there.

    :param held: descriptor of the messages that are held back, or -1.
    :param supervised: this process has a supervisor.
    """
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
    return Channel(read_fd, write_fd, held, supervised=supervised)
