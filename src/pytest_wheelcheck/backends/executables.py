"""Installed ELF executables: the kernel cannot start those of another architecture or root, so each gets a launcher."""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator
from pathlib import Path

from pytest_wheelcheck.backends.base import Environment
from pytest_wheelcheck.backends.launcher import Launch

#: Offsets of e_phoff, and of e_phentsize with e_phnum in an ELF header, and the format of an address; by EI_CLASS (elf(5)).
_ELF_FORMATS = {1: (28, 42, "I"), 2: (32, 54, "Q")}
_ET_EXEC, _ET_DYN, _PT_INTERP = 2, 3, 3


def launch_executables(environment: Environment, launch: Launch, *, foreign: bool) -> None:
    """Replace every installed ELF executable by a launcher.

    The program itself stays in the same directory under another name, since it may search for files next to itself.
    Executables are among the scripts, and inside packages that start them by their paths.

    :param foreign: the executables are of an architecture that this host's processor does not run.
    """
    for directory in dict.fromkeys((environment.scripts, *environment.site_directories)):
        for program in _programs(directory, foreign=foreign):
            real = program.with_name(f".{program.name}.elf")
            program.rename(real)
            launch.write(program, real)


def _programs(directory: Path, *, foreign: bool) -> Iterator[Path]:
    """Find the ELF executables in a tree.

    A static one, which names no loader, needs no launcher if the host's own processor runs it.
    """
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)  # noqa: PTH118  called for a thousand files
            if not re.search(r"^\.|\.(py|so)(\.|$)", name) and _is_program(path, foreign=foreign):
                yield Path(path)


def _is_program(path: str, *, foreign: bool) -> bool:
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or not status.st_mode & stat.S_IXUSR:
        return False
    with open(path, "rb") as file:  # noqa: PTH123  as above
        head = file.read(4096)
    if head[:4] != b"\x7fELF" or len(head) < 64 or head[4] not in _ELF_FORMATS:
        return False
    order = ">" if head[5] == 2 else "<"
    table, sizes, address = _ELF_FORMATS[head[4]]
    (kind,) = struct.unpack_from(f"{order}H", head, 16)
    if foreign or kind not in {_ET_EXEC, _ET_DYN}:
        return kind in {_ET_EXEC, _ET_DYN}
    (start,) = struct.unpack_from(f"{order}{address}", head, table)
    size, count = struct.unpack_from(f"{order}2H", head, sizes)
    offsets = range(start, min(start + size * count, len(head) - 4), max(size, 1))
    return any(struct.unpack_from(f"{order}I", head, offset)[0] == _PT_INTERP for offset in offsets)
