"""Core dumps: where the kernel writes them, and which of them a target's programs left (core(5))."""

from __future__ import annotations

import contextlib
import mmap
import os
import shutil
import struct
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

#: ``e_type`` of a core dump (elf(5)).
_ET_CORE = 4


def allow() -> None:
    """Let the programs that this process starts dump their memory, as far as the administrator allows it."""
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
            resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def directories(cwd: Path) -> list[Path]:
    """Return the directories that core dumps of programs with a working directory may be in, also those that emulators write."""
    try:
        pattern = Path("/proc/sys/kernel/core_pattern").read_text(encoding="utf-8").strip()
    except OSError:
        pattern = ""
    # With a pipe in front, a program gets them.
    return [cwd, *([Path(pattern).parent] if pattern.startswith("/") and "%" not in str(Path(pattern).parent) else [])]


def find(places: Iterable[Path], mark: str) -> Iterator[Path]:
    """Yield the core dumps in directories whose memory has a text: a path of the target, which its environment contains."""
    for place in places:
        with contextlib.suppress(OSError), os.scandir(place) as entries:
            for entry in entries:
                with contextlib.suppress(OSError, ValueError):
                    if "core" in entry.name and entry.is_file(follow_symlinks=False) and _is_of(entry.path, mark):
                        yield Path(entry.path)


def _is_of(path: str, mark: str) -> bool:
    with open(path, "rb") as file:  # noqa: PTH123
        header = file.read(18)
        if len(header) < 18 or not header.startswith(b"\x7fELF"):
            return False
        if struct.unpack((">" if header[5] == 2 else "<") + "H", header[16:])[0] != _ET_CORE:
            return False
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            return memory.find(os.fsencode(mark)) >= 0


def move(core: Path, directory: Path) -> None:
    """Move a core dump to a directory, under a name that is free there."""
    directory.mkdir(parents=True, exist_ok=True)
    number, found = 1, directory / core.name
    while os.path.lexists(found):
        number += 1
        found = directory / f"{core.name}-{number}"
    with contextlib.suppress(OSError):
        shutil.move(core, found)
