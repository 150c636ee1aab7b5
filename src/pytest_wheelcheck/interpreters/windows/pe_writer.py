"""Write small Windows programs and libraries, so that no compiler is needed.

Writes portable executables for x86-64 (PE32+) and x86 (PE32) with one section. Source of all offsets and constants:
Microsoft's specification "PE Format". pefile only reads and changes existing files; LIEF also makes new ones, but is a
compiled extension of 12 MB.

The code is position-independent. On x86-64, displacements are relative to the next instruction. x86 has no such
addressing: there, all code begins with :data:`X86_PROLOGUE`, and displacements are relative to the address that this
leaves in ebx.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Start of the only section in memory, relative to the image, and in the file.
_RVA = 0x1000
_RAW = 0x400

#: Preferred addresses of programs and of libraries by the number of bits (defaults of link.exe).
_BASES = {64: (0x140000000, 0x180000000), 32: (0x400000, 0x10000000)}

#: Machine types by the number of bits (IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_I386).
MACHINES = {64: 0x8664, 32: 0x14C}

#: Begins all code for x86: push ebx; call the next instruction; pop ebx.
X86_PROLOGUE = b"\x53\xe8\x00\x00\x00\x00\x5b"

#: Offset of the third of these instructions, whose address is then in ebx.
_X86_BASE = 6

#: Stack size in bytes, as of CPython's own ``python.exe`` (``PCbuild/python.vcxproj``, StackReserveSize).
_STACK = 4_194_304


@dataclass(frozen=True, slots=True)
class ImportCall:
    """A call of an imported function in the machine code."""

    function: str


@dataclass(frozen=True, slots=True)
class DataReference:
    """An instruction that refers to the image's data: it ends with a displacement, from rip on x86-64, from ebx on x86.

    :param instruction: without the displacement.
    :param data: the name of the data.
    """

    instruction: bytes
    data: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A program or library.

    :param name: a library's file name; empty for a program.
    :param imports: names of imported functions by library.
    :param code: the machine code. It begins with the entry point of a program, or the only function of a library.
    :param data: the data of the code, by names for :class:`DataReference`.
    :param function: the name of the library's function in *code*; empty if it has none.
    :param forwards: forwarded exports: name and ``library.name``.
    :param manifest: a program's manifest; empty for none.
    :param console: whether a program has a console.
    :param bits: 64 for x86-64, 32 for x86.
    """

    name: str = ""
    imports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    code: Sequence[bytes | ImportCall | DataReference] = ()
    data: Mapping[str, bytes] = field(default_factory=dict)
    function: str = ""
    forwards: Mapping[str, str] = field(default_factory=dict)
    manifest: bytes = b""
    console: bool = True
    bits: int = 64


