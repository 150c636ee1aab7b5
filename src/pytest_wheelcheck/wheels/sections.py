"""What a native file consists of: its sections, and the parts that strip removes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from pytest_wheelcheck.model import ContentsEntry, Section
from pytest_wheelcheck.wheels.binary import Binary
from pytest_wheelcheck.wheels.sizes import kind_of

#: Sections of a file that have an entry of their own.
MAX_SECTIONS = 8
#: Characters of a name: a malformed file can have names of any length.
_MAX_NAME = 60
#: The name of everything else in a file: smaller sections, headers, padding.
OTHER = "other"
#: The name of a symbol table that is not in a section.
SYMBOLS = "symbol table"

Sizes = tuple[tuple[str, int], ...]


def largest(sections: Iterable[tuple[str, int]], total: int) -> Sizes:
    """Return the largest sections, joined by name, then the rest of the file.

    :param total: the size of the file in bytes.
    :returns: nothing if the sections overlap, or are larger than the file.
    """
    sizes: dict[str, int] = {}
    for name, size in sections:
        short = name[:_MAX_NAME]
        sizes[short] = sizes.get(short, 0) + size
    rest = total - sum(sizes.values())
    if rest < 0 or not sizes:
        return ()
    ordered = sorted(sizes.items(), key=lambda pair: -pair[1])
    rest += sum(size for name, size in ordered[MAX_SECTIONS:])
    own = [(name, size) for name, size in ordered[:MAX_SECTIONS] if size]
    return (*own, *([(OTHER, rest)] if rest else []))


def with_sections(
    contents: Sequence[ContentsEntry], binaries: Iterable[Binary], dist_info: str
) -> tuple[ContentsEntry, ...]:
    """Return the contents of a wheel with what its native files consist of.

    :param binaries: all slices of all native files. Those of a universal file are joined.
    :param dist_info: the name of the ``.dist-info`` directory.
    """
    slices: dict[str, list[Binary]] = {}
    for binary in binaries:
        slices.setdefault(binary.path, []).append(binary)
    listed = {entry.path for entry in contents}
    others: dict[str, list[Binary]] = {}
    for path, own in slices.items():
        if path not in listed:
            others.setdefault(kind_of(path, dist_info), []).extend(own)
    found = []
    for entry in contents:
        own = slices.get(entry.path, []) if entry.path else others.get(entry.kind, [])
        pairs = [pair for binary in own for pair in binary.sections if entry.path and pair[0] != OTHER]
        found.append(
            replace(
                entry,
                sections=tuple(Section(name=name, size=size) for name, size in largest(pairs, entry.size)),
                debug_size=sum(binary.debug_size for binary in own),
                symbols_size=sum(binary.symbols_size for binary in own),
            )
        )
    return tuple(found)
