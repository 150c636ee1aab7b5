"""Reads Mach-O files with macholib.

Source: ``mach-o/loader.h`` and ``mach-o/nlist.h`` of Apple's SDK.
"""

from __future__ import annotations

import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from macholib import mach_o
from macholib.MachO import MachO

from pytest_wheelcheck.wheels.binary import INIT_PREFIXES, PYTHON_OR_INIT, PYTHON_PREFIXES, Binary
from pytest_wheelcheck.wheels.sections import SYMBOLS, largest

_MACHINES = {7: "i386", 7 | 0x01000000: "x86_64", 12 | 0x01000000: "arm64", 18: "ppc", 18 | 0x01000000: "ppc64"}
_LIBRARIES = frozenset({mach_o.MH_DYLIB, mach_o.MH_BUNDLE})
_LOADS = {
    mach_o.LC_LOAD_DYLIB,
    mach_o.LC_REEXPORT_DYLIB,
    mach_o.LC_LOAD_UPWARD_DYLIB,
    mach_o.LC_LAZY_LOAD_DYLIB,
    mach_o.LC_LOAD_WEAK_DYLIB,
}
_N_EXT, _N_TYPE, _N_STAB, _N_WEAK_REF = 0x01, 0x0E, 0xE0, 0x40
#: The library number of a symbol that is looked up in every library (DYNAMIC_LOOKUP_ORDINAL).
_DYNAMIC_LOOKUP = 0xFE
#: Maximum number of bytes in the name of a symbol.
_MAX_NAME = 4096
_LC_BUILD_VERSION = 0x32
_LC_DYLD_EXPORTS_TRIE = 0x80000033
_PLATFORM_MACOS = 1
#: Types of sections that take up no space in the file: S_ZEROFILL, S_GB_ZEROFILL, S_THREAD_LOCAL_ZEROFILL.
_ZERO_FILLED = frozenset({0x1, 0xC, 0x12})
#: The segment with debug information.
_DEBUG = "__DWARF"


def read_macho(path: str, data: bytes) -> tuple[Binary, ...]:
    """Read every slice of a Mach-O file.

    :raises Exception: any exception of macholib on a malformed file.
    """
    return tuple(_slice(path, header, data) for header in _headers(data))


def _headers(data: bytes) -> list[Any]:
    # macholib only reads from a path.
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(data)
    try:
        macho: Any = MachO(file.name, allow_unknown_load_commands=True)
    finally:
        Path(file.name).unlink()
    return list(macho.headers)


def _slice(path: str, header: Any, data: bytes) -> Binary:
    needed, weak, search_paths, name, minimum, signed, debug = [], [], [], "", "", False, False
    undefined: list[str] = []
    python: list[str] = []
    exports = False
    init_functions: set[str] = set()
    for symbol in _defined(header, data):
        exports = exports or not symbol.startswith("_mh_")
        if symbol.startswith(INIT_PREFIXES):
            init_functions.add(symbol)
    for load, command, rest in header.commands:
        kind = load.cmd
        if kind in _LOADS:
            library = _text(rest, command.name, load, command)
            needed.append(library)
            weak += [library] if kind == mach_o.LC_LOAD_WEAK_DYLIB else []
        elif kind == mach_o.LC_ID_DYLIB:
            name = _text(rest, command.name, load, command)
        elif kind == mach_o.LC_RPATH:
            search_paths.append(_text(rest, command.path, load, command))
        elif kind == mach_o.LC_VERSION_MIN_MACOSX:
            minimum = _version(int(command.version))
        elif kind == _LC_BUILD_VERSION:
            platform, version = _build_version(command, rest, header.endian)
            minimum = _version(version) if platform == _PLATFORM_MACOS else minimum
        elif kind == mach_o.LC_CODE_SIGNATURE:
            signed = True
        elif kind == mach_o.LC_SYMTAB:
            symbols = sorted(set(_undefined(command, header, data)))
            python = [symbol for symbol in symbols if symbol.startswith(PYTHON_PREFIXES)]
            undefined = [symbol for symbol in symbols if not symbol.startswith(PYTHON_OR_INIT)]
        elif kind in {mach_o.LC_SEGMENT, mach_o.LC_SEGMENT_64}:
            debug = debug or bytes(command.segname).rstrip(b"\0") == _DEBUG.encode()
    sections = list(_sections(header))
    table, local = _symbol_sizes(header)
    parts = largest([*sections, (SYMBOLS, table)], int(header.size))
    file_type = int(header.header.filetype)
    return Binary(
        path=path,
        format="Mach-O",
        machine=_MACHINES.get(int(header.header.cputype) & 0xFFFFFFFF, str(int(header.header.cputype))),
        kind="library" if file_type in _LIBRARIES else "executable" if file_type == mach_o.MH_EXECUTE else "other",
        needed=tuple(needed),
        weak=tuple(weak),
        name=name,
        search_paths=tuple(search_paths),
        exports=exports,
        init_functions=tuple(sorted(init_functions)),
        python_symbols=tuple(python),
        undefined=tuple(undefined),
        minimum_os=minimum,
        signed=signed,
        debug=debug,
        sections=parts,
        debug_size=sum(size for name, size in sections if parts and name.startswith(f"{_DEBUG},")),
        symbols_size=local if parts else 0,
    )


