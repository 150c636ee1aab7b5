"""Where a report comes from: when, by which command, and on which commit of the project."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process

#: Seconds for git.
_TIMEOUT = 10.0


def now() -> str:
    """Return the time in UTC (ISO 8601)."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def command(arguments: Sequence[object]) -> str:
    """Return the command line without the passwords in addresses.

    :param arguments: of pytest.
    """
    return _without_password(shlex.join(["pytest", *map(str, arguments)]))


def options(arguments: Sequence[object], flags: Mapping[str, bool]) -> tuple[str, ...]:
    """Return the options of a command line that a repetition needs, without the passwords in addresses.

    :param arguments: of pytest.
    :param flags: the options that count, each with whether it has a value.
    """
    found: list[str] = []
    words = iter(map(str, arguments))
    for word in words:
        flag, equals, _ = word.partition("=")
        if flag in flags:
            value = next(words, None) if flags[flag] and not equals else None
            found += [_without_password(each) for each in (word, value) if each is not None]
    return tuple(found)


def _without_password(text: str) -> str:
    return re.sub(r"(://)[^/@\s']+@", r"\1", text)


def commit(root: Path) -> str:
    """Return the commit of the project, with ``+`` behind it if tracked files differ from it; empty without git."""
    try:
        found = process.run(["git", "-C", root, "rev-parse", "HEAD"], timeout=_TIMEOUT).stdout.strip()
        changes = process.run(
            ["git", "-C", root, "status", "--porcelain", "--untracked-files=no"], timeout=_TIMEOUT
        ).stdout.strip()
    except ProcessError:
        return ""
    return f"{found}{'+' if changes else ''}"
