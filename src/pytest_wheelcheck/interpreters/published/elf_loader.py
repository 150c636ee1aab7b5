"""Change the dynamic loader that an ELF program names."""

from __future__ import annotations

import struct
from pathlib import Path

#: ``p_type`` of the program header that names the loader.
_PT_INTERP = 3


def set_loader(program: bytes, loader: Path) -> bytes:
    """Return a 64-bit little-endian ELF program that names another dynamic loader.

    The kernel reads the name from the file, not from memory (``execve(2)``). So the new name is appended to the file,
    and may be longer than the old one. Offsets are those of ``elf(5)``.

    LIEF can do this as well, but it is a compiled extension of 12 MB for these lines.

    :param loader: absolute path of the loader.
    :raises ValueError: the program names no loader, or is not such a file.
    """
    data = bytearray(program)
    name = str(loader).encode() + b"\0"
    try:
        (table,) = struct.unpack_from("<Q", data, 32)  # e_phoff
        entry_size, count = struct.unpack_from("<HH", data, 54)  # e_phentsize, e_phnum
        for header in range(table, table + entry_size * count, entry_size or 1):
            if struct.unpack_from("<I", data, header)[0] == _PT_INTERP:
                struct.pack_into("<Q", data, header + 8, len(data))  # p_offset
                struct.pack_into("<Q", data, header + 32, len(name))  # p_filesz
                return bytes(data + name)
    except struct.error as error:
        raise ValueError(f"it is not an ELF program: {error}") from error
    raise ValueError("it names no dynamic loader")
