"""Native files for the tests, written field by field: ELF, Mach-O and PE, for any machine, with any one defect.

They contain no code. The parts that a loader or a checker reads (headers, dynamic section, load commands, import and
export tables) are real.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

ELF_MACHINES = {
    "x86_64": (62, 64, "<"),
    "i686": (3, 32, "<"),
    "aarch64": (183, 64, "<"),
    "armv7l": (40, 32, "<"),
    "ppc64le": (21, 64, "<"),
    "s390x": (22, 64, ">"),
    "riscv64": (243, 64, "<"),
}
#: cputype and cpusubtype (all models of the processor).
MACHO_MACHINES = {"x86_64": (0x01000007, 3), "arm64": (0x0100000C, 0), "i386": (7, 3)}
PE_MACHINES = {"amd64": 0x8664, "x86": 0x14C, "arm64": 0xAA64}


class _Strings:
    """A string table."""

    def __init__(self) -> None:
        self.data = b"\0"

    def add(self, text: str) -> int:
        place = len(self.data)
        self.data += text.encode() + b"\0"
        return place


def make_elf(  # noqa: PLR0915 - one file, written from its first byte to its last
    *,
    machine: str = "x86_64",
    exports: Sequence[str] = (),
    imports: Sequence[str] = (),
    needed: Sequence[str] = ("libc.so.6",),
    versions: Sequence[tuple[str, str]] = (("libc.so.6", "GLIBC_2.2.5"),),
    soname: str = "",
    runpath: str = "",
    rpath: str = "",
    alignment: int = 0x10000,
    stack: int | None = 6,
    flags: int = 0,
    text_relocations: bool = False,
    debug: bool = False,
    executable: bool = False,
    payload: bytes = b"",
) -> bytes:
    """A shared object, or with *executable* a program. *stack* is PT_GNU_STACK's flags, ``None`` for no such header."""
    number, bits, order = ELF_MACHINES[machine]
    wide = bits == 64
    word = "Q" if wide else "I"
    strings = _Strings()
    symbols = [(0, 0, 0, 0)]
    symbols += [(strings.add(name), 0x10, 0, 0) for name in imports]
    symbols += [(strings.add(name), 0x12, 7, 0x10) for name in exports]
    dynsym = b"".join(
        struct.pack(f"{order}IBBHQQ", name, info, 0, section, value, 0)
        if wide
        else struct.pack(f"{order}IIIBBH", name, value, 0, info, 0, section)
        for name, info, section, value in symbols
    )
    # One bucket whose chain holds every symbol.
    chain = [*range(2, len(symbols)), 0] if len(symbols) > 1 else []
    table = struct.pack(f"{order}{4 + len(chain)}I", 1, len(symbols), int(len(symbols) > 1), 0, *chain)
    names = [strings.add(name) for name in needed]
    libraries: dict[str, list[str]] = {}
    for library, version in versions:
        libraries.setdefault(library, []).append(version)
    verneed = b""
    for index, (library, wanted) in enumerate(libraries.items()):
        aux = b""
        for position, version in enumerate(wanted):
            following = 16 if position + 1 < len(wanted) else 0
            aux += struct.pack(f"{order}IHHII", 0, 0, 2, strings.add(version), following)
        following = 16 + len(aux) if index + 1 < len(libraries) else 0
        verneed += struct.pack(f"{order}HHIII", 1, len(wanted), strings.add(library), 16, following) + aux
    tags: list[tuple[int, int]] = [(1, name) for name in names]
    tags += [(14, strings.add(soname))] if soname else []
    tags += [(15, strings.add(rpath))] if rpath else []
    tags += [(29, strings.add(runpath))] if runpath else []
    tags += [(22, 0)] if text_relocations else []
    tags += [(30, flags)] if flags else []
    header_size, segment_size, section_size = (64, 56, 64) if wide else (52, 32, 40)
    interpreter = b"/lib/ld.so\0" if executable else b""
    segments = 2 + (stack is not None) + bool(interpreter)
    place = header_size + segments * segment_size
    blobs = {}
    body = b""

    def put(name: str, data: bytes) -> None:
        nonlocal body
        body += b"\0" * (-(place + len(body)) % 8)
        blobs[name] = (place + len(body), len(data))
        body += data

    put(".interp", interpreter)
    put(".dynsym", dynsym)
    put(".dynstr", strings.data)
    put(".hash", table)
    put(".gnu.version_r", verneed)
    tags += [(5, blobs[".dynstr"][0]), (10, len(strings.data)), (6, blobs[".dynsym"][0]), (11, 24 if wide else 16)]
    tags += [(4, blobs[".hash"][0])]
    tags += [(0x6FFFFFFE, blobs[".gnu.version_r"][0]), (0x6FFFFFFF, len(libraries))] if libraries else []
    tags += [(0, 0)]
    put(".dynamic", b"".join(struct.pack(f"{order}2{word}", *tag) for tag in tags))
    put(".text", payload or b"\0")
    if debug:
        put(".debug_info", b"\0" * 8)
    titles = _Strings()
    kinds = {".dynsym": 11, ".dynstr": 3, ".hash": 5, ".gnu.version_r": 0x6FFFFFFE, ".dynamic": 6}
    names_of = [name for name in kinds if name != ".gnu.version_r" or libraries]
    names_of += [".text", *([".debug_info"] if debug else [])]
    headers = [(0,) * 10]
    for name in names_of:
        offset, size = blobs[name]
        link = {".dynsym": 2, ".hash": 1, ".gnu.version_r": 2, ".dynamic": 2}.get(name, 0)
        info = {".dynsym": 1, ".gnu.version_r": len(libraries)}.get(name, 0)
        entry = {".dynsym": 24 if wide else 16, ".dynamic": 16 if wide else 8, ".hash": 4}.get(name, 0)
        address = 0 if name == ".debug_info" else offset
        kind = kinds.get(name, 1)
        headers.append((titles.add(name), kind, 2, address, offset, size, link, info, 8, entry))
    title = titles.add(".shstrtab")
    put(".shstrtab", titles.data)
    headers.append((title, 3, 0, 0, *blobs[".shstrtab"], 0, 0, 1, 0))
    form = f"{order}2I4{word}2I2{word}"
    tail = b"".join(struct.pack(form, *header) for header in headers)
    body += b"\0" * (-(place + len(body)) % 8)
    section_offset = place + len(body)
    total = section_offset + len(tail)

    def segment(kind: int, access: int, offset: int, size: int, align: int) -> bytes:
        if wide:
            return struct.pack(f"{order}2I6Q", kind, access, offset, offset, offset, size, size, align)
        return struct.pack(f"{order}8I", kind, offset, offset, offset, size, size, access, align)

    program = segment(1, 5, 0, total, alignment) + segment(2, 6, *blobs[".dynamic"], 8)
    program += b"" if stack is None else segment(0x6474E551, stack, 0, 0, 16)
    program += segment(3, 4, *blobs[".interp"], 1) if interpreter else b""
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2, 1]) + b"\0" * 9
    header = ident + struct.pack(
        f"{order}2HI3{word}I6H",
        3,
        number,
        1,
        0,
        header_size,
        section_offset,
        {"ppc64le": 2, "armv7l": 0x5000400}.get(machine, 0),
        header_size,
        segment_size,
        segments,
        section_size,
        len(headers),
        len(headers) - 1,
    )
    return header + program + body + tail


