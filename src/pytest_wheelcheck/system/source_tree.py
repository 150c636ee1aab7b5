"""What tests leave in the source tree: a listing before, a listing after."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Mapping
from pathlib import Path

#: Entries beyond which, and seconds after which, a tree is too large to be looked through for this.
_ENTRIES, _SECONDS = 20_000, 0.5

#: Folders that tools fill: nobody takes what is new there for a test's leavings.
_TOOLS = ("__pycache__", "node_modules")
_MARKS = ("CACHEDIR.TAG", "pyvenv.cfg")

#: Times and sizes of files by their names below the root.
Snapshot = Mapping[str, tuple[int, int]]


def snapshot(root: Path, *, exclude: Collection[Path] = ()) -> Snapshot | None:
    """List the files of a tree, but for hidden folders and those of tools; ``None`` where it is too large.

    :param exclude: folders that do not count.
    """
    left_out = {os.fspath(path) for path in exclude}
    found: dict[str, tuple[int, int]] = {}
    end = time.monotonic() + _SECONDS
    folders = [os.fspath(root)]
    while folders:
        folder = folders.pop()
        try:
            entries = list(os.scandir(folder))
        except OSError:
            continue
        if folder != os.fspath(root) and any(entry.name in _MARKS for entry in entries):
            continue
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if not entry.name.startswith(".") and entry.name not in _TOOLS and entry.path not in left_out:
                        folders.append(entry.path)
                else:
                    status = entry.stat(follow_symlinks=False)
                    found[os.path.relpath(entry.path, root)] = (status.st_mtime_ns, status.st_size)
            except OSError:  # noqa: PERF203  gone in the meantime
                continue
        if len(found) > _ENTRIES or time.monotonic() > end:
            return None
    return found


def changes(before: Snapshot, after: Snapshot, *, exclude: Collection[str] = ()) -> list[str]:
    """Name the files that are new, changed or gone, each with that word.

    :param exclude: names that do not count.
    """
    names = sorted(
        name
        for name in {*before, *after}
        if before.get(name) != after.get(name) and Path(name).as_posix() not in exclude
    )
    return [f"{name} ({'new' if name not in before else 'changed' if name in after else 'gone'})" for name in names]
