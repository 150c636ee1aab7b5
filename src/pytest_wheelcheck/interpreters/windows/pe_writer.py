"""Writing the small Windows files that published wheels do not carry.

They are ``python.exe``, what stands for it in virtual environments, ``python3.dll``, and one of Windows' own.

A table-driven writer of portable executables for x86-64 (PE32+) and x86 (PE32) with one section, so that no compiler is
needed. Source of all offsets and constants: the specification «PE Format» of Microsoft, and for instructions the
processor's manual.

Code can be loaded anywhere. On x86-64 distances count from the next instruction; on x86, which has no such addresses,
all code begins with :data:`_HERE`, and distances count from the place that this leaves in a register.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

#: Where the only section begins in memory, and in the file.
_RVA = 0x1000
_RAW = 0x400

#: Preferred address of programs and libraries by the number of bits (defaults of link.exe).
_BASES = {64: (0x140000000, 0x180000000), 32: (0x400000, 0x10000000)}

#: What the machine is called (IMAGE_FILE_MACHINE_AMD64, IMAGE_FILE_MACHINE_I386).
MACHINES = {64: 0x8664, 32: 0x14C}

#: The number of bits by the architecture, as in platform tags.
BITS = {"amd64": 64, "x86": 32}

#: Begins all code for x86: push ebx; call the next instruction; pop ebx. Where the third stands, and ebx then points to.
_HERE = b"\x53\xe8\x00\x00\x00\x00\x5b"
_POINT = 6

#: Bytes of stack of CPython's own ``python.exe`` (``PCbuild/python.vcxproj``, StackReserveSize).
_STACK = 4_194_304

#: What a Windows program says of itself, as CPython's own does (``PC/python.manifest``).
_MANIFEST = b"""<?xml version="1.0" encoding="UTF-8" standalone="yes"?>
<assembly xmlns="urn:schemas-microsoft-com:asm.v1" manifestVersion="1.0">
<compatibility xmlns="urn:schemas-microsoft-com:compatibility.v1"><application>
<supportedOS Id="{8e0f7a12-bfb3-4fe8-b9a5-48fd50a15a9a}"/>
</application></compatibility>
<application xmlns="urn:schemas-microsoft-com:asm.v3"><windowsSettings>
<longPathAware xmlns="http://schemas.microsoft.com/SMI/2016/WindowsSettings">true</longPathAware>
</windowsSettings></application>
</assembly>
"""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of an imported function, between two pieces of machine code."""

    function: str