def write(image: Image) -> bytes:
    """Return the contents of the file of an image."""
    body = bytearray(sum(map(_length, image.code)))
    directories = [(0, 0)] * 16
    addresses = _write_imports(image.imports, body, directories, image.bits // 8)
    for name, data in image.data.items():
        addresses[name] = _align(body, 16)
        body += data
    if image.name:
        directories[0] = _write_exports(image, body)
    if image.manifest:
        directories[2] = _write_manifest(image.manifest, body)
    at = 0
    for part in image.code:
        end = at + _length(part)
        if isinstance(part, bytes):
            body[at:end] = part
        else:
            # FF 15: call qword ptr [rip + displacement]; FF 93: call dword ptr [ebx + displacement]
            call, origin = (b"\xff\x15", end) if image.bits == 64 else (b"\xff\x93", _X86_BASE)
            instruction, name = (call, part.function) if isinstance(part, ImportCall) else (part.instruction, part.data)
            body[at:end] = instruction + struct.pack("<i", addresses[name] - origin)
        at = end
    head = _headers(image, len(body), directories)
    return head.ljust(_RAW, b"\0") + bytes(body.ljust(_round_up(len(body), 0x200), b"\0"))


def _length(part: bytes | ImportCall | DataReference) -> int:
    return len(part) if isinstance(part, bytes) else 6 if isinstance(part, ImportCall) else len(part.instruction) + 4


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def _align(body: bytearray, step: int = 8) -> int:
    body.extend(b"\0" * (-len(body) % step))
    return len(body)


def _write_imports(
    imports: Mapping[str, Sequence[str]], body: bytearray, directories: list[tuple[int, int]], pointer: int
) -> dict[str, int]:
    """Append the import tables (directories 1 and 12), and return the offset of each function's address.

    :param pointer: the size of an address in bytes.
    """
    if not imports:
        return {}
    names: dict[str, int] = {}
    for name in (*imports, *(name for functions in imports.values() for name in functions)):
        names[name] = _align(body, 2)
        # The name of a function follows a hint.
        body += (b"" if name in imports else b"\0\0") + name.encode() + b"\0"
    tables = []
    for _ in range(2):
        begin = _align(body)
        offsets = {}
        for library, functions in imports.items():
            offsets[library] = len(body)
            for name in functions:
                body += (_RVA + names[name]).to_bytes(pointer, "little")
            body += bytes(pointer)
        tables.append((begin, offsets, len(body) - begin))
    (_, lookup, _), (begin, addresses, size) = tables
    directory = _align(body)
    for library in imports:
        body += struct.pack("<5I", _RVA + lookup[library], 0, 0, _RVA + names[library], _RVA + addresses[library])
    body += bytes(20)
    directories[1] = (_RVA + directory, len(body) - directory)
    directories[12] = (_RVA + begin, size)
    return {
        name: addresses[library] + pointer * number
        for library, functions in imports.items()
        for number, name in enumerate(functions)
    }


def _write_exports(image: Image, body: bytearray) -> tuple[int, int]:
    """Append the export table. The address of a forward is that of its ``library.name``, inside the table's bounds."""
    named = sorted({**image.forwards, **({image.function: ""} if image.function else {})})
    begin = _align(body)
    body += bytes(40)
    functions = len(body)
    body += bytes(4 * len(named))
    strings = len(body)
    body += bytes(4 * len(named))
    for number in range(len(named)):
        body += struct.pack("<H", number)
    own = len(body)
    body += image.name.encode() + b"\0"
    for number, name in enumerate(named):
        struct.pack_into("<I", body, strings + 4 * number, _RVA + len(body))
        body += name.encode() + b"\0"
        forward = image.forwards.get(name)
        struct.pack_into("<I", body, functions + 4 * number, _RVA + (len(body) if forward else 0))
        if forward:
            body += forward.encode() + b"\0"
    count = len(named)
    fields = (0, 0, 0, _RVA + own, 1, count, count, _RVA + functions, _RVA + strings, _RVA + strings + 4 * count)
    struct.pack_into("<10I", body, begin, *fields)
    return _RVA + begin, len(body) - begin


def _write_manifest(manifest: bytes, body: bytearray) -> tuple[int, int]:
    """Append a resource directory with one entry: type 24 (RT_MANIFEST), id 1, language 1033."""
    begin = _align(body)
    for level, number in enumerate((24, 1, 1033)):
        at = 24 * (level + 1)
        body += struct.pack("<IIHHHH", 0, 0, 0, 0, 0, 1)
        body += struct.pack("<II", number, at if level == 2 else at | 0x80000000)
    body += struct.pack("<IIII", _RVA + begin + 88, len(manifest), 0, 0)
    body += manifest
    return _RVA + begin, len(body) - begin


def _headers(image: Image, size: int, directories: Iterable[tuple[int, int]]) -> bytes:
    library = bool(image.name)
    wide = image.bits == 64
    dos = b"MZ".ljust(60, b"\0") + struct.pack("<I", 64)
    # Characteristics. 0x22: executable, large addresses; 0x102: executable, 32 bits; 0x2000: a library.
    flags = (0x22 if wide else 0x102) | (0x2000 if library else 0)
    coff = struct.pack("<HHIIIHH", MACHINES[image.bits], 1, 0, 0, 0, 240 if wide else 224, flags)
    raw = _round_up(size, 0x200)
    entry = _RVA if image.code and not library else 0
    optional = struct.pack("<HBBIIIII", 0x20B if wide else 0x10B, 14, 0, raw, 0, 0, entry, _RVA)
    optional += struct.pack("<Q" if wide else "<II", *(() if wide else (_RVA,)), _BASES[image.bits][library])
    optional += struct.pack(
        "<IIHHHHHHIIIIHH",
        *(0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, _RVA + _round_up(size, 0x1000), _RAW, 0),
        # Subsystem 3: console program, 2: without a console. NX_COMPAT; programs: TERMINAL_SERVER_AWARE.
        *(3 if image.console else 2, 0x0100 | (0 if library else 0x8000)),
    )
    optional += struct.pack("<QQQQII" if wide else "<IIIIII", _STACK, 0x1000, 0x100000, 0x1000, 0, 16)
    for pair in directories:
        optional += struct.pack("<II", *pair)
    # 0xE0000060: code and data; readable, writable and executable.
    section = struct.pack("<8sIIIIIIHHI", b".text", size, _RVA, raw, _RAW, 0, 0, 0, 0, 0xE0000060)
    return dos + b"PE\0\0" + coff + optional + section
