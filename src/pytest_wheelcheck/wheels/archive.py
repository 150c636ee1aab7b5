"""The container of a wheel, read by ourselves before any library unpacks it.

Installers differ in how they read a damaged or hostile zip: one follows the central directory, another the local
headers, a third searches for an end record from the back. An archive that they read differently installs differently.
So :func:`inspect` reads the whole structure strictly, in bounded memory, and names everything that is ambiguous,
hidden or unsafe. Nothing is taken on trust: the members must tile the file without gap or overlap, and both headers of
a member must tell the same.

Source: APPNOTE.TXT (the ZIP specification), sections 4.3 to 4.6; PEP 427 for what a wheel adds.
"""

from __future__ import annotations

import enum
import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from pytest_wheelcheck.errors import WheelError

#: Bytes read at once.
CHUNK = 1 << 20
#: A central directory larger than this is not read. The largest published wheels need about 3 MiB.
MAX_DIRECTORY = 64 << 20
#: More members than this are not read.
MAX_MEMBERS = 250_000
#: Indexes accept any ratio up to this many unpacked bytes, and *MAX_RATIO* above.
FREE_EXPANSION = 64 << 20
#: Unpacked bytes for one byte of the file.
MAX_RATIO = 50
#: A name of more characters is none that a system can have (Linux's PATH_MAX).
MAX_NAME = 4096
#: Characters of one message.
MAX_MESSAGE = 500
#: So many problems of one kind are told one by one.
MAX_TOLD = 20

STORED, DEFLATED = 0, 8
#: The newest version of the format, times ten (APPNOTE 4.4.3). Readers refuse the whole archive for a later one.
_NEWEST = 63
_METHODS = {STORED: "stored", DEFLATED: "deflated"}

_END, _END64, _LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_CENTRAL, _LOCAL, _DESCRIPTOR = b"PK\1\2", b"PK\3\4", b"PK\7\x08"
_END_FORMAT = struct.Struct("<4s4H2IH")
_END64_FORMAT = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64_FORMAT = struct.Struct("<4sIQI")
_CENTRAL_FORMAT = struct.Struct("<4s6H3I5H2I")
_LOCAL_FORMAT = struct.Struct("<4s5H3I2H")

_FLAG_ENCRYPTED = 0x0001
_FLAG_DESCRIPTOR = 0x0008
_FLAG_PATCH = 0x0020
_FLAG_STRONG = 0x0040
_FLAG_UTF8 = 0x0800
_FLAG_MASKED = 0x2000
#: Flags that change how the member is read; the others are hints of the compressor.
_FLAGS_THAT_MATTER = _FLAG_ENCRYPTED | _FLAG_DESCRIPTOR | _FLAG_PATCH | _FLAG_STRONG | _FLAG_UTF8 | _FLAG_MASKED
_EXTRA_ZIP64, _EXTRA_UNICODE_NAME = 0x0001, 0x7075
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF

#: Device names of Windows; with any extension they are no files (Win32 «Naming Files, Paths, and Namespaces»).
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³])(?:\..*)?", re.IGNORECASE)
_WINDOWS_FORBIDDEN = re.compile(r'[<>:"|?*]')


class Fault(enum.Enum):
    """What can be wrong with a container; the value is a short name for people."""

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
    STREAM = "damaged-member"


