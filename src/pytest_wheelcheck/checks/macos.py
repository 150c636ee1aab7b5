"""WHL4xx: macOS tags, judged from the load commands on any host.

The rules are those of delocate (``delocating.py``) and of Apple's loader (``dyld(1)``, «Mach-O Programming Topics»).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator

from pytest_wheelcheck.checks.base import Contents
from pytest_wheelcheck.wheels.binary import Binary

#: The slices that a tag's architecture promises (packaging.tags, ``_mac_binary_formats``).
_SLICES = {
    "x86_64": {"x86_64"},
    "arm64": {"arm64"},
    "i386": {"i386"},
    "universal2": {"x86_64", "arm64"},
    "intel": {"i386", "x86_64"},
    "fat64": {"ppc64", "x86_64"},
    "fat32": {"i386", "ppc"},
    "universal": {"i386", "x86_64", "ppc", "ppc64"},
}
_TAG = re.compile(r"macosx_(\d+)_(\d+)_(\w+)")
#: No Mac with this processor ran anything older.
_FIRST_ARM64 = (11, 0)
_SYSTEM = ("/usr/lib/", "/System/Library/")


def parse_tag(platform: str) -> tuple[tuple[int, int], str] | None:
    """Tell the oldest version and the architecture of a macOS tag; ``None`` for any other."""
    found = _TAG.fullmatch(platform)
    return None if found is None else ((int(found[1]), int(found[2])), found[3])


def minimum_version(contents: Contents) -> Iterator[str]:
    """Slices that need a newer macOS than the tag promises."""
    for platform in contents.wheel.platforms:
        tag = parse_tag(platform)
        if tag is None:
            continue
        for binary in _binaries(contents):
            promised = max(tag[0], _FIRST_ARM64) if binary.machine == "arm64" else tag[0]
            if not binary.minimum_os or binary.machine not in _SLICES.get(tag[1], {binary.machine}):
                continue
            needed = _version(binary.minimum_os)
            # Since macOS 11, tags have no minor version but 0 (packaging.tags), so none can be promised.
            if needed > promised and not needed[0] == promised[0] >= 11:
                yield f"{binary.path} ({binary.machine}) needs macOS {binary.minimum_os}, {platform} promises less"


def slices(contents: Contents) -> Iterator[str]:
    """Files without a slice that the tag promises."""
    found: dict[str, set[str]] = {}
    for binary in _binaries(contents):
        if binary.kind != "other":
            found.setdefault(binary.path, set()).add(binary.machine)
    for platform in contents.wheel.platforms:
        tag = parse_tag(platform)
        if tag is None:
            continue
        for path, machines in found.items():
            if missing := _SLICES.get(tag[1], {tag[1]}) - machines:
                yield f"{path} is for {', '.join(sorted(machines))}; {platform} also promises {', '.join(missing)}"


def dependencies(contents: Contents) -> Iterator[str]:
    """Libraries that are neither the system's nor in the wheel."""
    # Relative paths are judged as things lie after installation.
    places = {entry.name: name for name, entry in contents.installed.items()}
    files = set(places.values())
    for binary in _binaries(contents):
        if binary.kind == "other" or binary.path not in places:
            continue
        for library in binary.needed:
            if library in binary.weak or library == binary.name or library.startswith(_SYSTEM):
                continue
            problem = _unresolved(binary, library, places[binary.path], files)
            if problem:
                yield f"{binary.path} ({binary.machine}) needs {library}, {problem}"


def _unresolved(binary: Binary, library: str, place: str, files: set[str]) -> str:
    """Say why a library is not found; an empty string where it is, or may be."""
    folder = posixpath.dirname(place)
    if library.startswith("@loader_path"):
        path = posixpath.normpath(folder + library.removeprefix("@loader_path"))
        return "" if path in files else "which is not in the wheel"
    if library.startswith("@executable_path"):
        return "" if binary.kind == "executable" else "which depends on where the interpreter is"
    if not library.startswith("@rpath/"):
        return "which is no part of macOS" if library.startswith("/") else "which depends on the working directory"
    rest = library.removeprefix("@rpath/")
    search = list(binary.search)
    for start in search:
        base = start.replace("@loader_path", folder or ".", 1)
        if base.startswith(_SYSTEM) or posixpath.normpath(posixpath.join(base, rest)) in files:
            return ""
    # The loader also tries the search paths of whatever loaded this file, which may stand anywhere in the wheel.
    if posixpath.basename(rest) in {posixpath.basename(file) for file in files}:
        return ""
    return f"and no search path leads to it ({', '.join(search) or 'there is none'})"


def signature(contents: Contents) -> Iterator[str]:
    """Slices for arm64 without any signature."""
    for binary in _binaries(contents):
        if binary.machine == "arm64" and binary.kind != "other" and not binary.signed:
            yield f"{binary.path} has no signature in its arm64 slice"


def _binaries(contents: Contents) -> list[Binary]:
    return [binary for binary in contents.binaries if binary.format == "Mach-O" and not binary.broken]


def _version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
