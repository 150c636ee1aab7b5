"""Hardware profiles: machines that a runtime pretends to be, in QEMU's user mode.

The table is data. A row names the nearest model of QEMU and the page size of the system that runs on the machine, and
says what that pair does not cover. QEMU raises SIGILL for an instruction that the model lacks. A page size other than
4 KiB is obeyed by QEMU before 9.0 only (its ``docs/about/deprecated.rst``), so what needs a newer QEMU cannot have one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from pytest_wheelcheck.backends.qemu import emulators
from pytest_wheelcheck.errors import UsageError
from pytest_wheelcheck.model import Machine, Platform

#: The page size of a kernel that was not configured otherwise, in bytes.
USUAL_PAGE = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """One machine.

    :param name: as in ``--wheel-machine`` and in node ids.
    :param architecture: as in platform tags; empty for any.
    :param cpu: QEMU's name of the nearest model; empty for the default.
    :param page: page size in bytes.
    :param since: the first QEMU that has the model.
    :param hardware: what it stands for.
    :param uncovered: what of it this emulation does not cover, or covers too generously.
    :param impossible: why no QEMU can do it; empty where one can.
    :param source: where the facts come from.
    """

    name: str
    architecture: str = ""
    cpu: str = ""
    page: int = USUAL_PAGE
    since: tuple[int, int] = (7, 0)
    hardware: str = ""
    uncovered: str = ""
    impossible: str = ""
    source: str = ""

    @property
    def machine(self) -> Machine:
        """The value that stands in a target."""
        return Machine(name=self.name)

    def accepts(self, version: tuple[int, int]) -> bool:
        """Tell whether a version of QEMU can be this machine."""
        return version >= self.since and (self.page == USUAL_PAGE or version < emulators.PAGES_BEFORE)

    def fits(self, platform: Platform) -> bool:
        """See :class:`pytest_wheelcheck.backends.base.MachineProfile`."""
        return platform.is_linux and self.architecture in {"", platform.architecture}

    @property
    def flags(self) -> tuple[str, ...]:
        """QEMU's options for it."""
        return (
            *(("-cpu", self.cpu) if self.cpu else ()),
            *(("-p", str(self.page)) if self.page != USUAL_PAGE else ()),
        )

    @property
    def needs(self) -> str:
        """What it asks of QEMU, for people."""
        parts = []
        if self.cpu:
            parts.append(f"the model {self.cpu.partition(',')[0]} (from {'.'.join(map(str, self.since))} on)")
        if self.page != USUAL_PAGE:
            before = ".".join(map(str, emulators.PAGES_BEFORE))
            parts.append(f"pages of {self.page // 1024} KiB (before {before})")
        return f"with {' and '.join(parts)}" if parts else ""


#: The machine at hand, without a profile.
HOST = Profile(name="host", hardware="the processor and kernel at hand, or the most that QEMU has")

_RASPBERRY = 'Raspberry Pi documentation, "Processors"'
_GRAVITON = 'AWS, "Getting started with Graviton", table of processors'
_LEVELS = 'x86-64 psABI, 3.1.1 "Processor Architecture", table of micro-architecture levels'

