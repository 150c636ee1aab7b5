"""Notices that a test opens a pseudo console of Windows (ConPTY), on a target where programs cannot use one.

A test may open it in native code, through an object, and fail some calls later. Neither its name nor its traceback shows the
cause then. So the call itself is counted: in the export tables of the libraries that have ``CreatePseudoConsole``, its address
is replaced by that of a few instructions that add one to a counter and continue with the function. Both ``GetProcAddress`` and
the loader read these tables (Microsoft, "PE Format", "The .edata Section").
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any

#: The function, and the libraries that have it: ``kernel32`` calls that of ``kernelbase``.
FUNCTION = "CreatePseudoConsole"
_LIBRARIES = ("kernel32.dll", "kernelbase.dll")

#: Bytes of the instructions and their data: the counter at 16, the address of the function at 24.
_SIZE, _COUNTER, _ADDRESS = 32, 16, 24

#: Whether this is a 64-bit interpreter.
_WIDE = sys.maxsize > 2**32

#: An offset in an export table has 32 bits. Memory is reserved in pieces of 64 KiB.
_REACH, _GRANULARITY = 0xFFFF_0000, 0x1_0000

#: ``MEM_COMMIT | MEM_RESERVE``, ``PAGE_EXECUTE_READWRITE``, ``PAGE_READWRITE`` (``winnt.h``).
_COMMIT_RESERVE, _EXECUTE_READ_WRITE, _READ_WRITE = 0x3000, 0x40, 0x04


def count_openings() -> Callable[[], int] | None:
    """Count the pseudo consoles that this process opens from now on.

    :returns: a function that returns their number; ``None`` if the system has no pseudo consoles.
    """
    if sys.platform != "win32":
        return None
    import ctypes

    kernel = ctypes.WinDLL("kernel32")
    kernel.GetModuleHandleW.restype = ctypes.c_void_p
    kernel.VirtualAlloc.restype = ctypes.c_void_p
    kernel.VirtualAlloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_uint32]
    kernel.VirtualProtect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint32, ctypes.c_void_p]
    counters = []
    for name in _LIBRARIES:
        base = kernel.GetModuleHandleW(name)
        counter = _count_calls(kernel, base) if base else 0
        if counter:
            counters.append(ctypes.c_uint32.from_address(counter))
    return (lambda: sum(counter.value for counter in counters)) if counters else None


def _count_calls(kernel: Any, base: int) -> int:
    """Count the calls of the function through the export table of a library.

    :param base: address of the library.
    :returns: address of the counter; 0 if the library does not have the function.
    """
    import ctypes

    found = _find_export(base)
    if found is None:
        return 0
    entry, size = found
    slot = ctypes.c_uint32.from_address(entry)
    memory = 0
    # The table has offsets from the library's address, of 32 bits. 32-bit addresses wrap around.
    first = (size + _GRANULARITY) // _GRANULARITY * _GRANULARITY
    hints = range(base + first, base + _REACH, 16 * _GRANULARITY) if _WIDE else (0,)
    for hint in hints:
        memory = kernel.VirtualAlloc(hint, _SIZE, _COMMIT_RESERVE, _EXECUTE_READ_WRITE) or 0
        if memory and (not _WIDE or base < memory < base + _REACH):
            break
    else:
        return 0
    code = _counting_code(memory, base + slot.value)
    ctypes.memmove(memory, code, len(code))
    old = ctypes.c_uint32()
    if not kernel.VirtualProtect(entry, 4, _READ_WRITE, ctypes.byref(old)):
        return 0
    slot.value = (memory - base) & 0xFFFF_FFFF
    kernel.VirtualProtect(entry, 4, old.value, ctypes.byref(old))
    return memory + _COUNTER


def _counting_code(memory: int, function: int) -> bytes:
    """Return the instructions and their data.

    :param memory: the address where they will be.
    :param function: the address of the function.
    """
    if _WIDE:
        # Offsets are relative to the next instruction.
        counter, address = _COUNTER - 7, _ADDRESS - 13
    else:
        counter, address = memory + _COUNTER, memory + _ADDRESS
    code = b"\xf0\xff\x05" + counter.to_bytes(4, "little")  # lock inc dword [counter]
    code += b"\xff\x25" + address.to_bytes(4, "little")  # jmp [address]
    return code.ljust(_ADDRESS, b"\0") + function.to_bytes(8, "little")


def _find_export(base: int) -> tuple[int, int] | None:
    """Return the address of the function's entry in the export table of a library, and the library's size in memory."""
    import ctypes

    def number(offset: int) -> int:
        return ctypes.c_uint32.from_address(base + offset).value

    header = number(0x3C) + 24
    table = header + (112 if _WIDE else 96)
    exports, length, size = number(table), number(table + 4), number(header + 56)
    if not exports:
        return None
    count, functions, names, ordinals = (number(exports + offset) for offset in (24, 28, 32, 36))
    wanted = FUNCTION.encode()
    low, high = 0, count
    # The names are sorted.
    while low < high:
        middle = (low + high) // 2
        name = ctypes.string_at(base + number(names + 4 * middle))
        if name == wanted:
            entry = functions + 4 * ctypes.c_uint16.from_address(base + ordinals + 2 * middle).value
            # An offset inside the table is that of the name of another library's function.
            return None if exports <= number(entry) < exports + length else (base + entry, size)
        low, high = (middle + 1, high) if name < wanted else (low, middle)
    return None


def make_plugin(pytest: Any, opened: Callable[[], int], target: str) -> object:
    """Return the pytest plugin that skips failing tests which opened a pseudo console, or use a fixture that did.

    :param opened: as :func:`count_openings` returns it.
    :param target: name of the target.
    """

    class ConsolePlugin:
        def __init__(self) -> None:
            self.before = 0
            self.fixtures: set[Any] = set()

        @pytest.hookimpl(hookwrapper=True, tryfirst=True)
        def pytest_runtest_setup(self, item: Any) -> Generator[None, Any, None]:
            self.before = opened()
            yield

        @pytest.hookimpl(hookwrapper=True)
        def pytest_fixture_setup(self, fixturedef: Any) -> Generator[None, Any, None]:
            before = opened()
            yield
            if opened() > before:
                self.fixtures.add(fixturedef)

        def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
            self.fixtures.discard(fixturedef)

        @pytest.hookimpl(hookwrapper=True)
        def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
            outcome: Any = yield
            report = outcome.get_result()
            if call.excinfo is not None and report.failed and self._opened(item):
                failure = call.excinfo.exconly().partition("\n")[0]
                reason = (
                    "Skipped: needs a pseudo-terminal, which %s does not have: it called %s, and failed later with %s"
                    % (target, FUNCTION, failure)
                )
                report.outcome = "skipped"
                report.longrepr = (str(item.path), (item.location[1] or 0) + 1, reason)

        def _opened(self, item: Any) -> bool:
            if opened() > self.before:
                return True
            known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
            return any(fixture in self.fixtures for found in known.values() for fixture in found)

    return ConsolePlugin()
