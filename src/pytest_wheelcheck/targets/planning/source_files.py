"""The files of a project's packages in its source tree, and which of them were changed after a wheel was built."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, WheelError
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.system import process
from pytest_wheelcheck.wheels.inspection import inspect

#: Seconds that git may take to list files.
_GIT_TIMEOUT = 20.0

#: Files of a package that are listed without git.
_MOST = 20_000

#: Bytes of the largest file that is compared.
_LARGEST = 10_000_000


def list_files(directory: Path, bases: Sequence[str], tops: Iterable[str]) -> list[str]:
    """List the files of a project: those that git tracks; without git, those in the directories of its packages.

    :param bases: directories that the packages may be in, relative to *directory*.
    :param tops: names of the packages.
    :returns: paths relative to *directory*.
    """
    return _tracked(directory) or [
        path for base in bases for top in tops for path in _walk(directory, f"{base}/{top}" if base != "." else top)
    ]


def _tracked(directory: Path) -> list[str]:
    try:
        listed = process.run(
            ["git", "-c", "core.quotePath=off", "ls-files", "-z", "--cached"], cwd=directory, timeout=_GIT_TIMEOUT
        )
    except ProcessError:
        return []
    return [path for path in listed.stdout.split("\0") if path and (directory / path).is_file()]


def _walk(directory: Path, below: str) -> Iterator[str]:
    number = 0
    for parent, names, files in os.walk(directory / below):
        names[:] = [name for name in sorted(names) if not name.startswith(".")]
        for name in sorted(files):
            number += 1
            if number > _MOST:
                return
            yield Path(parent, name).relative_to(directory).as_posix()


def changed_since(wheel: Wheel, directory: Path, found: Mapping[str, str]) -> list[str]:
    """Return the paths in a wheel of the Python files that are newer in the source tree, and are not what it contains.

    A build may write other files than the source tree has (versioneer does), so older files are not compared.

    :param directory: the project's.
    :param found: by their paths in the wheel, paths relative to *directory*.
    """
    with contextlib.suppress(OSError, WheelError):
        built = wheel.source.stat().st_mtime
        newer = [
            path
            for path, source in found.items()
            if path.endswith((".py", ".pyi")) and (directory / source).stat().st_mtime > built
        ]
        if not newer:
            return []
        container = inspect(wheel.path)
        changed = []
        for path in newer:
            member = container.find(path)
            own = (directory / found[path]).read_bytes()
            if member is None or max(member.size, len(own)) > _LARGEST:
                continue
            # Line ends may be those of the system that built the wheel.
            if _lines(container.read(member, limit=_LARGEST)) != _lines(own):
                changed.append(path)
        return changed
    return []


def _lines(data: bytes) -> bytes:
    return data.replace(b"\r\n", b"\n")
