"""Hardware profiles: machines that a runtime pretends to be, in QEMU's user mode.

A profile names the nearest CPU model of QEMU and the page size of the system that runs on the machine, and says what these
two do not cover. QEMU raises SIGILL for an instruction that the model lacks. Only QEMU before 9.0 obeys a page size other
than 4 KiB (its ``docs/about/deprecated.rst``), so a profile that needs a newer QEMU cannot have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_wheelcheck.backends.base import HOST_MACHINE
from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Platform

#: The page size that QEMU emulates by default, in bytes.
DEFAULT_PAGE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """A machine.

    :param name: as in ``--wheel-machine`` and in node ids.
    :param architecture: as in platform tags; empty for any.
    :param cpu: QEMU's name of the nearest CPU model; empty for its default.
    :param page: page size in bytes.
    :param since: the first QEMU that has the model: major, minor.
    :param hardware: what the machine is, for reports.
    :param uncovered: the differences between the machine and its emulation.
    :param impossible: why no QEMU can emulate it; empty if one can.
    :param source: the source of these facts.
    """

    name: str
    architecture: str = ""
    cpu: str = ""
    page: int = DEFAULT_PAGE
    since: tuple[int, int] = (7, 0)
    hardware: str = ""
    uncovered: str = ""
    impossible: str = ""
    source: str = ""

    def accepts(self, version: tuple[int, int]) -> bool:
        """Return whether a version of QEMU, (major, minor), can emulate this machine."""
        return version >= self.since and (self.page == DEFAULT_PAGE or version < emulators.PAGE_SIZE_BEFORE)

    def fits(self, platform: Platform) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.MachineProfile`."""
        return platform.is_linux and self.architecture in {"", platform.architecture}

    @property
    def flags(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        return (
            *(("-cpu", self.cpu) if self.cpu else ()),
            *(("-p", str(self.page)) if self.page != DEFAULT_PAGE else ()),
        )

    @property
    def needs(self) -> str:
        """The QEMU that it needs, for messages, such as ``with the model cortex-a72 (7.0 or later)``."""
        parts = []
        if self.cpu:
            parts.append(f"the model {self.cpu.partition(',')[0]} ({'.'.join(map(str, self.since))} or later)")
        if self.page != DEFAULT_PAGE:
            before = ".".join(map(str, emulators.PAGE_SIZE_BEFORE))
            parts.append(f"pages of {self.page // 1024} KiB (before {before})")
        return f"with {' and '.join(parts)}" if parts else ""


#: The host's own hardware, without a profile.
HOST = Profile(
    name=HOST_MACHINE, hardware="the host's processor and kernel; for another architecture, everything that QEMU has"
)

_RASPBERRY = 'Raspberry Pi documentation, "Processors"'
_GRAVITON = 'AWS, "Getting started with Graviton", table of processors'
_LEVELS = 'x86-64 psABI, 3.1.1 "Processor Architecture", table of micro-architecture levels'

#: All profiles by name.
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            name="rpi3",
            architecture="aarch64",
            cpu="cortex-a53",
            hardware="Raspberry Pi 3 and Zero 2 W: Cortex-A53, Armv8.0, no LSE atomics, 4 KiB pages",
            uncovered="the model has the cryptography extension, which the hardware lacks",
            source=f"{_RASPBERRY}: BCM2837, RP3A0",
        ),
        Profile(
            name="rpi4",
            architecture="aarch64",
            cpu="cortex-a72",
            hardware="Raspberry Pi 4 and 400: Cortex-A72, Armv8.0, no LSE atomics, 4 KiB pages",
            uncovered="the model has the cryptography extension, which the hardware lacks",
            source=f"{_RASPBERRY}: BCM2711",
        ),
        Profile(
            name="rpi5",
            architecture="aarch64",
            cpu="cortex-a76",
            page=16384,
            hardware="Raspberry Pi 5 and 500: Cortex-A76, Armv8.2 with LSE and dot product, 16 KiB pages by default",
            uncovered="system calls accept addresses that are only multiples of 4 KiB",
            source=f'{_RASPBERRY}: BCM2712; "config.txt", kernel: kernel_2712.img has 16 KiB pages',
        ),
        Profile(
            name="graviton2",
            architecture="aarch64",
            cpu="neoverse-n1",
            hardware="AWS Graviton2: Neoverse N1, Armv8.2 with LSE and dot product, no SVE",
            uncovered="systems with 64 KiB pages: cpu=neoverse-n1,page=64k",
            source=_GRAVITON,
        ),
        Profile(
            name="graviton3",
            architecture="aarch64",
            cpu="neoverse-v1",
            since=(8, 1),
            hardware="AWS Graviton3: Neoverse V1, Armv8.4 with SVE (256 bits), bf16 and i8mm",
            uncovered="systems with 64 KiB pages: only QEMU 8.1 and 8.2 have both these and the model",
            source=f"{_GRAVITON}; QEMU's change log for 8.1",
        ),
        Profile(
            name="graviton4",
            architecture="aarch64",
            cpu="neoverse-n2",
            since=(8, 2),
            hardware="AWS Graviton4: Neoverse V2, Armv9.0 with SVE2 (128 bits)",
            uncovered="no QEMU has the Neoverse V2; the nearest model, N2, has the same architecture version; systems "
            "with 64 KiB pages: only QEMU 8.2 has both these and the model",
            source=f"{_GRAVITON}; QEMU's change log for 8.2",
        ),
        Profile(
            name="x86-64-v1",
            architecture="x86_64",
            cpu="qemu64,-pni,-cx16,-lahf-lm,-popcnt,-abm,-sse4a",
            hardware="the baseline: SSE2, nothing newer",
            source=_LEVELS,
        ),
        Profile(
            name="x86-64-v2",
            architecture="x86_64",
            cpu="Nehalem",
            hardware="up to SSE4.2 and POPCNT; no AVX",
            source=_LEVELS,
        ),
        Profile(
            name="x86-64-v3",
            architecture="x86_64",
            cpu="Haswell-noTSX",
            since=(7, 2),
            hardware="AVX2, BMI, FMA; no AVX-512",
            source=f"{_LEVELS}; QEMU's change log for 7.2 (AVX, AVX2)",
        ),
        Profile(
            name="x86-64-v4",
            architecture="x86_64",
            hardware="AVX-512",
            impossible="QEMU does not emulate AVX-512",
            source=_LEVELS,
        ),
    )
}

