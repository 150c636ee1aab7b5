"""Translation of paths between this host and the programs of a session.

Each session has its own drives, see :class:`Drives`. Settings go to the target: there a path is a whole value, or follows
an equals sign. Messages come from the target: they contain locations, tracebacks and the output of tests, with paths
anywhere in the text.
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

#: The drives of the interpreters, of the directory of the run, and of the root directory.
INTERPRETERS, RUN, ROOT = "R:", "T:", "Z:"

#: Letters of the drives of projects, first those that tests seldom contain.
_PROJECT_LETTERS = "PQSUVWXYGHIJKLMNO"

#: ``NAME=`` or nothing, an absolute path, and the rest of a node id if there is one.
_SETTING = re.compile(r"((?:[^/\s=]+=)?)(/[^:\0]*)((?:::.*)?)", re.DOTALL)

#: A path on a drive, or one of Wine's own kind that is on no drive. Its separators are single, or doubled inside a quoted
#: string. A part may contain spaces if another part follows.
_WINDOWS_PATH = re.compile(
    r"(?:(?:(?:\\\\){1,2}\?\\{1,2})?\b(?P<drive>[A-Za-z]:)|(?:\\\\){1,2}\?\\{1,2}unix(?=\\))"
    r"(?P<rest>(?:(?:\\{1,2}|/)(?:[^\\/:*?\"'<>|\r\n]+(?=[\\/])|[^\\/:*?\"'<>|\s,;)\]}]+))+|[\\/]{1,2})"
)

#: Keys of messages whose value is a path, and those whose value is a list that begins with one.
_PATH_KEYS = frozenset({"path", "file", "filename"})
_LOCATION_KEYS = frozenset({"location"})

#: Keys whose value is a node id: its file is a path, but a parameter may only look like one.
_ID_KEYS = frozenset({"id", "nodeid"})

#: Keys whose value is not translated.
_NAME_KEYS = frozenset({"names", "chain", "keywords"})


@dataclass(frozen=True, slots=True)
class Drives:
    """The drives of a session. See :class:`pytest_wheelcheck.backends.base.PathMapping` for the methods.

    :param directories: letters with a colon, and absolute directories.
    :param cwd: the working directory; empty if relative paths with ``..`` stay as they are.
    """

    directories: tuple[tuple[str, str], ...]
    cwd: str = ""

    def arguments(self) -> tuple[str, ...]:
        """Return the drives as arguments of :mod:`.runner`."""
        return tuple(f"{letter}={directory}" for letter, directory in self.directories)

    def to_target(self, path: Path | str) -> str:
        """Return an absolute path of this host as Windows programs name it."""
        return runner.to_windows_path(str(path), self.directories)

    def text_from_target(self, text: str) -> str:
        """Translate every path on one of the drives in a text of a Windows program."""
        return _WINDOWS_PATH.sub(self._host_path, text) if ":" in text or "?\\" in text else text

    def settings_to_target(self, value: Any) -> Any:
        """Translate the paths inside the settings of a worker."""
        if isinstance(value, str):
            if self.cwd and value.startswith("..") and (Path(self.cwd) / value.partition("::")[0]).exists():
                # It may lead to another drive.
                value = os.path.abspath(Path(self.cwd) / value)  # noqa: PTH100  symbolic links stay
            match = _SETTING.fullmatch(value)
            if match is None or not _may_exist(match[2]):
                return value
            return f"{match[1]}{self.to_target(match[2])}{match[3]}"
        if isinstance(value, (list, tuple)):
            return [self.settings_to_target(item) for item in value]
        if isinstance(value, dict):
            return {key: self.settings_to_target(item) for key, item in value.items()}
        return value

    def node_id_to_target(self, node_id: str) -> str:
        """Translate a node id; its file is an absolute path if it is outside of the root directory."""
        path, separator, rest = node_id.partition("::")
        return (self.to_target(path).replace("\\", "/") if path.startswith("/") else path) + separator + rest

    def message_from_target(self, message: Any) -> Any:
        """Translate the paths in a message of a worker."""
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
            if key in _LOCATION_KEYS and value and isinstance(value[0], str):
                # Path, line, name of the test.
                return [self.text_from_target(value[0]).replace("\\", "/"), *value[1:]]
            return [self._translate(item, key if key in _NAME_KEYS else "") for item in value]
        if isinstance(value, dict):
            return {name: self._translate(item, name) for name, item in value.items()}
        return value

    def _host_path(self, match: re.Match[str]) -> str:
        drive = match["drive"]
        directory = "" if drive is None else dict(self.directories).get(drive.upper())
        if directory is None:
            return match[0]
        rest = re.sub(r"\\{1,2}", "/", match["rest"])
        return _existing_spelling(directory.rstrip("/") + rest if rest != "/" else directory or "/")


def all_drives() -> Drives:
    """Return the drives of a program that has a session of its own: it reaches the whole file system."""
    return Drives(((INTERPRETERS, str(_interpreters())), (ROOT, "/")))


def limited_drives(run: Path, projects: Iterable[Path], cwd: Path) -> Drives:
    """Return the drives of a target's session: the interpreters, the directory of the run, and the project.

    A project is never the root of a drive. An empty root has no entries at all, not even ``.``, so that Windows and Wine
    report that they find no file, where :func:`os.scandir` lists an empty directory (before CPython 3.12). A link to the
    project on a drive of its own would not do: Wine resolves paths without it.

    :param run: has the environments and temporary directories.
    :param projects: directories; those inside others get no drive of their own. The drive of the others is their parent
        directory, which may contain several of them. The first directory is on the first drive.
    :param cwd: the working directory.
    """
    # Symbolic links stay as they are.
    absolute = [Path(os.path.abspath(path)) for path in (*projects, cwd)]  # noqa: PTH100
    roots = _outermost(path.parent for path in _outermost(absolute))
    roots.sort(key=lambda root: not absolute[0].is_relative_to(root))
    drives = ((f"{letter}:", str(path)) for letter, path in zip(_PROJECT_LETTERS, roots, strict=False))
    return Drives((*drives, (INTERPRETERS, str(_interpreters())), (RUN, str(run))), cwd=str(cwd))


def _outermost(directories: Iterable[Path]) -> list[Path]:
    """List the directories that are not inside others."""
    found: list[Path] = []
    for path in sorted(directories, key=lambda path: len(path.parts)):
        if not any(path.is_relative_to(root) for root in found):
            found.append(path)
    return found


def _interpreters() -> Path:
    return cache.root() / "runtimes"


@lru_cache(maxsize=4096)
def _existing_spelling(path: str) -> str:
    """Return a path with upper and lower case as on disk, as far as it exists.

    Windows programs need not preserve it: ``site`` of CPython 3.10 writes ``lib`` for ``Lib``.
    """
    found, parts = Path("/"), path.split("/")[1:]
    for index, part in enumerate(parts):
        name = part
        if not (found / part).exists():
            with contextlib.suppress(OSError):
                name = next((entry.name for entry in found.iterdir() if entry.name.lower() == part.lower()), part)
        parts[index] = name
        found /= name
    return "/" + "/".join(parts)


def _may_exist(path: str) -> bool:
    """Return whether a text that begins with ``/`` is a path: its first directory exists."""
    first = path.split("/", 2)[1]
    return not first or Path("/", first).exists()