def make_macho(
    *,
    machine: str = "arm64",
    exports: Sequence[str] = (),
    anywhere: Sequence[str] = (),
    bound: Sequence[tuple[str, int]] = (),
    needed: Sequence[str] = ("/usr/lib/libSystem.B.dylib",),
    weak: Sequence[str] = (),
    name: str = "",
    rpaths: Sequence[str] = (),
    minimum: tuple[int, int] = (11, 0),
    signed: bool = True,
    old_style: bool = False,
    kind: int = 8,
    trie: int = 0,
) -> bytes:
    """One slice: a bundle, or with *kind* 6 a library, with 2 a program. The underscore of exports is added.

    *anywhere* are symbols that are looked up in every library, *bound* those that are looked up in one, by its ordinal:
    from 1, in the order of the load commands. *trie* is the load command of a trie with the exports, which are then not in the
    symbol table: it was stripped.
    """
    wide = machine != "i386"

    def text_command(number: int, text: str, *numbers: int) -> bytes:
        fixed = struct.pack(f"<{len(numbers)}I", *numbers)
        offset = 12 + len(fixed)
        data = text.encode() + b"\0"
        data += b"\0" * (-(offset + len(data)) % 8)
        return struct.pack("<3I", number, offset + len(data), offset) + fixed + data

    commands = [text_command(0xD, name, 0, 0, 0)] if name else []
    commands += [text_command(0xC, library, 0, 0, 0) for library in needed]
    commands += [text_command(0x80000018, library, 0, 0, 0) for library in weak]
    commands += [text_command(0x8000001C, path) for path in rpaths]
    version = minimum[0] << 16 | minimum[1] << 8
    if old_style:
        commands.append(struct.pack("<4I", 0x24, 16, version, version))
    else:
        commands.append(struct.pack("<6I", 0x32, 24, 1, version, version, 0))
    commands += [struct.pack("<4I", 0x1D, 16, 0, 0)] if signed else []
    strings = b"\0"
    symbols = b""
    for export in () if trie else exports:
        symbols += struct.pack("<I2BHQ" if wide else "<I2BHI", len(strings), 0x0F, 1, 0, 0x10)
        strings += b"_" + export.encode() + b"\0"
    undefined = [*((name_, 0xFE) for name_ in anywhere), *bound]
    for name_, ordinal in undefined:
        symbols += struct.pack("<I2BHQ" if wide else "<I2BHI", len(strings), 0x01, 0, ordinal << 8, 0)
        strings += b"_" + name_.encode() + b"\0"
    size = (32 if wide else 28) + sum(map(len, commands)) + 24
    body = b""
    if trie:
        body = make_trie(exports)
        words = 4 if trie == EXPORTS_TRIE else 12
        size += 4 * words
        place = size + len(symbols) + len(strings)
        commands.append(struct.pack(f"<{words}I", trie, 4 * words, *[0] * (words - 4), place, len(body)))
    count = len(undefined) + (0 if trie else len(exports))
    commands.append(struct.pack("<6I", 2, 24, size, count, size + len(symbols), len(strings)))
    header = struct.pack(
        "<7I", 0xFEEDFACF if wide else 0xFEEDFACE, *MACHO_MACHINES[machine], kind, len(commands), size, 0x85
    )
    header += struct.pack("<I", 0) if wide else b""
    header = header[:20] + struct.pack("<I", sum(map(len, commands))) + header[24:]
    return header + b"".join(commands) + symbols + strings + body


