"""WHL4xx: macOS tags, checked from the load commands on any host, and with delocate on macOS.

The rules are those of delocate (``delocating.py``) and of Apple's loader (``dyld(1)``, "Mach-O Programming Topics").
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator

from pytest_wheelcheck.checks import dependency_libraries
from pytest_wheelcheck.checks.check import Advice, Message
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.wheels.binary import Binary, glibc_symbols

#: The slices that the architecture of a tag promises (packaging.tags, ``_mac_binary_formats``).
SLICES = {
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
#: The oldest macOS for Macs with this processor.
_FIRST_ARM64 = (11, 0)
_SYSTEM_DIRECTORIES = ("/usr/lib/", "/System/Library/")
#: Libraries of each macOS in /usr/lib, where dyld also searches the last component of a path that it does not find: dyld(1),
#: DYLD_FALLBACK_LIBRARY_PATH. The names are those of the stubs in the SDK.
_FALLBACK_LIBRARIES = re.compile(
    r"lib(System\.B|c\+\+\.1|c\+\+abi|objc\.A|z\.1|bz2\.1\.0|iconv\.2|charset\.1|sqlite3|xml2\.2|xslt\.1|exslt\.0|curl\.4|edit\.3"
    r"|ncurses\.5\.4|panel\.5\.4|form\.5\.4|expat\.1|icucore\.A|resolv\.9|compression|pcap\.A|cups\.2|archive\.2|ffi)\.dylib"
)
#: System libraries whose symbols are recognized by their names, and that export no other library's.
_KNOWN_LIBRARIES = re.compile(r"/usr/lib/(libSystem\.B|libc\+\+\.1|libc\+\+abi|libobjc\.A)\.dylib")
#: Names of macOS's own symbols: the prefixes of its frameworks and of parts of libSystem, those of the Objective-C runtime,
#: and those of the C++ runtime and standard library (Itanium C++ ABI, "External Names").
_NAMES_OF_MACOS = re.compile(
    r"_*k?(?:AE|AX|CA|CF|CG|CT|CV|IO|LS|MTL|NS|SC|Sec)[A-Z]\w*|_*objc_\w+|OBJC_\w+|_dyld_\w+"
    r"|(?:dispatch|mach|malloc|os|pthread|xpc)_\w+|__cxa_\w+|__gxx_\w+"
    r"|_Z(?:T[VIST])?N?[rVK]*S[a-z]\w*|_Z(?:T[VIST])?N10__cxxabiv1\w+|_Z(?:na|nw|da|dl)\w+"
)


def parse_tag(platform: str) -> tuple[tuple[int, int], str] | None:
    """Return the minimum macOS version and the architecture of a tag; ``None`` for any other tag."""
    match = _TAG.fullmatch(platform)
    return None if match is None else ((int(match[1]), int(match[2])), match[3])


def _macos_tags(contents: Contents) -> Iterator[tuple[str, tuple[int, int], str]]:
    """Yield each macOS tag with its minimum version and architecture."""
    for platform in contents.wheel.platforms:
        if (tag := parse_tag(platform)) is not None:
            yield platform, *tag


def minimum_version(contents: Contents) -> Iterator[str]:
    """Find slices that need a newer macOS than the tag promises."""
    for platform, tag_version, architecture in _macos_tags(contents):
        for binary in contents.readable_binaries("Mach-O"):
            minimum = _minimum_os(contents, binary)
            if not minimum or binary.machine not in SLICES.get(architecture, {binary.machine}):
                continue
            needed = _parse_version(minimum)
            promised = max(tag_version, _FIRST_ARM64) if binary.machine == "arm64" else tag_version
            # Since macOS 11, the minor version in a tag is always 0 (packaging.tags), so no other can be promised.
            if needed > promised and not needed[0] == promised[0] >= 11:
                yield f"{binary.path} ({binary.machine}) needs macOS {minimum}, but the tag is {platform}"


def _minimum_os(contents: Contents, binary: Binary) -> str:
    file = contents.delocated.get(binary.path)
    return binary.minimum_os if file is None else file.minimum_versions.get(binary.machine, binary.minimum_os)


def slices(contents: Contents) -> Iterator[str]:
    """Find files without a slice that the tag promises."""
    architectures: dict[str, set[str]] = {}
    for binary in contents.readable_binaries("Mach-O"):
        if binary.kind != "other":
            architectures.setdefault(binary.path, set()).add(binary.machine)
    for path in architectures.keys() & contents.delocated.keys():
        # Empty if lipo failed.
        architectures[path] = set(contents.delocated[path].architectures) or architectures[path]
    for platform, _, architecture in _macos_tags(contents):
        for path, present in architectures.items():
            if _is_for_one(path, present):
                continue
            if missing := SLICES.get(architecture, {architecture}) - present:
                yield f"{path} is only for {_join(present)}, but {platform} also promises {_join(missing)}"


def _is_for_one(path: str, present: set[str]) -> bool:
    """Return whether the path of a library names its only architecture: another file has the others, as in a debugger."""
    return path.endswith(".dylib") and len(present) == 1 and any(machine in path for machine in present)


def _join(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


def dependencies(contents: Contents) -> Iterator[Message]:
    """Find libraries that are neither part of macOS nor in the wheel."""
    brought = dependency_libraries.find(contents, contents.readable_binaries("Mach-O"))
    used: set[str] = set()
    # Relative paths are resolved as the files are installed.
    installed = set(contents.installed)
    file_names = {posixpath.basename(path) for path in installed}
    for binary in contents.readable_binaries("Mach-O"):
        path = contents.installed_paths.get(binary.path)
        if binary.kind == "other" or path is None:
            continue
        for library in binary.needed:
            if library in binary.weak or library == binary.name or library.startswith(_SYSTEM_DIRECTORIES):
                continue
            file = contents.delocated.get(binary.path)
            if file is not None and library not in file.unresolved:
                continue
            if file is not None and (location := file.unresolved[library]):
                reason = f"which is outside of the wheel ({location})"
            else:
                # delocate does not find libraries that are only in the shared cache of macOS, so its failure to find one
                # does not count.
                reason = _unresolved(binary, library, posixpath.dirname(path), installed)
            # The loader also tries the search paths of the file that loaded this one, which may be anywhere in the wheel.
            is_possible = library.startswith("@rpath/") and posixpath.basename(library) in file_names
            if not reason or is_possible:
                continue
            leaf = posixpath.basename(library)
            if library in brought and not library.startswith("/"):
                used.add(library)
            elif library.startswith("@rpath/") and _FALLBACK_LIBRARIES.fullmatch(leaf):
                yield Advice(
                    f"{binary.path} ({binary.machine}) needs {library}, {reason}; it gets /usr/lib/{leaf}, where the loader "
                    "searches last"
                )
            else:
                yield f"{binary.path} ({binary.machine}) needs {library}, {reason}"
    yield from dependency_libraries.advice(brought, used)


def _unresolved(binary: Binary, library: str, directory: str, installed: set[str]) -> str:
    """Return the reason why the loader does not find a library; an empty string if it does, or may.

    :param library: as in the load command.
    :param directory: the directory of the binary below site-packages.
    :param installed: all paths below site-packages.
    """
    if library.startswith("@loader_path"):
        path = posixpath.normpath(posixpath.join(directory, library.removeprefix("@loader_path").lstrip("/")))
        return "" if path in installed else "which is not in the wheel"
    if library.startswith("@executable_path"):
        return "" if binary.kind == "executable" else "whose location depends on the interpreter"
    if not library.startswith("@rpath/"):
        return "which is not part of macOS" if library.startswith("/") else "which depends on the working directory"
    rest = library.removeprefix("@rpath/")
    for search_path in binary.search_paths:
        base = search_path.replace("@loader_path", directory or ".", 1)
        if base.startswith(_SYSTEM_DIRECTORIES) or posixpath.normpath(posixpath.join(base, rest)) in installed:
            return ""
    if not binary.search_paths:
        return "but has no search path"
    return f"which is in none of its search paths ({', '.join(binary.search_paths)})"


def may_be_supplied(symbol: str, needed: Iterable[str]) -> bool:
    """Whether a symbol that is looked up in every library may be one of macOS, or of another project's library.

    The process has loaded libSystem and CoreFoundation, since the interpreter needs them. Other frameworks export symbols of
    the libraries that they need: Cocoa those of the Objective-C runtime.

    :param needed: the libraries outside of the wheel that the files with the symbol need, as in their load commands.
    """
    if any(_KNOWN_LIBRARIES.fullmatch(library) is None for library in needed):
        return True
    # libSystem has the functions of the C standard and of POSIX, as glibc has.
    return _NAMES_OF_MACOS.fullmatch(symbol) is not None or symbol in glibc_symbols()


def signature(contents: Contents) -> Iterator[str]:
    """Find slices for arm64 without a signature."""
    for binary in contents.readable_binaries("Mach-O"):
        if binary.machine == "arm64" and binary.kind != "other" and not binary.signed:
            yield f"{binary.path} has no signature in its arm64 slice"


def _parse_version(text: str) -> tuple[int, int]:
    major, _, minor = text.partition(".")
    return int(major), int(minor or 0)
