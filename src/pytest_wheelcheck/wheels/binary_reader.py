"""Reads native files of every format.

The readers use pyelftools, macholib and pefile, which a malformed file can crash or keep busy without end. So nothing
here runs in the process of a test run: :mod:`pytest_wheelcheck.checks.parser_process` calls it, under limits. Each library
is imported when the first file of its format is read.
"""

from __future__ import annotations

from pytest_wheelcheck.wheels.binary import Binary, format_of


def read_binary(path: str, data: bytes) -> tuple[Binary, ...]:
    """Read every slice of a native file. Any other file has no slices.

    :param path: its name in the container.
    :raises Exception: whatever a library raises on a malformed file.
    """
    kind = format_of(data[:8])
    if kind == "ELF":
        from pytest_wheelcheck.wheels.elf import read_elf

        return (read_elf(path, data),)
    if kind == "Mach-O":
        from pytest_wheelcheck.wheels.macho import read_macho

        return read_macho(path, data)
    if kind == "PE":
        from pytest_wheelcheck.wheels.pe import read_pe

        return (read_pe(path, data),)
    return ()


def exports_of_binary(data: bytes, wanted: frozenset[str]) -> set[str]:
    """Return the wanted symbols that a native file exports; none for PE, whose imports name their DLL.

    :raises Exception: as :func:`read_binary`.
    """
    kind = format_of(data[:8])
    if kind == "ELF":
        from pytest_wheelcheck.wheels.elf import exports_of_elf

        return exports_of_elf(data, wanted)
    if kind == "Mach-O":
        from pytest_wheelcheck.wheels.macho import exports_of_macho

        return exports_of_macho(data, wanted)
    return set()
