"""Reads ELF files with pyelftools.

Source: the System V ABI, chapters 4 and 5; the psABI supplements for machine numbers and flags.
"""

from __future__ import annotations

import contextlib
import io
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from pytest_wheelcheck.wheels.binary import (
    INIT_PREFIXES,
    MAX_VERSION_SYMBOLS,
    PYTHON_OR_INIT,
    PYTHON_PREFIXES,
    Binary,
    ElfHeader,
)
from pytest_wheelcheck.wheels.sections import largest

#: e_machine and class (bits) to the name in platform tags.
_MACHINES = {
    ("EM_X86_64", 64): "x86_64",
    ("EM_386", 32): "i686",
    ("EM_AARCH64", 64): "aarch64",
    ("EM_ARM", 32): "armv7l",
    ("EM_S390", 64): "s390x",
    ("EM_RISCV", 64): "riscv64",
    ("EM_LOONGARCH", 64): "loongarch64",
}
#: Machines on which glibc takes a missing PT_GNU_STACK as a request (``sysdeps/*/stackinfo.h``,
#: DEFAULT_STACK_PERMS).
_EXECUTABLE_STACK_BY_DEFAULT = frozenset({"x86_64", "i686", "armv7l", "s390x", "ppc64le"})
#: Maximum number of entries in a dynamic section. Most have about 40, those of large projects 300.
_MAX_TAGS = 10_000
#: Maximum number of bytes in the name of a symbol, library or version.
_MAX_NAME = 4096
#: Maximum number of dynamic symbols. The largest published libraries have about a million.
_MAX_SYMBOLS = 20_000_000
_WEAK = 2
#: Types of symbols that can be called: STT_FUNC, STT_GNU_IFUNC.
_FUNCTIONS = frozenset({2, 10})
#: The version number of a symbol without a version (VER_NDX_GLOBAL).
_GLOBAL = 1
#: Sections that strip removes: debug information, and the symbols that the dynamic loader does not read.
_DEBUG_SECTIONS = (".debug_", ".zdebug_", ".gdb_index", ".stab")
_SYMBOL_SECTIONS = frozenset({".symtab", ".strtab", ".symtab_shndx"})
#: Debug information that is loaded, so strip leaves it.
_LOADED = ".debug_gdb_scripts"
_DF_TEXTREL, _DF_STATIC_TLS, _DF_1_PIE = 0x4, 0x10, 0x08000000


def read_elf(path: str, data: bytes) -> Binary:
    """Read an ELF file.

    :raises Exception: any exception of pyelftools on a malformed file.
    """
    elf: Any = ELFFile(io.BytesIO(data))
    tags = list(_dynamic_tags(elf))
    flags = _tag_value(tags, "DT_FLAGS") or 0
    segments = list(elf.iter_segments())
    stacks = [segment for segment in segments if segment["p_type"] == "PT_GNU_STACK"]
    alignments = [segment["p_align"] for segment in segments if segment["p_type"] == "PT_LOAD"]
    machine = _machine(elf)
    symbols = set(_symbols(elf, tags, data))
    versions = _needed_versions(elf, tags, data)
    python = sorted((name, defined) for name, defined in symbols if name.startswith(PYTHON_OR_INIT))
    sections = list(_sections(elf))
    kind = _kind(elf, tags, segments)
    return Binary(
        path=path,
        format="ELF",
        machine=machine,
        kind=kind,
        needed=_needed(tags),
        name=_name(tags),
        search_paths=tuple(_search_paths(tags)),
        inherits=all(tag["d_tag"] != "DT_RUNPATH" for tag in tags),
        versions=tuple(versions),
        version_symbols=tuple(_version_symbols(elf, tags, data, versions)),
        exports=_exports_functions(elf, tags, data),
        init_functions=tuple(name for name, defined in python if defined and name.startswith(INIT_PREFIXES)),
        python_symbols=tuple(name for name, defined in python if not defined and name.startswith(PYTHON_PREFIXES)),
        undefined=tuple(sorted(name for name, _ in symbols if not name.startswith(PYTHON_OR_INIT))),
        alignment=min(alignments, default=0),
        executable_stack=bool(stacks[0]["p_flags"] & 1 if stacks else machine in _EXECUTABLE_STACK_BY_DEFAULT),
        text_relocations=any(tag["d_tag"] == "DT_TEXTREL" for tag in tags) or bool(flags & _DF_TEXTREL),
        static_tls=bool(flags & _DF_STATIC_TLS),
        debug=any(name == ".debug_info" for name, _ in sections),
        sections=(parts := largest(sections, len(data))),
        debug_size=sum(size for name, size in sections if parts and _is_debug(name)),
        # Relocations of an object file need its symbols.
        symbols_size=sum(size for name, size in sections if parts and name in _SYMBOL_SECTIONS and kind != "other"),
    )


def _sections(elf: Any) -> Iterator[tuple[str, int]]:
    """Yield name of each section, and the bytes that it takes up in the file."""
    for section in elf.iter_sections():
        yield section.name, 0 if section["sh_type"] in {"SHT_NULL", "SHT_NOBITS"} else int(section["sh_size"])


