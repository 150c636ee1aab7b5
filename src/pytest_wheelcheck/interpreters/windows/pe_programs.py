"""The small Windows programs and libraries that published wheels do not contain.

They are ``python.exe``, the redirector of the same name in virtual environments, ``python3.dll``, and one library of
Windows itself. Source of the instructions: the processor manuals ("Intel 64 and IA-32 Architectures Software Developer's
Manual", volume 2).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pytest_wheelcheck.interpreters.windows.pe_writer import X86_PROLOGUE, DataReference, Image, ImportCall, write

#: The manifest of programs, with the entries of CPython's own (``PC/python.manifest``) that matter here.
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


_PYTHON_64: tuple[bytes | ImportCall | DataReference, ...] = (
    b"\x48\x83\xec\x28",  # sub rsp, 40
    b"\xb9\x01\x00\x00\x00",  # mov ecx, 1: wildcards are not expanded
    ImportCall("_configure_wide_argv"),
    ImportCall("_initialize_wide_environment"),
    ImportCall("__p___wargv"),
    b"\x48\x8b\x18",  # mov rbx, [rax]
    ImportCall("__p___argc"),
    b"\x8b\x08",  # mov ecx, [rax]
    b"\x48\x89\xda",  # mov rdx, rbx
    ImportCall("Py_Main"),
    b"\x89\xc1",  # mov ecx, eax
    ImportCall("exit"),
    b"\xcc",
)

_PYTHON_32: tuple[bytes | ImportCall | DataReference, ...] = (
    X86_PROLOGUE,
    b"\x6a\x01",  # push 1: wildcards are not expanded
    ImportCall("_configure_wide_argv"),
    ImportCall("_initialize_wide_environment"),
    ImportCall("__p___wargv"),
    b"\x8b\x30",  # mov esi, [eax]
    ImportCall("__p___argc"),
    b"\x56",  # push esi
    b"\xff\x30",  # push dword [eax]
    ImportCall("Py_Main"),
    b"\x50",  # push eax
    ImportCall("exit"),
    b"\xcc",
)


def python_exe(library: str, *, console: bool = True, bits: int = 64) -> bytes:
    """Return ``python.exe``, which does what CPython's ``Programs/python.c`` does: ``return Py_Main(argc, argv)``.

    :param library: the interpreter's library, such as ``python313.dll``.
    :param console: ``False`` for ``pythonw.exe``.
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


_REDIRECTOR_64: tuple[bytes | ImportCall | DataReference, ...] = (
    b"\x53",  # push rbx
    b"\x48\x83\xec\x60",  # sub rsp, 96
    b"\xb9\x01\x00\x00\x00",  # mov ecx, 1
    ImportCall("_configure_wide_argv"),
    ImportCall("__p__wpgmptr"),
    b"\x48\x8b\x10",  # mov rdx, [rax]: the path of this program
    DataReference(b"\x48\x8d\x0d", "name"),
    ImportCall("SetEnvironmentVariableW"),
    b"\x31\xc9\x31\xd2",  # xor ecx, ecx; xor edx, edx
    ImportCall("CreateJobObjectW"),
    b"\x48\x89\xc3",  # mov rbx, rax
    b"\x48\x89\xc1",  # mov rcx, rax
    b"\xba\x09\x00\x00\x00",  # mov edx, 9: JobObjectExtendedLimitInformation
    DataReference(b"\x4c\x8d\x05", "limits"),
    b"\x41\xb9\x90\x00\x00\x00",  # mov r9d, 144
    ImportCall("SetInformationJobObject"),
    ImportCall("GetCommandLineW"),
    b"\x48\x89\xc2",  # mov rdx, rax
    DataReference(b"\x48\x8d\x0d", "base"),
    b"\x45\x31\xc0\x45\x31\xc9",  # xor r8d, r8d; xor r9d, r9d
    b"\x31\xc0",  # xor eax, eax
    b"\x48\x89\x44\x24\x28\x48\x89\x44\x24\x30\x48\x89\x44\x24\x38",  # mov [rsp+40, +48, +56], rax
    b"\xc7\x44\x24\x20\x01\x00\x00\x00",  # mov dword [rsp+32], 1: handles are inherited
    DataReference(b"\x48\x8d\x05", "startup"),
    b"\x48\x89\x44\x24\x40",  # mov [rsp+64], rax
    DataReference(b"\x48\x8d\x05", "process"),
    b"\x48\x89\x44\x24\x48",  # mov [rsp+72], rax
    ImportCall("CreateProcessW"),
    b"\x85\xc0",  # test eax, eax
    b"\x74\x43",  # jz to the last three instructions
    b"\x48\x89\xd9",  # mov rcx, rbx
    DataReference(b"\x48\x8b\x15", "process"),  # mov rdx, [process]
    ImportCall("AssignProcessToJobObject"),
    b"\x31\xc9",  # xor ecx, ecx
    b"\xba\x01\x00\x00\x00",  # mov edx, 1: leave Ctrl-C to the interpreter
    ImportCall("SetConsoleCtrlHandler"),
    DataReference(b"\x48\x8b\x0d", "process"),  # mov rcx, [process]
    b"\xba\xff\xff\xff\xff",  # mov edx, -1: no timeout
    ImportCall("WaitForSingleObject"),
    DataReference(b"\x48\x8b\x0d", "process"),  # mov rcx, [process]
    DataReference(b"\x48\x8d\x15", "code"),
    ImportCall("GetExitCodeProcess"),
    DataReference(b"\x8b\x0d", "code"),  # mov ecx, [code]
    ImportCall("ExitProcess"),
    b"\xcc",
)

