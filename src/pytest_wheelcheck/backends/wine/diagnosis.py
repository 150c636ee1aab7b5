"""What is told when a program under Wine ends or fails: in Windows' terms, and what is Wine's fault rather than its own."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_wheelcheck.worker.messages import FromWorker

#: Wine's own words for a function that it has as a name only (``dlls/winecrt0/stub.c``, ``dlls/kernelbase/debug.c``).
_STUB = re.compile(
    r"unimplemented function (?P<name>[\w.-]+?\.(?:dll|drv|sys|exe|ocx|cpl|acm)\.[^\s,]+)", re.IGNORECASE
)

#: A library that was not found, or needs one that was not (``dlls/ntdll/loader.c``, channel ``err+module``).
_MISSING = re.compile(
    r':err:module:import_dll Library (?P<library>\S+) \(which is needed by L"(?P<needing>[^"]+)"\) not found'
)

#: What faulthandler writes (``Modules/faulthandler.c``), and what Wine says of an exception that nobody handled.
_FATAL = re.compile(r"^Windows fatal exception: (?P<what>.+?)\s*$", re.MULTILINE)
_RAISED = re.compile(r"^[0-9a-f]+:err:seh:NtRaiseException Unhandled exception (?P<what>code [0-9a-f]+)", re.MULTILINE)
_OVERFLOWED = re.compile(r"^[0-9a-f]+:err:virtual:virtual_setup_exception (?P<what>stack overflow)", re.MULTILINE)
_ABORTED = re.compile(r"^Fatal Python error: (?P<what>.+?)\s*$", re.MULTILINE)
_UNHANDLED = re.compile(r"^wine: Unhandled (?P<what>.+?) (?:at address|in thread|\()", re.MULTILINE)

#: Exceptions by number that faulthandler has no words for (``winnt.h``, ``ntstatus.h``).
_NUMBERS = {
    "code c0000409": "__fastfail (0xC0000409), by which Rust and the C library abort",
    "code c0000374": "heap corruption (0xC0000374)",
    "code c000001d": "illegal instruction (0xC000001D)",
    "code 80000100": "a function that Wine does not have (0x80000100)",
}


def blame(said: str) -> str:
    """Say that what failed failed for want of something in Wine; empty where nothing tells so.

    :param said: what was written meanwhile, also by Wine itself.
    """
    what = ""
    if found := _STUB.search(said):
        what = f"Wine does not implement {found['name']}, which was called here"
    else:
        from pytest_wheelcheck.checks.windows import is_system_library

        for library, needing in missing(said):
            if is_system_library(library):
                what = f"Wine does not have {library}, a part of Windows that {needing} needs"
                break
    if not what:
        return ""
    return (
        f"could not be checked: {what}\n"
        "Fix: nothing is known to be wrong with the wheel; test it on Windows, or with a newer Wine"
    )


def missing(said: str) -> list[tuple[str, str]]:
    """List the libraries that were not found, each with the name of the file that needs it."""
    found = [(each["library"], re.split(r"[\\\\/]", each["needing"])[-1]) for each in _MISSING.finditer(said)]
    return list(dict.fromkeys(found))


def death(said: str) -> str:
    """Say of what the interpreter died; empty where nothing is known."""
    for pattern in (_FATAL, _OVERFLOWED, _RAISED, _UNHANDLED, _ABORTED):
        if found := pattern.search(said):
            what = found["what"]
            return _NUMBERS.get(what.lower().replace("code 0x", "code "), what)
    return ""


def overflowed(said: str) -> bool:
    """Say whether Wine told that a thread ran over the end of its stack. On Windows the process ends of it."""
    return _OVERFLOWED.search(said) is not None


def judged(messages: list[FromWorker], said: str) -> list[FromWorker]:
    """Turn the failure of a test that met something which Wine does not have into «could not be checked».

    :param messages: of one test. pytest counts a failure before the call as an error.
    :param said: what was written past pytest's capturing while it ran, as Wine itself does.
    """
    for message in messages:
        if message["type"] != "report" or message["data"].get("outcome") != "failed":
            continue
        data = message["data"]
        texts = (said, *(text for _, text in data.get("sections", ())))
        blamed = next(filter(None, map(blame, texts)), "")
        if blamed:
            told = {**data, "when": "setup", "longrepr": blamed}
            others = [each for each in messages if each["type"] != "report"]
            return [*others, {**message, "data": told}]
    return messages
