"""Describes exceptions as text, and as data for the controller."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .messages import Frame, RaisedError

#: Frames of this package are not shown.
_OWN_DIRECTORY = os.path.dirname(__file__) + os.sep

#: Frames of a longer traceback, such as that of an endless recursion, are omitted in the middle.
MAX_FRAMES = 60


def import_nothing_to_format() -> None:
    """Keep :mod:`traceback` from importing a package while it formats an exception.

    CPython 3.15 lists the files of the package that lacks a module, to tell of one for another version. For that it imports the
    package again, whose import has just failed, and the second error replaces the one that was to be formatted.
    """
    import traceback

    search = getattr(traceback, "_find_incompatible_extension_module", None)
    if search is None or hasattr(search, "wheelcheck"):
        return

    def search_without_import(module_name: Any) -> Any:
        try:
            parent = module_name.rpartition(".")[0]
            return search(module_name) if not parent or parent in sys.modules else None
        except Exception:
            return None

    search_without_import.wheelcheck = True  # type: ignore[attr-defined]
    traceback._find_incompatible_extension_module = search_without_import  # type: ignore[attr-defined]


def format_exception(error: BaseException) -> str:
    """Return the traceback of an exception, with its chain."""
    import traceback

    import_nothing_to_format()
    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def describe_exception(raised: BaseException) -> list[RaisedError]:
    """Describe an exception and its chain, the raised one last."""
    import linecache
    import traceback

    chain: list[RaisedError] = []
    seen = set()
    current = raised
    relation: Any = ""
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        frames: list[Frame] = []
        for frame, line in traceback.walk_tb(current.__traceback__):
            code = frame.f_code
            if code.co_filename.startswith(("<frozen importlib", _OWN_DIRECTORY)):
                continue
            if "importlib" in code.co_filename and os.path.basename(code.co_filename) == "__init__.py":
                continue
            first = max(1, line - 3)
            context = [linecache.getline(code.co_filename, number).rstrip("\n") for number in range(first, line + 1)]
            frames.append({"file": code.co_filename, "line": line, "function": code.co_name, "lines": context})
        if len(frames) > MAX_FRAMES:
            half = MAX_FRAMES // 2
            frames[half]["lines"].insert(0, "[%d calls omitted]" % (len(frames) - MAX_FRAMES))
            frames = [*frames[: half + 1], *frames[1 - half :]]
        try:
            message = "\n".join([str(current), *_message_details(current)])
        except Exception as broken:
            message = "<its str() raised %s>" % type(broken).__name__
        chain.append(
            {
                "type": type(current).__name__,
                "message": message,
                "missing": current.name if isinstance(current, ImportError) and isinstance(current.name, str) else None,
                "relation": relation,
                "frames": frames,
            }
        )
        if current.__cause__ is not None:
            current, relation = current.__cause__, "cause"
        elif current.__context__ is not None and not current.__suppress_context__:
            current, relation = current.__context__, "context"
        else:
            break
    chain.reverse()
    return chain


def _message_details(error: BaseException) -> list[str]:
    """Return further lines of an exception's message: source and caret of a syntax error, notes, parts of a group."""
    import traceback

    import_nothing_to_format()
    lines = []
    if isinstance(error, SyntaxError):
        printed = "".join(traceback.format_exception_only(type(error), error)).splitlines()
        lines += [line for line in printed if line.startswith("  ")]
    lines += [str(note) for note in getattr(error, "__notes__", ())]
    parts = getattr(error, "exceptions", None)
    if isinstance(parts, tuple) and hasattr(error, "split"):
        for part in parts:
            lines += ["  " + line for line in "".join(traceback.format_exception_only(type(part), part)).splitlines()]
    return lines
