"""Launchers of installed executables: the kernel cannot start an ELF program of another architecture or another root."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.wheels.elf import read_header

#: Names of files that are not executables: hidden ones, modules, libraries.
_SKIPPED = re.compile(r"^\.|\.(py|so)(\.|$)")


def launch_executables(environment: Environment, launch: Launch, *, foreign: bool) -> None:
    """Replace every installed ELF executable by a launcher.

    Executables are among the scripts, and inside packages that start them by their paths. The program itself stays in the
    same directory under another name, because it may search for files next to itself.

    :param foreign: this host's processor does not run the executables.
    """
    for directory in dict.fromkeys((environment.scripts, *environment.site_directories)):
        for program in _programs(directory, foreign=foreign):
            renamed = program.with_name(f".{program.name}.elf")
            program.rename(renamed)
            launch.write(program, renamed)


def _programs(directory: Path, *, foreign: bool) -> Iterator[Path]:
    """Yield the ELF executables in a tree that need a launcher.

    A static one, which names no loader, needs none if the host's processor runs it.
    """
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called for a thousand files
            if _SKIPPED.search(name) or not _is_executable(path):
                continue
            header = read_header(Path(path))
            if header is not None and header.type in {"ET_EXEC", "ET_DYN"} and (foreign or header.loader):
                yield Path(path)


def _is_executable(path: str) -> bool:
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
