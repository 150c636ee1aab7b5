"""The options and ini keys that name a backend. The plugin lists them among its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytest_wheelcheck.declarations import IniKey, Option

MACHINE = Option(
    "--wheel-machine",
    "Emulate this hardware: rpi3, rpi4, rpi5, graviton2, graviton3, graviton4, x86-64-v1 to x86-64-v4, host, or "
    "cpu=MODEL,page=SIZE with QEMU's name of the CPU model. Several machines give a target each.",
    "NAME",
    repeat=True,
)

HOST = Option(
    "--wheel-host",
    "Test the wheels on this board (a machine reached by ssh): [ssh://][USER@]ADDRESS[:PORT], where ADDRESS may be a name of "
    "ssh's configuration, or a name of the ini key wheel_hosts; several are separated by commas. The board needs sshd, a "
    "POSIX shell and Python 3.9 or newer. It replaces the emulation of its platform, unless --wheel-machine is given.",
    "BOARD",
    repeat=True,
)

BOARD_PYTHON = Option(
    "--wheel-board-python",
    "Bring interpreters to the boards for versions that they lack: uv, for the builds that uv downloads.",
    "PROVIDER",
)

BOARDS = IniKey(
    "wheel_hosts",
    "Boards for --wheel-host, one `NAME = ssh://USER@ADDRESS[:PORT] [OPTION=VALUE ...]` per line. Options: directory=PATH "
    "(where the board keeps files), wait=SECONDS (how long to wait for it after the connection was lost; default 60), jobs=N "
    "(targets whose tests run there at the same time; default 1).",
    "linelist",
    [],
)

PUSH = IniKey(
    "wheel_push",
    "Patterns of the project's files that boards get in addition to those that git tracks or does not ignore; with ! in front, "
    "of files that they do not get. The last pattern that fits counts.",
    "linelist",
    [],
)

BOARD_ENV = IniKey("wheel_board_env", "Environment variables that are passed on to boards.", "args", [])

SYSROOT = Option(
    "--wheel-sysroot",
    "Run wheels of this architecture with the interpreters in a root file system (an unpacked disk image of a Raspberry Pi, "
    "an exported container), or with one interpreter or installation in it: aarch64=DIR. win_amd64=DIR and win32=DIR "
    "name a CPython for Windows, which runs under Wine.",
    "ARCH=PATH",
    repeat=True,
)

NO_WINDOWS = Option("--wheel-no-wine", "Do not run Windows wheels under Wine; skip them if this host is not Windows.")

WINDOWS = IniKey("wheel_wine", "Whether to run Windows wheels under Wine on Linux.", "bool", default=True)

#: The backends that can be switched off: by name, the ini key that must be true and the option that must be absent.
_SWITCHES = {"wine": (WINDOWS, NO_WINDOWS)}


def switched_off(getini: Callable[[str], Any], getoption: Callable[[str], Any]) -> tuple[str, ...]:
    """Return the names of the backends that the user switched off.

    :param getini: returns the value of an ini key as a boolean.
    :param getoption: returns the value of an option by its ``dest``.
    """
    return tuple(name for name, (key, off) in _SWITCHES.items() if not getini(key.name) or getoption(off.dest))
