"""Reads PE files (Windows) with pefile.

Source: Microsoft, "PE Format".
"""

from __future__ import annotations

import struct
from typing import Any

import pefile

from pytest_wheelcheck.wheels.binary import INIT_PREFIXES, PYTHON_PREFIXES, Binary
from pytest_wheelcheck.wheels.sections import SYMBOLS, largest

_MACHINES = {0x8664: "amd64", 0x14C: "x86", 0xAA64: "arm64", 0x1C4: "arm32"}
_DLL, _EXECUTABLE = 0x2000, 0x0002
#: Bytes of an entry of the symbol table of COFF, and of the longest name of a section that is read.
_SYMBOL, _MAX_NAME = 18, 100


def read_pe(path: str, data: bytes) -> Binary:
    """Read a PE file.

    :raises Exception: any exception of pefile on a malformed file.
    """
    pe: Any = pefile.PE(data=data, fast_load=True)
    try:
        directories = ("IMPORT", "DELAY_IMPORT", "EXPORT")
        pe.parse_data_directories(
            directories=[pefile.DIRECTORY_ENTRY[f"IMAGE_DIRECTORY_ENTRY_{name}"] for name in directories]
        )
        imports = [_text(entry.dll) for entry in getattr(pe, "DIRECTORY_ENTRY_IMPORT", [])]
        delayed = [_text(entry.dll) for entry in getattr(pe, "DIRECTORY_ENTRY_DELAY_IMPORT", [])]
        exports = getattr(getattr(pe, "DIRECTORY_ENTRY_EXPORT", None), "symbols", [])
        names = [_text(symbol.name) for symbol in exports if symbol.name]
        imported = {
            _text(symbol.name)
            for entry in getattr(pe, "DIRECTORY_ENTRY_IMPORT", [])
            if _text(entry.dll).lower().startswith("python")
            for symbol in entry.imports
            if symbol.name
        }
        flags = pe.FILE_HEADER.Characteristics
        symbols, strings = _symbol_table(pe, data)
        sections = [(_section_name(section.Name, strings), int(section.SizeOfRawData)) for section in pe.sections]
        return Binary(
            path=path,
            format="PE",
            machine=_MACHINES.get(pe.FILE_HEADER.Machine, hex(pe.FILE_HEADER.Machine)),
            kind="library" if flags & _DLL else "executable" if flags & _EXECUTABLE else "other",
            needed=tuple(dict.fromkeys([*imports, *delayed])),
            weak=tuple(dict.fromkeys(delayed)),
            exports=any(not name.startswith(INIT_PREFIXES) for name in names),
            init_functions=tuple(name for name in names if name.startswith(INIT_PREFIXES)),
            python_symbols=tuple(sorted(name for name in imported if name.startswith(PYTHON_PREFIXES))),
            debug=any(section.Name.startswith((b"/", b".debug")) for section in pe.sections),
            sections=(parts := largest([*sections, (SYMBOLS, symbols)], len(data))),
            debug_size=sum(size for name, size in sections if parts and name.startswith(("/", ".debug"))),
            symbols_size=symbols if parts else 0,
        )
    finally:
        pe.close()


def _symbol_table(pe: Any, data: bytes) -> tuple[int, bytes]:
    """Return the size of the symbol table of COFF, and its strings. Linkers other than Microsoft's write one."""
    start, count = int(pe.FILE_HEADER.PointerToSymbolTable), int(pe.FILE_HEADER.NumberOfSymbols)
    place = start + count * _SYMBOL
    if not start or place + 4 > len(data):
        return 0, b""
    strings = data[place : place + int(struct.unpack_from("<I", data, place)[0])]
    return place - start + len(strings), strings


def _section_name(raw: bytes, strings: bytes) -> str:
    """Return the name of a section. One of more than 8 bytes is among the strings, at the offset behind a slash."""
    name = raw.rstrip(b"\0")
    if name.startswith(b"/") and name[1:].isdigit() and int(name[1:]) < len(strings):
        start = int(name[1:])
        name = strings[start : start + _MAX_NAME].partition(b"\0")[0]
    return _text(name)


def exports_of_pe(data: bytes) -> set[str]:
    """Return the names that a PE file exports.

    :raises Exception: any exception of pefile on a malformed file.
    """
    pe: Any = pefile.PE(data=data, fast_load=True)
    try:
        pe.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXPORT"]])
        return {_text(symbol.name) for symbol in pe.DIRECTORY_ENTRY_EXPORT.symbols if symbol.name}
    finally:
        pe.close()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")
