"""Copies what programs left in a directory, without following a link that they made: their files are not trusted."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

#: Bytes of a name of a file. Most file systems take 255.
_MAX_NAME = 200

#: Files of one directory tree that are copied.
_MAX_FILES = 10_000

#: What some file system or shell does not take in a name.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]|[. ]+$')


def safe_name(name: str) -> str:
    """Return a name that every file system takes, and that is neither a path nor hidden from Windows."""
    text = _UNSAFE.sub("_", name).encode("utf-8", "replace")[:_MAX_NAME].decode("utf-8", "ignore")
    return f"_{text}" if not text.strip(".") or re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", text) else text


def regular_files(directory: Path) -> Iterator[tuple[Path, int]]:
    """Yield the regular files of a directory that is no link, and their sizes. Links are neither yielded nor followed."""
    if directory.is_symlink():
        return
    for parent, directories, names in os.walk(directory):
        directories.sort()
        for name in sorted(names):
            path = Path(parent, name)
            try:
                status = path.lstat()
            except OSError:
                continue
            if stat.S_ISREG(status.st_mode):
                yield path, status.st_size


class Copier:
    """Copies files into one directory, up to a number of bytes.

    :param destination: is made with the first file.
    :param limit: bytes of all files.

    Attributes: ``copied``, the paths of the copies relative to *destination*; ``omitted``, number and bytes of the files that
    were too much.
    """

    def __init__(self, destination: Path, limit: int) -> None:
        self._destination = destination
        self._left = limit
        self.copied: list[str] = []
        self.omitted = (0, 0)

    def tree(self, directory: Path, name: str = "") -> None:
        """Copy the regular files of a directory.

        :param name: of the directory below the destination; empty for the destination itself.
        """
        for path, size in regular_files(directory):
            parts = [*filter(None, name.split("/")), *path.relative_to(directory).parts]
            self.file(path, size, parts)

    def file(
        self, path: Path, size: int, parts: list[str], copy: Callable[[Path, Path], object] = shutil.copyfile
    ) -> bool:
        """Copy one file; return whether there was room for it.

        :param parts: of its path below the destination.
        """
        if size > self._left or len(self.copied) >= _MAX_FILES:
            self.omitted = (self.omitted[0] + 1, self.omitted[1] + size)
            return False
        target = self._free(self._destination.joinpath(*map(safe_name, parts)))
        target.parent.mkdir(parents=True, exist_ok=True)
        copy(path, target)
        self._left -= size
        self.copied.append(target.relative_to(self._destination).as_posix())
        return True

    @staticmethod
    def _free(path: Path) -> Path:
        """Return a path that nothing has: safe names of two files may be the same."""
        number = 1
        found = path
        while os.path.lexists(found):
            number += 1
            found = path.with_name(f"{path.stem}-{number}{path.suffix}")
        return found
