"""Facts of the running interpreter, and the value of the fixture ``wheel_target``."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def can_open_pty() -> bool:
    """Return whether a pseudo-terminal can be opened."""
    if not hasattr(os, "openpty"):
        return False
    try:
        first, second = os.openpty()
    except OSError:
        return False
    os.close(first)
    os.close(second)
    return True


def page_size() -> int:
    """Return the size of a memory page in bytes; 0 where it is not known."""
    try:
        return os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return 0


def local_facts() -> dict[str, Any]:
    """Return the facts of the running interpreter; see :class:`WheelTarget`."""
    version = sys.version_info
    free_threaded = False
    if version >= (3, 13):
        import sysconfig

        free_threaded = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    prefix = {"cpython": "cp", "pypy": "pp"}.get(sys.implementation.name, sys.implementation.name)
    libc, libc_version = _libc()
    return {
        "wheel": "",
        "name": "",
        "version": "",
        "interpreter": "%s%d%d%s" % (prefix, version[0], version[1], "t" if free_threaded else ""),
        "implementation": sys.implementation.name,
        "python": "%d.%d.%d" % version[:3],
        "free_threaded": free_threaded,
        "system": sys.platform,
        "architecture": _architecture(),
        "libc": libc,
        "libc_version": libc_version,
        "machine": "host",
        "emulated": False,
        "page_size": page_size(),
        "pty": can_open_pty(),
    }


def _architecture() -> str:
    if sys.platform == "win32":
        import sysconfig

        # On Windows, platform.machine() queries a system service, which may have to start first.
        return {"win32": "x86"}.get(sysconfig.get_platform(), sysconfig.get_platform().replace("win-", ""))
    return os.uname().machine.lower()


def _libc() -> tuple[str, str]:
    try:
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    except (AttributeError, ValueError, OSError):
        return ("musl" if sys.platform == "linux" else ""), ""
    return name, version


class WheelTarget:
    """Frozen facts of the target that a test runs on; the value of the fixture ``wheel_target``.

    Attributes: ``wheel`` (file name, empty in an ordinary run), ``name``, ``version``, ``interpreter`` (``cp314t``),
    ``implementation``, ``python``, ``free_threaded``, ``system`` (``sys.platform`` of the target), ``architecture``,
    ``libc``, ``libc_version``, ``machine`` (``host``, ``rpi4``), ``emulated``, ``page_size`` (bytes), ``pty`` (whether a
    pseudo-terminal can be opened).
    """

    __slots__ = ("_facts",)

    def __init__(self, facts: dict[str, Any]) -> None:
        object.__setattr__(self, "_facts", dict(facts))

    def __reduce__(self) -> tuple[Any, ...]:
        return WheelTarget, (self._facts,)

    def __getattr__(self, name: str) -> Any:
        try:
            return self._facts[name]
        except KeyError:
            raise AttributeError(
                "wheel_target has no fact %r; its facts are %s" % (name, ", ".join(sorted(self._facts)))
            ) from None

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("wheel_target is frozen")

    def __delattr__(self, name: str) -> None:
        raise AttributeError("wheel_target is frozen")

    def __dir__(self) -> list[str]:
        return sorted([*object.__dir__(self), *self._facts])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WheelTarget) and self._facts == other._facts

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._facts.items())))

    def __repr__(self) -> str:
        return "<wheel_target %s>" % " ".join("%s=%s" % pair for pair in sorted(self._facts.items()))
