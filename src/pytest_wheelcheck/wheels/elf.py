"""ELF files, read with pyelftools.

Source: the System V ABI, chapters 4 and 5; the psABI supplements for machine numbers and flags.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from elftools.elf.dynamic import DynamicSegment
from elftools.elf.elffile import ELFFile

from pytest_wheelcheck.wheels.binary import Binary

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
_RELATED = ("Py", "_Py", "_cf")
_INIT = ("PyInit_", "PyInitU_", "PyModExport_", "_cffi_pypyinit_")
#: Entries of a dynamic section that are read; a real one has about 40, the libraries of large projects 300.
_MAX_TAGS = 10_000
#: Bytes of the name of a library or version.
_MAX_NAME = 4096
#: Dynamic symbols that are read; the largest published libraries have about a million.
_MAX_SYMBOLS = 20_000_000
_WEAK = 2
#: The version number of a symbol that has none (VER_NDX_GLOBAL).
_GLOBAL = 1
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
    found = set(_symbols(elf, tags, data))
    symbols = sorted((name, defined) for name, defined in found if name.startswith(_RELATED))
    return Binary(
        path=path,
        format="ELF",
        machine=_machine(elf),
        kind=kind,
        needed=tuple(tag.needed for tag in tags if tag["d_tag"] == "DT_NEEDED"),
        name=next((tag.soname for tag in tags if tag["d_tag"] == "DT_SONAME"), ""),
        search=tuple(_search(tags)),
        versions=tuple(_versions(elf, tags, data)),
        init_functions=tuple(name for name, defined in symbols if defined and name.startswith(_INIT)),
        python_symbols=tuple(name for name, defined in symbols if not defined and not name.startswith("_cf")),
        undefined=tuple(sorted(name for name, _ in found if not name.startswith(_RELATED))),
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


def _symbols(elf: Any, tags: list[Any], data: bytes) -> Iterator[tuple[str, bool]]:
    """Yield dynamic symbols, and whether the file defines them.

    Of those that it defines, only the ones whose names have to do with Python; of those that it needs, also the ones
    without a version. Weak symbols that are not defined may be missing, and are left out.
    """
    related = tuple(name.encode() for name in _RELATED)
    versions = _offset(elf, tags, "DT_VERSYM")
    order = "<" if elf.little_endian else ">"
    for number, (place, info, section) in enumerate(_entries(elf, tags, data)):
        if section or not number:
            if number and data.startswith(related, place):
                yield _string(data, place), True
        elif info >> 4 != _WEAK and (
            versions is None
            or data.startswith(related, place)
            or struct.unpack_from(f"{order}H", data, versions + 2 * number)[0] & 0x7FFF <= _GLOBAL
        ):
            yield _string(data, place), False


def exports_of_elf(data: bytes, wanted: frozenset[str]) -> set[str]:
    """Tell which of the wanted symbols an ELF file defines.

    :raises Exception: whatever pyelftools raises on a malformed file.
    """
    elf: Any = ELFFile(io.BytesIO(data))
    found = (_string(data, place) for place, _, section in _entries(elf, list(_dynamic(elf)), data) if section)
    return set(wanted.intersection(found))


def _entries(elf: Any, tags: list[Any], data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield place of the name, binding and type, and section of every dynamic symbol.

    Read by hand, since pyelftools takes seconds for the symbols of a large library.
    """
    strings, table = (_offset(elf, tags, name) for name in ("DT_STRTAB", "DT_SYMTAB"))
    if strings is None or table is None:
        return
    order = "<" if elf.little_endian else ">"
    wide = elf.elfclass == 64
    form = struct.Struct(f"{order}IBBHQQ" if wide else f"{order}3I2BH")
    count = _count_symbols(elf, tags, data, order)
    if count > _MAX_SYMBOLS:
        raise ValueError(f"the table of symbols has {count} entries")
    entries = data[table : table + count * form.size]
    for entry in form.iter_unpack(entries[: len(entries) - len(entries) % form.size]):
        name, info, section = (entry[0], entry[1], entry[3]) if wide else (entry[0], entry[3], entry[5])
        yield strings + name, info, section


def _count_symbols(elf: Any, tags: list[Any], data: bytes, order: str) -> int:
    """Count the dynamic symbols: by the hash tables, which is the loader's way, or by the section header."""
    if (place := _offset(elf, tags, "DT_GNU_HASH")) is not None:
        buckets, first, words, _ = struct.unpack_from(f"{order}4I", data, place)
        start = place + 16 + words * elf.elfclass // 8
        last = max(struct.unpack_from(f"{order}{buckets}I", data, start), default=0) if buckets < len(data) else 0
        if last < first:
            return int(first)
        place = start + 4 * buckets + 4 * (last - first)
        while not struct.unpack_from(f"{order}I", data, place)[0] & 1:
            place += 4
            last += 1
        return int(last) + 1
    section = elf.get_section_by_name(".dynsym")
    if section is not None and section["sh_entsize"]:
        return int(section["sh_size"] // section["sh_entsize"])
    place = _offset(elf, tags, "DT_HASH")
    # On s390x the entries of this table have 8 bytes.
    form = f"{order}2Q" if _machine(elf) == "s390x" else f"{order}2I"
    return 0 if place is None else int(struct.unpack_from(form, data, place)[1])
