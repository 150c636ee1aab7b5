"""ELF files, read with pyelftools.

Source: the System V ABI, chapters 4 and 5; the psABI supplements for machine numbers and flags.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile
from elftools.elf.gnuversions import GNUVerNeedSection
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
#: Candidates for init functions that are looked up.
_MAX_INIT = 1_000
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
        versions=tuple(_versions(elf)),
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


def _versions(elf: Any) -> Iterator[tuple[str, str]]:
    section = elf.get_section_by_name(".gnu.version_r")
    if not isinstance(section, GNUVerNeedSection):
        return
    seen: set[tuple[str, str]] = set()
    for count, (library, versions) in enumerate(section.iter_versions()):
        if count > _MAX_TAGS:
            raise ValueError("the table of needed versions does not end")
        for number, version in enumerate(versions):
            if number > _MAX_TAGS:
                raise ValueError("the table of needed versions does not end")
            pair = (library.name or "", version.name)
            if pair not in seen:
                seen.add(pair)
                yield pair


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


def _hash_table(elf: Any, segment: Any) -> Any:
    _, offset = segment.get_table_offset("DT_GNU_HASH")
    if offset is not None:
        return GNUHashTable(elf, offset, segment)
    _, offset = segment.get_table_offset("DT_HASH")
    return None if offset is None else ELFHashTable(elf, offset, None, segment)
