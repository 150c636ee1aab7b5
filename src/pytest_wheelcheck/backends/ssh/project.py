"""The files of the project that tests may need: those that git tracks or does not ignore."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process

#: Directories that no test needs, where there is no git to ask.
_SKIPPED = frozenset(
    {
        ".git",
        ".hg",
        ".jj",
        ".svn",
        ".tox",
        ".nox",
        ".venv",
        "venv",
        "node_modules",
        "target",
        "build",
        "dist",
        "__pycache__",
    }
    | {".mypy_cache", ".pytest_cache", ".ruff_cache", ".hypothesis", ".eggs"}
)

#: Files that no test needs, although git may track them.
_NEVER = ("*.whl", "*.pyc")


def list_files(root: Path, patterns: Sequence[str]) -> Iterator[str]:
    """Yield the relative paths of files and links below a directory.

    :param patterns: of the ini key ``wheel_push``: further files, and with ``!`` in front those to leave out; the last one
        that fits counts.
    """
    names = dict.fromkeys(_tracked(root) or _walk(root, _SKIPPED))
    if any(not pattern.startswith("!") for pattern in patterns):
        names.update(
            dict.fromkeys(name for name in _walk(root, frozenset({".git"})) if _wanted(name, patterns, default=False))
        )
    for name in sorted(names):
        if _wanted(name, patterns, default=not any(fnmatch.fnmatchcase(name, each) for each in _NEVER)):
            yield name


def _wanted(name: str, patterns: Sequence[str], *, default: bool) -> bool:
    wanted = default
    for pattern in patterns:
        plain = pattern.removeprefix("!").rstrip("/")
        if fnmatch.fnmatchcase(name, plain) or fnmatch.fnmatchcase(name, f"{plain}/*"):
            wanted = not pattern.startswith("!")
    return wanted


def _tracked(root: Path) -> list[str]:
    """Ask git; an empty list if it does not know the directory."""
    argv: list[str | Path] = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        completed = process.run(argv, timeout=60, check=False)
    except ProcessError:
        return []
    if completed.returncode != 0:
        return []
    # Files that are deleted in the working tree are listed as well; a submodule is a directory.
    return [name for name in completed.stdout.split("\0") if name and os.path.lexists(root / name)]


def _walk(root: Path, skipped: frozenset[str]) -> Iterator[str]:
    for parent, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name not in skipped]
        for name in (*files, *(each for each in directories if os.path.islink(os.path.join(parent, each)))):  # noqa: PTH114, PTH118
            yield os.path.relpath(os.path.join(parent, name), root)  # noqa: PTH118
