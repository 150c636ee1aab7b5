"""Turning a freezer's console program into ``python``.

Freezing tools ship a small program that has all of CPython linked into it, and exports its functions. Its start code
hands ``main`` to the C library; where that address is replaced by the one of ``Py_BytesMain``, the same file is an
ordinary interpreter with its whole command line (https://docs.python.org/3/c-api/veryhigh.html#c.Py_BytesMain). On
other machines than x86-64, ``main`` itself is made to jump there. So
neither a compiler nor a preloaded object is needed, and ``sys.executable`` is a real program.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError

#: How far into the start code the loading of ``main`` is looked for, in bytes.
_START_LENGTH = 96


#: The machines whose programs are understood (``elf.h``).
_MACHINES = {"EM_X86_64", "EM_AARCH64", "EM_PPC64"}


def as_python(program: bytes, *, loader: Path | None = None) -> bytes:
    """Make an interpreter of a console program for x86-64, aarch64 or ppc64le.

    :param program: the ELF file.
    :param loader: absolute path of the dynamic loader that is to start it; ``None`` for the one it names. The kernel
        reads that name from the file (``execve(2)``), so it can be longer than the one that is there.
    :raises RuntimeUnavailableError: the program is not of the expected kind.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    data = bytearray(program)
    try:
        elf = ELFFile(io.BytesIO(program))
        table = elf.get_section_by_name(".dynsym")
        symbols = table.get_symbol_by_name("Py_BytesMain") if isinstance(table, SymbolTableSection) else None
        mains = table.get_symbol_by_name("main") if isinstance(table, SymbolTableSection) else None
        if elf["e_machine"] not in _MACHINES or not symbols:
            raise _unexpected("it is not a CPython for x86-64, aarch64 or ppc64le")
        target = int(symbols[0]["st_value"])
        if elf["e_machine"] == "EM_X86_64":
            entry = int(elf["e_entry"])
            _redirect(data, next(iter(elf.address_offsets(entry))), entry, target)
        elif mains and mains[0]["st_value"]:
            main = int(mains[0]["st_value"])
            _branch(data, next(iter(elf.address_offsets(main))), main, target, elf["e_machine"])
        else:
            raise _unexpected("it does not export main")
        if loader is not None:
            _name_loader(data, elf, loader)
    except (ELFError, StopIteration, struct.error) as error:
        raise _unexpected(str(error)) from error
    return bytes(data)


def _redirect(data: bytearray, offset: int, entry: int, target: int) -> None:
    """Replace the address of ``main`` in the start code.

    glibc's ``sysdeps/x86_64/start.S`` has ``mov $main, %rdi`` (48 C7 C7 imm32), or ``lea main(%rip), %rdi`` (48 8D 3D
    rel32) in a position-independent program; musl's ``crt/crt1.c`` is compiled to the latter.
    """
    start = bytes(data[offset : offset + _START_LENGTH])
    if (at := start.find(b"\x48\xc7\xc7")) >= 0:
        struct.pack_into("<i", data, offset + at + 3, target)
    elif (at := start.find(b"\x48\x8d\x3d")) >= 0:
        struct.pack_into("<i", data, offset + at + 3, target - (entry + at + 7))
    else:
        raise _unexpected("its start code does not load main as expected")


def _branch(data: bytearray, offset: int, main: int, target: int, machine: str) -> None:
    """Make ``main`` one jump to *target*.

    aarch64: ``B`` (Arm Architecture Reference Manual, C6.2). ppc64le: ``b`` (Power ISA, 2.4), from local entry point to
    local entry point, two instructions after the global one, which sets the table of contents for both
    (64-Bit ELF V2 ABI, 3.4.1).
    """
    distance = target - main
    if machine == "EM_AARCH64":
        word = 0x14000000 | (distance >> 2 & 0x03FFFFFF)
    else:
        offset += 8
        word = 0x48000000 | (distance & 0x03FFFFFC)
    if not -(1 << 25) <= distance < 1 << 25:
        raise _unexpected("its main is too far from the interpreter's")
    struct.pack_into("<I", data, offset, word)


def _name_loader(data: bytearray, elf: object, loader: Path) -> None:
    header = elf.header  # type: ignore[attr-defined]
    name = str(loader).encode() + b"\0"
    for number in range(header["e_phnum"]):
        at = header["e_phoff"] + number * header["e_phentsize"]
        if struct.unpack_from("<I", data, at)[0] == 3:  # PT_INTERP; elf(5): p_offset at 8, p_filesz at 32
            struct.pack_into("<Q", data, at + 8, len(data))
            struct.pack_into("<Q", data, at + 32, len(name))
            data.extend(name)
            return
    raise _unexpected("it names no dynamic loader")


def _unexpected(why: str) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"the interpreter inside the published wheel cannot be used: {why}",
        cause="this is a fault of pytest-wheelcheck: its table names a wheel that it does not understand",
    )
