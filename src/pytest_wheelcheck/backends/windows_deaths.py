"""Finds the cause of a Windows interpreter's death in its output: faulthandler and the system name the exception."""

from __future__ import annotations

import re

#: Written by faulthandler (``Modules/faulthandler.c``) and by CPython itself.
_FATAL = re.compile(r"^Windows fatal exception: (?P<cause>.+?)\s*$", re.MULTILINE)
_ABORTED = re.compile(r"^Fatal Python error: (?P<cause>.+?)\s*$", re.MULTILINE)

#: Exceptions by number that faulthandler has no name for (``winnt.h``, ``ntstatus.h``).
NUMBERS = {
    "code c0000409": "__fastfail (0xC0000409), by which Rust and the C library abort",
    "code c0000374": "heap corruption (0xC0000374)",
    "code c000001d": "illegal instruction (0xC000001D)",
}


def describe(output: str, further: tuple[re.Pattern[str], ...] = ()) -> str:
    """Return the exception that ended an interpreter; empty if the output names none.

    :param further: patterns with a group ``cause``, tried after that of faulthandler.
    """
    for pattern in (_FATAL, *further, _ABORTED):
        if match := pattern.search(output):
            cause = match["cause"]
            return NUMBERS.get(cause.lower().replace("code 0x", "code "), cause)
    return ""
