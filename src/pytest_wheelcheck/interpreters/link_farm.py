"""A view of a root file system of another's: links in the cache that lead to its libraries, programs and data.

An unpacked root file system is full of absolute links, which lead to the host's files when seen from the host. And it
has folders such as ``/tmp``, ``/home`` and ``/dev``, which an emulator would show to programs in the place of the
host's. The farm has neither; and nothing need be written into the user's folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

#: What of the root is seen.
_SEEN = ("bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr", "opt")

#: What of its ``etc`` is seen: what belongs to its libraries. Users, names of hosts and the like are the host's.
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

#: Where absolute links are of no interest, and many files are.
_PASSED_OVER = ("usr/share", "usr/src", "usr/include", "usr/lib/modules", "usr/lib/firmware")

#: Links that may follow each other (``MAXSYMLINKS`` of Linux).
_MAX_LINKS = 40


def resolve(root: Path, path: Path) -> Path | None:
    """Follow links as a program would whose root folder is *root*.

    :param path: below *root*, as the host says it.
    :returns: the host's path of what is there, without links; ``None`` where nothing is.
    """
    todo = list(path.relative_to(root).parts)[::-1]
    found = root
    links = 0
    while todo:
        name = todo.pop()
        if name in {"/", "."}:
            continue
        if name == "..":
            found = found if found == root else found.parent
            continue
        here = found / name
        if not here.is_symlink():
            found = here
            continue
        links += 1
        if links > _MAX_LINKS:
            return None
        target = here.readlink()
        if target.is_absolute():
            found = root
        todo.extend(target.parts[::-1])
    return found if found.exists() else None


def matching_directories(root: Path, pattern: str) -> Iterator[Path]:
    """Yield the folders of a pattern (``opt/*/bin``) in a root file system, its links followed."""
    folders = [root]
    for part in pattern.split("/"):
        further: dict[Path, None] = {}
        for folder in folders:
            for name in entry_names(folder) if part == "*" else [part]:
                at = resolve(root, folder / name)
                if at is not None and at.is_dir():
                    further[at] = None
        folders = list(further)
    yield from folders


def entry_names(folder: Path) -> list[str]:
    """List what is in a folder, sorted; nothing where it cannot be read."""
    return [entry.name for entry in _listed(folder)]


def make(root: Path, farm: Path) -> None:
    """Make the view.

    :param root: the root file system.
    :param farm: a folder to make.
    """
    farm.mkdir(parents=True)
    apart = _with_absolute_links(root)
    for name in _SEEN:
        source = root / name
        if source.is_symlink():
            target = resolve(root, source)
            if target is not None:
                (farm / name).symlink_to(target.relative_to(root))
        elif source.is_dir():
            _show(root, source, farm / name, apart)
        elif (root / "usr" / name).is_dir():
            # Unpacked packages, without the one that has the links of the merged /usr.
            (farm / name).symlink_to(f"usr/{name}")
    (farm / "etc").mkdir()
    entries = [entry for entry in _listed(root / "etc") if entry.name in _ETC or entry.name.startswith("ld-musl-")]
    for entry in entries:
        _show(root, Path(entry.path), farm / "etc" / entry.name, apart)


def _show(root: Path, source: Path, place: Path, apart: set[Path]) -> None:
    """Show one file or folder: by one link, unless there are absolute links below."""
    if source.is_symlink() or not source.is_dir():
        if (target := resolve(root, source)) is not None:
            place.symlink_to(target)
    elif source not in apart:
        place.symlink_to(source, target_is_directory=True)
    else:
        place.mkdir()
        for entry in _listed(source):
            _show(root, Path(entry.path), place / entry.name, apart)


def _with_absolute_links(root: Path) -> set[Path]:
    """List the folders that have absolute links somewhere below."""
    found: set[Path] = set()
    todo = [root / name for name in (*_SEEN, "etc") if not (root / name).is_symlink()]
    while todo:
        folder = todo.pop()
        if folder.relative_to(root).as_posix() in _PASSED_OVER:
            continue
        for entry in _listed(folder):
            if not entry.is_symlink():
                if entry.is_dir():
                    todo.append(Path(entry.path))
            elif Path(entry.path).readlink().is_absolute() and folder not in found:
                found.update(each for each in (folder, *folder.parents) if each.is_relative_to(root))
    return found


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return []