#: Faults that leave no doubt about what the archive holds; with any other, a wheel is not opened.
READABLE = frozenset({Fault.COLLISION, Fault.DESCRIPTOR, Fault.WINDOWS_NAME})


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """One thing that is wrong with a container, told with names and numbers."""

    fault: Fault
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One member of an archive.

    :param name: decoded name, ``/`` as separator, a folder's with its last ``/``.
    :param method: compression method (APPNOTE 4.4.5).
    :param crc: CRC-32 of the unpacked bytes.
    :param size: unpacked bytes.
    :param packed: bytes in the file.
    :param start: offset of the first packed byte.
    :param mode: ``st_mode`` as the archive has it; 0 where it says nothing.
    """

    name: str
    method: int
    crc: int
    size: int
    packed: int
    start: int
    mode: int

    @property
    def is_folder(self) -> bool:
        """Whether the member is a folder (its name ends with a slash)."""
        return self.name.endswith("/")


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A zip file whose structure was read by :func:`inspect`.

    :param path: the file.
    :param size: its bytes.
    :param entries: the members in the order of the central directory; of duplicates, each one.
    :param problems: everything that is wrong with the structure.
    """

    path: Path
    size: int
    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...]
    _by_name: dict[str, Entry] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        for entry in self.entries:
            self._by_name.setdefault(entry.name, entry)

    @property
    def doubtful(self) -> tuple[Problem, ...]:
        """The problems that leave it open, or unsafe, what the archive holds."""
        return tuple(problem for problem in self.problems if problem.fault not in READABLE)

    @property
    def files(self) -> tuple[Entry, ...]:
        """The members that are no folders."""
        return tuple(entry for entry in self.entries if not entry.is_folder)

    def find(self, name: str) -> Entry | None:
        """Return the member of this very name."""
        return self._by_name.get(name)

    def chunks(self, entry: Entry, *, step: int = CHUNK) -> Iterator[bytes]:
        """Yield the unpacked bytes of a member, in pieces of at most *step* bytes.

        :raises WheelError: the stream is damaged, its CRC is wrong, or it unpacks to another size than it says. Bytes
            that were yielded before may be wrong as well.
        """
        with self.path.open("rb") as stream:
            yield from _unpack(stream, entry, step)

    def read(self, entry: Entry, *, limit: int) -> bytes:
        """Read a whole member.

        :param limit: unpacked bytes that it may have.
        :raises WheelError: it is larger, or as :meth:`chunks` says.
        """
        if entry.size > limit:
            raise WheelError(f"{entry.name} has {entry.size} bytes, more than the {limit} that are read of such a file")
        return b"".join(self.chunks(entry))

    def head(self, entry: Entry, length: int) -> bytes:
        """Read the first *length* bytes of a member, fewer where it is shorter. Its CRC is not looked at.

        :raises WheelError: as :meth:`chunks` says.
        """
        found = b""
        for chunk in self.chunks(entry, step=max(length, 512)):
            found += chunk
            if len(found) >= length:
                break
        return found[:length]


def inspect(path: Path) -> Archive:
    """Read the structure of a zip file, in memory bounded by :data:`MAX_DIRECTORY`, and judge it.

    The members' streams are not unpacked; :meth:`Archive.chunks` judges them as they are read.

    :raises OSError: the file cannot be read.
    """
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        reader = _Reader(stream, size)
        entries = reader.read()
    return Archive(path=path, size=size, entries=tuple(entries), problems=tuple(reader.problems()))


def unsafe_name(name: str) -> str | None:
    """Why a member's name must not become a path below any folder; ``None`` where it may.

    Judged for every system at once, since a wheel can be opened on each.
    """
    reason = None
    if not name or name == "/":
        reason = "is empty"
    elif len(name) > MAX_NAME:
        reason = f"has more than {MAX_NAME} characters"
    elif name.startswith("/"):
        reason = "is absolute"
    elif "\\" in name:
        reason = "contains a backslash, which Windows takes for a separator"
    elif re.match(r"[A-Za-z]:", name):
        reason = "starts with a drive letter"
    elif any(unicodedata.category(character) in {"Cc", "Cs"} for character in name):
        reason = "contains control characters"
    else:
        parts = name.removesuffix("/").split("/")
        if ".." in parts:
            reason = "climbs out with «..»"
        elif "." in parts or "" in parts:
            reason = "has an empty or «.» component"
    return reason


def windows_name(name: str) -> str | None:
    """Why Windows cannot create a file of this name, though it is safe; ``None`` where it can.

    Source: Microsoft, «Naming Files, Paths, and Namespaces».
    """
    for part in name.removesuffix("/").split("/"):
        if _RESERVED.fullmatch(part):
            return f"«{part}» is a device"
        if part.endswith((" ", ".")):
            return f"«{part}» ends with a space or a dot"
        if found := _WINDOWS_FORBIDDEN.search(part):
            return f"«{part}» contains {found[0]}"
    return None


@dataclass(kw_only=True, slots=True)
class _Central:
    """One record of the central directory, with what it says raw."""

    raw: bytes
    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


