"""Reads the structures of a ZIP file: end records, central directory, local headers and data descriptors.

Every inconsistency becomes a defect in the log. Nothing is read without a bound on its size.

Source: APPNOTE.TXT (the ZIP specification), sections 4.3 to 4.5.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from pytest_wheelcheck.wheels.container import DefectKind, DefectLog

#: Maximum size in bytes of a central directory. The largest published wheels need about 3 MiB.
MAX_DIRECTORY = 64 << 20
#: Maximum number of members.
MAX_MEMBERS = 250_000
#: The newest version of the format, times ten (APPNOTE 4.4.3). Readers refuse the whole archive for a later one.
_NEWEST_VERSION = 63

_END, _END64, _LOCATOR64 = b"PK\5\6", b"PK\6\6", b"PK\6\7"
_CENTRAL, _LOCAL, _DESCRIPTOR = b"PK\1\2", b"PK\3\4", b"PK\7\x08"
_END_FORMAT = struct.Struct("<4s4H2IH")
_END64_FORMAT = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64_FORMAT = struct.Struct("<4sIQI")
_CENTRAL_FORMAT = struct.Struct("<4s6H3I5H2I")
_LOCAL_FORMAT = struct.Struct("<4s5H3I2H")

FLAG_ENCRYPTED = 0x0001
FLAG_DESCRIPTOR = 0x0008
FLAG_PATCH = 0x0020
FLAG_STRONG_ENCRYPTION = 0x0040
FLAG_UTF8 = 0x0800
FLAG_MASKED = 0x2000
#: Flags that change how a member is read. The others are hints of the compressor.
_RELEVANT_FLAGS = FLAG_ENCRYPTED | FLAG_DESCRIPTOR | FLAG_PATCH | FLAG_STRONG_ENCRYPTION | FLAG_UTF8 | FLAG_MASKED
_EXTRA_ZIP64, _EXTRA_UNICODE_NAME = 0x0001, 0x7075
#: Values that mean "see the ZIP64 record".
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, kw_only=True, slots=True)
class CentralDirectory:
    """The position of the central directory.

    :param start: its offset in the file.
    :param length: its size in bytes.
    :param count: the number of members that the end record gives.
    :param end: the offset of the end record, which must follow it.
    """

    start: int
    length: int
    count: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class CentralHeader:
    """One header of the central directory (APPNOTE 4.3.12).

    :param raw_name: the name as bytes, not decoded.
    :param mode: the upper half of the external attributes, which extractors use as ``st_mode``.
    """

    raw_name: bytes
    name: str
    flags: int
    method: int
    crc: int
    compressed_size: int
    size: int
    offset: int
    mode: int


class ZipReader:
    """Reads the structures of one file.

    :param stream: the file, seekable.
    :param size: its size in bytes.
    :param log: gets all defects.
    """

    def __init__(self, stream: BinaryIO, size: int, log: DefectLog) -> None:
        self._stream = stream
        self._size = size
        self._log = log

    def _at(self, offset: int, length: int) -> bytes:
        self._stream.seek(offset)
        return self._stream.read(length)

    def find_directory(self) -> CentralDirectory | None:
        """Find the central directory by the end record (APPNOTE 4.3.16); ``None`` if it cannot be read."""
        tail_start = max(0, self._size - _END_FORMAT.size - _FULL16)
        tail = self._at(tail_start, self._size - tail_start)
        position = self._find_end_record(tail)
        if position is None:
            return None
        _, disk, directory_disk, count_here, count, length, start, _ = _END_FORMAT.unpack_from(tail, position)
        end = tail_start + position
        needs_zip64 = _FULL16 in (count_here, count) or _FULL32 in (length, start)
        if (zip64 := self._read_zip64_end(end, needed=needs_zip64)) is not None:
            directory, count_here = zip64
        else:
            directory = CentralDirectory(start=start, length=length, count=count, end=end)
        if disk or directory_disk or count_here != directory.count:
            self._log.add(DefectKind.NOT_ZIP, "the archive claims to span several disks")
            return None
        start, length, end = directory.start, directory.length, directory.end
        if start + length > end:
            self._log.add(
                DefectKind.NOT_ZIP,
                f"the central directory ({length} bytes at offset {start}) does not end before the end record at "
                f"offset {end}",
            )
            return None
        if length > MAX_DIRECTORY or directory.count > MAX_MEMBERS:
            self._log.add(
                DefectKind.EXPANSION,
                f"the central directory claims {directory.count} members in {length} bytes; it was not read",
            )
            return None
        return directory

    def _find_end_record(self, tail: bytes) -> int | None:
        """Return the position of the end record in the tail of the file."""
        positions = [
            match.start()
            for match in re.finditer(re.escape(_END), tail)
            if match.start() + _END_FORMAT.size <= len(tail)
        ]
        if not positions:
            if self._size == 0:
                message = "the file is empty"
            elif self._at(0, 4) == _LOCAL:
                message = "the file starts like a ZIP archive but has no end record: it is truncated"
            else:
                message = "the file has no ZIP end record"
            self._log.add(DefectKind.NOT_ZIP, message)
            return None
        exact = [
            position
            for position in positions
            if position + _END_FORMAT.size + struct.unpack_from("<H", tail, position + 20)[0] == len(tail)
        ]
        if len(exact) > 1:
            self._log.add(
                DefectKind.HIDDEN, f"{len(exact)} end records fit: one archive is hidden in the comment of another"
            )
        # The first that fits has the others in its comment; a reader that searches from the end uses the last one.
        position = exact[0] if exact else positions[-1]
        comment_length = _END_FORMAT.unpack_from(tail, position)[-1]
        comment = tail[position + _END_FORMAT.size :]
        if len(comment) > comment_length:
            self._log.add(DefectKind.HIDDEN, f"{len(comment) - comment_length} bytes follow the end of the archive")
        elif len(comment) < comment_length:
            self._log.add(
                DefectKind.NOT_ZIP,
                f"the file is truncated: the archive comment should have {comment_length} bytes, but has {len(comment)}",
            )
        if len(exact) < 2 and any(signature in comment for signature in (_END, _CENTRAL, _LOCAL)):
            self._log.add(DefectKind.HIDDEN, "the archive comment contains ZIP records")
        return position

    def _read_zip64_end(self, end: int, *, needed: bool) -> tuple[CentralDirectory, int] | None:
        """Read the ZIP64 end record (APPNOTE 4.3.14, 4.3.15), if there is one.

        :returns: the central directory, and its number of members on this disk.
        """
        locator = end - _LOCATOR64_FORMAT.size
        if locator < 0 or self._at(locator, 4) != _LOCATOR64:
            if needed:
                self._log.add(DefectKind.NOT_ZIP, "the end record refers to a ZIP64 end record that is missing")
            return None
        _, _, declared, _ = _LOCATOR64_FORMAT.unpack(self._at(locator, _LOCATOR64_FORMAT.size))
        expected = locator - _END64_FORMAT.size
        data = self._at(expected, _END64_FORMAT.size) if expected >= 0 else b""
        if declared != expected or data[:4] != _END64:
            self._log.add(DefectKind.HIDDEN, "the ZIP64 end record is not directly before its locator")
            return None
        if not needed:
            self._log.add(DefectKind.HIDDEN, "the archive has a ZIP64 end record although its end record needs none")
        _, _, _, _, _, _, count_here, count, length, start = _END64_FORMAT.unpack(data)
        return CentralDirectory(start=start, length=length, count=count, end=expected), count_here

    def read_headers(self, directory: CentralDirectory) -> list[CentralHeader] | None:
        """Read the headers of the central directory; ``None`` if it is damaged."""
        data = self._at(directory.start, directory.length)
        headers: list[CentralHeader] = []
        position = 0
        while position < len(data):
            fixed = data[position : position + _CENTRAL_FORMAT.size]
            if len(fixed) < _CENTRAL_FORMAT.size or fixed[:4] != _CENTRAL:
                self._add_damaged_directory(len(headers))
                return None
            fields = _CENTRAL_FORMAT.unpack(fixed)
            name_length, extra_length, comment_length = fields[10:13]
            position += _CENTRAL_FORMAT.size
            raw_name = data[position : position + name_length]
            extra = data[position + name_length : position + name_length + extra_length]
            position += name_length + extra_length + comment_length
            if position > len(data):
                self._add_damaged_directory(len(headers))
                return None
            headers.append(self._central_header(raw_name, extra, fields))
        if len(headers) != directory.count:
            self._log.add(
                DefectKind.HIDDEN,
                f"the end record counts {directory.count} members, the central directory has {len(headers)}",
            )
        return headers

    def _add_damaged_directory(self, count: int) -> None:
        self._log.add(DefectKind.NOT_ZIP, f"the central directory is damaged after {count} members")

    def _central_header(self, raw_name: bytes, extra: bytes, fields: tuple[int, ...]) -> CentralHeader:
        _, _, needs, flags, method, _, _, crc, compressed, size, _, _, _, disk, _, attributes, offset = fields
        name = self._decode(raw_name, flags)
        if needs & 0xFF > _NEWEST_VERSION:
            self._log.add(
                DefectKind.METHOD, f"{name} claims to need version {(needs & 0xFF) / 10} of ZIP; the newest is 6.3"
            )
        if disk not in (0, _FULL16):
            self._log.add(DefectKind.HEADERS, f"{name} claims to be on another disk")
        size, compressed, offset = self._apply_extra(name, extra, [size, compressed, offset])
        return CentralHeader(
            raw_name=raw_name,
            name=name,
            flags=flags,
            method=method,
            crc=crc,
            compressed_size=compressed,
            size=size,
            offset=offset,
            # On DOS the upper half has no meaning, but extractors use it whatever system the header names.
            mode=attributes >> 16,
        )

    def _decode(self, raw_name: bytes, flags: int) -> str:
        if flags & FLAG_UTF8 or raw_name.isascii():
            try:
                return raw_name.decode()
            except UnicodeDecodeError:
                name = raw_name.decode("utf-8", "backslashreplace")
                self._log.add(DefectKind.NAME, f"{name!r} is marked as UTF-8 but is not valid UTF-8")
                return name
        name = raw_name.decode("cp437")
        self._log.add(DefectKind.NAME, f"{name!r} is not marked as UTF-8, so its decoding depends on the reader")
        return name

    def _apply_extra(self, name: str, extra: bytes, values: list[int]) -> list[int]:
        """Return the sizes and offset with the ZIP64 extra field applied (APPNOTE 4.5.3); check the other fields."""
        position = 0
        while position + 4 <= len(extra):
            kind, length = struct.unpack_from("<2H", extra, position)
            data = extra[position + 4 : position + 4 + length]
            position += 4 + length
            if kind == _EXTRA_ZIP64:
                wide = list(struct.unpack_from(f"<{len(data) // 8}Q", data))
                for index, value in enumerate(values):
                    if value == _FULL32 and wide:
                        values[index] = wide.pop(0)
            elif kind == _EXTRA_UNICODE_NAME and data[5:] != name.encode("utf-8", "surrogatepass"):
                self._log.add(DefectKind.HEADERS, f"{name} has another name in an extra field: {data[5:]!r}")
        if position != len(extra):
            self._log.add(DefectKind.HEADERS, f"{name} has damaged extra fields")
        return values

    def data_offset(self, header: CentralHeader, directory: CentralDirectory) -> int | None:
        """Compare a member's local header (APPNOTE 4.3.7) with its central header.

        :returns: the offset of its compressed bytes; ``None`` if there is no local header.
        """
        fixed = self._at(header.offset, _LOCAL_FORMAT.size) if header.offset < directory.start else b""
        if len(fixed) < _LOCAL_FORMAT.size or fixed[:4] != _LOCAL:
            self._log.add(
                DefectKind.NOT_ZIP, f"{header.name} has no local header at the offset in the central directory"
            )
            return None
        _, _, flags, method, _, _, crc, compressed, size, name_length, extra_length = _LOCAL_FORMAT.unpack(fixed)
        variable = self._at(header.offset + _LOCAL_FORMAT.size, name_length + extra_length)
        raw_name, extra = variable[:name_length], variable[name_length:]
        if raw_name != header.raw_name:
            local_name = raw_name.decode("utf-8", "backslashreplace")
            self._log.add(DefectKind.HEADERS, f"{header.name} has the name {local_name} in its local header")
        size, compressed = self._apply_extra(header.name, extra, [size, compressed])
        fields = [
            ("method", method, header.method),
            ("flags", flags & _RELEVANT_FLAGS, header.flags & _RELEVANT_FLAGS),
        ]
        if not flags & FLAG_DESCRIPTOR or (crc or compressed or size):
            fields += [
                ("CRC", crc, header.crc),
                ("compressed size", compressed, header.compressed_size),
                ("size", size, header.size),
            ]
        for field, local, central in fields:
            if local != central:
                self._log.add(
                    DefectKind.HEADERS,
                    f"{header.name} has {field} {local} in its local header, {central} in the central directory",
                )
        return int(header.offset + _LOCAL_FORMAT.size + name_length + extra_length)

    def descriptor_size(self, header: CentralHeader, offset: int) -> int:
        """Compare the data descriptor after a member (APPNOTE 4.3.9) with its central header.

        :param offset: offset of the descriptor.
        :returns: its size in bytes; 0 if it does not agree.
        """
        self._log.add(DefectKind.DESCRIPTOR, f"{header.name} was written as a stream: its sizes follow its content")
        data = self._at(offset, 24)
        for signature in (_DESCRIPTOR, b""):
            for form in ("<3I", "<I2Q"):
                length = len(signature) + struct.calcsize(form)
                if data.startswith(signature) and len(data) >= length:
                    values = struct.unpack_from(form, data, len(signature))
                    if values == (header.crc, header.compressed_size, header.size):
                        return length
        self._log.add(
            DefectKind.HEADERS, f"{header.name} has a data descriptor that disagrees with the central directory"
        )
        return 0
