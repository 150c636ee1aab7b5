"""What is told when a program under Wine ends or fails: in Windows' terms, and what is Wine's fault rather than its own."""

from __future__ import annotations

import re

from pytest_wheelcheck.backends import windows_deaths

#: Wine's own words for a function that it has as a name only (``dlls/winecrt0/stub.c``, ``dlls/kernelbase/debug.c``).
_STUB = re.compile(
    r"unimplemented function (?P<name>[\w.-]+?\.(?:dll|drv|sys|exe|ocx|cpl|acm)\.[^\s,]+)", re.IGNORECASE
)

#: A library that was not found, or needs one that was not (``dlls/ntdll/loader.c``, channel ``err+module``).
_MISSING = re.compile(
    r':err:module:import_dll Library (?P<library>\S+) \(which is needed by L"(?P<needing>[^"]+)"\) not found'
)

#: What faulthandler writes (``Modules/faulthandler.c``), and what Wine says of an exception that nobody handled.
_RAISED = re.compile(r"^[0-9a-f]+:err:seh:NtRaiseException Unhandled exception (?P<what>code [0-9a-f]+)", re.MULTILINE)
_OVERFLOWED = re.compile(r"^[0-9a-f]+:err:virtual:virtual_setup_exception (?P<what>stack overflow)", re.MULTILINE)
_UNHANDLED = re.compile(r"^wine: Unhandled (?P<what>.+?) (?:at address|in thread|\()", re.MULTILINE)

#: Exceptions by number of Wine itself.
_NUMBERS = {"code 80000100": "a function that Wine does not have (0x80000100)"}


def explain_failure(output: str) -> str:
    """Say that what failed failed for want of something in Wine; empty where nothing tells so.

    :param output: everything that was written meanwhile, also by Wine itself.
    """
    what = ""
    if found := _STUB.search(output):
        what = f"Wine does not implement {found['name']}, which was called here"
    else:
        from pytest_wheelcheck.checks.windows import is_system_library

        for library, needing in missing_libraries(output):
            if is_system_library(library):
                what = f"Wine does not have {library}, a part of Windows that {needing} needs"
                break
    if not what:
        return ""
    return (
        f"could not be checked: {what}\n"
        "Fix: nothing is known to be wrong with the wheel; test it on Windows, or with a newer Wine"
    )


def missing_libraries(output: str) -> list[tuple[str, str]]:
    """List the libraries that were not found, each with the name of the file that needs it."""
    found = [(each["library"], re.split(r"[\\\\/]", each["needing"])[-1]) for each in _MISSING.finditer(output)]
    return list(dict.fromkeys(found))


def describe_death(output: str) -> str:
    """Return what ended the interpreter; empty if nothing shows it."""
    what = windows_deaths.describe(output, (_OVERFLOWED, _RAISED, _UNHANDLED))
    return _NUMBERS.get(what.lower().replace("code 0x", "code "), what)


def overflowed(output: str) -> bool:
    """Say whether Wine told that a thread ran over the end of its stack. On Windows the process ends of it."""
    return _OVERFLOWED.search(output) is not None