def _sections(header: Any) -> Iterator[tuple[str, int]]:
    """Yield the segment and name of each section, and the bytes that it takes up in the file."""
    for load, _, rest in header.commands:
        for section in rest if load.cmd in {mach_o.LC_SEGMENT, mach_o.LC_SEGMENT_64} else ():
            segment, name = (
                bytes(part).rstrip(b"\0").decode("utf-8", "replace") for part in (section.segname, section.sectname)
            )
            yield f"{segment},{name}", 0 if int(section.flags) & 0xFF in _ZERO_FILLED else int(section.size)


def _symbol_sizes(header: Any) -> tuple[int, int]:
    """Return the bytes of the symbol table with its strings, and about how many of them local symbols take up."""
    commands = {int(load.cmd): command for load, command, _ in header.commands}
    symbols, dynamic = commands.get(mach_o.LC_SYMTAB), commands.get(mach_o.LC_DYSYMTAB)
    if symbols is None:
        return 0, 0
    count = int(symbols.nsyms)
    size = count * (16 if _is_wide(header) else 12) + int(symbols.strsize)
    # The names of the local symbols are not read; they are as long as those of the others on average, or longer.
    return size, size * min(int(dynamic.nlocalsym), count) // count if count and dynamic is not None else 0


def _text(rest: bytes, offset: int, load: Any, command: Any) -> str:
    start = int(offset) - len(load.to_str()) - len(command.to_str())
    return rest[max(0, start) :].split(b"\0", 1)[0].decode("utf-8", "replace")


def _version(number: int) -> str:
    """Format a packed version: 16 bits major, 8 bits minor, 8 bits patch."""
    return f"{number >> 16}.{number >> 8 & 0xFF}"


def _build_version(command: Any, rest: Any, endian: str) -> tuple[int, int]:
    if hasattr(command, "minos"):
        return int(command.platform), int(command.minos)
    platform, minimum = struct.unpack_from(f"{endian}2I", rest)
    return int(platform), int(minimum)


def _undefined(command: Any, header: Any, data: bytes) -> Iterator[str]:
    """Yield external symbols that the file does not define (nlist.h).

    Only those of the interpreter, and those that are looked up in every library.
    """
    two_levels = int(header.header.flags) & mach_o.MH_TWOLEVEL
    for name, kind, flags in _symbol_entries(command, header, data):
        if kind & _N_TYPE or flags & _N_WEAK_REF:
            continue
        if (two_levels and flags >> 8 & 0xFF == _DYNAMIC_LOOKUP) or name.startswith(PYTHON_OR_INIT):
            yield name


