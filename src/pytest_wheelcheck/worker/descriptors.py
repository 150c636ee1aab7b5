"""Descriptors that code under test does not use by accident."""

from __future__ import annotations

import os


def dup_high(fd: int) -> int:
    """Duplicate a descriptor to a high number, which code under test does not use by accident."""
    try:
        import fcntl
    except ImportError:
        return os.dup(fd)
    try:
        # PyPy does not have F_DUPFD_CLOEXEC.
        high = fcntl.fcntl(fd, getattr(fcntl, "F_DUPFD_CLOEXEC", fcntl.F_DUPFD), 200)
        os.set_inheritable(high, False)  # noqa: FBT003
        return high
    except OSError:
        return os.dup(fd)