@dataclass(frozen=True, slots=True)
class At:
    """An instruction that ends in the distance to a place in the image's data: from rip on x86-64, from ebx on x86.

    :param instruction: all of it but for the distance.
    :param data: the name of the data.
    """

    instruction: bytes
    data: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A program or library to be written.

    :param name: of a library, its file name; empty for a program.
    :param imports: functions by the library that has them.
    :param code: the machine code, which begins with the entry point of a program, or the only function of a library.
    :param data: what the code refers to, by names for :class:`At`.
    :param function: the name of a library's only function of its own.
    :param forwards: exported names and the ``library.name`` that each stands for.
    :param manifest: what a program says of itself.
    :param console: whether a program has a console.
    :param bits: 64 for x86-64, 32 for x86.
    """

    name: str = ""
    imports: Mapping[str, Sequence[str]] = field(default_factory=dict)
    code: Sequence[bytes | Call | At] = ()
    data: Mapping[str, bytes] = field(default_factory=dict)
    function: str = ""
    forwards: Mapping[str, str] = field(default_factory=dict)
    manifest: bytes = b""
    console: bool = True
    bits: int = 64


def write(image: Image) -> bytes:
    """Write an image as a file."""
    body = bytearray(sum(map(_length, image.code)))
    directories = [(0, 0)] * 16
    places = _write_imports(image.imports, body, directories, image.bits // 8)
    for name, data in image.data.items():
        places[name] = _aligned(body, 16)
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
            # FF 15: call qword ptr [rip + distance]; FF 93: call dword ptr [ebx + distance]
            call, origin = (b"\xff\x15", end) if image.bits == 64 else (b"\xff\x93", _POINT)
            words, name = (call, part.function) if isinstance(part, Call) else (part.instruction, part.data)
            body[at:end] = words + struct.pack("<i", places[name] - origin)
        at = end
    head = _headers(image, len(body), directories)
    return head.ljust(_RAW, b"\0") + bytes(body.ljust(_up(len(body), 0x200), b"\0"))


def _length(part: bytes | Call | At) -> int:
    return len(part) if isinstance(part, bytes) else 6 if isinstance(part, Call) else len(part.instruction) + 4


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def _aligned(body: bytearray, step: int = 8) -> int:
    body.extend(b"\0" * (-len(body) % step))
    return len(body)


def _write_imports(
    imports: Mapping[str, Sequence[str]], body: bytearray, directories: list[tuple[int, int]], pointer: int
) -> dict[str, int]:
    """Append the import tables (directories 1 and 12); tell where each function's address will stand.

    :param pointer: the size of an address.
    """
    if not imports:
        return {}
    names: dict[str, int] = {}
    for word in (*imports, *(name for functions in imports.values() for name in functions)):
        names[word] = _aligned(body, 2)
        # A function's name stands behind a hint.
        body += (b"" if word in imports else b"\0\0") + word.encode() + b"\0"
    tables = []
    for _ in range(2):
        begin = _aligned(body)
        places = {}
        for library, functions in imports.items():
            places[library] = len(body)
            for name in functions:
                body += (_RVA + names[name]).to_bytes(pointer, "little")
            body += bytes(pointer)
        tables.append((begin, places, len(body) - begin))
    (_, lookup, _), (begin, addresses, size) = tables
    directory = _aligned(body)
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
    """Append the export table. A forward is an address inside the table's own bounds, of a ``library.name``."""
    named = sorted({**image.forwards, **({image.function: ""} if image.function else {})})
    begin = _aligned(body)
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
    words = (0, 0, 0, _RVA + own, 1, count, count, _RVA + functions, _RVA + strings, _RVA + strings + 4 * count)
    struct.pack_into("<10I", body, begin, *words)
    return _RVA + begin, len(body) - begin


def _write_manifest(manifest: bytes, body: bytearray) -> tuple[int, int]:
    """Append a resource directory with one entry: type 24 (RT_MANIFEST), number 1, language 1033."""
    begin = _aligned(body)
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
    # One section; 0x20: executable, large addresses; 0x102: executable, of 32 bits; 0x2000: a library.
    flags = (0x22 if wide else 0x102) | (0x2000 if library else 0)
    coff = struct.pack("<HHIIIHH", MACHINES[image.bits], 1, 0, 0, 0, 240 if wide else 224, flags)
    raw = _up(size, 0x200)
    entry = _RVA if image.code and not library else 0
    optional = struct.pack("<HBBIIIII", 0x20B if wide else 0x10B, 14, 0, raw, 0, 0, entry, _RVA)
    optional += struct.pack("<Q" if wide else "<II", *(() if wide else (_RVA,)), _BASES[image.bits][library])
    optional += struct.pack(
        "<IIHHHHHHIIIIHH",
        *(0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, _RVA + _up(size, 0x1000), _RAW, 0),
        # 3: console program, 2: one without; addresses are relative, data is never executed.
        *(3 if image.console else 2, 0x0100 | (0 if library else 0x8000)),
    )
    optional += struct.pack("<QQQQII" if wide else "<IIIIII", _STACK, 0x1000, 0x100000, 0x1000, 0, 16)
    for pair in directories:
        optional += struct.pack("<II", *pair)
    # Code and data that is read, written and executed.
    section = struct.pack("<8sIIIIIIHHI", b".text", size, _RVA, raw, _RAW, 0, 0, 0, 0, 0xE0000060)
    return dos + b"PE\0\0" + coff + optional + section


_PYTHON_64: tuple[bytes | Call | At, ...] = (
    b"\x48\x83\xec\x28",  # sub rsp, 40
    b"\xb9\x01\x00\x00\x00",  # mov ecx, 1: wildcards are not expanded
    Call("_configure_wide_argv"),
    Call("_initialize_wide_environment"),
    Call("__p___wargv"),
    b"\x48\x8b\x18",  # mov rbx, [rax]
    Call("__p___argc"),
    b"\x8b\x08",  # mov ecx, [rax]
    b"\x48\x89\xda",  # mov rdx, rbx
    Call("Py_Main"),
    b"\x89\xc1",  # mov ecx, eax
    Call("exit"),
    b"\xcc",
)

