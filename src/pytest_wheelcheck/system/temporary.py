"""Temporary directories that are removed even if the process that made them is killed.

A killed process cannot remove its directory. So each directory contains a file that its process keeps locked. The
system releases the lock when the process dies, and the next run removes every directory whose file nobody has locked.
A directory that the user asked to keep has no such file.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_wheelcheck.system import cache, directories, process

_PREFIX = "wheelcheck-"
_LOCK = "in-use"

#: The directory for output that is too large for a report, in the directory of a run.
LONG_OUTPUT = "output"

#: Seconds after which a directory that has not got its final name belongs to a killed process.
_UNFINISHED = 3600.0


class TemporaryDirectory:
    """A temporary directory of this process.

    :param path: the directory, without links.
    """

    def __init__(self, path: Path, lock: int | None) -> None:
        self.path = path
        self._lock = lock

    def remove(self, *, keep: frozenset[str] = frozenset(), patience: float | None = None) -> None:
        """Remove the directory as far as possible.

        :param keep: names of entries that stay in it, for the user to look at.
        :param patience: seconds to wait; then a process in the background goes on. ``None`` to wait until it is done.
        """
        entries = [path for path in self.path.iterdir() if path.name not in keep] if keep else [self.path]
        if patience is None or not self._remove_in_background(entries, patience):
            for path in entries:
                _remove(path)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _remove_in_background(self, entries: Sequence[Path], patience: float) -> bool:
        """Have another process remove the entries; return whether it could be started."""
        if self._lock is None:
            return False
        try:
            # It inherits the lock, so no other run removes the directory at the same time.
            program = [sys.executable, "-I", directories.__file__, *map(str, entries)]
            removing = process.start_detached(program, inherited=[self._lock])
        except OSError:
            return False
        try:
            removing.wait(patience)
        except subprocess.TimeoutExpired:
            # It is not waited for any more, which the destructor of Popen would report.
            removing.returncode = 0
        return True


def make(parent: Path | None = None) -> TemporaryDirectory:
    """Make a temporary directory, and remove those of killed processes.

    :param parent: where; by default the user's directory for temporary files, or another one if that is mounted noexec.
    :raises OSError: no directory for temporary files can be written, or all of them are mounted noexec.
    """
    if sys.platform == "win32":
        return TemporaryDirectory(Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent)).resolve(), None)
    import fcntl

    # It is locked before it gets the name that other processes look for.
    side = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}", dir=parent or _executable_parent())).resolve()
    final = side.with_name(side.name.removeprefix("."))
    try:
        lock = os.open(side / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        side.rename(final)
    except BaseException:
        _remove(side)
        raise
    _remove_abandoned(final.parent)
    return TemporaryDirectory(final, lock)


def _executable_parent() -> Path:
    """Return the user's directory for temporary files, or another one if that is mounted noexec.

    Environments are made below it, and the loader maps no native module from a file system that is mounted noexec (mount(8)).
    """
    usual = Path(tempfile.gettempdir())
    if sys.platform != "linux" or not os.access(usual, os.W_OK) or not _is_noexec(usual):
        return usual
    for parent in (Path("/var/tmp"), cache.root() / "tmp"):  # noqa: S108 - mkdtemp() makes a private directory there
        with contextlib.suppress(OSError):
            parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.access(parent, os.W_OK) and not _is_noexec(parent):
                return parent
    raise OSError(
        errno.EACCES, "it is mounted noexec, so native modules cannot be loaded from it; set TMPDIR", str(usual)
    )


def _is_noexec(path: Path) -> bool:
    return sys.platform == "linux" and bool(os.statvfs(path).f_flag & os.ST_NOEXEC)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Make a temporary directory for the duration of the context. If this process is killed, a later run removes it."""
    made = make()
    try:
        yield made.path
    finally:
        made.remove()


def seconds_in_use() -> float:
    """Return for how long another run of this user has had a directory; 0 if there is none, or if that is not known."""
    if sys.platform == "win32":
        return 0.0
    import fcntl

    begun = []
    for path in _executable_parent().glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except OSError:
                begun.append(path.lstat().st_mtime)
            finally:
                os.close(lock)
    return max(0.0, time.time() - min(begun)) if begun else 0.0


def _remove_abandoned(parent: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    for path in parent.glob(f"{_PREFIX}*/{_LOCK}"):
        with contextlib.suppress(OSError):
            if path.parent.is_symlink() or path.lstat().st_uid != os.getuid():
                continue
            lock = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.parent)
            finally:
                os.close(lock)
    # Of processes that were killed before they had locked their directory.
    for path in parent.glob(f".{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _UNFINISHED:
                _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        directories.remove(path)
