"""WHL7xx: whether the loader accepts the files on real machines and hardened kernels."""

from __future__ import annotations

from collections.abc import Iterator

from pytest_wheelcheck.checks.contents import Contents

#: The largest page size of kernels for these machines, in bytes. Debian, Ubuntu and RHEL ship 64 KiB kernels for
#: aarch64, Raspberry Pi OS has 16 KiB on the Pi 5; ppc64le distributions use 64 KiB throughout.
_PAGE_SIZES = {"aarch64": 0x10000, "ppc64le": 0x10000}


def page_alignment(contents: Contents) -> Iterator[str]:
    """Find segments aligned for smaller pages than the machine's kernels use."""
    for binary in contents.readable_binaries("ELF"):
        page_size = _PAGE_SIZES.get(binary.machine, 0)
        if binary.kind != "other" and 0 < binary.alignment < page_size:
            yield (
                f"{binary.path} is aligned to {binary.alignment >> 10} KiB; pages on {binary.machine} have up to "
                f"{page_size >> 10} KiB"
            )


def executable_stack(contents: Contents) -> Iterator[str]:
    """Find libraries that request an executable stack."""
    for binary in contents.readable_binaries("ELF"):
        if binary.executable_stack and binary.kind == "library":
            yield f"{binary.path} requests an executable stack"


def text_relocations(contents: Contents) -> Iterator[str]:
    """Find files whose code the loader must change."""
    for binary in contents.readable_binaries("ELF"):
        if binary.text_relocations:
            yield f"{binary.path} has relocations in its code"


def static_tls(contents: Contents) -> Iterator[str]:
    """Find modules and libraries that need space in the TLS block that is allocated at the start of the process."""
    for binary in contents.readable_binaries("ELF"):
        if binary.static_tls and binary.kind == "library":
            yield f"{binary.path} needs space in the static TLS block"
