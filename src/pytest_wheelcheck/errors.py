"""Errors that this package raises on purpose.

Each has a message, the likely cause, and the fix. The pytest plugin and the command ``wheelcheck`` print :func:`str` of
the error and nothing else.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable

#: Cause and fix of an error because a disk is full.
DISK_FULL = (
    "the disk is full",
    (
        "free space on it, for example with `wheelcheck cache prune`, or name directories on another disk in WHEELCHECK_CACHE, "
        "UV_CACHE_DIR and TMPDIR"
    ),
)


def is_disk_full(error: BaseException) -> bool:
    """Return whether an exception says that a disk, or the user's quota of it, is full."""
    return isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}


def did_you_mean(given: str, known: Iterable[str], *, most: int = 1, cutoff: float = 0.6) -> str:
    """Return the question that suggests similar names: ``did you mean tests or test?``; empty if none is similar.

    :param most: names to suggest.
    :param cutoff: as for :func:`difflib.get_close_matches`.
    """
    import difflib

    similar = difflib.get_close_matches(given, list(known), n=most, cutoff=cutoff)
    return f"did you mean {' or '.join(similar)}?" if similar else ""


class WheelcheckError(Exception):
    """Base of every error that this package raises on purpose.

    :param message: what happened, one sentence.
    :param cause: the likely cause; empty where *message* already names it.
    :param fix: what the user can do; empty where there is no known fix.
    :param details: the output of another program (an installer, a loader), shown below, unchanged.
    """

    def __init__(self, message: str, *, cause: str = "", fix: str = "", details: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.fix = fix
        self.details = details

    def __str__(self) -> str:
        lines = [self.message]
        if self.cause:
            lines.append(f"Cause: {self.cause}")
        if self.fix:
            lines.append(f"Fix: {self.fix}")
        if self.details.strip():
            lines.append(self.details.rstrip())
        return "\n".join(lines)


class UsageError(WheelcheckError):
    """An option, a path or an ini value is wrong. pytest exits with status 4."""


class WheelError(WheelcheckError):
    """A file is not a wheel that may be opened: it is damaged, hostile or wrongly named."""


class ProcessError(WheelcheckError):
    """A program could not be started, failed, or exceeded its timeout."""


class RuntimeUnavailableError(WheelcheckError):
    """An interpreter is not available, or does not work."""


class InstallError(WheelcheckError):
    """The wheel, its dependencies or the test tools could not be installed."""


class UncheckedInstallError(InstallError):
    """An installation failed for a reason that is not the wheel's: network, disk, dependency. Nothing is known of the wheel."""


class DependencyError(UncheckedInstallError):
    """A dependency has no wheel for an interpreter and could not be built, so the wheel itself could not be checked."""


class WorkerError(WheelcheckError):
    """The worker in the target died, stopped responding, or sent an invalid message."""


class WorkerReportsLostError(WorkerError):
    """A worker ended, and its last reports may be lost.

    It sent an invalid message, or SIGKILL ended the worker or its supervisor.
    """


class WorkerFatalError(WorkerError):
    """The worker in the target reported that it cannot continue."""