_PYTHON_32: tuple[bytes | Call | At, ...] = (
    _HERE,
    b"\x6a\x01",  # push 1: wildcards are not expanded
    Call("_configure_wide_argv"),
    Call("_initialize_wide_environment"),
    Call("__p___wargv"),
    b"\x8b\x30",  # mov esi, [eax]
    Call("__p___argc"),
    b"\x56",  # push esi
    b"\xff\x30",  # push dword [eax]
    Call("Py_Main"),
    b"\x50",  # push eax
    Call("exit"),
    b"\xcc",
)


def python_exe(library: str, *, console: bool = True, bits: int = 64) -> bytes:
    """Write ``python.exe``: what CPython's ``Programs/python.c`` is, ``return Py_Main(argc, argv)``.

    :param library: the interpreter's library, such as ``python313.dll``.
    :param console: ``pythonw.exe`` has none.
    :param bits: of the interpreter.
    """
    return write(
        Image(
            imports={
                "ucrtbase.dll": (
                    "_configure_wide_argv",
                    "_initialize_wide_environment",
                    "__p___wargv",
                    "__p___argc",
                    "exit",
                ),
                library: ("Py_Main",),
            },
            code=_PYTHON_64 if bits == 64 else _PYTHON_32,
            manifest=_MANIFEST,
            console=console,
            bits=bits,
        )
    )


_REDIRECTOR_64: tuple[bytes | Call | At, ...] = (
    b"\x53",  # push rbx
    b"\x48\x83\xec\x60",  # sub rsp, 96
    b"\xb9\x01\x00\x00\x00",  # mov ecx, 1
    Call("_configure_wide_argv"),
    Call("__p__wpgmptr"),
    b"\x48\x8b\x10",  # mov rdx, [rax]: the path of this program
    At(b"\x48\x8d\x0d", "name"),
    Call("SetEnvironmentVariableW"),
    b"\x31\xc9\x31\xd2",  # xor ecx, ecx; xor edx, edx
    Call("CreateJobObjectW"),
    b"\x48\x89\xc3",  # mov rbx, rax
    b"\x48\x89\xc1",  # mov rcx, rax
    b"\xba\x09\x00\x00\x00",  # mov edx, 9: JobObjectExtendedLimitInformation
    At(b"\x4c\x8d\x05", "limits"),
    b"\x41\xb9\x90\x00\x00\x00",  # mov r9d, 144
    Call("SetInformationJobObject"),
    Call("GetCommandLineW"),
    b"\x48\x89\xc2",  # mov rdx, rax
    At(b"\x48\x8d\x0d", "base"),
    b"\x45\x31\xc0\x45\x31\xc9",  # xor r8d, r8d; xor r9d, r9d
    b"\x31\xc0",  # xor eax, eax
    b"\x48\x89\x44\x24\x28\x48\x89\x44\x24\x30\x48\x89\x44\x24\x38",  # mov [rsp+40, +48, +56], rax
    b"\xc7\x44\x24\x20\x01\x00\x00\x00",  # mov dword [rsp+32], 1: handles are inherited
    At(b"\x48\x8d\x05", "startup"),
    b"\x48\x89\x44\x24\x40",  # mov [rsp+64], rax
    At(b"\x48\x8d\x05", "process"),
    b"\x48\x89\x44\x24\x48",  # mov [rsp+72], rax
    Call("CreateProcessW"),
    b"\x85\xc0",  # test eax, eax
    b"\x74\x43",  # jz to the last three instructions
    b"\x48\x89\xd9",  # mov rcx, rbx
    At(b"\x48\x8b\x15", "process"),  # mov rdx, [process]
    Call("AssignProcessToJobObject"),
    b"\x31\xc9",  # xor ecx, ecx
    b"\xba\x01\x00\x00\x00",  # mov edx, 1: Ctrl-C is the other's business
    Call("SetConsoleCtrlHandler"),
    At(b"\x48\x8b\x0d", "process"),  # mov rcx, [process]
    b"\xba\xff\xff\xff\xff",  # mov edx, -1: for as long as it takes
    Call("WaitForSingleObject"),
    At(b"\x48\x8b\x0d", "process"),  # mov rcx, [process]
    At(b"\x48\x8d\x15", "code"),
    Call("GetExitCodeProcess"),
    At(b"\x8b\x0d", "code"),  # mov ecx, [code]
    Call("ExitProcess"),
    b"\xcc",
)

