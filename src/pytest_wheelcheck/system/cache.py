"""The user's cache: one directory, locked while it is written, complete or absent when it is read.

A cache entry is a directory. It is made under a temporary name next to its final path and renamed under a lock. So a
reader sees all of it or nothing, two runs do not make it twice, and a run that is killed leaves at most a directory
under a temporary name, which the next run that makes the same entry removes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.system import directories, process

#: The environment variable that names a directory to use instead of the user's cache directory.
VARIABLE = "WHEELCHECK_CACHE"

#: Seconds to wait for another run that makes the same entry.
LOCK_TIMEOUT = 1200.0

#: The file that marks an entry as complete. It contains the entry's size in bytes. Its modification time is the time of the
#: last use: the access time changes without a use, for example by a backup. The directory's own modification time is the time
#: when it was made.
_MARK = ".complete"

#: Seconds for which another use does not update the mark.
MARK_INTERVAL = 3600.0

_KEY = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*(/[A-Za-z0-9_][A-Za-z0-9_.+-]*)*")

#: Prefixes of entries that are being made, and of remains that could not be removed yet.
_MAKING, _GONE = ".making-", ".gone-"


def root() -> Path:
    """Return the cache directory: the environment variable ``WHEELCHECK_CACHE``, else the platform's default.

    The directory need not exist. The default is ``platformdirs.user_cache_path``.
    """
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("pytest-wheelcheck", appauthor=False)


def digest(*parts: str | bytes) -> str:
    """Return 16 hexadecimal digits of a SHA-256 over *parts* and their lengths."""
    total = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        total.update(len(data).to_bytes(8, "big"))
        total.update(data)
    return total.hexdigest()[:16]


def path(key: str) -> Path:
    """Return the directory of an entry, whether or not it exists.

    :param key: relative name with ``/`` between its parts, of letters, digits and ``_ . + -``. The last part should
        depend on the content (see :func:`digest`).
    :raises ValueError: *key* is not such a name.
    """
    if not _KEY.fullmatch(key):
        raise ValueError(f"not a cache key: {key!r}")
    return root().joinpath(*key.split("/"))


def find(key: str) -> Path | None:
    """Return the directory of a complete entry and record its use; ``None`` if there is none. Takes no lock."""
    directory = path(key)
    mark = directory / _MARK
    try:
        status = mark.stat()
    except OSError:
        return None
    if time.time() - status.st_mtime > MARK_INTERVAL:
        with contextlib.suppress(OSError):
            os.utime(mark)
    return directory


def is_complete(key: str) -> bool:
    """Return whether an entry is complete. Unlike :func:`find`, this does not count as a use."""
    return (path(key) / _MARK).is_file()


@contextlib.contextmanager
def locked(key: str, *, timeout: float = LOCK_TIMEOUT) -> Iterator[None]:
    """Hold the lock of *key* against other threads and processes. The system releases it when a process dies.

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
            f"{key} has been locked in the cache for {timeout:g} seconds",
            cause="another run is making it, or hangs while doing so",
            fix=f"wait for that run or end it; the lock is {file}",
        ) from None
    try:
        yield
    finally:
        lock.release()


def provision(key: str, make: Callable[[Path], None]) -> Path:
    """Return the directory of *key*, and have *make* fill it first if the entry does not exist.

    *make* gets an empty directory, which is renamed to :func:`path` afterwards; so absolute paths that it writes into
    files must be derived from :func:`path`. It is called by one thread or process at a time. If it raises an error,
    nothing is cached, and the caller gets the error.

    :raises WheelcheckError: the cache cannot be written; in addition, everything that *make* raises.
    """
    if found := find(key):
        return found
    final = path(key)
    with locked(key):
        if found := find(key):
            return found
        side = final.with_name(f"{_MAKING}{final.name}")
        with _explained():
            # Only the holder of the lock uses this name: a directory of this name was left by a killed run.
            _set_aside(side, final)
            side.mkdir(parents=True)
        try:
            make(side)
        except BaseException:
            with contextlib.suppress(OSError):
                directories.remove(side)
            raise
        with _explained():
            (side / _MARK).write_text(str(directories.size(side)), encoding="ascii")
            # A directory without the mark was emptied by a program that removes old files.
            directories.remove(final)
            _rename(side, final)
    return final


