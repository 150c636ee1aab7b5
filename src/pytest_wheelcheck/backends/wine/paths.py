"""Paths as Windows says them, and back: the one place where they change for what crosses the channel to a worker.

What lies on which drive is a session's own, see :class:`Drives`. What goes in are settings, in which an absolute path
stands alone or behind an equals sign; what comes out is anything: locations, tracebacks, a test's own words.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

from pytest_wheelcheck.backends.wine import runner
from pytest_wheelcheck.system import cache

#: The drives of the interpreters, of the folder of the run, and of all that there is.
RUNTIMES, RUN, ROOT = "R:", "T:", "Z:"
#: Letters that tests seldom write themselves.
_PROJECTS = "PQSUVWXYGHIJKLMNO"

#: ``NAME=`` or nothing, then an absolute path, then perhaps the rest of a node id.
_GOING_IN = re.compile(r"((?:[^/\s=]+=)?)(/[^:\0]*)((?:::.*)?)", re.DOTALL)

#: A path on a drive, or of Wine's own kind beside all drives, its separators single or, inside a quoted string, doubled.
#: A part may hold spaces where another part follows.
_COMING_OUT = re.compile(
    r"(?:(?:(?:\\\\){1,2}\?\\{1,2})?\b(?P<drive>[A-Za-z]:)|(?:\\\\){1,2}\?\\{1,2}unix(?=\\))"
    r"(?P<rest>(?:(?:\\{1,2}|/)(?:[^\\/:*?\"'<>|\r\n]+(?=[\\/])|[^\\/:*?\"'<>|\s,;)\]}]+))+|[\\/]{1,2})"
)

#: Keys of messages whose value is a path, or begins with one.
_PATH_KEYS = frozenset({"path", "file", "filename"})
_PLACE_KEYS = frozenset({"location"})

#: Keys of node ids, which name a file, and may hold a parameter that looks like a path; and of names that stay as they are.
_ID_KEYS = frozenset({"id", "nodeid"})
_NAME_KEYS = frozenset({"names", "chain", "keywords"})


@dataclass(frozen=True, slots=True)
class Drives:
    """What the drives of a session stand for.

    :param folders: letters, with the colon, and absolute folders.
    :param cwd: the working directory; empty where paths that go up from it stay on their drive.
    """

    folders: tuple[tuple[str, str], ...]
    cwd: str = ""

    def arguments(self) -> tuple[str, ...]:
        """Say them as :mod:`.wine_session` wants them."""
        return tuple(f"{letter}={folder}" for letter, folder in self.folders)

    def to_target(self, path: Path | str) -> str:
        """Say an absolute path as Windows does."""
        return runner.to_windows(str(path), self.folders)

    def text_from_target(self, text: str) -> str:
        """Say every path on one of the drives that stands in a text as this system does."""
        return _COMING_OUT.sub(self._lies, text) if ":" in text or "?\\" in text else text

    def settings_to_target(self, value: Any) -> Any:
        """Change the paths in the settings of a worker."""
        if isinstance(value, str):
            if self.cwd and value.startswith("..") and (Path(self.cwd) / value.partition("::")[0]).exists():
                value = os.path.abspath(Path(self.cwd) / value)  # noqa: PTH100  symbolic links stay
            found = _GOING_IN.fullmatch(value)
            if found is None or not _is_here(found[2]):
                return value
            return f"{found[1]}{self.to_target(found[2])}{found[3]}"
        if isinstance(value, (list, tuple)):
            return [self.settings_to_target(each) for each in value]
        if isinstance(value, dict):
            return {key: self.settings_to_target(each) for key, each in value.items()}
        return value

    def node_id_to_target(self, node_id: str) -> str:
        """Say a node id, which names its file by an absolute path where that lies outside of the root folder."""
        path, separator, rest = node_id.partition("::")
        return (self.to_target(path).replace("\\", "/") if path.startswith("/") else path) + separator + rest

    def message_from_target(self, message: Any) -> Any:
        """See :class:`pytest_wheelcheck.backends.base.PathMapping`."""
        return self._translate(message, "")

    def _translate(self, value: Any, key: str) -> Any:
        if isinstance(value, str):
            if key in _NAME_KEYS:
                return value
            if key in _ID_KEYS:
                path, separator, rest = value.partition("::")
                return self.text_from_target(path) + separator + rest
            text = self.text_from_target(value)
            return PureWindowsPath(text).as_posix() if key in _PATH_KEYS and "\\" in text else text
        if isinstance(value, list):
            if key in _PLACE_KEYS and value and isinstance(value[0], str):
                # Path, line, and the name of a test.
                return [self.text_from_target(value[0]).replace("\\", "/"), *value[1:]]
            return [self._translate(each, key if key in _NAME_KEYS else "") for each in value]
        if isinstance(value, dict):
            return {name: self._translate(each, name) for name, each in value.items()}
        return value

    def _lies(self, found: re.Match[str]) -> str:
        drive = found["drive"]
        folder = "" if drive is None else dict(self.folders).get(drive.upper())
        if folder is None:
            return found[0]
        rest = re.sub(r"\\{1,2}", "/", found["rest"])
        return _as_it_lies(folder.rstrip("/") + rest if rest != "/" else folder or "/")


def whole() -> Drives:
    """Give the drives of a program that has a session for itself: all of this system."""
    return Drives(((RUNTIMES, str(_runtimes())), (ROOT, "/")))


def limited(run: Path, projects: Iterable[Path], cwd: Path) -> Drives:
    """Give the drives of a target's session: the interpreters, the folder of the run, the project.

    :param run: holds environments and temporary folders.
    :param projects: folders; those within others need no drive of their own.
    :param cwd: the working directory.
    """
    roots: list[Path] = []
    # Symbolic links stay as they are.
    absolute = dict.fromkeys(Path(os.path.abspath(path)) for path in projects)  # noqa: PTH100
    absolute.setdefault(cwd)
    for path in sorted(absolute, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(root) for root in roots):
            roots.append(path)
    lettered = ((f"{letter}:", str(path)) for letter, path in zip(_PROJECTS, roots, strict=False))
    return Drives((*lettered, (RUNTIMES, str(_runtimes())), (RUN, str(run))), cwd=str(cwd))


def _runtimes() -> Path:
    return cache.root() / "runtimes"


@lru_cache(maxsize=4096)
def _as_it_lies(path: str) -> str:
    """Spell a path as it lies here, as far as it is there at all: ``site`` of CPython 3.10 says ``lib`` of ``Lib``."""
    found, parts = Path("/"), path.split("/")[1:]
    for at, part in enumerate(parts):
        spelt = part
        if not (found / part).exists():
            with contextlib.suppress(OSError):
                spelt = next((each.name for each in found.iterdir() if each.name.lower() == part.lower()), part)
        parts[at] = spelt
        found /= spelt
    return "/" + "/".join(parts)


def _is_here(path: str) -> bool:
    """Tell a path from a word that only begins like one: its first folder is there."""
    first = path.split("/", 2)[1]
    return not first or Path("/", first).exists()