def _is_debug(name: str) -> bool:
    return name.startswith(_DEBUG_SECTIONS) and name != _LOADED


def needed(path: Path) -> tuple[str, ...]:
    """Return the libraries that an ELF file on disk is linked against (DT_NEEDED), in order.

    :raises OSError: the file cannot be read.
    :raises Exception: any exception of pyelftools on a malformed file.
    """
    with path.open("rb") as stream:
        return _needed(_dynamic_tags(ELFFile(stream)))


def read_header(path: Path) -> ElfHeader | None:
    """Return the header of an ELF file on disk; ``None`` if it cannot be read, or is not a well-formed ELF file."""
    # pyelftools raises any exception on a malformed file.
    with contextlib.suppress(Exception), path.open("rb") as stream:
        elf: Any = ELFFile(stream)
        loader = next((segment.get_interp_name() for segment in elf.iter_segments("PT_INTERP")), "")
        tags = list(_dynamic_tags(elf))
        return ElfHeader(
            machine=_machine(elf), type=str(elf["e_type"]), loader=loader, name=_name(tags), needed=_needed(tags)
        )
    return None


def exports_of_elf(data: bytes, wanted: frozenset[str]) -> set[str]:
    """Return the wanted symbols that an ELF file defines.

    :raises Exception: any exception of pyelftools on a malformed file.
    """
    elf: Any = ELFFile(io.BytesIO(data))
    entries = _symbol_entries(elf, list(_dynamic_tags(elf)), data)
    return set(wanted.intersection(_string(data, name) for name, _, section in entries if section))


def _dynamic_tags(elf: Any) -> Iterator[Any]:
    for segment in elf.iter_segments("PT_DYNAMIC"):
        if not isinstance(segment, DynamicSegment):
            return
        for number, tag in enumerate(segment.iter_tags()):
            if number > _MAX_TAGS:
                raise ValueError(f"the dynamic section has more than {_MAX_TAGS} entries")
            yield tag
        return


def _tag_value(tags: list[Any], name: str) -> int | None:
    return next((tag["d_val"] for tag in tags if tag["d_tag"] == name), None)


def _name(tags: list[Any]) -> str:
    return next((tag.soname for tag in tags if tag["d_tag"] == "DT_SONAME"), "")


def _needed(tags: Any) -> tuple[str, ...]:
    return tuple(tag.needed for tag in tags if tag["d_tag"] == "DT_NEEDED")


def _search_paths(tags: list[Any]) -> Iterator[str]:
    for tag in tags:
        if tag["d_tag"] in {"DT_RPATH", "DT_RUNPATH"}:
            text = tag.rpath if tag["d_tag"] == "DT_RPATH" else tag.runpath
            # The loader ignores an empty text, but takes an empty element as the working directory (elf/dl-load.c).
            yield from text.split(":") if text else ()


def _byte_order(elf: Any) -> str:
    return "<" if elf.little_endian else ">"


def _machine(elf: Any) -> str:
    machine, bits = elf["e_machine"], elf.elfclass
    if (machine, bits) == ("EM_PPC64", 64):
        return "ppc64le" if elf.little_endian else "ppc64"
    return _MACHINES.get((machine, bits), f"{machine}-{bits}")


def _kind(elf: Any, tags: list[Any], segments: list[Any]) -> str:
    """Distinguish a position-independent executable from a library: it has an interpreter, or a flag."""
    if elf["e_type"] == "ET_EXEC":
        return "executable"
    if elf["e_type"] != "ET_DYN":
        return "other"
    named = any(tag["d_tag"] == "DT_SONAME" for tag in tags)
    interpreter = any(segment["p_type"] == "PT_INTERP" for segment in segments)
    is_pie = bool((_tag_value(tags, "DT_FLAGS_1") or 0) & _DF_1_PIE)
    return "executable" if is_pie or (interpreter and not named) else "library"


def _needed_versions(elf: Any, tags: list[Any], data: bytes) -> dict[tuple[str, str], int]:
    """Read the needed versions like the loader: from the dynamic section, not from a section header.

    :returns: the number of each in the table of the symbols' versions, by library and version.
    """
    strings, entry = (_file_offset(elf, tags, name) for name in ("DT_STRTAB", "DT_VERNEED"))
    if strings is None or entry is None:
        return {}
    order = _byte_order(elf)
    count = _tag_value(tags, "DT_VERNEEDNUM") or 0
    if count > _MAX_TAGS:
        raise ValueError(f"the table of needed versions has {count} entries")
    versions: dict[tuple[str, str], int] = {}
    for _ in range(count):
        _, auxiliary_count, file, first, following = struct.unpack_from(f"{order}2H3I", data, entry)
        library = _string(data, strings + file)
        auxiliary = entry + first
        for _ in range(auxiliary_count):
            _, _, number, name, step = struct.unpack_from(f"{order}I2H2I", data, auxiliary)
            versions[library, _string(data, strings + name)] = number & 0x7FFF
            if len(versions) > _MAX_TAGS:
                raise ValueError("the table of needed versions does not end")
            auxiliary += step
            if not step:
                break
        entry += following
        if not following:
            break
    return versions


