"""How the loader of Linux finds the libraries in a wheel.

Source: glibc, ``elf/dl-load.c``, ``_dl_map_object``; musl, ``ldso/dynlink.c``, ``load_library``.
"""

from __future__ import annotations

import posixpath
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from pytest_wheelcheck.wheels.binary import Binary

#: The directory of the file that has the search path.
ORIGIN = re.compile(r"\$(?:ORIGIN|\{ORIGIN\})(?=/|$)")


def needs_met_by_loading(files: Sequence[Binary], paths: Mapping[str, str], libc: str) -> set[tuple[str, str]]:
    """Return the needs of ELF files that the loader meets with files of the wheel, as pairs of file and library.

    A file of the wheel may have no search path of its own: the loader also uses the DT_RPATH of the files that load it, and
    does not search for a library that is loaded already. A need counts only if it is met in every process that loads the
    file, whichever of the wheel's modules it starts with.

    :param files: the ELF files of one machine.
    :param paths: the paths below site-packages by the names of the files.
    :param libc: ``glibc``, or ``musl``, which treats DT_RUNPATH like DT_RPATH.
    """
    by_path = {paths[binary.path]: binary for binary in files if binary.path in paths}
    needed = {library for binary in files for library in binary.needed}
    met: set[tuple[str, str]] = set()
    unmet: set[tuple[str, str]] = set()
    for path, binary in by_path.items():
        if {posixpath.basename(path), binary.name} & needed:
            continue  # another file of the wheel loads it
        for file, library, is_found in _load(path, by_path, libc):
            # auditwheel attributes the needs of a library also to the module that loads it.
            (met if is_found else unmet).update({(file.path, library), (binary.path, library)})
    return met - unmet


def _load(start: str, by_path: Mapping[str, Binary], libc: str) -> Iterator[tuple[Binary, str, bool]]:
    """Load a file as the loader does: all needs of one file, then those of the next.

    :returns: each file, a library that it needs, and whether the library is a file of the wheel that the loader finds.
    """
    loaded = {start, posixpath.basename(start), by_path[start].name}
    pending: deque[tuple[str, tuple[str, ...]]] = deque([(start, ())])
    while pending:
        path, inherited = pending.popleft()
        binary = by_path[path]
        own = tuple(_directories(path, binary))
        is_inheriting = binary.inherits or libc == "musl"
        searched = (*own, *inherited) if is_inheriting else own
        for library in binary.needed:
            if library in loaded:
                yield binary, library, True
                continue
            candidates = (posixpath.normpath(posixpath.join(directory, library)) for directory in searched)
            found = next((candidate for candidate in candidates if candidate in by_path), None)
            yield binary, library, found is not None
            if found is not None and found not in loaded:
                loaded |= {found, library, by_path[found].name}
                pending.append((found, (*own, *inherited) if is_inheriting else inherited))


def _directories(path: str, binary: Binary) -> Iterator[str]:
    """Yield the directories below site-packages in which a file searches."""
    for directory in binary.search_paths:
        if ORIGIN.match(directory):
            yield ORIGIN.sub(lambda _: posixpath.dirname(path) or ".", directory)