_REDIRECTOR_32: tuple[bytes | Call | At, ...] = (
    _HERE,
    b"\x6a\x01",  # push 1
    Call("_configure_wide_argv"),
    b"\x59",  # pop ecx: functions of the C library leave their arguments to the caller
    Call("__p__wpgmptr"),
    b"\xff\x30",  # push dword [eax]: the path of this program
    At(b"\x8d\x83", "name"),  # lea eax, [name]
    b"\x50",  # push eax
    Call("SetEnvironmentVariableW"),
    b"\x6a\x00\x6a\x00",  # push 0; push 0
    Call("CreateJobObjectW"),
    b"\x89\xc6",  # mov esi, eax
    b"\x6a\x70",  # push 112
    At(b"\x8d\x83", "limits"),
    b"\x50\x6a\x09\x56",  # push eax; push 9: JobObjectExtendedLimitInformation; push esi
    Call("SetInformationJobObject"),
    Call("GetCommandLineW"),
    b"\x89\xc2",  # mov edx, eax
    At(b"\x8d\x83", "process"),
    b"\x50",
    At(b"\x8d\x83", "startup"),
    b"\x50",
    b"\x31\xc0\x50\x50\x50",  # xor eax, eax; push eax three times
    b"\x6a\x01",  # push 1: handles are inherited
    b"\x50\x50\x52",  # push eax; push eax; push edx
    At(b"\x8d\x83", "base"),
    b"\x50",
    Call("CreateProcessW"),
    b"\x85\xc0",  # test eax, eax
    b"\x74\x38",  # jz to the last three instructions
    At(b"\xff\xb3", "process"),  # push dword [process]
    b"\x56",
    Call("AssignProcessToJobObject"),
    b"\x6a\x01\x6a\x00",  # push 1: Ctrl-C is the other's business; push 0
    Call("SetConsoleCtrlHandler"),
    b"\x6a\xff",  # push -1: for as long as it takes
    At(b"\xff\xb3", "process"),
    Call("WaitForSingleObject"),
    At(b"\x8d\x83", "code"),
    b"\x50",
    At(b"\xff\xb3", "process"),
    Call("GetExitCodeProcess"),
    At(b"\xff\xb3", "code"),  # push dword [code]
    Call("ExitProcess"),
    b"\xcc",
)


def venv_redirector(base: str, *, console: bool = True, bits: int = 64) -> bytes:
    """Write what stands as ``python.exe`` in virtual environments on Windows.

    It starts the interpreter of the base installation, tells that one where it stands itself, and waits; where it is
    ended, so is that one. CPython's own (``PC/venvlauncher.c``, before 3.13 ``PC/launcher.c``) reads the base's path
    from ``pyvenv.cfg``.

    :param base: path of the interpreter to start, as Windows says it.
    :param console: ``pythonw.exe`` has none.
    :param bits: of that interpreter.
    """
    wide = bits == 64
    limits = bytearray(144 if wide else 112)  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
    # LimitFlags: the job's processes end with the last handle to it; their own children are not of the job.
    struct.pack_into("<I", limits, 16, 0x2000 | 0x1000)
    startup = 104 if wide else 68  # STARTUPINFOW, which begins with its size
    return write(
        Image(
            imports={
                "ucrtbase.dll": ("_configure_wide_argv", "__p__wpgmptr"),
                "kernel32.dll": (
                    "AssignProcessToJobObject",
                    "CreateJobObjectW",
                    "CreateProcessW",
                    "ExitProcess",
                    "GetCommandLineW",
                    "GetExitCodeProcess",
                    "SetConsoleCtrlHandler",
                    "SetEnvironmentVariableW",
                    "SetInformationJobObject",
                    "WaitForSingleObject",
                ),
            },
            data={
                "name": "__PYVENV_LAUNCHER__\0".encode("utf-16-le"),
                "base": f"{base}\0".encode("utf-16-le"),
                "limits": bytes(limits),
                "startup": struct.pack("<I", startup).ljust(startup, b"\0"),
                "process": bytes(24 if wide else 16),  # PROCESS_INFORMATION, which begins with its handle
                "code": struct.pack("<I", 101),  # what PC/venvlauncher.c ends with where it cannot start the other
            },
            code=_REDIRECTOR_64 if wide else _REDIRECTOR_32,
            manifest=_MANIFEST,
            console=console,
            bits=bits,
        )
    )