#: All profiles by name.
PROFILES = {
    each.name: each
    for each in (
        Profile(
            name="rpi3",
            architecture="aarch64",
            cpu="cortex-a53",
            hardware="Raspberry Pi 3 and Zero 2 W: Cortex-A53, Armv8.0, no LSE atomics, 4 KiB pages",
            uncovered="the model has the cryptography extension, which the board lacks",
            source=f"{_RASPBERRY}: BCM2837, RP3A0",
        ),
        Profile(
            name="rpi4",
            architecture="aarch64",
            cpu="cortex-a72",
            hardware="Raspberry Pi 4 and 400: Cortex-A72, Armv8.0, no LSE atomics, 4 KiB pages",
            uncovered="the model has the cryptography extension, which the board lacks",
            source=f"{_RASPBERRY}: BCM2711",
        ),
        Profile(
            name="rpi5",
            architecture="aarch64",
            cpu="cortex-a76",
            page=16384,
            hardware="Raspberry Pi 5 and 500: Cortex-A76, Armv8.2 with LSE and dot product, 16 KiB pages by default",
            uncovered="system calls with addresses that are multiples of 4 KiB only are let through",
            source=f"{_RASPBERRY}: BCM2712; its «config.txt», kernel: kernel_2712.img has 16 KiB pages",
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
            uncovered="systems with 64 KiB pages, which only QEMU 8.1 and 8.2 have together with the model",
            source=f"{_GRAVITON}; QEMU's change log for 8.1",
        ),
        Profile(
            name="graviton4",
            architecture="aarch64",
            cpu="neoverse-n2",
            since=(8, 2),
            hardware="AWS Graviton4: Neoverse V2, Armv9.0 with SVE2 (128 bits)",
            uncovered="no QEMU has the Neoverse V2; the nearest model, N2, is of the same architecture version; systems "
            "with 64 KiB pages, which only QEMU 8.2 has together with the model",
            source=f"{_GRAVITON}; QEMU's change log for 8.2",
        ),
        Profile(
            name="x86-64-v1",
            architecture="x86_64",
            cpu="qemu64,-pni,-cx16,-lahf-lm,-popcnt,-abm,-sse4a",
            hardware="the baseline: SSE2, nothing later",
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

    :raises UsageError: a name is not known, or a size is none.
    """
    found: dict[str, Profile] = {}
    for text in texts:
        for words in _grouped(text):
            profile = _generic(words) if "=" in words[0] else PROFILES.get(words[0], HOST)
            if profile is HOST and words[0] != "host":
                raise UsageError(
                    f"--wheel-machine {words[0]}: no such machine is known",
                    fix=f"give host, {', '.join(PROFILES)}, or cpu=MODEL,page=SIZE with QEMU's name of the model",
                )
            found.setdefault(profile.name, profile)
    return tuple(found.values())


def _grouped(text: str) -> list[list[str]]:
    groups: list[list[str]] = []
    for word in filter(None, (part.strip() for part in text.split(","))):
        name = word.partition("=")[0]
        if "=" in word and groups and "=" in groups[-1][0] and not any(w.startswith(f"{name}=") for w in groups[-1]):
            groups[-1].append(word)
        else:
            groups.append([word])
    return groups


def _generic(words: list[str]) -> Profile:
    given = dict(word.partition("=")[::2] for word in words)
    match = _SIZE.fullmatch(given.get("page", "4k"))
    page = int(match[1]) * (1024 if match[2] else 1) if match else 0
    if (
        set(given) - {"cpu", "page"}
        or page < USUAL_PAGE
        or page & (page - 1)
        or not re.fullmatch(r"[\w.+-]*", given.get("cpu", ""))
    ):
        raise UsageError(
            f"--wheel-machine {','.join(words)}: not of the form cpu=MODEL,page=SIZE",
            fix="SIZE is a power of two from 4096 on, such as 16k or 65536; MODEL is one of qemu-ARCHITECTURE -cpu help",
        )
    cpu = given.get("cpu", "")
    parts = [*([cpu] if cpu else []), *([f"{page // 1024}k"] if page != USUAL_PAGE or not cpu else [])]
    since = max((each.since for each in PROFILES.values() if each.cpu == cpu), default=HOST.since)
    return Profile(name="-".join(parts), cpu=cpu, page=page, since=since, hardware="as given on the command line")


# --- illegal instructions ----------------------------------------------------------------------------------------------

_REPORTED = re.compile(r"wheelcheck: illegal instruction ([0-9a-f]+) in (.+)")

#: Mask, value and feature of A64 instructions (Arm Architecture Reference Manual, C4.1 «A64 instruction set encoding»).
_A64 = (
    (0x1E000000, 0x04000000, "SVE"),
    (0x3FFFFC00, 0x38BFC000, "RCpc loads (Armv8.3)"),
    (0x3B200C00, 0x38200000, "LSE atomics (Armv8.1)"),
    (0x3FA07C00, 0x08A07C00, "LSE atomics (Armv8.1)"),
    (0xBFA0FC00, 0x0820FC00, "LSE atomics (Armv8.1)"),
    (0x9FE0FC00, 0x0E809400, "dot product (Armv8.2)"),
    (0x9F00F400, 0x0F00E000, "dot product (Armv8.2)"),
    (0xBFE0FC00, 0x0E809C00, "matrix multiplication of integers (i8mm)"),
    (0xBFE0FC00, 0x0E80A400, "matrix multiplication of integers (i8mm)"),
    (0xFFFFCC00, 0x4E284800, "AES"),
)


def feature(architecture: str, code: bytes) -> str:
    """Name the extension that an instruction belongs to; an empty string where it cannot be told.

    :param architecture: ``aarch64`` or ``x86_64``.
    :param code: the instruction's first eight bytes, as they lie in memory.
    """
    if architecture == "aarch64":
        word = int.from_bytes(code[:4], "little")
        return next((name for mask, value, name in _A64 if word & mask == value), "")
    if architecture == "x86_64":
        # Intel's manual, volume 2, 2.3 «VEX» and 2.7 «EVEX»; legacy prefixes come first.
        rest = code.lstrip(b"\x66\xf2\xf3")
        if code[:1] == b"\x62":
            return "AVX-512"
        if code[:1] in {b"\xc4", b"\xc5"}:
            return "AVX, AVX2, FMA or BMI"
        rest = rest[1:] if rest[:1] and rest[0] & 0xF0 == 0x40 else rest
        if rest[:2] == b"\x0f\xb8":
            return "POPCNT"
        if rest[:3] in {b"\x0f\x38\xf0", b"\x0f\x38\xf1"}:
            return "SSE4.2 or MOVBE"
        if rest[:2] in {b"\x0f\x38", b"\x0f\x3a"}:
            return "SSSE3 or SSE4"
    return ""


def explain(output: str, architecture: str, machine: Machine) -> str:
    """Explain an illegal instruction: machine, module, bytes, missing feature. Empty on the host itself.

    :param output: the interpreter's output before it died.
    """
    if machine.name == HOST.name:
        return ""
    profile = PROFILES.get(machine.name)
    hardware = f" ({profile.hardware})" if profile else ""
    lines = [f"the machine {machine.name}{hardware} does not have an instruction that the code uses"]
    if match := _REPORTED.search(output):
        code = bytes.fromhex(match[1])
        shown = f"0x{int.from_bytes(code[:4], 'little'):08x}" if architecture == "aarch64" else code.hex(" ")
        name = feature(architecture, code)
        lines.append(f"the instruction {shown}{f', of {name},' if name else ''} stands in {match[2]}")
    lines.append(
        "Cause: built with -C target-cpu or -march for newer hardware, or chosen at run time without a test for it"
    )
    return "\n".join(lines)
