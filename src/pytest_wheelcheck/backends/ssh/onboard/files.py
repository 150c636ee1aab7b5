"""The files on a board: the store, which keeps them by their SHA-256, and errors of the file system."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import mmap
import os
import shutil
import time

from .protocol import RUN_MARK

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

#: Seconds after which a file of the store that no run used is removed.
STORE_AGE = 30 * 86400.0

#: Seconds after which a file was used again: a memory card wears out with each change.
_DAY = 86400.0


class RequestError(Exception):
    """A request cannot be met. ``kind`` is what the controller decides by."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind

    @classmethod
    def of(cls, error: OSError) -> RequestError:
        """Describe an error of the system."""
        kinds = {
            errno.ENOSPC: "full",
            errno.EDQUOT: "full",
            errno.EROFS: "read-only",
            errno.EACCES: "forbidden",
            errno.EPERM: "forbidden",
            errno.ENOMEM: "memory",
        }
        text = "%s: %s" % (error.filename, error.strerror) if error.filename else str(error.strerror or error)
        return cls(kinds.get(error.errno or 0, "system"), text)


class Store:
    """Files by their digests, in a directory that all runs share."""

    def __init__(self, directory: str) -> None:
        self.directory = directory

    def path(self, digest: str) -> str:
        """Return the path of a file."""
        return os.path.join(self.directory, digest[:2], digest)

    def receive(self, files: Sequence[Sequence[Any]], read: Callable[[int], bytes]) -> RequestError | None:
        """Receive files one after the other. All of them are read, also after an error.

        :param read: returns some of the next bytes, at most as many as its argument says.
        :returns: the first error.
        """
        failure = None
        for digest, size in files:
            writer = None
            left = size
            try:
                if failure is None:
                    writer = _Writer(self.path(digest), digest)
            except OSError as error:
                failure = RequestError.of(error)
            while left:
                part = read(left)
                left -= len(part)
                try:
                    if writer is not None:
                        writer.write(part)
                except OSError as error:
                    failure = RequestError.of(error)
                    _abandon(writer)
                    writer = None
            try:
                if writer is not None:
                    writer.finish()
            except OSError as error:
                failure = RequestError.of(error)
                _abandon(writer)
        return failure

    def copy(self, digest: str, path: str, *, mode: int, mtime: int, run: str) -> bool:
        """Copy a file from the store; return whether it is there and whole. A power cut may have damaged it.

        :param mtime: nanoseconds.
        :param run: the directory of the run, which replaces the mark of a script; empty for a file that is no script.
        """
        side = path + ".wheelcheck-new"
        found = hashlib.sha256()
        try:
            source = open(self.path(digest), "rb")
        except OSError:
            return False
        with source, open(side, "wb") as file:
            while part := source.read(1 << 20):
                found.update(part)
                file.write(part.replace(RUN_MARK, os.fsencode(run)) if run else part)
        if found.hexdigest() != digest:
            os.unlink(side)
            remove(self.path(digest))
            return False
        with contextlib.suppress(OSError):
            if abs(os.stat(self.path(digest)).st_mtime - time.time()) > _DAY:
                os.utime(self.path(digest))
        os.chmod(side, mode)
        os.utime(side, ns=(mtime, mtime))
        if os.path.isdir(path) and not os.path.islink(path):
            remove(path)
        os.replace(side, path)
        return True

    def prune(self) -> None:
        """Remove what no run has used for a long time, and what a killed agent left unfinished."""
        now = time.time()
        for parent, _, names in os.walk(self.directory):
            for name in names:
                path = os.path.join(parent, name)
                with contextlib.suppress(OSError):
                    age = now - os.lstat(path).st_mtime
                    if age > STORE_AGE or ("." in name and age > 3600):
                        os.unlink(path)

    def size(self) -> int:
        """Return the bytes of all files."""
        return tree_size(self.directory)


class _Writer:
    """Writes a file of the store, and checks it before it gets its name."""

    def __init__(self, path: str, digest: str) -> None:
        self._path, self._digest = path, digest
        os.makedirs(os.path.dirname(path), exist_ok=True)
        self.side = "%s.%d" % (path, os.getpid())
        self.file = open(self.side, "wb")
        self._found = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._found.update(data)
        self.file.write(data)

    def finish(self) -> None:
        self.file.close()
        if self._found.hexdigest() == self._digest:
            os.replace(self.side, self._path)
        else:
            os.unlink(self.side)


def _abandon(writer: _Writer | None) -> None:
    if writer is None:
        return
    with contextlib.suppress(OSError):
        writer.file.close()
    with contextlib.suppress(OSError):
        os.unlink(writer.side)


def tree_size(path: str) -> int:
    """Return the bytes of all files of a tree."""
    found = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(OSError):
                found += os.lstat(os.path.join(parent, name)).st_size
    return found


def remove(path: str) -> None:
    """Remove a file or a tree as far as possible, also one whose directories a test made unwritable."""
    if os.path.islink(path) or not os.path.isdir(path):
        with contextlib.suppress(OSError):
            os.unlink(path)
        return

    def retry(function: Any, name: str, _: Any) -> None:
        with contextlib.suppress(OSError):
            os.chmod(os.path.dirname(name), 0o700)
            os.chmod(name, 0o700)
            function(name)

    shutil.rmtree(path, onerror=retry)


def is_core(path: str, mark: bytes) -> bool:
    """Return whether a file is a core dump (elf(5)) whose memory has a text."""
    with open(path, "rb") as file:
        header = file.read(18)
        # The type is a number of 16 bits, in the order of the board.
        if header[:4] != b"\x7fELF" or 4 not in header[16:18]:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return memory.find(mark) >= 0