def python3_dll(library: str, names: Iterable[str], *, bits: int = 64) -> bytes:
    """Write ``python3.dll``, through which extension modules of the stable ABI reach any interpreter.

    :param library: the interpreter's library, such as ``python313.dll``.
    :param names: of the stable ABI.
    :param bits: of that library.
    """
    stem = library.removesuffix(".dll")
    return write(Image(name="python3.dll", forwards={name: f"{stem}.{name}" for name in names}, bits=bits))


def bcryptprimitives_dll(*, bits: int = 64) -> bytes:
    """Write ``bcryptprimitives.dll``, which programs made by a recent Rust load, and an older Wine lacks.

    Its one documented function ``ProcessPrng(buffer, size)`` fills a buffer with random numbers and always succeeds;
    here it is ``RtlGenRandom``, whose exported name is ``SystemFunction036``.

    :param bits: of the programs.
    """
    call = Call("SystemFunction036")
    return write(
        Image(
            name="bcryptprimitives.dll",
            function="ProcessPrng",
            imports={"advapi32.dll": ("SystemFunction036",)},
            code=(
                b"\x48\x83\xec\x28",  # sub rsp, 40
                call,
                b"\x0f\xb6\xc0",  # movzx eax, al
                b"\x48\x83\xc4\x28",  # add rsp, 40
                b"\xc3",  # ret
            )
            if bits == 64
            else (
                _HERE,
                b"\xff\x74\x24\x0c\xff\x74\x24\x0c",  # push dword [esp+12], twice: size, buffer
                call,
                b"\x0f\xb6\xc0",  # movzx eax, al
                b"\x5b",  # pop ebx
                b"\xc2\x08\x00",  # ret 8
            ),
            bits=bits,
        )
    )


def strip_debug_sections(data: bytes) -> bytes:
    """Give a portable executable without its debugging sections and symbols, where these stand behind all others.

    They are most of the libraries of a Wine that was packaged with them. What is no such file comes back as it is.
    """
    (start,) = struct.unpack_from("<I", data, 0x3C) if data[:2] == b"MZ" and len(data) > 0x40 else (0,)
    if not start or data[start : start + 4] != b"PE\0\0":
        return data
    count, _, symbols, number, size = struct.unpack_from("<HIIIH", data, start + 6)
    strings = symbols + 18 * number
    table = start + 24 + size
    kept = end = image = 0
    for index in range(count):
        at = table + 40 * index
        name = data[at : at + 8].rstrip(b"\0")
        if name.startswith(b"/") and symbols:
            begin = strings + int(name[1:])
            name = data[begin : data.index(b"\0", begin)]
        if name.startswith(b".debug"):
            continue
        if kept != index:
            return data  # one that is needed stands behind
        length, address, raw_size, raw = struct.unpack_from("<4I", data, at + 8)
        kept, end, image = index + 1, max(end, raw + raw_size), address + max(length, raw_size)
    if kept == count or not end:
        return data
    slim = bytearray(data[:end])
    struct.pack_into("<H", slim, start + 6, kept)
    struct.pack_into("<II", slim, start + 12, 0, 0)
    (step,) = struct.unpack_from("<I", data, start + 24 + 32)
    struct.pack_into("<I", slim, start + 24 + 56, _up(image, step))  # SizeOfImage
    slim[table + 40 * kept : table + 40 * count] = bytes(40 * (count - kept))
    return bytes(slim)
