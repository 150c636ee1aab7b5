"""Remove debug information from Windows programs and libraries."""

from __future__ import annotations

import struct


def strip_debug_sections(data: bytes) -> bytes:
    """Remove the debug sections and symbols of a portable executable, if they follow all other sections.

    They can be the largest part of a library. Other files are returned unchanged. pefile cannot remove sections, and
    ``strip`` for Windows files need not be installed. Source of the offsets: Microsoft's specification "PE Format".
    """
    (start,) = struct.unpack_from("<I", data, 0x3C) if data[:2] == b"MZ" and len(data) > 0x40 else (0,)
    if not start or data[start : start + 4] != b"PE\0\0":
        return data
    count, _, symbols, number, size = struct.unpack_from("<HIIIH", data, start + 6)
    strings = symbols + 18 * number
    table = start + 24 + size
    retained = end = image = 0
    for index in range(count):
        at = table + 40 * index
        name = data[at : at + 8].rstrip(b"\0")
        if name.startswith(b"/") and symbols:
            begin = strings + int(name[1:])
            name = data[begin : data.index(b"\0", begin)]
        if name.startswith(b".debug"):
            continue
        if retained != index:
            return data  # a section that is needed follows a debug section
        length, address, raw_size, raw = struct.unpack_from("<4I", data, at + 8)
        retained, end, image = index + 1, max(end, raw + raw_size), address + max(length, raw_size)
    if retained == count or not end:
        return data
    stripped = bytearray(data[:end])
    struct.pack_into("<H", stripped, start + 6, retained)
    struct.pack_into("<II", stripped, start + 12, 0, 0)
    (alignment,) = struct.unpack_from("<I", data, start + 24 + 32)
    struct.pack_into("<I", stripped, start + 24 + 56, -(-image // alignment) * alignment)  # SizeOfImage
    stripped[table + 40 * retained : table + 40 * count] = bytes(40 * (count - retained))
    return bytes(stripped)
