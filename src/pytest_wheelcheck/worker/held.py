"""Messages that wait for the next one that is urgent: one system call and one packet for a test instead of four.

They are also in a file without a name in memory (memfd_create(2)), which the worker shares with its supervisor. So the
reports of a test's first phases are not lost when the test ends the interpreter: the supervisor sends them then.
"""

from __future__ import annotations

import os

# Bound here: fixtures and tests replace the functions of the module.
from os import fstat

from .descriptors import dup_high

try:
    from os import ftruncate, pread, pwrite
except ImportError:  # Windows, where there is no supervisor
    ftruncate = pread = pwrite = None  # type: ignore[assignment]

#: Bytes that are held at most.
HELD_LIMIT = 1 << 16


def make_held_file() -> int:
    """Make the file; return its descriptor, or -1 where there is none."""
    create = getattr(os, "memfd_create", None)
    if create is None or pwrite is None:
        return -1
    try:
        made: int = create("wheelcheck-held")
    except OSError:
        return -1
    moved = dup_high(made)
    os.close(made)
    return moved


def read_held(fd: int) -> bytes:
    """Return the frames that are held; empty where they cannot be read."""
    try:
        return b"" if fd < 0 else pread(fd, fstat(fd).st_size, 0)
    except OSError:
        return b""


class HeldFrames:
    """The frames that the worker holds.

    :param fd: of :func:`make_held_file`; -1 to hold nothing.
    """

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._frames: list[bytes] = []
        self._size = 0

    def add(self, frame: bytes) -> bool:
        """Hold a frame; return whether that is possible."""
        if self._fd < 0 or self._size + len(frame) > HELD_LIMIT:
            return False
        try:
            if pwrite(self._fd, frame, self._size) != len(frame):
                return False
        except OSError:
            # Code under test closed the descriptor.
            return False
        self._frames.append(frame)
        self._size += len(frame)
        return True

    def take(self) -> bytes:
        """Return all frames, and hold none. The supervisor does not send them, even if the worker is just sending them."""
        if not self._frames:
            return b""
        frames = b"".join(self._frames)
        self._frames.clear()
        self._size = 0
        try:
            ftruncate(self._fd, 0)
        except OSError:
            self._fd = -1
        return frames
