"""The architectures of Linux: data needed to run their programs on this host."""

from __future__ import annotations

import functools
import os
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError
from pytest_wheelcheck.system import process


@dataclass(frozen=True, kw_only=True, slots=True)
class Architecture:
    """An architecture of Linux.

    :param name: as in platform tags.
    :param debian: Debian's name (``dpkg-architecture -L``).
    :param multiarch: the name of its library directories (https://wiki.debian.org/Multiarch/Tuples).
    :param loader: path of glibc's dynamic loader, relative to the root (glibc's ``shlib-versions``).
    """

    name: str
    debian: str
    multiarch: str
    loader: str


#: All supported architectures by their names in platform tags.
ARCHITECTURES = {
    architecture.name: architecture
    for architecture in (
        Architecture(
            name="x86_64",
            debian="amd64",
            multiarch="x86_64-linux-gnu",
            loader="lib64/ld-linux-x86-64.so.2",
        ),
        Architecture(
            name="aarch64",
            debian="arm64",
            multiarch="aarch64-linux-gnu",
            loader="lib/ld-linux-aarch64.so.1",
        ),
        Architecture(
            name="armv7l",
            debian="armhf",
            multiarch="arm-linux-gnueabihf",
            loader="lib/ld-linux-armhf.so.3",
        ),
        Architecture(
            name="i686",
            debian="i386",
            multiarch="i386-linux-gnu",
            loader="lib/ld-linux.so.2",
        ),
        Architecture(
            name="ppc64le",
            debian="ppc64el",
            multiarch="powerpc64le-linux-gnu",
            loader="lib64/ld64.so.2",
        ),
        Architecture(
            name="riscv64",
            debian="riscv64",
            multiarch="riscv64-linux-gnu",
            loader="lib/ld-linux-riscv64-lp64d.so.1",
        ),
        Architecture(
            name="s390x",
            debian="s390x",
            multiarch="s390x-linux-gnu",
            loader="lib/ld64.so.1",
        ),
    )
}


#: Other names of architectures: Debian's, and those of other systems.
ALIASES = {
    "amd64": "x86_64",
    "arm64": "aarch64",
    "armhf": "armv7l",
    "i386": "i686",
    "ppc64el": "ppc64le",
}


@functools.cache
def host_architecture() -> Architecture | None:
    """Return the architecture of the host's kernel; ``None`` if it is not in :data:`ARCHITECTURES`, or not Linux."""
    if not sys.platform.startswith("linux"):
        return None
    machine = {"amd64": "x86_64", "armv8l": "armv7l", "i386": "i686", "i586": "i686"}.get(
        platform.machine(), platform.machine()
    )
    return ARCHITECTURES.get(machine)


@functools.cache
def runs_natively(name: str) -> bool:
    """Return whether the host runs programs of an architecture without an emulator.

    A 64-bit x86 kernel may run those of i686 (``CONFIG_IA32_EMULATION``). It does not say so anywhere, so a small
    program is started.

    :param name: as in platform tags.
    """
    host = host_architecture()
    if host is None:
        return False
    return host.name == name or (host.name == "x86_64" and name == "i686" and _runs_i386())


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
    with tempfile.TemporaryDirectory(prefix="wheelcheck-") as directory:
        program = Path(directory) / "program"
        program.write_bytes(_I386)
        program.chmod(0o755)
        try:
            return process.run([program], timeout=10, check=False).returncode == os.EX_OK
        except ProcessError:
            return False
