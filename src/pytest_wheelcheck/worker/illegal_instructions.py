"""Reports illegal instructions: an emulated CPU model lacks them, and nothing else says which one and where."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

#: Keeps the handler alive.
_handlers: list[Any] = []


def log_illegal_instructions(log: int) -> None:
    """On an illegal instruction, write its bytes, its module and all stacks to *log*; then the process dies of it.

    Works on 64-bit x86 and Arm, whose ``struct sigaction`` and ``siginfo_t`` are the same in glibc and musl
    (``bits/sigaction.h``, ``bits/types/siginfo_t.h``).

    :param log: a file descriptor.
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

    def handle(number: int, info: int, _context: int) -> None:
        # The default action: on return, the same instruction ends the process.
        libc.sigaction(number, ctypes.byref(Action()), None)
        address = ctypes.c_void_p.from_address(info + 16).value or 0
        code = ctypes.string_at(address, 8).hex()
        os.write(log, ("wheelcheck: illegal instruction %s in %s\n" % (code, _location(address))).encode())
        faulthandler.dump_traceback(file=log, all_threads=True)

    try:
        libc = ctypes.CDLL(None)
        handler = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(handle)
        action = Action(handler=ctypes.cast(handler, ctypes.c_void_p).value, flags=4)  # SA_SIGINFO
        libc.sigaction(int(signal.SIGILL), ctypes.byref(action), None)
        _handlers.append(handler)
    except (OSError, AttributeError, TypeError):
        pass  # The signal itself is still reported.


def _location(address: int) -> str:
    """Return the mapped file at an address and the offset in it."""
    location = "memory that is not mapped from a file"
    with open("/proc/self/maps") as maps:
        for line in maps:
            fields = line.split()
            start, _, end = fields[0].partition("-")
            if int(start, 16) <= address < int(end, 16) and len(fields) > 5:
                location = "%s at 0x%x" % (fields[5], address - int(start, 16) + int(fields[2], 16))
    return location
