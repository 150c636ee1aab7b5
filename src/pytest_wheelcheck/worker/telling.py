"""Telling how something failed, without any library."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from .messages import Frame, RaisedError

#: Where frames of ours are: nobody looks for a fault there.
_OWN = os.path.dirname(__file__) + os.sep


def render(error: BaseException) -> str:
    """Return an exception's traceback as text."""
    import traceback

    return "".join(traceback.format_exception(type(error), error, error.__traceback__))


def describe_error(raised: BaseException) -> list[RaisedError]:
    """Describe an exception, without any library: its chain, outermost last."""
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
            if code.co_filename.startswith(("<frozen importlib", _OWN)):
                continue
            if "importlib" in code.co_filename and os.path.basename(code.co_filename) == "__init__.py":
                continue
            first = max(1, line - 3)
            context = [linecache.getline(code.co_filename, number).rstrip("\n") for number in range(first, line + 1)]
            frames.append({"file": code.co_filename, "line": line, "function": code.co_name, "lines": context})
        if len(frames) > 60:
            # A recursion without end.
            frames[30]["lines"].insert(0, "[%d calls are left out here]" % (len(frames) - 60))
            frames = [*frames[:30], frames[30], *frames[-29:]]
        try:
            message = "\n".join([str(current), *_more_words(current)])
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


def _more_words(error: BaseException) -> list[str]:
    """Return what belongs to an exception's message beside its text: place and caret, notes, parts of a group."""
    import traceback

    lines = []
    if isinstance(error, SyntaxError):
        shown = "".join(traceback.format_exception_only(type(error), error)).splitlines()
        lines += [line for line in shown if line.startswith("  ")]
    lines += [str(note) for note in getattr(error, "__notes__", ())]
    parts = getattr(error, "exceptions", None)
    if isinstance(parts, tuple) and hasattr(error, "split"):
        for part in parts:
            lines += ["  " + line for line in "".join(traceback.format_exception_only(type(part), part)).splitlines()]
    return lines


#: Keeps what :func:`tell_illegal_instructions` made alive.
_HANDLERS: list[Any] = []


def tell_illegal_instructions(log: int) -> None:
    """On an illegal instruction, write its bytes and its module to *log* before the process dies of it.

    For 64-bit x86 and Arm, whose ``struct sigaction`` and ``siginfo_t`` are the same in glibc and musl (``bits/sigaction.h``,
    ``bits/types/siginfo_t.h``).
    """
    import ctypes
    import faulthandler
    import signal

    class Action(ctypes.Structure):
        _fields_ = [
            ("handler", ctypes.c_void_p),
            ("mask", ctypes.c_ulong * 16),
            ("flags", ctypes.c_int),
            ("restorer", ctypes.c_void_p),
        ]

    def tell(number: int, info: int, _context: int) -> None:
        # Back to the default: on return, the same instruction ends the process.
        libc.sigaction(number, ctypes.byref(Action()), None)
        address = ctypes.c_void_p.from_address(info + 16).value or 0
        where = "memory that no file stands behind"
        with open("/proc/self/maps") as maps:
            for line in maps:
                words = line.split()
                start, _, end = words[0].partition("-")
                if int(start, 16) <= address < int(end, 16) and len(words) > 5:
                    where = "%s at 0x%x" % (words[5], address - int(start, 16) + int(words[2], 16))
        code = ctypes.string_at(address, 8).hex()
        os.write(log, ("wheelcheck: illegal instruction %s in %s\n" % (code, where)).encode())
        faulthandler.dump_traceback(file=log, all_threads=True)

    try:
        libc = ctypes.CDLL(None)
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(tell)
        action = Action(handler=ctypes.cast(handler, ctypes.c_void_p).value, flags=4)  # SA_SIGINFO
        libc.sigaction(int(signal.SIGILL), ctypes.byref(action), None)
        _HANDLERS.append(handler)
    except (OSError, AttributeError, TypeError):
        pass  # Without it, the death itself is still told.
