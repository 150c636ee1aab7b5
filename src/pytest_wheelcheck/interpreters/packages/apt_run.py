"""Runs apt-get with temporary files of its own, and tells a full disk from an answer of the repository."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import DISK_FULL, ProcessError, is_disk_full
from pytest_wheelcheck.system import process

#: What apt, its methods and gpgv print if they cannot write (``strerror(3)`` in the C locale), and apt's number of it.
_FULL = re.compile(r"No space left on device|Disk quota exceeded|don't have enough free space|\(28: |\(122: ")

#: Bytes below which a failure is that of the disk, whatever apt says: gpgv and sqv report a bad signature then.
_LEAST = 1 << 20


class NoSpaceError(ProcessError):
    """apt-get failed because the disk with its state is full. Nothing is known of the repository."""

    @classmethod
    def at(cls, directory: Path, details: str = "") -> NoSpaceError:
        """Return the error for a directory on the full disk."""
        return cls(
            f"no space left in the directory for temporary files, {directory} (TMPDIR)",
            cause=DISK_FULL[0],
            fix=DISK_FULL[1],
            details=details,
        )


def run(
    command: Sequence[str | Path],
    state: Path,
    *,
    cwd: Path | None = None,
    timeout: float = process.DEFAULT_DEADLINE,
    check: bool = True,
) -> process.CompletedProcess:
    """Run apt-get.

    Its temporary files are in *state*: it leaves them when it is killed. Its messages are read, so they are in English.

    :param command: as :func:`.apt.apt_get_command` returns it, and its arguments.
    :param state: the directory with apt's state.
    :param check: whether another failure than that of a full disk is an error.
    :raises NoSpaceError: the disk is full.
    :raises ProcessError: it failed for another reason, or did not end in time.
    """
    scratch = state / "tmp"
    try:
        scratch.mkdir(exist_ok=True)
    except OSError as error:
        if is_disk_full(error):
            raise NoSpaceError.at(state.parent) from error
        raise
    environment = {**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C"}
    completed = process.run(command, env=environment, cwd=cwd, timeout=timeout, check=False, end_with_parent=True)
    output = f"{completed.stdout}\n{completed.stderr}"
    failed = completed.returncode != 0 or re.search("^(?:Err:|[EW]: )", output, re.MULTILINE)
    if failed and (_FULL.search(output) or shutil.disk_usage(state).free < _LEAST):
        raise NoSpaceError.at(Path(tempfile.gettempdir()), completed.stderr or completed.stdout)
    if check and completed.returncode != 0:
        raise completed.failure()
    return completed
