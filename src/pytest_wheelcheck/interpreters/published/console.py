"""Turn the console program of a freezing tool into ``python``.

Freezing tools ship a small program that is linked statically with CPython and exports its functions. Its start code
passes ``main`` to the C library. If that address is replaced by the one of ``Py_BytesMain``, the same file is an
ordinary interpreter with its whole command line (https://docs.python.org/3/c-api/veryhigh.html#c.Py_BytesMain). On
machines other than x86-64, ``main`` itself becomes a jump to it. So neither a compiler nor a preloaded library is
needed, and ``sys.executable`` is a real program.

pyelftools only reads ELF files. LIEF also writes them, but is a compiled extension of 12 MB, and does not write
the machine code.
"""

from __future__ import annotations

import io
import struct
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.published.elf_loader import set_loader

#: Bytes of the start code that are searched for the instruction that loads ``main``.
_START_LENGTH = 96

#: The machines of supported programs (``elf.h``).
_MACHINES = {"EM_X86_64", "EM_AARCH64", "EM_PPC64"}


def as_python(program: bytes, *, loader: Path | None = None) -> bytes:
    """Turn a console program for x86-64, aarch64 or ppc64le into an interpreter.

    :param program: the ELF file.
    :param loader: absolute path of the dynamic loader that starts it; ``None`` for the one that it names.
    :raises RuntimeUnavailableError: the program is not of the expected kind.
    """
    from elftools.common.exceptions import ELFError
    from elftools.elf.elffile import ELFFile
    from elftools.elf.sections import SymbolTableSection

    data = bytearray(program)
    try:
        elf = ELFFile(io.BytesIO(program))
        table = elf.get_section_by_name(".dynsym")
        symbols = table if isinstance(table, SymbolTableSection) else None
        targets = symbols.get_symbol_by_name("Py_BytesMain") if symbols else None
        mains = symbols.get_symbol_by_name("main") if symbols else None
        if elf["e_machine"] not in _MACHINES or not targets:
            raise _unexpected("it is not a CPython for x86-64, aarch64 or ppc64le")
        target = int(targets[0]["st_value"])
        if elf["e_machine"] == "EM_X86_64":
            entry = int(elf["e_entry"])
            _replace_main(data, next(iter(elf.address_offsets(entry))), entry, target)
        elif mains and mains[0]["st_value"]:
            main = int(mains[0]["st_value"])
            _jump_from_main(data, next(iter(elf.address_offsets(main))), main, target, elf["e_machine"])
        else:
            raise _unexpected("it does not export main")
        return bytes(data) if loader is None else set_loader(bytes(data), loader)
    except (ELFError, StopIteration, ValueError, struct.error) as error:
        raise _unexpected(str(error)) from error


def _replace_main(data: bytearray, offset: int, entry: int, target: int) -> None:
    """Replace the address of ``main`` in the start code for x86-64.

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


def _jump_from_main(data: bytearray, offset: int, main: int, target: int, machine: str) -> None:
    """Replace the first instruction of ``main`` by a jump to *target*.

    aarch64: ``B`` (Arm Architecture Reference Manual, C6.2). ppc64le: ``b`` (Power ISA, 2.4), from local entry point to
    local entry point, two instructions after the global one, which sets the table of contents for both
    (64-Bit ELF V2 ABI, 3.4.1).
    """
    distance = target - main
    if not -(1 << 25) <= distance < 1 << 25:
        raise _unexpected("its main is too far from the interpreter's")
    if machine == "EM_AARCH64":
        instruction = 0x14000000 | (distance >> 2 & 0x03FFFFFF)
    else:
        offset += 8
        instruction = 0x48000000 | (distance & 0x03FFFFFC)
    struct.pack_into("<I", data, offset, instruction)


def _unexpected(reason: str) -> RuntimeUnavailableError:
    return RuntimeUnavailableError(
        f"the interpreter inside the published wheel cannot be used: {reason}",
        cause="this is a bug in pytest-wheelcheck: its table names a wheel of an unknown kind",
    )
