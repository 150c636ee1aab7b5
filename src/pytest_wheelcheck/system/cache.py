"""The cache of the user: one folder, locked where it is written, complete or absent where it is read.

A thing of the cache is made in a folder beside its place and renamed into place under a lock. So a reader sees all of
it or nothing, two runs do not make it twice, and a run that is killed at any moment leaves at most a folder on the
side, which the next one that wants the same thing removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.system import process

#: Names a folder to use in the place of the user's cache folder.
VARIABLE = "WHEELCHECK_CACHE"

#: Seconds to wait for another run that makes the same thing.
LOCK_TIMEOUT = 1200.0

#: Stands in what is complete. Its time of modification is that of the last use: reading alone, by a backup or under Wine,
#: changes the time of access. When a thing was made, its folder tells.
_MARK = ".complete"

#: Seconds for which a use is not told again.
_FRESH = 3600.0
_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")


def root() -> Path:
    """Tell the cache folder: the environment variable ``WHEELCHECK_CACHE``, else the platform's own for this user.

    The folder need not exist. Source of the default: ``platformdirs.user_cache_path``.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("pytest-wheelcheck", appauthor=False)


def digest(*parts: str | bytes) -> str:
    """Make a short name from content: 16 hexadecimal digits of a SHA-256 over *parts*, borders included."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:16]


def path(key: str) -> Path:
    """Tell where :func:`provision` puts a thing, whether or not it is there.

    :param key: relative name with ``/`` between its parts, of letters, digits and ``_ . + -``; the last part should
        be made from the content (see :func:`digest`).
    :raises ValueError: *key* is not such a name.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a name in the cache: {key!r}")
    return root().joinpath(*key.split("/"))


def find(key: str) -> Path | None:
    """Give the folder of a thing that :func:`provision` has completed, else ``None``. Takes no lock."""
    folder = path(key)
    mark = folder / _MARK
    try:
        status = mark.stat()
    except OSError:
        return None
    if time.time() - status.st_mtime > _FRESH:
        with contextlib.suppress(OSError):
            os.utime(mark)
    return folder


def is_complete(key: str) -> bool:
    """Tell whether :func:`provision` has completed a thing. Unlike :func:`find`, this is no use of it."""
    return (path(key) / _MARK).is_file()


