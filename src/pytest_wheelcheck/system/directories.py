"""Measure and remove directories, also those that others are changing or have write-protected."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path


def size(directory: Path) -> int:
    """Return the total size of a directory's files in bytes. Links count as such, unreadable files as 0."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with contextlib.suppress(OSError):
                total += Path(parent, name).lstat().st_size
    return total


def check_writable(directory: Path) -> None:
    """Try whether files can be written to a directory, which need not exist. Leaves nothing behind.

    :raises OSError: they cannot, or the directory cannot be made.
    """
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    # Permissions alone do not tell: a file system may be read-only, or have files that only its driver makes.
    with tempfile.TemporaryFile(dir=directory):
        pass


def remove(path: Path) -> None:
    """Remove a file, a link or a directory, also one without write permission. Does nothing if there is none.

    :raises OSError: something could not be removed; the rest is removed.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    shutil.rmtree(path, ignore_errors=True)
    if not path.exists():
        return
    # Archives may contain directories without write permission, and tests may take it away.
    for parent, _, _ in os.walk(path):
        with contextlib.suppress(OSError):
            Path(parent).chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        # This time for the error.
        shutil.rmtree(path)


if __name__ == "__main__":
    # Started by temporary.py with the interpreter alone, so this module imports the standard library only.
    for argument in sys.argv[1:]:
        with contextlib.suppress(OSError):
            remove(Path(argument))
