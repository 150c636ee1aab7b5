"""How a worker ended."""

from __future__ import annotations

import signal
import sys

from pytest_wheelcheck.errors import WorkerError, WorkerReportsLostError
from pytest_wheelcheck.system import process


def death_error(code: int, output: str, known: str = "") -> WorkerError:
    """Return the error of a worker that ended.

    :param code: as :attr:`subprocess.Popen.returncode`.
    :param output: what it wrote.
    :param known: how it ended, where the output shows that.
    """
    killed = sys.platform != "win32" and code == -signal.SIGKILL
    cause = (
        "a crash in native code"
        if known
        else "code under test ended the process at once (os._exit, or exit in native code)"
        if code >= 0
        else "the kernel was out of memory, or code under test sent the signal"
        if killed
        else "a crash in native code"
    )
    kind = WorkerReportsLostError if killed else WorkerError
    return kind(f"the interpreter died: {known or process.describe_status(code)}", cause=cause, details=output)