class _Reader:
    """One reading of one file."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self.stream = stream
        self.size = size
        self.found: dict[Fault, list[str]] = {}

    def say(self, fault: Fault, message: str) -> None:
        # A name may have 64 KiB.
        short = message if len(message) <= MAX_MESSAGE else f"{message[:MAX_MESSAGE]}…"
        self.found.setdefault(fault, []).append(short)

    def problems(self) -> list[Problem]:
        told = []
        for fault, messages in self.found.items():
            told += [Problem(fault=fault, message=message) for message in messages[:MAX_TOLD]]
            if len(messages) > MAX_TOLD:
                told.append(Problem(fault=fault, message=f"and {len(messages) - MAX_TOLD} more like these"))
        return told

    def at(self, offset: int, length: int) -> bytes:
        self.stream.seek(offset)
        return self.stream.read(length)

    def read(self) -> list[Entry]:
        directory = self.find_directory()
        if directory is None:
            return []
        start, length, count, end = directory
        records = self.read_directory(start, length, count)
        if records is None:
            return []
        self.judge_names(records)
        self.judge_expansion(records)
        entries = self.read_members(records, start)
        if start + length != end:
            self.say(Fault.HIDDEN, f"{end - start - length} bytes lie between the central directory and its end record")
        return entries

    # The end record -------------------------------------------------------------------------------------------------

    def find_directory(self) -> tuple[int, int, int, int] | None:
        """Offset and length of the central directory, number of its records, offset of what must follow it."""
        tail_start = max(0, self.size - _END_FORMAT.size - _FULL16)
        tail = self.at(tail_start, self.size - tail_start)
        places = [found.start() for found in re.finditer(re.escape(_END), tail)]
        places = [place for place in places if place + _END_FORMAT.size <= len(tail)]
        if not places:
            self.say(
                Fault.NOT_ZIP,
                "it is empty"
                if self.size == 0
                else "it starts like a zip archive but has no end record: it is truncated"
                if self.at(0, 4) == _LOCAL
                else "it has no end record of a zip archive",
            )
            return None
        exact = [p for p in places if p + _END_FORMAT.size + struct.unpack_from("<H", tail, p + 20)[0] == len(tail)]
        if len(exact) > 1:
            self.say(Fault.HIDDEN, f"{len(exact)} end records fit: one archive hides in the comment of another")
        # The first that fits holds the others in its comment; a reader that searches from the back takes the last.
        place = exact[0] if exact else places[-1]
        _, disk, directory_disk, here, count, length, start, comment = _END_FORMAT.unpack_from(tail, place)
        behind = len(tail) - place - _END_FORMAT.size
        if behind > comment:
            self.say(Fault.HIDDEN, f"{behind - comment} bytes follow the end of the archive")
        elif behind < comment:
            self.say(Fault.NOT_ZIP, f"it is truncated: its comment should have {comment} bytes, {behind} are there")
        text = tail[place + _END_FORMAT.size :]
        if len(exact) < 2 and any(mark in text for mark in (_END, _CENTRAL, _LOCAL)):
            self.say(Fault.HIDDEN, "its comment contains records of a zip archive")
        end = tail_start + place
        if (found := self.zip64(end, full=_FULL16 in (here, count) or _FULL32 in (length, start))) is not None:
            start, length, count, here, end = found
        if disk or directory_disk or here != count:
            self.say(Fault.NOT_ZIP, "it says that it is one of several disks")
            return None
        if start + length > end:
            self.say(
                Fault.NOT_ZIP,
                f"its central directory ({length} bytes at {start}) does not lie before its end record at {end}",
            )
            return None
        if length > MAX_DIRECTORY or count > MAX_MEMBERS:
            self.say(Fault.EXPANSION, f"its central directory says {count} members in {length} bytes; it is not read")
            return None
        return start, length, count, end

    def zip64(self, end: int, *, full: bool) -> tuple[int, int, int, int, int] | None:
        """Read what the ZIP64 end record says (APPNOTE 4.3.14, 4.3.15), where there is one."""
        place = end - _LOCATOR64_FORMAT.size
        if place < 0 or self.at(place, 4) != _LOCATOR64:
            if full:
                self.say(Fault.NOT_ZIP, "its end record refers to a ZIP64 record that is not there")
            return None
        _, _, where, _ = _LOCATOR64_FORMAT.unpack(self.at(place, _LOCATOR64_FORMAT.size))
        expected = place - _END64_FORMAT.size
        data = self.at(expected, _END64_FORMAT.size) if expected >= 0 else b""
        if where != expected or data[:4] != _END64:
            self.say(Fault.HIDDEN, "its ZIP64 end record does not stand right before its locator")
            return None
        if not full:
            self.say(Fault.HIDDEN, "it has a ZIP64 end record beside an ordinary one that needs none")
        _, _, _, _, _, _, here, count, length, start = _END64_FORMAT.unpack(data)
        return start, length, count, here, expected

    # The central directory ------------------------------------------------------------------------------------------

    def read_directory(self, start: int, length: int, count: int) -> list[_Central] | None:
        data = self.at(start, length)
        records: list[_Central] = []
        place = 0
        while place < len(data):
            record = data[place : place + _CENTRAL_FORMAT.size]
            if len(record) < _CENTRAL_FORMAT.size or record[:4] != _CENTRAL:
                self.say(Fault.NOT_ZIP, f"its central directory is damaged after {len(records)} members")
                return None
            fields = _CENTRAL_FORMAT.unpack(record)
            name_length, extra_length, comment_length = fields[10:13]
            place += _CENTRAL_FORMAT.size
            raw = data[place : place + name_length]
            extra = data[place + name_length : place + name_length + extra_length]
            place += name_length + extra_length + comment_length
            if place > len(data):
                self.say(Fault.NOT_ZIP, f"its central directory is damaged after {len(records)} members")
                return None
            records.append(self.central(raw, extra, fields))
        if len(records) != count:
            self.say(Fault.HIDDEN, f"its end record counts {count} members, its central directory {len(records)}")
        return records

    def central(self, raw: bytes, extra: bytes, fields: tuple[int, ...]) -> _Central:
        _, _made_by, needs, flags, method, _, _, crc, packed, size, _, _, _, disk, _, attributes, offset = fields
        name = self.decode(raw, flags)
        if needs & 0xFF > _NEWEST:
            self.say(
                Fault.METHOD,
                f"{name} is said to need version {(needs & 0xFF) / 10} of the format; there is none above 6.3",
            )
        if disk not in (0, _FULL16):
            self.say(Fault.HEADERS, f"{name} is said to lie on another disk")
        size, packed, offset = self.widen(name, extra, [size, packed, offset])
        return _Central(
            raw=raw,
            name=name,
            flags=flags,
            method=method,
            crc=crc,
            packed=packed,
            size=size,
            offset=offset,
            # A DOS archive says nothing in the upper half, but extractors read it whatever the system says.
            mode=attributes >> 16,
        )

    def decode(self, raw: bytes, flags: int) -> str:
        if flags & _FLAG_UTF8 or raw.isascii():
            try:
                return raw.decode()
            except UnicodeDecodeError:
                name = raw.decode("utf-8", "backslashreplace")
                self.say(Fault.NAME, f"{name!r} is said to be UTF-8 and is not")
                return name
        name = raw.decode("cp437")
        self.say(Fault.NAME, f"{name!r} is not marked as UTF-8, so that its letters depend on the reader")
        return name

    def widen(self, name: str, extra: bytes, values: list[int]) -> list[int]:
        """Sizes and offset with the ZIP64 extra field (APPNOTE 4.5.3), and a look at the other extra fields."""
        place = 0
        while place + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, place)
            data = extra[place + 4 : place + 4 + length]
            place += 4 + length
            if kind == _EXTRA_ZIP64:
                wide = list(struct.unpack_from(f"<{len(data) // 8}Q", data))
                for index, value in enumerate(values):
                    if value == _FULL32 and wide:
                        values[index] = wide.pop(0)
            elif kind == _EXTRA_UNICODE_NAME and data[5:] != name.encode("utf-8", "surrogatepass"):
                self.say(Fault.HEADERS, f"{name} has another name in an extra field: {data[5:]!r}")
        if place != len(extra):
            self.say(Fault.HEADERS, f"{name}: its extra fields are damaged")
        return values

    # Names, kinds and sizes -----------------------------------------------------------------------------------------

    def judge_names(self, records: list[_Central]) -> None:
        seen: set[str] = set()
        folded: dict[str, str] = {}
        folders: set[str] = set()
        for record in records:
            name = record.name
            if (reason := unsafe_name(name)) is not None:
                self.say(Fault.NAME, f"{name!r} {reason}")
            elif (reason := windows_name(name)) is not None:
                self.say(Fault.WINDOWS_NAME, f"{name!r}: {reason}")
            plain = name.removesuffix("/")
            if plain in seen:
                self.say(Fault.DUPLICATE, f"{name} is there more than once")
            elif (other := folded.setdefault(fold(plain), plain)) != plain:
                self.say(Fault.COLLISION, f"{name} and {other} are one file where case or accents do not count")
            seen.add(plain)
            parts = plain.split("/")
            folders |= {"/".join(parts[:depth]) for depth in range(1, min(len(parts), 64))}
            self.judge_kind(record)
        files = {record.name for record in records if not record.name.endswith("/")}
        for name in sorted(files & folders):
            self.say(Fault.DUPLICATE, f"{name} is a file and a folder at once")
        for folder in sorted(folders):
            other = folded.setdefault(fold(folder), folder)
            if other != folder:
                self.say(Fault.COLLISION, f"{folder}/ and {other} are one where case or accents do not count")

    def judge_kind(self, record: _Central) -> None:
        name, kind = record.name, stat.S_IFMT(record.mode)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            word = {stat.S_IFLNK: "a symbolic link", stat.S_IFIFO: "a pipe"}.get(kind, "a special file")
            self.say(Fault.SPECIAL, f"{name} is {word}")
        elif name.endswith("/") != (kind == stat.S_IFDIR) and kind:
            self.say(Fault.SPECIAL, f"{name} is a folder by its name or by its mode, but not by both")
        if name.endswith("/") and record.size:
            self.say(Fault.HIDDEN, f"the folder {name} has {record.size} bytes of content")
        if record.flags & (_FLAG_ENCRYPTED | _FLAG_STRONG | _FLAG_MASKED):
            self.say(Fault.ENCRYPTED, f"{name} is encrypted")
        if record.method not in _METHODS or record.flags & _FLAG_PATCH:
            self.say(Fault.METHOD, f"{name} is compressed by method {record.method}; wheels know stored and deflated")
        elif record.method == STORED and record.packed != record.size:
            self.say(Fault.HEADERS, f"{name} is stored, but has {record.packed} bytes for {record.size}")

    def judge_expansion(self, records: list[_Central]) -> None:
        total = sum(record.size for record in records)
        if total > FREE_EXPANSION and total > MAX_RATIO * self.size:
            self.say(
                Fault.EXPANSION,
                f"it says that its {self.size} bytes unpack to {total}, {total // max(1, self.size)} times as many",
            )

    # The members ----------------------------------------------------------------------------------------------------

    def read_members(self, records: list[_Central], directory: int) -> list[Entry]:
        entries: dict[int, Entry] = {}
        place = 0
        for index, record in sorted(enumerate(records), key=lambda pair: pair[1].offset):
            if record.offset > place:
                what = "before its first member" if place == 0 else f"before {record.name}"
                self.say(Fault.HIDDEN, f"{record.offset - place} bytes that belong to no member lie {what}")
            elif record.offset < place:
                self.say(Fault.HIDDEN, f"{record.name} overlaps the member before it")
            start = self.local(record, directory)
            if start is None:
                continue
            entries[index] = Entry(
                name=record.name,
                method=record.method,
                crc=record.crc,
                size=record.size,
                packed=record.packed,
                start=start,
                mode=record.mode,
            )
            place = start + record.packed
            if record.flags & _FLAG_DESCRIPTOR:
                place += self.descriptor(record, place)
            if place > directory:
                self.say(Fault.HIDDEN, f"{record.name} reaches into the central directory")
        if place < directory:
            self.say(Fault.HIDDEN, f"{directory - place} bytes that belong to no member lie before the directory")
        return [entries[index] for index in sorted(entries)]

    def local(self, record: _Central, directory: int) -> int | None:
        """Compare a member's local header with its central one; the offset of its packed bytes."""
        header = self.at(record.offset, _LOCAL_FORMAT.size) if record.offset < directory else b""
        if len(header) < _LOCAL_FORMAT.size or header[:4] != _LOCAL:
            self.say(Fault.NOT_ZIP, f"{record.name} has no header where the central directory says")
            return None
        _, _, flags, method, _, _, crc, packed, size, name_length, extra_length = _LOCAL_FORMAT.unpack(header)
        rest = self.at(record.offset + _LOCAL_FORMAT.size, name_length + extra_length)
        raw, extra = rest[:name_length], rest[name_length:]
        if raw != record.raw:
            self.say(Fault.HEADERS, f"{record.name} is called {raw.decode('utf-8', 'backslashreplace')} in its header")
        size, packed = self.widen(record.name, extra, [size, packed])
        pairs = [
            ("method", method, record.method),
            ("flags", flags & _FLAGS_THAT_MATTER, record.flags & _FLAGS_THAT_MATTER),
        ]
        if not flags & _FLAG_DESCRIPTOR or (crc or packed or size):
            pairs += [("CRC", crc, record.crc), ("packed size", packed, record.packed), ("size", size, record.size)]
        for what, here, there in pairs:
            if here != there:
                self.say(Fault.HEADERS, f"{record.name} has {what} {here} in its header, {there} in the directory")
        return int(record.offset + _LOCAL_FORMAT.size + name_length + extra_length)

    def descriptor(self, record: _Central, place: int) -> int:
        """Compare the descriptor behind a member (APPNOTE 4.3.9) with its central header; the descriptor's bytes."""
        self.say(Fault.DESCRIPTOR, f"{record.name} was written as a stream: its sizes stand behind its content")
        data = self.at(place, 24)
        for mark in (_DESCRIPTOR, b""):
            for form in ("<3I", "<I2Q"):
                length = len(mark) + struct.calcsize(form)
                if data.startswith(mark) and len(data) >= length:
                    said = struct.unpack_from(form, data, len(mark))
                    if said == (record.crc, record.packed, record.size):
                        return length
        self.say(Fault.HEADERS, f"{record.name} has a descriptor that does not agree with the directory")
        return 0


