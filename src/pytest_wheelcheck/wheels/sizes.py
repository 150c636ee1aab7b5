"""What takes up the space in a wheel: its largest files, and the others by their kind."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from pytest_wheelcheck.model import ContentsEntry
from pytest_wheelcheck.wheels.container import Member
from pytest_wheelcheck.wheels.inspection import inspect

#: Unpacked and compressed size of each file of a wheel, by its name in the archive.
FileSizes = Mapping[str, tuple[int, int]]

#: Files that have an entry of their own.
MAX_FILES = 40

_LIBRARY = re.compile(r"\.(?:dll|dylib)$|\.so\.[0-9.]+$|\.(?:libs|dylibs)/[^/]+\.so\b", re.IGNORECASE)
_NATIVE = re.compile(r"\.(?:so|pyd)$", re.IGNORECASE)
_PYTHON = re.compile(r"\.(?:py|pyi|pyc)$")


def find_sizes(members: Sequence[Member], dist_info: str) -> tuple[ContentsEntry, ...]:
    """Return the largest files of a wheel, then one entry for the others of each kind.

    :param dist_info: the name of the ``.dist-info`` directory.
    """
    files = sorted(
        (member for member in members if not member.is_directory), key=lambda member: -member.compressed_size
    )
    entries = [
        ContentsEntry(
            path=member.name,
            kind=kind_of(member.name, dist_info),
            size=member.size,
            compressed_size=member.compressed_size,
            files=1,
        )
        for member in files
    ]
    others: dict[str, list[ContentsEntry]] = {}
    for entry in entries[MAX_FILES:]:
        others.setdefault(entry.kind, []).append(entry)
    groups = [
        ContentsEntry(
            path="",
            kind=kind,
            size=sum(entry.size for entry in group),
            compressed_size=sum(entry.compressed_size for entry in group),
            files=len(group),
        )
        for kind, group in others.items()
    ]
    return (*entries[:MAX_FILES], *groups)


def kind_of(name: str, dist_info: str) -> str:
    """Return the kind of a file in a wheel, as reports name it."""
    if name.startswith(f"{dist_info}/"):
        return "metadata"
    if _LIBRARY.search(name):
        return "library"
    if _NATIVE.search(name):
        return "native"
    return "python" if _PYTHON.search(name) else "data"


def read_sizes(wheel: Path) -> FileSizes:
    """Read the sizes of all files of a wheel from its directory.

    :raises OSError: the file cannot be read.
    """
    return {member.name: (member.size, member.compressed_size) for member in inspect(wheel).files}
