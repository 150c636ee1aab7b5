"""How to look at a crash in native code: a command that repeats it in a debugger, in a fresh environment with the wheel."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.targets.target import Target

#: The cause that this fix is for.
CRASH_CAUSE = "a crash in native code"


def crash_fix(target: Target, arguments: Sequence[str], requires: Sequence[str] = ()) -> str:
    """Return the line with the fix; empty where no command can repeat the crash: on a board, or with PyPy.

    :param arguments: of the interpreter.
    :param requires: what it needs besides the wheel.
    """
    installation, platform = target.runtime.installation, target.runtime.platform
    if target.machine.name != "host" or installation.implementation != "cpython":
        return ""
    is_native = platform == here()
    version = f"{installation.version[0]}.{installation.version[1]}{'t' if installation.free_threaded else ''}"
    place = [version] if is_native else [platform.name.removeprefix("linux-"), version]
    options = [part for name in (target.wheel.shown, *requires) for part in ("--with", name)]
    debugger = ["gdb", "-ex", "run", "-ex", "bt", "--args"] if is_native and platform.is_linux else []
    command = ["wheelcheck", "exec", *options, *place, "--", *debugger, "python", "-X", "faulthandler", *arguments]
    return f"Fix: look where it is, and correct that code: {shlex.join(command)}"
