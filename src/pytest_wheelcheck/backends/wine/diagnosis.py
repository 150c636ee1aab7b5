"""Diagnosis of failures under Wine from the output: how an interpreter died, and whether Wine is the cause.

Wine writes messages of its own to the standard error of its programs: lines of debug channels
(``0024:err:module:import_dll ...``), and a few others that begin with ``wine: ``.
"""

from __future__ import annotations

import re

from pytest_wheelcheck.backends import windows_deaths

#: A line of a debug channel: thread id, class, channel, function (``__wine_dbg_header`` in ``dlls/ntdll/thread.c``). It may
#: follow output that does not end in a newline.
_DEBUG_LINE = re.compile(
    r"(?:^[0-9a-f]{4,8}|[0-9a-f]{4}):(?:err|fixme|warn|trace):[a-z_0-9]+:\w+ [^\n]*\n?", re.MULTILINE
)

#: The message about a function that Wine only has as a stub (``dlls/winecrt0/stub.c``, ``dlls/kernelbase/debug.c``).
_STUB = re.compile(
    r"unimplemented function (?P<name>[\w.-]+?\.(?:dll|drv|sys|exe|ocx|cpl|acm)\.[^\s,]+)", re.IGNORECASE
)

#: The message about a library that was not found, or needs one that was not (``dlls/ntdll/loader.c``).
_MISSING = re.compile(
    r':err:module:import_dll Library (?P<library>\S+) \(which is needed by L"(?P<needing>[^"]+)"\) not found'
)

#: In the path of a library of Wine itself, in which backslashes are doubled.
_OF_WINE = re.compile(r"^C:[\\/]+windows[\\/]+(?:system32|syswow64)[\\/]+", re.IGNORECASE)

#: Wine's messages about exceptions that the program did not handle (``dlls/ntdll/unix/thread.c`` and ``virtual.c``,
#: ``dlls/kernelbase/debug.c``).
_RAISED = re.compile(r"^[0-9a-f]+:err:seh:NtRaiseException Unhandled exception (?P<cause>code [0-9a-f]+)", re.MULTILINE)
_OVERFLOWED = re.compile(r"^[0-9a-f]+:err:virtual:virtual_setup_exception (?P<cause>stack overflow)", re.MULTILINE)
_UNHANDLED = re.compile(r"^wine: Unhandled (?P<cause>.+?) (?:at address|in thread|\()", re.MULTILINE)

#: Exceptions of Wine's own, by number.
_NUMBERS = {"code 80000100": "a function that Wine does not have (0x80000100)"}


def without_debug_lines(output: str) -> str:
    """Return the output of a program without the lines of Wine's debug channels, for display and comparison.

    They say nothing about the wheel unless the functions of this module recognize them, and some are harmless, such as
    ``err:module:alloc_tls_slot`` when a thread starts while a library is loaded. Lines that begin with ``wine: `` stay.
    """
    return _DEBUG_LINE.sub("", output)


def explain_failure(output: str) -> str:
    """Return why a failure is Wine's and not the wheel's, as ``could not be checked: ...``; empty if nothing shows that.

    :param output: everything that was written meanwhile, also by Wine.
    """
    cause = ""
    if match := _STUB.search(output):
        cause = f"Wine does not implement {match['name']}, which was called here"
    else:
        from pytest_wheelcheck.checks.windows import is_system_library

        for match in _MISSING.finditer(output):
            library, needing = match["library"], _file_name(match["needing"])
            if is_system_library(library):
                cause = f"Wine does not have {library}, a part of Windows that {needing} needs"
            elif _OF_WINE.search(match["needing"]):
                cause = f"Wine's own {needing} needs {library}, which a fresh Windows lacks"
            else:
                continue
            break
    if not cause:
        return ""
    return (
        f"could not be checked: {cause}\n"
        "Fix: nothing is known to be wrong with the wheel; test it on Windows or with a newer Wine"
    )


def missing_libraries(output: str) -> list[tuple[str, str]]:
    """List the libraries that were not found, each with the name of the file that needs it."""
    pairs = [(match["library"], _file_name(match["needing"])) for match in _MISSING.finditer(output)]
    return list(dict.fromkeys(pairs))


def _file_name(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]


def describe_death(output: str) -> str:
    """Return what ended the interpreter; empty if nothing shows it."""
    description = windows_deaths.describe(output, (_OVERFLOWED, _RAISED, _UNHANDLED))
    return _NUMBERS.get(description.lower().replace("code 0x", "code "), description)


def has_stack_overflow(output: str) -> bool:
    """Return whether a thread overflowed its stack. Windows then ends the process; Wine may end the thread only."""
    return _OVERFLOWED.search(output) is not None