#: Load commands with a trie of exports: LC_DYLD_INFO_ONLY, and LC_DYLD_EXPORTS_TRIE of newer linkers.
DYLD_INFO, EXPORTS_TRIE = 0x80000022, 0x80000033


def make_trie(names: Sequence[str]) -> bytes:
    """The trie of exports: a common node for the underscore, and one for each name."""
    leaf = b"\x02\x00\x10\x00"
    root = b"\x00\x01_\x00\x05"
    parts = [name.encode() + b"\0" for name in names]
    # Offsets of two bytes, so that the length is known before.
    start = len(root) + 2 + sum(len(part) + 2 for part in parts)
    places = [start + index * len(leaf) for index in range(len(names))]
    inner = b"".join(part + bytes([place & 0x7F | 0x80, place >> 7]) for part, place in zip(parts, places, strict=True))
    return root + b"\x00" + bytes([len(names)]) + inner + leaf * len(names)


def make_fat(slices: dict[str, bytes]) -> bytes:
    """A universal file of several slices, by machine."""
    head = struct.pack(">2I", 0xCAFEBABE, len(slices))
    place = 4096
    body = b""
    for machine, data in slices.items():
        head += struct.pack(">5I", *MACHO_MACHINES[machine], place + len(body), len(data), 3)
        body += data + b"\0" * (-len(data) % 16)
    return head.ljust(place, b"\0") + body


def make_pe(
    *,
    machine: str = "amd64",
    exports: Sequence[str] = (),
    needed: Sequence[str] = ("KERNEL32.dll", "python311.dll"),
    library: bool = True,
) -> bytes:
    """A DLL, or a program, with one section for the import and export tables."""
    wide = machine != "x86"
    base = 0x1000
    word = "Q" if wide else "I"
    data = bytearray()

    def put(more: bytes) -> int:
        place = base + len(data)
        data.extend(more + b"\0" * (-len(more) % 8))
        return place

    imports = b""
    for dll in needed:
        function = put(struct.pack("<H", 0) + b"Function\0")
        thunks = put(struct.pack(f"<2{word}", function, 0))
        imports += struct.pack("<5I", thunks, 0, 0, put(dll.encode() + b"\0"), thunks)
    import_table = put(imports + b"\0" * 20) if needed else 0
    export_table = export_size = 0
    if exports:
        names = sorted(exports)
        pointers = put(b"".join(struct.pack("<I", put(name.encode() + b"\0")) for name in names))
        addresses = put(struct.pack(f"<{len(names)}I", *[base] * len(names)))
        ordinals = put(struct.pack(f"<{len(names)}H", *range(len(names))))
        title = put(b"module.pyd\0")
        export_size = 40
        export_table = put(
            struct.pack("<2I2H7I", 0, 0, 0, 0, title, 1, len(names), len(names), addresses, pointers, ordinals)
        )
    optional = struct.pack("<H2B5I", 0x20B if wide else 0x10B, 14, 0, 0, len(data), 0, 0, base)
    optional += struct.pack("<Q", 0x180000000) if wide else struct.pack("<2I", base, 0x10000000)
    optional += struct.pack("<2I6H4I2H", 0x1000, 0x200, 6, 0, 0, 0, 6, 0, 0, 0x3000, 0x200, 0, 2, 0)
    optional += struct.pack(f"<4{word}2I", 0x100000, 0x1000, 0x100000, 0x1000, 0, 16)
    directories = [(export_table, export_size), (import_table, len(imports) + 20 if needed else 0)]
    optional += b"".join(struct.pack("<2I", *pair) for pair in [*directories, *[(0, 0)] * 14])
    characteristics = 0x2022 if library else 0x0022
    coff = struct.pack("<2H3I2H", PE_MACHINES[machine], 1, 0, 0, 0, len(optional), characteristics)
    raw = bytes(data) + b"\0" * (-len(data) % 0x200)
    section = b".rdata".ljust(8, b"\0") + struct.pack(
        "<6I2HI", len(data), base, len(raw), 0x200, 0, 0, 0, 0, 0x40000040
    )
    head = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40) + b"PE\0\0" + coff + optional + section
    return head.ljust(0x200, b"\0") + raw
