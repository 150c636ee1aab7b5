"""ELF files, read with pyelftools.

Source: the System V ABI, chapters 4 and 5; the psABI supplements for machine numbers and flags.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.hash import ELFHashTable, GNUHashTable

from . import Binary

#: e_machine and class (bits) to the word that platform tags use.
_MACHINES = {
    ("EM_X86_64", 64): "x86_64",
    ("EM_386", 32): "i686",
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "armv7l",
    ("EM_S390", 64): "s390x",
    ("EM_RISCV", 64): "riscv64",
    ("EM_LOONGARCH", 64): "loongarch64",
}
#: Machines where glibc takes a missing PT_GNU_STACK for a request (``sysdeps/*/stackinfo.h``, DEFAULT_STACK_PERMS).
_STACK_BY_DEFAULT = frozenset({"x86_64", "i686", "armv7l", "s390x", "ppc64le"})
_INIT = re.compile(rb"\0((?:PyInitU?_|PyModExport_|_cffi_pypyinit_)[^\0]{1,200})(?=\0)")
#: Entries of a dynamic section that are read; a real one has about 40, the libraries of large projects 300.
_MAX_TAGS = 10_000
#: Bytes of the name of a library or version.
_MAX_NAME = 4096
#: Candidates for init functions that are looked up.
_MAX_INIT = 1_000
#: Symbols that are compared on the way to all of them.
_MAX_LOOKUPS = 200_000
#: Bytes of the dynamic string table that are looked at.
_MAX_STRINGS = 256 << 20
_DF_TEXTREL, _DF_STATIC_TLS = 0x4, 0x10


def read_elf(path: str, data: bytes) -> Binary:
    """Read an ELF file.

    :raises Exception: whatever pyelftools raises on a malformed file.
    """
    elf: Any = ELFFile(io.BytesIO(data))
    tags = list(_dynamic(elf))
    flags = next((tag["d_val"] for tag in tags if tag["d_tag"] == "DT_FLAGS"), 0)
    names = {tag["d_tag"] for tag in tags}
    segments = list(elf.iter_segments())
    stack = [segment for segment in segments if segment["p_type"] == "PT_GNU_STACK"]
    loaded = [segment["p_align"] for segment in segments if segment["p_type"] == "PT_LOAD"]
    kind = _kind(elf, tags, segments)
    return Binary(
        path=path,
        format="ELF",
        machine=_machine(elf),
        kind=kind,
        needed=tuple(tag.needed for tag in tags if tag["d_tag"] == "DT_NEEDED"),
        name=next((tag.soname for tag in tags if tag["d_tag"] == "DT_SONAME"), ""),
        search=tuple(_search(tags)),
        versions=tuple(_versions(elf, tags, data)),
        init_functions=tuple(_init_functions(elf, data)) if tags else (),
        alignment=min(loaded, default=0),
        executable_stack=bool(stack[0]["p_flags"] & 1 if stack else _machine(elf) in _STACK_BY_DEFAULT),
        text_relocations="DT_TEXTREL" in names or bool(flags & _DF_TEXTREL),
        static_tls=bool(flags & _DF_STATIC_TLS),
        debug=elf.get_section_by_name(".debug_info") is not None,
    )


def needed(path: Path) -> tuple[str, ...]:
    """List the libraries that an ELF file on disk is linked against (DT_NEEDED), in their order.

    :raises OSError: the file cannot be read.
    :raises Exception: whatever pyelftools raises on a malformed file.
    """
    with path.open("rb") as stream:
        return tuple(tag.needed for tag in _dynamic(ELFFile(stream)) if tag["d_tag"] == "DT_NEEDED")


def _dynamic(elf: Any) -> Iterator[Any]:
    for segment in elf.iter_segments("PT_DYNAMIC"):
        if not isinstance(segment, DynamicSegment):
            return
        for number, tag in enumerate(segment.iter_tags()):
            if number > _MAX_TAGS:
                raise ValueError(f"the dynamic section has more than {_MAX_TAGS} entries")
            yield tag
        return


def _search(tags: list[Any]) -> Iterator[str]:
    for tag in tags:
        if tag["d_tag"] in {"DT_RPATH", "DT_RUNPATH"}:
            text = tag.rpath if tag["d_tag"] == "DT_RPATH" else tag.runpath
            yield from filter(None, text.split(":"))


def _machine(elf: Any) -> str:
    machine, bits = elf["e_machine"], elf.elfclass
    if (machine, bits) == ("EM_PPC64", 64):
        return "ppc64le" if elf.little_endian else "ppc64"
    return _MACHINES.get((machine, bits), f"{machine}-{bits}")


def _kind(elf: Any, tags: list[Any], segments: list[Any]) -> str:
    """Tell a position-independent executable from a library: it asks for an interpreter, or says so in its flags."""
    if elf["e_type"] == "ET_EXEC":
        return "executable"
    if elf["e_type"] != "ET_DYN":
        return "other"
    flags = next((tag["d_val"] for tag in tags if tag["d_tag"] == "DT_FLAGS_1"), 0)
    named = any(tag["d_tag"] == "DT_SONAME" for tag in tags)
    interpreter = any(segment["p_type"] == "PT_INTERP" for segment in segments)
    return "executable" if flags & 0x08000000 or (interpreter and not named) else "library"


def _versions(elf: Any, tags: list[Any], data: bytes) -> Iterator[tuple[str, str]]:
    """Read the needed versions as the loader does: from the dynamic section, not from a section header."""
    strings, needs = (_offset(elf, tags, name) for name in ("DT_STRTAB", "DT_VERNEED"))
    if strings is None or needs is None:
        return
    order = "<" if elf.little_endian else ">"
    count = next((tag["d_val"] for tag in tags if tag["d_tag"] == "DT_VERNEEDNUM"), 0)
    if count > _MAX_TAGS:
        raise ValueError(f"the table of needed versions has {count} entries")
    found: dict[tuple[str, str], None] = {}
    for _ in range(count):
        _, number, file, first, following = struct.unpack_from(f"{order}2H3I", data, needs)
        library = _string(data, strings + file)
        place = needs + first
        for _ in range(number):
            _, _, _, name, step = struct.unpack_from(f"{order}I2H2I", data, place)
            found[library, _string(data, strings + name)] = None
            if len(found) > _MAX_TAGS:
                raise ValueError("the table of needed versions does not end")
            place += step
            if not step:
                break
        needs += following
        if not following:
            break
    yield from found


def _offset(elf: Any, tags: list[Any], name: str) -> int | None:
    """Turn the address that a tag gives into an offset in the file."""
    address = next((tag["d_ptr"] for tag in tags if tag["d_tag"] == name), None)
    return None if address is None else next(iter(elf.address_offsets(address)), None)


def _string(data: bytes, place: int) -> str:
    end = data.find(b"\0", place, place + _MAX_NAME)
    if end < 0:
        raise ValueError("a name does not end")
    return data[place:end].decode("utf-8", "replace")


def _init_functions(elf: Any, data: bytes) -> Iterator[str]:
    """Look up the init functions that the string table names, through the hash table that the loader uses too.

    Reading every symbol would take seconds for large libraries.
    """
    segment = next(iter(elf.iter_segments("PT_DYNAMIC")))
    address, offset = segment.get_table_offset("DT_STRTAB")
    if address is None or offset is None:
        return
    size = next((tag["d_val"] for tag in segment.iter_tags("DT_STRSZ")), 0)
    names = {found[1] for found in _INIT.finditer(data[offset : offset + min(size, _MAX_STRINGS)])}
    if not names:
        return
    if len(names) > _MAX_INIT:
        raise ValueError(f"{len(names)} names look like init functions")
    table = _hash_table(elf, segment)
    for name in sorted(names):
        text = name.decode("utf-8", "replace")
        symbol = table.get_symbol(text) if table is not None else None
        if symbol is not None and symbol["st_shndx"] != "SHN_UNDEF":
            yield text


class _Patient:
    """A symbol table that gives up: a chain of a hash table may be a circle."""

    def __init__(self, segment: Any) -> None:
        self.segment = segment
        self.left = _MAX_LOOKUPS

    def get_symbol(self, index: int) -> Any:
        self.left -= 1
        if self.left < 0:
            raise ValueError("the hash table of the symbols does not end")
        return self.segment.get_symbol(index)


def _hash_table(elf: Any, segment: Any) -> Any:
    table = _Patient(segment)
    _, offset = segment.get_table_offset("DT_GNU_HASH")
    if offset is not None:
        return GNUHashTable(elf, offset, table)
    _, offset = segment.get_table_offset("DT_HASH")
    return None if offset is None else ELFHashTable(elf, offset, None, table)