def remove(key: str) -> None:
    """Remove an entry, so that the next :func:`provision` makes it again. Does nothing if there is none.

    :raises WheelcheckError: the cache cannot be written.
    """
    directory = path(key)
    if not directory.exists():
        return
    with locked(key), _explained():
        _remove_entry(directory)


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A directory in the cache.

    :param key: its name. For the remains of a killed run, the name that the entry was to have.
    :param directory: its path.
    :param size: in bytes.
    :param idle: seconds since the last use.
    :param complete: whether it is complete.
    """

    key: str
    directory: Path
    size: int
    idle: float
    complete: bool


def entries() -> list[Entry]:
    """List the entries of the cache by name."""
    return [entry for entry, _ in _entries(measure=True)]


def quick_size(seconds: float) -> int:
    """Return the size of the complete entries in bytes, from their marks.

    Marks of earlier versions have no size. Such entries are measured, as long as there is time, and then have one.

    :param seconds: time for that.
    """
    end = time.monotonic() + seconds
    total = 0
    for entry, is_known in _entries(measure=False):
        if not is_known and entry.complete and time.monotonic() < end:
            entry = _measured(entry)  # noqa: PLW2901
        total += entry.size
    return total


def _entries(*, measure: bool) -> Iterator[tuple[Entry, bool]]:
    """Yield the entries by name, and whether their size is known.

    :param measure: measure those whose size is not in their marks. Otherwise they have the size 0.
    """
    for directory in sorted(root().glob("*/*")):
        kind, name = directory.parent.name, directory.name
        final_name = name.removeprefix(_MAKING).removeprefix(_GONE)
        if kind == "locks" or not _KEY.fullmatch(final_name):
            continue
        mark = directory / _MARK
        complete = mark.is_file()
        if not complete and final_name == name:
            continue  # a library's own files: virtualenv's facts about interpreters, downloads
        with contextlib.suppress(OSError):
            text = mark.read_text(encoding="ascii", errors="replace") if complete else ""
            idle = time.time() - (mark if complete else directory).stat().st_mtime
            entry = Entry(
                key=f"{kind}/{final_name}",
                directory=directory,
                size=int(text) if text.isdecimal() else 0,
                idle=idle,
                complete=complete,
            )
            known = text.isdecimal()
            yield (_measured(entry), True) if measure and not known else (entry, known)


def _measured(entry: Entry) -> Entry:
    """Measure an entry, and record its size in its mark, without a use."""
    found = replace(entry, size=directories.size(entry.directory))
    mark = entry.directory / _MARK
    with contextlib.suppress(OSError):
        if entry.complete:
            status = mark.stat()
            # Not created: another process may be removing the entry.
            with mark.open("r+", encoding="ascii") as stream:
                stream.write(str(found.size))
            os.utime(mark, ns=(status.st_atime_ns, status.st_mtime_ns))
    return found


def prune(seconds: float, max_size: float = float("inf"), *, in_use: float = 0.0) -> list[Entry]:
    """Remove entries that were not used for some time, and the remains of killed runs.

    :param max_size: bytes that the other entries may have. If they have more, those that were not used for the longest time are
        removed, too.
    :param in_use: entries that were used in these last seconds are not removed for their size: a run may be using them.
    :returns: the removed entries. An entry that another run is making is not removed.
    """
    removed = []
    found = sorted(entries(), key=lambda entry: (entry.complete, -entry.idle))
    total = sum(entry.size for entry in found)
    for entry in found:
        if entry.complete and entry.idle < seconds and (total <= max_size or entry.idle < in_use):
            continue
        with contextlib.suppress(WheelcheckError), locked(entry.key, timeout=0.0), _explained():
            _remove_entry(entry.directory)
            removed.append(entry)
            total -= entry.size
    return removed


def _remove_entry(directory: Path) -> None:
    # The mark first: from then on the entry counts as absent, even if the rest takes time or fails.
    (directory / _MARK).unlink(missing_ok=True)
    directories.remove(directory)


def _set_aside(side: Path, final: Path) -> None:
    """Remove the remains of killed runs, even while a program that outlived its run still writes there."""
    if side.exists():
        side.rename(side.with_name(f"{_GONE}{final.name}-{os.getpid()}-{time.monotonic_ns()}"))
    for gone in final.parent.glob(f"{_GONE}{final.name}-*"):
        # Files that cannot be removed now are removed by a later run.
        with contextlib.suppress(OSError):
            directories.remove(gone)


def _rename(source: Path, target: Path) -> None:
    # On Windows, a virus scanner may hold a new file open for a moment.
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
            f"the cache directory {root()} cannot be written: {getattr(error, 'strerror', None) or error}",
            cause="its file system is read-only, full, or without locks, or it belongs to another user",
            fix=f"set the environment variable {VARIABLE} to a directory that you can write to",
        ) from error
