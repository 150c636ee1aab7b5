"""WHL7xx: whether the loader of real machines and hardened kernels takes the files."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_wheelcheck.checks.base import Contents
from pytest_wheelcheck.checks.extensions import native

#: Pages that kernels for these machines have, at their largest, in bytes. Debian, Ubuntu and RHEL ship such kernels for
#: aarch64 (64 KiB), Raspberry Pi OS has 16 KiB on the Pi 5; ppc64le distributions use 64 KiB throughout.
_PAGES = {"aarch64": 0x10000, "ppc64le": 0x10000}


def page_alignment(contents: Contents) -> Iterator[str]:
    """Segments aligned for smaller pages than the machine's kernels use."""
    for binary in native(contents.binaries, "ELF"):
        page = _PAGES.get(binary.machine)
        if page and binary.kind != "other" and 0 < binary.alignment < page:
            yield f"{binary.path} is aligned to {binary.alignment >> 10} KiB; {binary.machine} has pages of 64 KiB"


def executable_stack(contents: Contents) -> Iterator[str]:
    """Files that ask for a stack whose content can be run."""
    for binary in native(contents.binaries, "ELF"):
        if binary.executable_stack and binary.kind == "library":
            yield f"{binary.path} asks for an executable stack"


def text_relocations(contents: Contents) -> Iterator[str]:
    """Files whose code the loader must change."""
    for binary in native(contents.binaries, "ELF"):
        if binary.text_relocations:
            yield f"{binary.path} has relocations in its code"


def static_tls(contents: Contents) -> Iterator[str]:
    """Modules and libraries that need room in a block that is made when the process starts."""
    for binary in native(contents.binaries, "ELF"):
        if binary.static_tls and binary.kind == "library":
            yield f"{binary.path} needs room in the static TLS block"
