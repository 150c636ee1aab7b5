"""A view of a foreign root file system: a directory of links in the cache to its libraries, programs and data.

Emulators cannot use an unpacked root file system as it is. Its absolute links lead to the host's files. And it has
directories such as ``/tmp``, ``/home`` and ``/dev``, which an emulator would show to programs instead of the host's.
The link farm has neither, and nothing is written into the user's directory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: The top-level directories of the root that are linked.
_TOP_LEVEL = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt")

#: The entries of its ``etc`` that are linked: those that belong to its libraries. Users, host names and the like are
#: the host's.
_ETC = (
    "alpine-release",
    "alternatives",
    "ca-certificates",
    "debian_version",
    "fonts",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "os-release",
    "pki",
    "ssl",
    "terminfo",
)

#: Directories with many files, whose absolute links do not matter: they are not searched for such links.
_NOT_SEARCHED = ("usr/share", "usr/src", "usr/include", "usr/lib/modules", "usr/lib/firmware")

#: Links that may follow each other (``MAXSYMLINKS`` of Linux).
_MAX_LINKS = 40


def resolve(root: Path, path: Path) -> Path | None:
    """Resolve the links of a path as a program with the root directory *root* would.

    :param path: below *root*, as a path on the host.
    :returns: the path on the host, without links; ``None`` if it does not exist.
    """
    remaining = list(path.relative_to(root).parts)[::-1]
    resolved = root
    links = 0
    while remaining:
        name = remaining.pop()
        if name in {"/", "."}:
            continue
        if name == "..":
            resolved = resolved if resolved == root else resolved.parent
            continue
        entry = resolved / name
        if not entry.is_symlink():
            resolved = entry
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        target = entry.readlink()
        if target.is_absolute():
            resolved = root
        remaining.extend(target.parts[::-1])
    return resolved if resolved.exists() else None


def matching_directories(root: Path, pattern: str) -> Iterator[Path]:
    """Yield the directories in a root file system that match a pattern (``opt/*/bin``), their links resolved."""
    directories = [root]
    for part in pattern.split("/"):
        matches: dict[Path, None] = {}
        for directory in directories:
            for name in entry_names(directory) if part == "*" else [part]:
                found = resolve(root, directory / name)
                if found is not None and found.is_dir():
                    matches[found] = None
        directories = list(matches)
    yield from directories


def entry_names(directory: Path) -> list[str]:
    """List the names of a directory's entries, sorted; none if it cannot be read."""
    return [entry.name for entry in _entries(directory)]


def make(root: Path, farm: Path) -> None:
    """Make the link farm of a root file system.

    :param root: the root file system.
    :param farm: the directory to make.
    """
    farm.mkdir(parents=True)
    split = _with_absolute_links(root)
    for name in _TOP_LEVEL:
        source = root / name
        if source.is_symlink():
            target = resolve(root, source)
            if target is not None:
                (farm / name).symlink_to(target.relative_to(root))
        elif source.is_dir():
            _link(root, source, farm / name, split)
        elif (root / "usr" / name).is_dir():
            # Unpacked packages, without the package that has the links of the merged /usr.
            (farm / name).symlink_to(f"usr/{name}")
    (farm / "etc").mkdir()
    entries = [entry for entry in _entries(root / "etc") if entry.name in _ETC or entry.name.startswith("ld-musl-")]
    for entry in entries:
        _link(root, Path(entry.path), farm / "etc" / entry.name, split)


def _link(root: Path, source: Path, target: Path, split: set[Path]) -> None:
    """Link one file or directory. A directory in *split* becomes a directory of links."""
    if source.is_symlink() or not source.is_dir():
        if (resolved := resolve(root, source)) is not None:
            target.symlink_to(resolved)
    elif source not in split:
        target.symlink_to(source, target_is_directory=True)
    else:
        target.mkdir()
        for entry in _entries(source):
            _link(root, Path(entry.path), target / entry.name, split)


def _with_absolute_links(root: Path) -> set[Path]:
    """Return the directories that contain absolute links, directly or further below."""
    found: set[Path] = set()
    remaining = [root / name for name in (*_TOP_LEVEL, "etc") if not (root / name).is_symlink()]
    while remaining:
        directory = remaining.pop()
        if directory.relative_to(root).as_posix() in _NOT_SEARCHED:
            continue
        for entry in _entries(directory):
            if not entry.is_symlink():
                if entry.is_dir():
                    remaining.append(Path(entry.path))
            elif Path(entry.path).readlink().is_absolute() and directory not in found:
                found.update(path for path in (directory, *directory.parents) if path.is_relative_to(root))
    return found


def _entries(directory: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