_SIZE = re.compile(r"(\d+)([kK](?:i?[bB])?)?")


def parse(texts: Iterable[str]) -> tuple[Profile, ...]:
    """Read the values of ``--wheel-machine``: names and ``cpu=MODEL,page=SIZE``, separated by commas.

    :raises UsageError: a name is unknown, or a size is invalid.
    """
    profiles: dict[str, Profile] = {}
    for text in texts:
        for parts in _grouped(text):
            profile = _generic(parts) if "=" in parts[0] else PROFILES.get(parts[0], HOST)
            if profile is HOST and parts[0] != HOST.name:
                raise UsageError(
                    f"--wheel-machine {parts[0]}: unknown machine",
                    fix=f"use {HOST.name}, {', '.join(PROFILES)}, or cpu=MODEL,page=SIZE with QEMU's name of the CPU model",
                )
            profiles.setdefault(profile.name, profile)
    return tuple(profiles.values())


def _grouped(text: str) -> list[list[str]]:
    """Split a value at its commas; consecutive assignments to different keys form one machine."""
    groups: list[list[str]] = []
    for part in filter(None, (part.strip() for part in text.split(","))):
        key = part.partition("=")[0]
        if "=" in part and groups and "=" in groups[-1][0] and not any(p.startswith(f"{key}=") for p in groups[-1]):
            groups[-1].append(part)
        else:
            groups.append([part])
    return groups


def _generic(assignments: list[str]) -> Profile:
    """Return the profile of a machine without a name."""
    given = dict(assignment.partition("=")[::2] for assignment in assignments)
    cpu = given.get("cpu", "")
    match = _SIZE.fullmatch(given.get("page", "4k"))
    page = int(match[1]) * (1024 if match[2] else 1) if match else 0
    is_valid_page = page >= DEFAULT_PAGE and not page & (page - 1)
    if set(given) - {"cpu", "page"} or not is_valid_page or not re.fullmatch(r"[\w.+-]*", cpu):
        raise UsageError(
            f"--wheel-machine {','.join(assignments)}: not of the form cpu=MODEL,page=SIZE",
            fix="SIZE is a power of two, 4096 or more, such as 16k or 65536; `qemu-ARCHITECTURE -cpu help` lists the models",
        )
    parts = [*([cpu] if cpu else []), *([f"{page // 1024}k"] if page != DEFAULT_PAGE or not cpu else [])]
    since = max((profile.since for profile in PROFILES.values() if profile.cpu == cpu), default=HOST.since)
    return Profile(name="-".join(parts), cpu=cpu, page=page, since=since, hardware="as given on the command line")
