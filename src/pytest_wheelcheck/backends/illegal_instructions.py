"""Explains illegal instructions: a machine, emulated or real, lacks an instruction that newer hardware has."""

from __future__ import annotations

import re

#: A line that the worker writes (``worker``'s handler of SIGILL): the first bytes of the instruction, and its location.
_REPORTED = re.compile(r"wheelcheck: illegal instruction ([0-9a-f]+) in (.+)")

#: Mask, value and feature of A64 instructions (Arm Architecture Reference Manual, C4.1 "A64 instruction set encoding").
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
    """Return the name of the extension that an instruction belongs to; empty if it is not known.

    :param architecture: ``aarch64`` or ``x86_64``.
    :param code: the first eight bytes of the instruction, in the order of memory.
    """
    if architecture == "aarch64":
        word = int.from_bytes(code[:4], "little")
        return next((name for mask, value, name in _A64 if word & mask == value), "")
    if architecture == "x86_64":
        # Intel's manual, volume 2, 2.3 "VEX" and 2.7 "EVEX".
        if code[:1] == b"\x62":
            return "AVX-512"
        if code[:1] in {b"\xc4", b"\xc5"}:
            return "AVX, AVX2, FMA or BMI"
        # The opcode follows the legacy prefixes and the REX prefix.
        opcode = code.lstrip(b"\x66\xf2\xf3")
        opcode = opcode[1:] if opcode[:1] and opcode[0] & 0xF0 == 0x40 else opcode
        if opcode[:2] == b"\x0f\xb8":
            return "POPCNT"
        if opcode[:3] in {b"\x0f\x38\xf0", b"\x0f\x38\xf1"}:
            return "SSE4.2 or MOVBE"
        if opcode[:2] in {b"\x0f\x38", b"\x0f\x3a"}:
            return "SSSE3 or SSE4"
    return ""


def explain(output: str, architecture: str, machine: str) -> str:
    """Explain an illegal instruction: machine, module, bytes, missing feature.

    :param output: the interpreter's output before it died.
    :param architecture: as in platform tags.
    :param machine: for the user.
    """
    lines = [f"the machine {machine} does not have an instruction that the code uses"]
    if match := _REPORTED.search(output):
        code = bytes.fromhex(match[1])
        shown = f"0x{int.from_bytes(code[:4], 'little'):08x}" if architecture == "aarch64" else code.hex(" ")
        name = feature(architecture, code)
        lines.append(f"the instruction {shown}{f', of {name},' if name else ''} is in {match[2]}")
    lines.append(
        "Cause: the code was built with -C target-cpu or -march for newer hardware, or selects it at run time without a check"
    )
    return "\n".join(lines)