def exports_of_macho(data: bytes, wanted: frozenset[str]) -> set[str]:
    """Return the wanted symbols that any slice of a Mach-O file defines.

    :raises Exception: any exception of macholib on a malformed file.
    """
    return {name for header in _headers(data) for name in _defined(header, data) if name in wanted}


def _defined(header: Any, data: bytes) -> Iterator[str]:
    """Yield the names that a slice defines, without their underscores; some twice.

    Where a symbol table was stripped, the trie has the exports all the same. The loader reads no other place.
    """
    yield from _exported(header, data)
    for load, command, _ in header.commands:
        if load.cmd == mach_o.LC_SYMTAB:
            yield from (name for name, kind, _ in _symbol_entries(command, header, data) if kind & _N_TYPE)


def _exported(header: Any, data: bytes) -> Iterator[str]:
    """Yield the names in the trie of a slice's exports, without their underscores (``mach-o/loader.h``, dyld_info_command).

    :raises ValueError: the trie is malformed.
    """
    for load, command, rest in header.commands:
        kind = int(load.cmd) & 0xFFFFFFFF
        if kind in {mach_o.LC_DYLD_INFO, mach_o.LC_DYLD_INFO_ONLY}:
            offset, size = int(command.export_off), int(command.export_size)
        elif kind == _LC_DYLD_EXPORTS_TRIE:
            offset, size = struct.unpack_from(f"{header.endian}2I", command.to_str() + bytes(rest))
        else:
            continue
        start = header.offset + offset
        for name in names_of_trie(data[start : start + size]):
            if name.startswith("_"):
                yield name[1:]


def names_of_trie(trie: bytes) -> Iterator[str]:
    """Yield the names of a trie.

    Each node has the size of its value, the value, the number of children, and for each child a part of a name and the offset
    of its node.

    :raises ValueError: it is malformed.
    """
    pending, seen = [(0, b"")], {0}
    while pending and trie:
        position, prefix = pending.pop()
        size, position = _uleb128(trie, position)
        if size:
            yield prefix.decode("utf-8", "replace")
        position += size
        children = trie[position] if position < len(trie) else 0
        position += 1
        for _ in range(children):
            end = trie.find(b"\0", position, position + _MAX_NAME)
            if end < 0:
                raise ValueError("the trie of exports has a name without an end")
            child, following = _uleb128(trie, end + 1)
            # Nodes are not shared; a malformed file could have a circle.
            if child not in seen and len(prefix) < _MAX_NAME:
                seen.add(child)
                pending.append((child, prefix + trie[position:end]))
            position = following


def _uleb128(data: bytes, position: int) -> tuple[int, int]:
    """Read an unsigned number of seven bits in each byte; return it, and the position after it."""
    number = shift = 0
    while position < len(data) and shift < 64:
        byte = data[position]
        number |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return number, position
    raise ValueError("the trie of exports has a number without an end")


def _is_wide(header: Any) -> bool:
    return header.MH_MAGIC in {mach_o.MH_MAGIC_64, mach_o.MH_CIGAM_64}


def _symbol_entries(command: Any, header: Any, data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yield name (without its underscore), type and flags of the external symbols."""
    start = header.offset + int(command.stroff)
    strings = data[start : start + int(command.strsize)]
    form = struct.Struct(f"{header.endian}I2BH{'Q' if _is_wide(header) else 'I'}")
    offset = header.offset + int(command.symoff)
    table = data[offset : offset + int(command.nsyms) * form.size]
    for name, kind, _, flags, _ in form.iter_unpack(table[: len(table) - len(table) % form.size]):
        if not kind & _N_EXT or kind & _N_STAB or not strings.startswith(b"_", name):
            continue
        end = strings.find(b"\0", name, name + _MAX_NAME)
        yield strings[name + 1 : max(end, name + 1)].decode("utf-8", "replace"), kind, flags
