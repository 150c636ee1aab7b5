"""Find the files that tests leave in the source tree, by comparing its files before and after."""

from __future__ import annotations

import contextlib
import os
import stat
import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path

#: A tree with more files than this, or that takes more seconds to read, is not checked.
_MAX_FILES, _MAX_SECONDS = 20_000, 0.5

#: Directories that tools fill: new files there are not attributed to a test.
_TOOL_DIRECTORIES = ("__pycache__", "node_modules")
_TOOL_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")

#: Descriptors of this process that are searched for its output. A shell uses the first ones.
_MAX_DESCRIPTOR = 256

#: Modification time in nanoseconds and size in bytes of each file, by its path relative to the root.
Snapshot = Mapping[str, tuple[int, int]]


def snapshot(root: Path, *, exclude: Collection[Path] = ()) -> Snapshot | None:
    """List the files of a tree, without hidden directories and those of tools; ``None`` if the tree is too large.

    :param exclude: directories to leave out.
    """
    excluded = {os.fspath(path) for path in exclude}
    found: dict[str, tuple[int, int]] = {}
    end = time.monotonic() + _MAX_SECONDS
    directories = [os.fspath(root)]
    while directories:
        directory = directories.pop()
        try:
            entries = list(os.scandir(directory))
        except OSError:
            continue
        if directory != os.fspath(root) and any(entry.name in _TOOL_MARKS for entry in entries):
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if (
                        not entry.name.startswith(".")
                        and entry.name not in _TOOL_DIRECTORIES
                        and entry.path not in excluded
                    ):
                        directories.append(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    found[os.path.relpath(entry.path, root)] = (status.st_mtime_ns, status.st_size)
            except OSError:  # noqa: PERF203  removed in the meantime
                continue
        if len(found) > _MAX_FILES or time.monotonic() > end:
            return None
    return found


def output_files(root: Path, names: Collection[str]) -> set[str]:
    """Return which of the paths below *root* receive the output of this run, as POSIX paths.

    A shell that redirects the output into the project (``> log``, ``| tee log``) changes a file there, and no test does. The
    programs at the other ends of pipes are found on Linux only.
    """
    files = _open_files()
    found = set()
    for name in names:
        with contextlib.suppress(OSError):
            if _identity((root / name).stat()) in files:
                found.add(Path(name).as_posix())
    return found


def _open_files() -> set[tuple[int, int]]:
    files: set[tuple[int, int]] = set()
    pipes: set[tuple[int, int]] = set()
    for fd in range(_MAX_DESCRIPTOR):
        with contextlib.suppress(OSError):
            status = os.fstat(fd)
            (pipes if stat.S_ISFIFO(status.st_mode) else files).add(_identity(status))
    for directory in Path("/proc").glob("[0-9]*/fd") if pipes and sys.platform == "linux" else ():
        # Processes of other users cannot be read.
        with contextlib.suppress(OSError):
            opened = {_identity(path.stat()) for path in directory.iterdir()}
            if opened & pipes:
                files |= opened
    return files


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def changes(before: Snapshot, after: Snapshot, *, exclude: Collection[str] = ()) -> list[str]:
    """List the files that are new, changed or gone, such as ``data/log.txt (new)``.

    :param exclude: POSIX paths of files to leave out.
    """
    names = sorted(
        name
        for name in {*before, *after}
        if before.get(name) != after.get(name) and Path(name).as_posix() not in exclude
    )
    return [f"{name} ({'new' if name not in before else 'changed' if name in after else 'gone'})" for name in names]