_REDIRECTOR_32: tuple[bytes | ImportCall | DataReference, ...] = (
    X86_PROLOGUE,
    b"\x6a\x01",  # push 1
    ImportCall("_configure_wide_argv"),
    b"\x59",  # pop ecx: functions of the C library leave their arguments to the caller
    ImportCall("__p__wpgmptr"),
    b"\xff\x30",  # push dword [eax]: the path of this program
    DataReference(b"\x8d\x83", "name"),  # lea eax, [name]
    b"\x50",  # push eax
    ImportCall("SetEnvironmentVariableW"),
    b"\x6a\x00\x6a\x00",  # push 0; push 0
    ImportCall("CreateJobObjectW"),
    b"\x89\xc6",  # mov esi, eax
    b"\x6a\x70",  # push 112
    DataReference(b"\x8d\x83", "limits"),
    b"\x50\x6a\x09\x56",  # push eax; push 9: JobObjectExtendedLimitInformation; push esi
    ImportCall("SetInformationJobObject"),
    ImportCall("GetCommandLineW"),
    b"\x89\xc2",  # mov edx, eax
    DataReference(b"\x8d\x83", "process"),
    b"\x50",
    DataReference(b"\x8d\x83", "startup"),
    b"\x50",
    b"\x31\xc0\x50\x50\x50",  # xor eax, eax; push eax three times
    b"\x6a\x01",  # push 1: handles are inherited
    b"\x50\x50\x52",  # push eax; push eax; push edx
    DataReference(b"\x8d\x83", "base"),
    b"\x50",
    ImportCall("CreateProcessW"),
    b"\x85\xc0",  # test eax, eax
    b"\x74\x38",  # jz to the last three instructions
    DataReference(b"\xff\xb3", "process"),  # push dword [process]
    b"\x56",
    ImportCall("AssignProcessToJobObject"),
    b"\x6a\x01\x6a\x00",  # push 1: leave Ctrl-C to the interpreter; push 0
    ImportCall("SetConsoleCtrlHandler"),
    b"\x6a\xff",  # push -1: no timeout
    DataReference(b"\xff\xb3", "process"),
    ImportCall("WaitForSingleObject"),
    DataReference(b"\x8d\x83", "code"),
    b"\x50",
    DataReference(b"\xff\xb3", "process"),
    ImportCall("GetExitCodeProcess"),
    DataReference(b"\xff\xb3", "code"),  # push dword [code]
    ImportCall("ExitProcess"),
    b"\xcc",
)


def venv_redirector(base: str, *, console: bool = True, bits: int = 64) -> bytes:
    """Return the ``python.exe`` of virtual environments on Windows, the redirector.

    It starts the interpreter of the base installation, passes its own path in an environment variable, and waits. If
    the redirector is ended, so is the interpreter. CPython's own redirector (``PC/venvlauncher.c``, before 3.13
    ``PC/launcher.c``) reads the path of the interpreter from ``pyvenv.cfg``.

    :param base: path of the interpreter to start, as a Windows path.
    :param console: ``False`` for ``pythonw.exe``.
    :param bits: of that interpreter.
    """
    wide = bits == 64
    limits = bytearray(144 if wide else 112)  # JOBOBJECT_EXTENDED_LIMIT_INFORMATION
    # LimitFlags: the job's processes end when its last handle is closed, and their children are not part of it.
    struct.pack_into("<I", limits, 16, 0x2000 | 0x1000)
    startup = 104 if wide else 68  # size of STARTUPINFOW, which is its first field
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
                "process": bytes(24 if wide else 16),  # PROCESS_INFORMATION, whose first field is the handle
                "code": struct.pack("<I", 101),  # RC_CREATE_PROCESS of PC/venvlauncher.c
            },
            code=_REDIRECTOR_64 if wide else _REDIRECTOR_32,
            manifest=_MANIFEST,
            console=console,
            bits=bits,
        )
    )


def python3_dll(library: str, names: Iterable[str], *, bits: int = 64) -> bytes:
    """Return ``python3.dll``, through which extension modules of the stable ABI use any interpreter.

    :param library: the interpreter's library, such as ``python313.dll``.
    :param names: the names of the stable ABI.
    :param bits: of that library.
    """
    stem = library.removesuffix(".dll")
    return write(Image(name="python3.dll", forwards={name: f"{stem}.{name}" for name in names}, bits=bits))


def bcryptprimitives_dll(*, bits: int = 64) -> bytes:
    """Return ``bcryptprimitives.dll``, which programs built with a recent Rust load and some systems lack.

    Its only documented function ``ProcessPrng(buffer, size)`` fills a buffer with random bytes and always succeeds.
    Here it calls ``RtlGenRandom``, whose exported name is ``SystemFunction036``.

    :param bits: of the programs that load it.
    """
    call = ImportCall("SystemFunction036")
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
                X86_PROLOGUE,
                b"\xff\x74\x24\x0c\xff\x74\x24\x0c",  # push dword [esp+12], twice: size, buffer
                call,
                b"\x0f\xb6\xc0",  # movzx eax, al
                b"\x5b",  # pop ebx
                b"\xc2\x08\x00",  # ret 8
            ),
            bits=bits,
        )
    )
