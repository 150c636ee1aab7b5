"""Checks the container of a wheel before any library unpacks it.

Installers differ in how they read a damaged or hostile ZIP file: one follows the central directory, another the local
headers, a third searches for an end record from the end. An archive that they read differently installs differently.
So :func:`inspect` reads the whole structure strictly, in bounded memory, and reports everything that is ambiguous,
hidden or unsafe: the members must cover the file without gap or overlap, and both headers of a member must agree.
No library does this; zipfile, pip and uv read what they can.

Source: APPNOTE.TXT (the ZIP specification), sections 4.3 to 4.6; PEP 427 for the rules of wheels.
"""

from __future__ import annotations

import stat
from pathlib import Path

from pytest_wheelcheck.wheels.container import DEFLATED, STORED, Container, DefectKind, DefectLog, Member
from pytest_wheelcheck.wheels.member_names import fold, unsafe_name, windows_name
from pytest_wheelcheck.wheels.zip_structures import (
    FLAG_DESCRIPTOR,
    FLAG_ENCRYPTED,
    FLAG_MASKED,
    FLAG_PATCH,
    FLAG_STRONG_ENCRYPTION,
    CentralDirectory,
    CentralHeader,
    ZipReader,
)

#: Indexes accept any ratio up to this number of unpacked bytes, and *MAX_RATIO* above it.
FREE_EXPANSION = 64 << 20
#: Unpacked bytes for each byte of the file.
MAX_RATIO = 50
#: Parent directories of one member that are checked.
_MAX_DEPTH = 64


def inspect(path: Path) -> Container:
    """Read and check the structure of a ZIP file.

    Memory is bounded by :data:`~pytest_wheelcheck.wheels.zip_structures.MAX_DIRECTORY`. The members' streams are not
    unpacked; :meth:`Container.chunks` checks them when they are read.

    :raises OSError: the file cannot be read.
    """
    log = DefectLog()
    members: list[Member] = []
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        reader = ZipReader(stream, size, log)
        directory = reader.find_directory()
        headers = None if directory is None else reader.read_headers(directory)
        if directory is not None and headers is not None:
            _check_names(headers, log)
            _check_expansion(headers, size, log)
            members = _locate_members(reader, headers, directory, log)
            if gap := directory.end - directory.start - directory.length:
                log.add(DefectKind.HIDDEN, f"{gap} bytes are between the central directory and the end record")
    return Container(path=path, size=size, members=tuple(members), defects=log.defects())


def _check_names(headers: list[CentralHeader], log: DefectLog) -> None:
    seen: set[str] = set()
    by_folded_name: dict[str, str] = {}
    directories: set[str] = set()
    for header in headers:
        name = header.name
        if (reason := unsafe_name(name)) is not None:
            log.add(DefectKind.NAME, f"{name!r} {reason}")
        elif (reason := windows_name(name)) is not None:
            log.add(DefectKind.WINDOWS_NAME, f"{name!r}: {reason}")
        path = name.removesuffix("/")
        if path in seen:
            log.add(DefectKind.DUPLICATE, f"{name} occurs more than once")
        elif (other := by_folded_name.setdefault(fold(path), path)) != path:
            log.add(DefectKind.COLLISION, f"{name} and {other} are the same file if case or accents are ignored")
        seen.add(path)
        parts = path.split("/")
        directories |= {"/".join(parts[:depth]) for depth in range(1, min(len(parts), _MAX_DEPTH))}
        _check_kind(header, log)
    files = {header.name for header in headers if not header.name.endswith("/")}
    for name in sorted(files & directories):
        log.add(DefectKind.DUPLICATE, f"{name} is both a file and a directory")
    for path in sorted(directories):
        other = by_folded_name.setdefault(fold(path), path)
        if other != path:
            log.add(DefectKind.COLLISION, f"{path}/ and {other} are the same if case or accents are ignored")


def _check_kind(header: CentralHeader, log: DefectLog) -> None:
    name, file_type = header.name, stat.S_IFMT(header.mode)
    if file_type not in (0, stat.S_IFREG, stat.S_IFDIR):
        text = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a named pipe"}.get(file_type, "a special file")
        log.add(DefectKind.SPECIAL, f"{name} is {text}")
    elif name.endswith("/") != (file_type == stat.S_IFDIR) and file_type:
        log.add(DefectKind.SPECIAL, f"{name} is a directory by its name or by its mode, but not by both")
    if name.endswith("/") and header.size:
        log.add(DefectKind.HIDDEN, f"the directory {name} has {header.size} bytes of content")
    if header.flags & (FLAG_ENCRYPTED | FLAG_STRONG_ENCRYPTION | FLAG_MASKED):
        log.add(DefectKind.ENCRYPTED, f"{name} is encrypted")
    if header.method not in (STORED, DEFLATED) or header.flags & FLAG_PATCH:
        log.add(
            DefectKind.METHOD, f"{name} uses compression method {header.method}; wheels must use stored or deflated"
        )
    elif header.method == STORED and header.compressed_size != header.size:
        log.add(
            DefectKind.HEADERS, f"{name} is stored, but its {header.size} bytes take {header.compressed_size} bytes"
        )


def _check_expansion(headers: list[CentralHeader], file_size: int, log: DefectLog) -> None:
    total = sum(header.size for header in headers)
    if total > FREE_EXPANSION and total > MAX_RATIO * file_size:
        log.add(
            DefectKind.EXPANSION,
            f"the {file_size} bytes of the file claim to unpack to {total}, {total // max(1, file_size)} times as many",
        )


def _locate_members(
    reader: ZipReader, headers: list[CentralHeader], directory: CentralDirectory, log: DefectLog
) -> list[Member]:
    """Follow the members through the file, in the order of their offsets: they must cover it without gap or overlap.

    :returns: the members that have a local header, in the order of the central directory.
    """
    members: dict[int, Member] = {}
    position = 0
    for index, header in sorted(enumerate(headers), key=lambda pair: pair[1].offset):
        if header.offset > position:
            neighbor = "the first member" if position == 0 else header.name
            log.add(DefectKind.HIDDEN, f"{header.offset - position} bytes before {neighbor} belong to no member")
        elif header.offset < position:
            log.add(DefectKind.HIDDEN, f"{header.name} overlaps the member before it")
        data_offset = reader.data_offset(header, directory)
        if data_offset is None:
            continue
        members[index] = Member(
            name=header.name,
            method=header.method,
            crc=header.crc,
            size=header.size,
            compressed_size=header.compressed_size,
            data_offset=data_offset,
            mode=header.mode,
        )
        position = data_offset + header.compressed_size
        if header.flags & FLAG_DESCRIPTOR:
            position += reader.descriptor_size(header, position)
        if position > directory.start:
            log.add(DefectKind.HIDDEN, f"{header.name} extends into the central directory")
    if position < directory.start:
        log.add(
            DefectKind.HIDDEN, f"{directory.start - position} bytes before the central directory belong to no member"
        )
    return [members[index] for index in sorted(members)]
