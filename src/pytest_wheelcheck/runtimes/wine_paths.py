"""Paths as Windows says them, and back: the one place where they change for what crosses the channel to a worker.

Below the drive ``Z:`` lies the root folder of this system. What goes in are settings, in which an absolute path stands
alone or behind an equals sign; what comes out is anything: locations, tracebacks, a test's own words.
"""

from __future__ import annotations

import contextlib
import re
from functools import lru_cache
from pathlib import Path, PureWindowsPath
from typing import Any

#: The drive.
DRIVE = "Z:"

#: ``NAME=`` or nothing, then an absolute path, then perhaps the rest of a node id.
_GOING_IN = re.compile(r"((?:[^/\s=]+=)?)(/[^:\0]*)((?:::.*)?)", re.DOTALL)

#: A path below the drive, its separators single or, inside a quoted string, doubled. A part may hold spaces where
#: another part follows.
_COMING_OUT = re.compile(
    r"(?:(?:\\\\){1,2}\?\\{1,2})?\b[Zz]:(?P<rest>(?:(?:\\{1,2}|/)(?:[^\\/:*?\"'<>|\r\n]+(?=[\\/])|[^\\/:*?\"'<>|\s,;)\]}]+))+|[\\/]{1,2})"
)

#: Keys of messages whose value is a path, or begins with one.
_PATH_KEYS = frozenset({"path", "file", "filename"})
_PLACE_KEYS = frozenset({"location"})


def to_windows(path: Path | str) -> str:
    """Say an absolute path as Windows does."""
    return DRIVE + str(path).replace("/", "\\")


def from_windows(text: str) -> str:
    """Say every path below the drive that stands in a text as this system does."""
    if ":" not in text:
        return text
    return _COMING_OUT.sub(lambda found: _as_it_lies(re.sub(r"\\{1,2}", "/", found["rest"])), text)


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


def going_in(value: Any) -> Any:
    """Change the paths in the settings of a worker."""
    if isinstance(value, str):
        found = _GOING_IN.fullmatch(value)
        if found is None or not _is_here(found[2]):
            return value
        return f"{found[1]}{to_windows(found[2])}{found[3]}"
    if isinstance(value, (list, tuple)):
        return [going_in(each) for each in value]
    if isinstance(value, dict):
        return {key: going_in(each) for key, each in value.items()}
    return value


def _is_here(path: str) -> bool:
    """Tell a path from a word that only begins like one: its first folder is there."""
    first = path.split("/", 2)[1]
    return not first or Path("/", first).exists()


def coming_out(value: Any, key: str = "") -> Any:
    """Change the paths in a message of a worker."""
    if isinstance(value, str):
        text = from_windows(value)
        return PureWindowsPath(text).as_posix() if key in _PATH_KEYS and "\\" in text else text
    if isinstance(value, list):
        changed = [coming_out(each) for each in value]
        if key in _PLACE_KEYS and changed and isinstance(changed[0], str):
            changed[0] = changed[0].replace("\\", "/")
        return changed
    if isinstance(value, dict):
        return {name: coming_out(each, name) for name, each in value.items()}
    return value
