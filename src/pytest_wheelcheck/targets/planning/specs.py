"""The values of ``--wheel-python``: which interpreters the user asked for."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.interpreters.base import Kind
from pytest_wheelcheck.model import interpreter_name

_VERSION = re.compile(r"(?P<name>cpython|python|cp|pypy|pp)?-?3\.?(?P<minor>\d{1,2})(?P<free>t)?", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class Interpreter:
    """An interpreter as tags know it: implementation, minor version, free-threaded or not."""

    version: tuple[int, int]
    implementation: str = "cpython"
    free_threaded: bool = False

    def __str__(self) -> str:
        name = {"cpython": "CPython", "pypy": "PyPy"}.get(self.implementation, self.implementation)
        number = ".".join(map(str, self.version))
        if self.free_threaded:
            return f"a free-threaded {name} {number} (cp{self.version[0]}{self.version[1]}t)"
        return f"{name} {number}"

    @property
    def tag(self) -> str:
        """The name in targets, such as ``cp314t``."""
        return interpreter_name(self.implementation, self.version, free_threaded=self.free_threaded)

    @property
    def short(self) -> str:
        """The version, with ``t`` where it is free-threaded: ``3.14t``, ``PyPy 3.11``."""
        number = ".".join(map(str, self.version)) + ("t" if self.free_threaded else "")
        return number if self.implementation == "cpython" else f"PyPy {number}"

    @property
    def kind(self) -> tuple[str, bool]:
        """Implementation and threading, without the version."""
        return self.implementation, self.free_threaded

    @property
    def whole(self) -> Kind:
        """As providers are asked for it."""
        return self.implementation, self.version, self.free_threaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Spec:
    """One part of ``--wheel-python``: ``auto``, ``all``, an interpreter or a path.

    :param text: as the user wrote it.
    """

    text: str
    interpreter: Interpreter | None = None
    path: Path | None = None


def parse_specs(texts: Iterable[str]) -> tuple[Spec, ...]:
    """Read the values of ``--wheel-python``; each may hold several, separated by commas.

    :returns: at least one; ``auto`` where nothing was given.
    :raises UsageError: a part is none of ``auto``, ``all``, a version such as ``3.11``, ``3.14t`` or ``pypy3.11``, and
        a path.
    """
    parts: dict[str, Spec] = {}
    for text in texts:
        for part in filter(None, (part.strip() for part in text.split(","))):
            parts.setdefault(part, _parse_spec(part))
    return tuple(parts.values()) or (Spec(text="auto"),)


def _parse_spec(part: str) -> Spec:
    if part in {"auto", "all"}:
        return Spec(text=part)
    if match := _VERSION.fullmatch(part):
        name = (match["name"] or "").lower()
        return Spec(
            text=part,
            interpreter=Interpreter(
                version=(3, int(match["minor"])),
                implementation="pypy" if name in {"pypy", "pp"} else "cpython",
                free_threaded=bool(match["free"]),
            ),
        )
    separators = {"/", os.sep, os.altsep or "/"}
    # The system has no names as long as some texts are.
    with contextlib.suppress(OSError):
        if part.startswith("~") or any(separator in part for separator in separators) or Path(part).exists():
            return Spec(text=part, path=Path(part).expanduser())
    raise UsageError(
        f"--wheel-python {part}: neither a version nor the path of an interpreter",
        fix="give auto, all, versions such as 3.11,3.14t,pypy3.11, or the path of an interpreter",
    )
