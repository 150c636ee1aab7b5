"""Temporary folders, above all that of a run: known to be in use while the run lives, and removed also where the run was killed.

A run that is killed cannot remove its folder. Each folder holds a file that its run keeps locked; the system frees the
lock when the process dies, and the next run removes what nobody holds. A folder that is to stay has no such file.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = "wheelcheck-"
_HELD = "in-use"

#: Seconds after which a folder that is still being made is nobody's.
_MAKING = 3600.0

#: Descriptors of the locks that this process holds, by folder.
_locks: dict[Path, int] = {}


def make_run_directory() -> Path:
    """Make a folder for a run, and remove those of runs that were killed.

    :raises OSError: there is no folder for temporary files that can be written.
    """
    if sys.platform == "win32":
        return Path(tempfile.mkdtemp(prefix=_PREFIX)).resolve()
    import fcntl

    # Locked before it has the name by which others look for it.
    side = Path(tempfile.mkdtemp(prefix=f".{_PREFIX}")).resolve()
    folder = side.with_name(side.name.removeprefix("."))
    try:
        held = os.open(side / _HELD, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(held, fcntl.LOCK_EX)
        side.rename(folder)
    except BaseException:
        _remove(side)
        raise
    _locks[folder] = held
    _sweep(folder.parent)
    return folder


def remove_run_directory(folder: Path, *, keep: frozenset[str] = frozenset()) -> None:
    """Remove a run's folder.

    :param keep: names of what is to stay in it, for the user to look at.
    """
    if keep:
        for path in folder.iterdir():
            if path.name not in keep:
                _remove(path)
    else:
        _remove(folder)
    held = _locks.pop(folder, None)
    if held is not None:
        os.close(held)


@contextlib.contextmanager
def directory() -> Iterator[Path]:
    """Give a folder for the time of the context; where this process is killed, a later run removes it."""
    folder = make_run_directory()
    try:
        yield folder
    finally:
        remove_run_directory(folder)


@contextlib.contextmanager
def signals_ignored() -> Iterator[None]:
    """Be deaf to Ctrl-C and SIGTERM while a run that is over puts its things away; they could only stop that half-way."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            # None stands for a handler that was not set from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def _sweep(parent: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    for path in parent.glob(f"{_PREFIX}*/{_HELD}"):
        with contextlib.suppress(OSError):
            if path.parent.is_symlink() or path.lstat().st_uid != os.getuid():
                continue
            held = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(path.parent)
            finally:
                os.close(held)
    # Of a run that was killed before it could say whose its folder is.
    for path in parent.glob(f".{_PREFIX}*"):
        with contextlib.suppress(OSError):
            status = path.lstat()
            if status.st_uid == os.getuid() and time.time() - status.st_mtime > _MAKING:
                _remove(path)


def _remove(path: Path) -> None:
    """Remove a file or a tree, also one in which tests took away the rights to do so."""
    with contextlib.suppress(OSError):
        if path.is_symlink() or not path.is_dir():
            path.unlink()
            return
        shutil.rmtree(path, ignore_errors=True)
        if path.exists():
            for parent, _, _ in os.walk(path):
                with contextlib.suppress(OSError):
                    Path(parent).chmod(0o700)
            shutil.rmtree(path, ignore_errors=True)
