"""Launchers of installed executables: the kernel cannot start an ELF program of another architecture or another root."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.backends.launcher import Launch
from pytest_wheelcheck.wheels.bounded import read_headers

#: Names of files that are not executables: hidden ones, modules, libraries.
_SKIPPED = re.compile(r"^\.|\.(py|so)(\.|$)")


def launch_executables(environment: Environment, launch: Launch, *, foreign: bool) -> None:
    """Replace every installed ELF executable by a launcher.

    Executables are among the scripts, and inside packages that start them by their paths. The program itself stays in the
    same directory under another name, because it may search for files next to itself.

    :param foreign: this host's processor does not run the executables.
    :raises ProcessError: a file makes the parser die.
    """
    directories = dict.fromkeys((environment.scripts, *environment.site_directories))
    candidates = [path for directory in directories for path in _candidates(directory)]
    # Files of wheels may be hostile, so they are not read in this process.
    headers = read_headers(candidates)
    for path in dict.fromkeys(candidates):
        header = headers.get(path)
        # A static program, which names no loader, needs no launcher if the host's processor runs it.
        if header is not None and header.type in {"ET_EXEC", "ET_DYN"} and (foreign or header.loader):
            program = Path(path)
            renamed = program.with_name(f".{program.name}.elf")
            program.rename(renamed)
            launch.write(program, renamed)


def _candidates(directory: Path) -> Iterator[str]:
    """Yield the executable ELF files in a tree."""
    for parent, _, names in os.walk(os.path.abspath(directory)):  # noqa: PTH100 - links are kept as they are
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called for a thousand files
            if not _SKIPPED.search(name) and _is_executable(path):
                with contextlib.suppress(OSError), open(path, "rb") as stream:  # noqa: PTH123
                    if stream.read(4) == b"\x7fELF":
                        yield path


def _is_executable(path: str) -> bool:
    status = os.lstat(path)
    return stat.S_ISREG(status.st_mode) and bool(status.st_mode & stat.S_IXUSR)