@contextlib.contextmanager
def locked(key: str, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock of *key* against other threads and processes. The system frees it when a process dies.

    :param timeout: seconds to wait.
    :raises WheelcheckError: the cache cannot be written, or another run holds the lock for longer than *timeout*.
    """
    from filelock import FileLock, Timeout

    path(key)
    file = root() / "locks" / f"{digest(key)}.lock"
    with _explained():
        file.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(file, thread_local=False)
    end = time.monotonic() + timeout
    while True:
        try:
            with _explained():
                lock.acquire(timeout=min(1.0, max(0.0, end - time.monotonic())))
            break
        except Timeout:
            if time.monotonic() < end and not process.is_stopping():
                continue
        raise WheelcheckError(
            f"{key} is locked in the cache, and was for {timeout:g} seconds",
            cause="another run is making it, or hangs while doing so",
            fix=f"wait for it or end it; the lock is {file}",
        ) from None
    try:
        yield
    finally:
        lock.release()


def provision(key: str, make: Callable[[Path], None]) -> Path:
    """Give the folder of *key*, made by *make* if it is not there.

    *make* is handed an empty folder to fill; what it makes is renamed to :func:`path` afterwards, so an absolute path
    written into a file must be made from :func:`path`. It is not called where the thing is complete, and is called by
    one thread or process at a time. If it raises, nothing stays and the error goes on to the caller.

    :raises WheelcheckError: the cache cannot be written; and whatever *make* raises.
    """
    if found := find(key):
        return found
    final = path(key)
    with locked(key):
        if found := find(key):
            return found
        side = final.with_name(f".making-{final.name}")
        with _explained():
            # Only the holder of this lock uses this name: what lies there was left by a run that died.
            _put_away(side, final)
            side.mkdir(parents=True)
        try:
            make(side)
        except BaseException:
            with contextlib.suppress(OSError):
                _remove(side)
            raise
        with _explained():
            (side / _MARK).write_text("", encoding="utf-8")
            # Without its mark, what lies there was emptied by a cleaner of old files.
            _remove(final)
            _rename(side, final)
    return final


def remove(key: str) -> None:
    """Remove a thing, so that the next :func:`provision` makes it again. Not there is well.

    :raises WheelcheckError: the cache cannot be written.
    """
    folder = path(key)
    if not folder.exists():
        return
    with locked(key), _explained():
        # The mark goes first: from then on the thing counts as absent.
        (folder / _MARK).unlink(missing_ok=True)
        _remove(folder)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """Something in the cache.

    :param key: its name; of what a run that died left half made, the name that it was to have.
    :param folder: where it is.
    :param size: in bytes.
    :param unused: seconds since it was last used.
    :param whole: whether it was completed.
    """

    key: str
    folder: Path
    size: int
    unused: float
    whole: bool


def entries() -> list[Entry]:
    """List what is in the cache, by name."""
    found = []
    for folder in sorted(root().glob("*/*")):
        kind, name = folder.parent.name, folder.name
        if kind == "locks" or not _KEY.fullmatch(re.sub(r"^\.(making|gone)-", "", name)):
            continue
        mark = folder / _MARK
        whole = mark.is_file()
        if not whole and not name.startswith((".making-", ".gone-")):
            continue  # a library's own: virtualenv's answers of interpreters, downloads
        with contextlib.suppress(OSError):
            unused = time.time() - (mark if whole else folder).stat().st_mtime
            key = f"{kind}/{re.sub('^[.](making|gone)-', '', name)}"
            found.append(Entry(key=key, folder=folder, size=_size(folder), unused=unused, whole=whole))
    return found


def prune(seconds: float) -> list[Entry]:
    """Remove what was not used for some time, and what runs that died left half made.

    :returns: what was removed; what another run is making just now stays.
    """
    removed = []
    for thing in entries():
        if thing.whole and thing.unused < seconds:
            continue
        with contextlib.suppress(WheelcheckError), locked(thing.key, timeout=0.0), _explained():
            (thing.folder / _MARK).unlink(missing_ok=True)
            _remove(thing.folder)
            removed.append(thing)
    return removed


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def _put_away(side: Path, final: Path) -> None:
    """Remove what runs that died left, also while a program that outlived its run still writes into it."""
    if side.exists():
        side.rename(side.with_name(f".gone-{final.name}-{os.getpid()}-{time.monotonic_ns()}"))
    for gone in final.parent.glob(f".gone-{final.name}-*"):
        # What cannot be removed now is, by the next run.
        with contextlib.suppress(OSError):
            _remove(gone)


def _remove(folder: Path) -> None:
    if not folder.is_symlink() and not folder.exists():
        return
    if folder.is_symlink() or not folder.is_dir():
        folder.unlink()
        return
    try:
        shutil.rmtree(folder)
    except PermissionError:
        # An archive may hold folders without the right to write.
        for parent, _, _ in os.walk(folder):
            with contextlib.suppress(OSError):
                Path(parent).chmod(0o700)
        shutil.rmtree(folder)


def _rename(source: Path, target: Path) -> None:
    # On Windows a virus scanner may hold a new file open for a moment.
    for pause in (0.1, 0.3, 1.0) if os.name == "nt" else ():
        with contextlib.suppress(PermissionError):
            source.rename(target)
            return
        time.sleep(pause)
    source.rename(target)


@contextlib.contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (OSError, NotImplementedError) as error:
        if isinstance(error, TimeoutError):
            raise
        raise WheelcheckError(
            f"the cache folder {root()} cannot be written: {getattr(error, 'strerror', None) or error}",
            cause="it lies on a read-only or full file system, belongs to another user, or allows no locks",
            fix=f"set the environment variable {VARIABLE} to a folder that you may write",
        ) from error