def _version_symbols(
    elf: Any, tags: list[Any], data: bytes, needed: Mapping[tuple[str, str], int]
) -> Iterator[tuple[tuple[str, str], tuple[str, ...]]]:
    """Yield each needed version with the first symbols that need it."""
    table = _file_offset(elf, tags, "DT_VERSYM")
    found: dict[int, list[str]] = {number: [] for number in needed.values()}
    if table is not None and needed:
        order = _byte_order(elf)
        for number, (name, info, section) in enumerate(_symbol_entries(elf, tags, data)):
            if number and not section and info >> 4 != _WEAK:
                names = found.get(struct.unpack_from(f"{order}H", data, table + 2 * number)[0] & 0x7FFF)
                if names is not None and len(names) < MAX_VERSION_SYMBOLS:
                    names.append(_string(data, name))
    for pair, number in needed.items():
        if found[number]:
            yield pair, tuple(found[number])


def _file_offset(elf: Any, tags: list[Any], name: str) -> int | None:
    """Convert the address in a tag to an offset in the file."""
    address = next((tag["d_ptr"] for tag in tags if tag["d_tag"] == name), None)
    return None if address is None else next(iter(elf.address_offsets(address)), None)


def _string(data: bytes, offset: int) -> str:
    end = data.find(b"\0", offset, offset + _MAX_NAME)
    if end < 0:
        raise ValueError("a name does not end")
    return data[offset:end].decode("utf-8", "replace")


def _symbols(elf: Any, tags: list[Any], data: bytes) -> Iterator[tuple[str, bool]]:
    """Yield dynamic symbols, and whether the file defines them.

    Of the defined symbols only those of the interpreter and init functions; of the needed ones also those without a
    version. Weak symbols that are not defined may be missing, and are left out.
    """
    related = tuple(name.encode() for name in PYTHON_OR_INIT)
    versions = _file_offset(elf, tags, "DT_VERSYM")
    order = _byte_order(elf)
    for number, (name, info, section) in enumerate(_symbol_entries(elf, tags, data)):
        if section or not number:
            if number and data.startswith(related, name):
                yield _string(data, name), True
        elif info >> 4 != _WEAK and (
            versions is None
            or data.startswith(related, name)
            or struct.unpack_from(f"{order}H", data, versions + 2 * number)[0] & 0x7FFF <= _GLOBAL
        ):
            yield _string(data, name), False


def _exports_functions(elf: Any, tags: list[Any], data: bytes) -> bool:
    """Whether other files can call functions of this one, without init functions and those that every linker exports."""
    return any(
        section and info & 0xF in _FUNCTIONS and not _string(data, name).startswith((*INIT_PREFIXES, "_init", "_fini"))
        for name, info, section in _symbol_entries(elf, tags, data)
    )


def _symbol_entries(elf: Any, tags: list[Any], data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield offset of the name, binding and type, and section of every dynamic symbol.

    Read without pyelftools, which takes seconds for the symbols of a large library.
    """
    strings, table = (_file_offset(elf, tags, name) for name in ("DT_STRTAB", "DT_SYMTAB"))
    if strings is None or table is None:
        return
    order = _byte_order(elf)
    wide = elf.elfclass == 64
    form = struct.Struct(f"{order}IBBHQQ" if wide else f"{order}3I2BH")
    count = _count_symbols(elf, tags, data, order)
    if count > _MAX_SYMBOLS:
        raise ValueError(f"the symbol table has {count} entries")
    entries = data[table : table + count * form.size]
    for entry in form.iter_unpack(entries[: len(entries) - len(entries) % form.size]):
        name, info, section = (entry[0], entry[1], entry[3]) if wide else (entry[0], entry[3], entry[5])
        yield strings + name, info, section


def _count_symbols(elf: Any, tags: list[Any], data: bytes, order: str) -> int:
    """Count the dynamic symbols: by the hash tables, like the loader, or by the section header."""
    if (table := _file_offset(elf, tags, "DT_GNU_HASH")) is not None:
        buckets, first, words, _ = struct.unpack_from(f"{order}4I", data, table)
        start = table + 16 + words * elf.elfclass // 8
        last = max(struct.unpack_from(f"{order}{buckets}I", data, start), default=0) if buckets < len(data) else 0
        if last < first:
            return int(first)
        chain = start + 4 * buckets + 4 * (last - first)
        while not struct.unpack_from(f"{order}I", data, chain)[0] & 1:
            chain += 4
            last += 1
        return int(last) + 1
    section = elf.get_section_by_name(".dynsym")
    if section is not None and section["sh_entsize"]:
        return int(section["sh_size"] // section["sh_entsize"])
    table = _file_offset(elf, tags, "DT_HASH")
    # On s390x the entries of this table have 8 bytes.
    form = f"{order}2Q" if _machine(elf) == "s390x" else f"{order}2I"
    return 0 if table is None else int(struct.unpack_from(form, data, table)[1])