def fold(name: str) -> str:
    """Return a name as a file system compares it for which case and the composition of accents do not count."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


def _unpack(stream: BinaryIO, entry: Entry, step: int) -> Iterator[bytes]:
    stream.seek(entry.start)
    crc = written = 0
    for chunk in _inflated(stream, entry, step) if entry.method == DEFLATED else _stored(stream, entry, step):
        written += len(chunk)
        if written > entry.size:
            raise _damaged(entry, f"it unpacks to more than the {entry.size} bytes that it says")
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if written != entry.size:
        raise _damaged(entry, f"it unpacks to {written} bytes instead of {entry.size}")
    if crc != entry.crc:
        raise _damaged(entry, f"its CRC is {crc:08x} instead of {entry.crc:08x}")


def _stored(stream: BinaryIO, entry: Entry, step: int) -> Iterator[bytes]:
    if entry.method != STORED:
        raise _damaged(entry, f"it is compressed by method {entry.method}")
    left = entry.packed
    while left and (chunk := stream.read(min(left, step))):
        left -= len(chunk)
        yield chunk


def _inflated(stream: BinaryIO, entry: Entry, step: int) -> Iterator[bytes]:
    left = entry.packed
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    waiting = b""
    try:
        while not unpacker.eof:
            if not waiting:
                waiting = stream.read(min(left, step))
                left -= len(waiting)
                if not waiting:
                    break
            chunk = unpacker.decompress(waiting, step)
            waiting = unpacker.unconsumed_tail
            if chunk:
                yield chunk
    except zlib.error as error:
        raise _damaged(entry, f"its compressed stream is damaged ({error})") from error
    if not unpacker.eof:
        raise _damaged(entry, "its compressed stream ends too early")
    if left or waiting or unpacker.unused_data:
        raise _damaged(entry, "bytes follow the end of its compressed stream")


def _damaged(entry: Entry, reason: str) -> WheelError:
    return WheelError(
        f"{entry.name} cannot be unpacked: {reason}",
        cause="the file was damaged on its way, or made to be read differently by different programs",
        fix="build or download the wheel again",
    )
