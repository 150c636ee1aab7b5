"""How to look at a crash in native code: a command that repeats it in a debugger, in a fresh environment with the wheel."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from pytest_wheelcheck.interpreters.base import here
from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.settings import Settings
from pytest_wheelcheck.targets.planning.index_names import is_spec
from pytest_wheelcheck.targets.preparing.requirements import TOOLS, OwnProject
from pytest_wheelcheck.targets.target import Target

#: The cause that this fix is for.
CRASH_CAUSE = "a crash in native code"


def crash_fix(target: Target, arguments: Sequence[str], extras: Sequence[str], tools: Sequence[str] = ()) -> str:
    """Return the line with the fix; empty where no command can repeat the crash: on a board, or with PyPy.

    :param arguments: of the interpreter.
    :param extras: of the wheel.
    :param tools: options with what it needs besides the wheel; see :func:`tool_options`.
    """
    installation, platform = target.runtime.installation, target.runtime.platform
    if target.machine.name != "host" or installation.implementation != "cpython":
        return ""
    is_native = platform == here()
    version = f"{installation.version[0]}.{installation.version[1]}{'t' if installation.free_threaded else ''}"
    place = [version] if is_native else [platform.name.removeprefix("linux-"), version]
    has_debugger = is_native and platform.is_linux and shutil.which("gdb") is not None
    debugger = ["gdb", "-ex", "run", "-ex", "bt", "--args"] if has_debugger else []
    options = ["--with", _named(target.wheel, extras), *tools]
    command = ["wheelcheck", "exec", *options, *place, "--", *debugger, "python", "-X", "faulthandler", *arguments]
    return f"Fix: look where it is, and correct that code: {shlex.join(command)}"


def tool_options(wheel: Wheel, settings: Settings) -> list[str]:
    """Return the options of ``wheelcheck exec`` that install pytest and what the tests of a run need."""
    return [*_tool_options(wheel, settings)]


def _tool_options(wheel: Wheel, settings: Settings) -> Iterator[str]:
    project = OwnProject(wheel=wheel, directory=settings.root)
    for entry in (*TOOLS, *settings.requires):
        yield from ("--with", project.replace(entry) or entry)
    where = os.path.relpath(settings.root, settings.cwd)
    file = "" if where == os.curdir else f"{(Path(where) / 'pyproject.toml').as_posix()}:"
    for group in settings.groups:
        yield from ("--group", f"{file}{group}")


def _named(wheel: Wheel, extras: Sequence[str]) -> str:
    names = f"[{','.join(extras)}]" if extras else ""
    return f"{wheel.name}{names}=={wheel.version}" if is_spec(wheel.shown) else f"{wheel.shown}{names}"
