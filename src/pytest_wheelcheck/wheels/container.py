"""The ZIP container of a wheel, as values.

:func:`pytest_wheelcheck.wheels.inspection.inspect` reads the structure of a file and returns a :class:`Container`. A
container lists its members and everything that is wrong with its structure, and unpacks members in bounded memory.

Source: APPNOTE.TXT (the ZIP specification), sections 4.3 to 4.6; PEP 427 for the rules of wheels.
"""

from __future__ import annotations

import enum
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pytest_wheelcheck.errors import WheelError

#: Bytes read at once.
CHUNK = 1 << 20
#: Compression methods that wheels may use (APPNOTE 4.4.5).
STORED, DEFLATED = 0, 8
#: Maximum number of characters in one defect message. A member name may have 64 KiB.
MAX_MESSAGE = 500
#: Maximum number of reported defects of one kind.
MAX_DEFECTS_PER_KIND = 20


class DefectKind(enum.Enum):
    """The kinds of defects that a container can have. The value is a short name for messages."""

    NOT_ZIP = "not-a-zip"
    HIDDEN = "hidden-data"
    HEADERS = "headers-disagree"
    DUPLICATE = "duplicate-member"
    COLLISION = "colliding-names"
    NAME = "unsafe-name"
    SPECIAL = "link-or-device"
    ENCRYPTED = "encrypted"
    METHOD = "compression-method"
    EXPANSION = "absurd-expansion"
    DESCRIPTOR = "data-descriptor"
    WINDOWS_NAME = "windows-name"


#: Defects that leave no doubt about the contents. With any other defect, a wheel is not opened.
TOLERATED_DEFECTS = frozenset({DefectKind.COLLISION, DefectKind.DESCRIPTOR, DefectKind.WINDOWS_NAME})


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerDefect:
    """One defect of a container."""

    kind: DefectKind
    message: str


class DefectLog:
    """Collects the defects of one container, bounded in number and length."""

    def __init__(self) -> None:
        self._messages: dict[DefectKind, list[str]] = {}

    def add(self, kind: DefectKind, message: str) -> None:
        """Add a defect."""
        short = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
        self._messages.setdefault(kind, []).append(short)

    def defects(self) -> tuple[ContainerDefect, ...]:
        """Return the defects, grouped by kind."""
        defects = []
        for kind, messages in self._messages.items():
            defects += [ContainerDefect(kind=kind, message=message) for message in messages[:MAX_DEFECTS_PER_KIND]]
            if (omitted := len(messages) - MAX_DEFECTS_PER_KIND) > 0:
                defects.append(ContainerDefect(kind=kind, message=f"and {omitted} more like these"))
        return tuple(defects)


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """One member of a container.

    :param name: decoded name, with ``/`` as separator. The name of a directory ends with ``/``.
    :param method: compression method (APPNOTE 4.4.5).
    :param crc: CRC-32 of the unpacked bytes.
    :param size: number of unpacked bytes.
    :param compressed_size: number of bytes in the file.
    :param data_offset: offset of the first compressed byte in the file.
    :param mode: ``st_mode`` from the central directory; 0 if it has none.
    """

    name: str
    method: int
    crc: int
    size: int
    compressed_size: int
    data_offset: int
    mode: int

    @property
    def is_directory(self) -> bool:
        """Whether the member is a directory (its name ends with a slash)."""
        return self.name.endswith("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """A ZIP file whose structure was read.

    :param path: the file.
    :param size: size of the file in bytes.
    :param members: the members in the order of the central directory, including duplicates.
    :param defects: all defects of the structure.
    """

    path: Path
    size: int
    members: tuple[Member, ...]
    defects: tuple[ContainerDefect, ...]
    _by_name: dict[str, Member] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for member in self.members:
            self._by_name.setdefault(member.name, member)

    @property
    def blocking_defects(self) -> tuple[ContainerDefect, ...]:
        """The defects that make the contents ambiguous or unsafe."""
        return tuple(defect for defect in self.defects if defect.kind not in TOLERATED_DEFECTS)

    @property
    def files(self) -> tuple[Member, ...]:
        """The members that are not directories."""
        return tuple(member for member in self.members if not member.is_directory)

    def find(self, name: str) -> Member | None:
        """Return the member with exactly this name."""
        return self._by_name.get(name)

    def chunks(self, member: Member, *, step: int = CHUNK) -> Iterator[bytes]:
        """Yield the unpacked bytes of a member, in pieces of at most *step* bytes.

        :raises WheelError: the stream is damaged, its CRC is wrong, or it does not unpack to its declared size. Bytes
            that were yielded before may be wrong as well.
        """
        with self.path.open("rb") as stream:
            yield from _unpack(stream, member, step)

    def read(self, member: Member, *, limit: int) -> bytes:
        """Read a whole member.

        :param limit: maximum number of unpacked bytes.
        :raises WheelError: the member is larger than *limit*, or as :meth:`chunks`.
        """
        if member.size > limit:
            raise WheelError(f"{member.name} has {member.size} bytes; at most {limit} bytes of such a file are read")
        return b"".join(self.chunks(member))

    def head(self, member: Member, length: int) -> bytes:
        """Read the first *length* bytes of a member, or all bytes if it is shorter. The CRC is not checked.

        :raises WheelError: as :meth:`chunks`.
        """
        head = b""
        for chunk in self.chunks(member, step=max(length, 512)):
            head += chunk
            if len(head) >= length:
                break
        return head[:length]


# zipfile is not used: it trusts the declared sizes, and does not report bytes after the end of a compressed stream.


def _unpack(stream: BinaryIO, member: Member, step: int) -> Iterator[bytes]:
    stream.seek(member.data_offset)
    crc = written = 0
    for chunk in _inflate(stream, member, step) if member.method == DEFLATED else _copy_stored(stream, member, step):
        written += len(chunk)
        if written > member.size:
            raise _damaged(member, f"it unpacks to more than its declared {member.size} bytes")
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if written != member.size:
        raise _damaged(member, f"it unpacks to {written} bytes instead of {member.size}")
    if crc != member.crc:
        raise _damaged(member, f"its CRC is {crc:08x} instead of {member.crc:08x}")


def _copy_stored(stream: BinaryIO, member: Member, step: int) -> Iterator[bytes]:
    if member.method != STORED:
        raise _damaged(member, f"it uses compression method {member.method}")
    left = member.compressed_size
    while left and (chunk := stream.read(min(left, step))):
        left -= len(chunk)
        yield chunk


def _inflate(stream: BinaryIO, member: Member, step: int) -> Iterator[bytes]:
    left = member.compressed_size
    decompressor = zlib.decompressobj(-zlib.MAX_WBITS)
    pending = b""
    try:
        while not decompressor.eof:
            if not pending:
                pending = stream.read(min(left, step))
                left -= len(pending)
                if not pending:
                    break
            chunk = decompressor.decompress(pending, step)
            pending = decompressor.unconsumed_tail
            if chunk:
                yield chunk
    except zlib.error as error:
        raise _damaged(member, f"its compressed stream is damaged ({error})") from error
    if not decompressor.eof:
        raise _damaged(member, "its compressed stream ends too early")
    if left or pending or decompressor.unused_data:
        raise _damaged(member, "bytes follow the end of its compressed stream")


def _damaged(member: Member, reason: str) -> WheelError:
    return WheelError(
        f"{member.name} cannot be unpacked: {reason}",
        cause="the file was damaged during transfer, or was made so that different programs read it differently",
        fix="build or download the wheel again",
    )
