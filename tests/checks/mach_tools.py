"""The queries of otool and lipo that delocate makes, answered by macholib on any host.

``python mach_tools.py otool -arch all -m (-L | -D | -l) FILE``
``python mach_tools.py lipo -info FILE``
"""

from __future__ import annotations

import sys
from typing import Any

from macholib import mach_o
from macholib.MachO import MachO

LOADS = {mach_o.LC_LOAD_DYLIB, mach_o.LC_LOAD_WEAK_DYLIB, mach_o.LC_REEXPORT_DYLIB}
ARCHITECTURES = {0x01000007: "x86_64", 0x0100000C: "arm64", 7: "i386"}


def text_of(load: Any, command: Any, data: bytes, offset: int) -> str:
    start = offset - len(load.to_str()) - len(command.to_str())
    return data[start:].split(b"\0")[0].decode()


def otool(query: str, path: str) -> str:
    headers = MachO(path).headers
    lines = []
    for header in headers:
        architecture = ARCHITECTURES[header.header.cputype]
        lines.append(f"{path} (architecture {architecture}):" if len(headers) > 1 else f"{path}:")
        libraries, own_name, rpaths = [], [], []
        for load, command, data in header.commands:
            if load.cmd in LOADS:
                weak = ", weak" if load.cmd == mach_o.LC_LOAD_WEAK_DYLIB else ""
                name = text_of(load, command, data, command.name)
                libraries.append(f"\t{name} (compatibility version 1.0.0, current version 1.0.0{weak})")
            elif load.cmd == mach_o.LC_ID_DYLIB:
                own_name.append(text_of(load, command, data, command.name))
            elif load.cmd == mach_o.LC_RPATH:
                text = text_of(load, command, data, command.path)
                rpaths += ["Load command 0", "      cmd LC_RPATH", "  cmdsize 32", f"     path {text} (offset 12)"]
        own_library = [f"\t{name} (compatibility version 1.0.0, current version 1.0.0)" for name in own_name]
        lines += {"-L": own_library + libraries, "-D": own_name, "-l": rpaths}[query]
    return "\n".join(lines)


def lipo(path: str) -> str:
    names = [ARCHITECTURES[header.header.cputype] for header in MachO(path).headers]
    if len(names) == 1:
        return f"Non-fat file: {path} is architecture: {names[0]}"
    return f"Architectures in the fat file: {path} are: {' '.join(names)} "


if __name__ == "__main__":
    program, *arguments = sys.argv[1:]
    print(otool(arguments[-2], arguments[-1]) if program == "otool" else lipo(arguments[-1]))
