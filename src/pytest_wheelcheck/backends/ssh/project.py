"""The files of the project that tests may need: those that git tracks or does not ignore."""

from __future__ import annotations

import contextlib
import fnmatch
import os
from collections.abc import Iterable, Iterator, Sequence
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


def list_files(
    root: Path, patterns: Sequence[str], named: Iterable[Path] = (), without: Path | None = None
) -> Iterator[str]:
    """Yield the relative paths of files and links below a directory.

    :param named: files and directories that the run itself names: git may ignore a configuration file.
    :param without: a directory whose files are left out: that of the run may be inside the project.
    :param patterns: of the ini key ``wheel_push``: further files, and with ``!`` in front those to leave out; the last one
        that fits counts.
    """
    names = dict.fromkeys(_tracked(root) or walk(root, _SKIPPED))
    if any(not pattern.startswith("!") for pattern in patterns):
        names.update(
            dict.fromkeys(name for name in walk(root, frozenset({".git"})) if _wanted(name, patterns, default=False))
        )
    wanted = {
        name
        for name in names
        if _wanted(name, patterns, default=not any(fnmatch.fnmatchcase(name, each) for each in _NEVER))
    }
    for path in named:
        if path != root and path.is_relative_to(root):
            name = os.path.relpath(path, root)
            if not path.is_dir():
                wanted.add(name)
            elif not any(each.startswith(f"{name}{os.sep}") for each in wanted):
                wanted.update(os.path.join(name, each) for each in walk(path, _SKIPPED))  # noqa: PTH118
    if without is not None and without.is_relative_to(root):
        inside = f"{os.path.relpath(without, root)}{os.sep}"
        wanted = {name for name in wanted if not name.startswith(inside)}
    yield from sorted(wanted)


def named_paths(cwd: Path, words: Iterable[str]) -> Iterator[Path]:
    """Yield the existing files and directories that words of a command line name, also as values of options."""
    for word in words:
        for text in (word.partition("::")[0], word.partition("=")[2]):
            # A text may be too long for a path, or have a null character.
            with contextlib.suppress(OSError, ValueError):
                if text and (path := Path(os.path.normpath(cwd / text))).exists():
                    yield path


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


def walk(root: Path, skipped: frozenset[str]) -> Iterator[str]:
    """Yield the relative paths of files and links below a directory.

    :param skipped: names of directories to leave out.
    """
    for parent, directories, files in os.walk(root):
        directories[:] = [name for name in directories if name not in skipped]
        for name in (*files, *(each for each in directories if os.path.islink(os.path.join(parent, each)))):  # noqa: PTH114, PTH118
            yield os.path.relpath(os.path.join(parent, name), root)  # noqa: PTH118
