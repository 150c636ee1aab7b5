"""Reads PE files (Windows) with pefile.

Source: Microsoft, "PE Format".
"""

from __future__ import annotations

from typing import Any

import pefile

from pytest_wheelcheck.wheels.binary import INIT_PREFIXES, PYTHON_PREFIXES, Binary

_MACHINES = {0x8664: "amd64", 0x14C: "x86", 0xAA64: "arm64", 0x1C4: "arm32"}
_DLL, _EXECUTABLE = 0x2000, 0x0002


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
        )
    finally:
        pe.close()


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
