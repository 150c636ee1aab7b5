"""What must be known of an architecture of Linux to run its programs here: data."""

from __future__ import annotations

import os
import platform
import sys
from dataclasses import dataclass
from functools import cache as _once


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """One architecture.

    :param name: as in platform tags.
    :param debian: Debian's name (``dpkg-architecture -L``).
    :param multiarch: the folder of its libraries (https://wiki.debian.org/Multiarch/Tuples).
    :param qemu: how its user-mode emulator is called: ``qemu-`` and this.
    :param loader: path of glibc's dynamic loader below the root (glibc's ``shlib-versions``).
    :param machine: ELF's ``e_machine`` (``elf.h``).
    :param bits: of a pointer.
    :param little: whether the least significant byte comes first.
    """

    name: str
    debian: str
    multiarch: str
    qemu: str
    loader: str
    machine: int
    bits: int = 64
    little: bool = True


#: All of them, by their names in platform tags.
ARCHITECTURES = {
    each.name: each
    for each in (
        Architecture(
            name="x86_64",
            debian="amd64",
            multiarch="x86_64-linux-gnu",
            qemu="x86_64",
            loader="lib64/ld-linux-x86-64.so.2",
            machine=62,
        ),
        Architecture(
            name="aarch64",
            debian="arm64",
            multiarch="aarch64-linux-gnu",
            qemu="aarch64",
            loader="lib/ld-linux-aarch64.so.1",
            machine=183,
        ),
        Architecture(
            name="armv7l",
            debian="armhf",
            multiarch="arm-linux-gnueabihf",
            qemu="arm",
            loader="lib/ld-linux-armhf.so.3",
            machine=40,
            bits=32,
        ),
        Architecture(
            name="i686",
            debian="i386",
            multiarch="i386-linux-gnu",
            qemu="i386",
            loader="lib/ld-linux.so.2",
            machine=3,
            bits=32,
        ),
        Architecture(
            name="ppc64le",
            debian="ppc64el",
            multiarch="powerpc64le-linux-gnu",
            qemu="ppc64le",
            loader="lib64/ld64.so.2",
            machine=21,
        ),
        Architecture(
            name="riscv64",
            debian="riscv64",
            multiarch="riscv64-linux-gnu",
            qemu="riscv64",
            loader="lib/ld-linux-riscv64-lp64d.so.1",
            machine=243,
        ),
        Architecture(
            name="s390x",
            debian="s390x",
            multiarch="s390x-linux-gnu",
            qemu="s390x",
            loader="lib/ld64.so.1",
            machine=22,
            little=False,
        ),
    )
}


#: Other names of them: Debian's, and those of other systems.
ALIASES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "i386": "i686",
    "ppc64el": "ppc64le",
}


@_once
def host_architecture() -> Architecture | None:
    """Tell the architecture of this host's kernel; ``None`` where it is none of the table, or no Linux."""
    if not sys.platform.startswith("linux"):
        return None
    machine = {"amd64": "x86_64", "armv8l": "armv7l", "i386": "i686", "i586": "i686"}.get(
        platform.machine(), platform.machine()
    )
    return ARCHITECTURES.get(machine)


@_once
def runs_natively(name: str) -> bool:
    """Tell whether programs of an architecture run here without an emulator.

    A 64-bit x86 kernel runs those of i686 where it was built to (``CONFIG_IA32_EMULATION``), which its list of
    personalities does not tell; so a tiny one is tried.
    """
    at = host_architecture()
    if at is None:
        return False
    return at.name == name or (at.name == "x86_64" and name == "i686" and _runs_i386())


#: An ELF file that calls ``exit(0)``: mov $1, %eax; xor %ebx, %ebx; int $0x80.
_I386 = bytes.fromhex(
    "7f454c46010101000000000000000000"
    "02000300010000005480040834000000"
    "00000000000000003400200001000000"
    "00000000"
    "0100000000000000008004080080040860000000600000000500000000100000"
    "b80100000031dbcd80"
).ljust(0x60, b"\0")


def _runs_i386() -> bool:
    import tempfile
    from pathlib import Path

    from pytest_wheelcheck.errors import ProcessError
    from pytest_wheelcheck.system import process

    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as folder:
        program = Path(folder) / "program"
        program.write_bytes(_I386)
        program.chmod(0o755)
        try:
            return process.run([program], timeout=10, check=False).returncode == os.EX_OK
        except ProcessError:
            return False
