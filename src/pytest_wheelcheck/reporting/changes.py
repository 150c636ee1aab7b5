"""What changed in a wheel since the previous release: values of the report, and how they are found."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from pytest_wheelcheck.model import Wheel
from pytest_wheelcheck.reporting import expect
from pytest_wheelcheck.reporting.fields import OneOf
from pytest_wheelcheck.wheels.sizes import FileSizes

#: Kinds of things that have names, as a reader should see them: what users may miss first.
KINDS = (
    "native module",
    "module",
    "entry point",
    "program",
    "dependency",
    "extra",
    "platform tag",
    "Requires-Python",
)
NEW, GONE, CHANGED = HOWS = ("new", "gone", "changed")

#: Files and names of a wheel that are listed.
MAX_FILES, MAX_NAMES = 20, 100
#: Bytes by which a file must have changed to be listed.
_MIN_CHANGE = 1024
#: Characters of a name.
_MAX_NAME = 300

#: The parts of file names that are other ones in each build: of interpreters, and hashes of auditwheel and delvewheel.
_SUFFIX = re.compile(r"\.(?:cpython-\w|cp\d|pypy\d|abi3)[^/]*(?=\.(?:so|pyd)$)")
_HASH = re.compile(r"-(?:[0-9a-f]{32}|[0-9a-f]{8})(?=[.-])")
#: Files that are no modules for users.
_INTERNAL = re.compile(r"(?:^|/)(?:tests?|.*\.libs|.*\.data)/")


@dataclass(frozen=True, kw_only=True, slots=True)
class FileChange:
    """A file of a wheel that is new, gone, or has another size than in the previous release.

    :param path: as in the archive; of a file that is gone, as in the previous one. Names that differ only in the version, in a
        hash or in the suffix of the interpreter are those of one file.
    :param change: what happened to it.
    :param size: unpacked, in bytes; 0 if it is gone.
    :param compressed_size: in the archive, in bytes.
    :param previous_size: unpacked, in the previous release; 0 if it is new.
    :param previous_compressed_size: in the archive of the previous release.
    """

    path: str
    change: Annotated[str, OneOf(HOWS)]
    size: int
    compressed_size: int
    previous_size: int
    previous_compressed_size: int


@dataclass(frozen=True, kw_only=True, slots=True)
class NameChange:
    """Something with a name in a wheel that is new, gone or another one than in the previous release.

    :param kind: what it is.
    :param change: what happened to it.
    :param name: of a module, its path without a suffix; of a platform tag, its family and architecture.
    :param before: the requirement, tag or version specifier before; empty for other kinds.
    :param after: the one now.
    """

    kind: Annotated[str, OneOf(KINDS)]
    change: Annotated[str, OneOf(HOWS)]
    name: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class WheelChanges:
    """What changed since the wheel of the previous release that an installer would have taken instead.

    :param release: the previous release, as ``--wheel`` names it.
    :param filename: the name of that wheel.
    :param previous_size: its size in bytes.
    :param previous_unpacked_size: the bytes of its files.
    :param unpacked_size: the bytes of the files of the wheel of this release.
    :param new: number of files that are new.
    :param gone: number of files that are gone.
    :param changed: number of files with another size.
    :param files: the files whose compressed sizes changed most.
    :param names: modules, entry points, dependencies and others.
    :param more_names: number of those that are left out.
    """

    release: str
    filename: str
    previous_size: int
    previous_unpacked_size: int
    unpacked_size: int
    new: int = 0
    gone: int = 0
    changed: int = 0
    files: tuple[FileChange, ...] = ()
    names: tuple[NameChange, ...] = ()
    more_names: int = 0


def find_changes(release: str, now: Wheel, before: Wheel, sizes: FileSizes, sizes_before: FileSizes) -> WheelChanges:
    """Compare two wheels.

    :param release: the previous release, as ``--wheel`` names it.
    :param sizes: the files of the wheel of this release.
    :param sizes_before: those of the previous one.
    """
    files = list(_file_changes(_by_key(sizes, now.dist_info), _by_key(sizes_before, before.dist_info)))
    counts = Counter(file.change for file in files)
    listed = [file for file in files if file.change != CHANGED or abs(file.size - file.previous_size) >= _MIN_CHANGE]
    listed.sort(key=lambda file: -abs(file.compressed_size - file.previous_compressed_size))
    names = sorted(_name_changes(now, before), key=lambda each: (each.change != GONE, KINDS.index(each.kind)))
    return WheelChanges(
        release=release,
        filename=before.path.name,
        previous_size=before.size,
        previous_unpacked_size=sum(size for size, _ in sizes_before.values()),
        unpacked_size=sum(size for size, _ in sizes.values()),
        new=counts[NEW],
        gone=counts[GONE],
        changed=counts[CHANGED],
        files=tuple(listed[:MAX_FILES]),
        names=tuple(names[:MAX_NAMES]),
        more_names=max(0, len(names) - MAX_NAMES),
    )


def _by_key(sizes: FileSizes, dist_info: str) -> dict[str, tuple[str, int, int]]:
    """Return the names and sizes of files by what their names have in all releases.

    Where two files of a wheel would be the same, their names are taken as they are.
    """
    stem = dist_info.removesuffix(".dist-info")

    def key(name: str) -> str:
        for directory in (".dist-info/", ".data/"):
            if name.startswith(stem + directory):
                return name.removeprefix(stem)
        return _HASH.sub("", _SUFFIX.sub("", name))

    keys = {name: key(name) for name in sizes}
    counts = Counter(keys.values())
    return {keys[name] if counts[keys[name]] == 1 else name: (name, *found) for name, found in sizes.items()}


def _file_changes(
    now: Mapping[str, tuple[str, int, int]], before: Mapping[str, tuple[str, int, int]]
) -> Iterator[FileChange]:
    for key in dict.fromkeys((*now, *before)):
        name, size, compressed = now.get(key, ("", 0, 0))
        old_name, old_size, old_compressed = before.get(key, ("", 0, 0))
        change = GONE if key not in now else NEW if key not in before else CHANGED
        if change != CHANGED or size != old_size:
            yield FileChange(
                path=(name or old_name)[:_MAX_NAME],
                change=change,
                size=size,
                compressed_size=compressed,
                previous_size=old_size,
                previous_compressed_size=old_compressed,
            )


def _name_changes(now: Wheel, before: Wheel) -> Iterator[NameChange]:
    native, native_before = modules(now, native=True), modules(before, native=True)
    yield from _differences("native module", native, native_before)
    # A module that was compiled and is not any more, or the other way around, is one native module more or less.
    every, every_before = modules(now), modules(before)
    either = {*native, *native_before}
    yield from _differences(
        "module", *([name for name in each if name not in either] for each in (every, every_before))
    )
    scripts = [sorted({name for name, _ in wheel.console_scripts}) for wheel in (now, before)]
    yield from _differences("entry point", *scripts)
    yield from _differences("program", now.scripts, before.scripts)
    required, required_before = requirements(now), requirements(before)
    yield from _differences("dependency", sorted(required), sorted(required_before))
    for name in sorted(required.keys() & required_before.keys()):
        if required[name] != required_before[name]:
            yield _changed("dependency", name, required_before[name], required[name])
    yield from _differences("extra", now.extras, before.extras)
    for (family, architecture), (old, new) in platform_versions(now, before).items():
        if old != new:
            tags = (f"{family}_{major}_{minor}" for major, minor in (old, new))
            yield _changed("platform tag", f"{family}_{architecture}", *tags)
    if now.requires_python != before.requires_python:
        pair = (before.requires_python or "none", now.requires_python or "none")
        yield _changed("Requires-Python", "Requires-Python", *pair)


def _differences(kind: str, now: Iterable[str], before: Iterable[str]) -> Iterator[NameChange]:
    new, old = dict.fromkeys(now), dict.fromkeys(before)
    yield from (NameChange(kind=kind, change=GONE, name=name[:_MAX_NAME]) for name in old if name not in new)
    yield from (NameChange(kind=kind, change=NEW, name=name[:_MAX_NAME]) for name in new if name not in old)


def _changed(kind: str, name: str, before: str, after: str) -> NameChange:
    return NameChange(
        kind=kind, change=CHANGED, name=name[:_MAX_NAME], before=before[:_MAX_NAME], after=after[:_MAX_NAME]
    )


def modules(wheel: Wheel, *, native: bool = False) -> list[str]:
    """Return the modules and packages of a wheel by their paths, without the suffix of the interpreter.

    :param native: only native modules.
    """
    found = []
    for path in wheel.files:
        if path.endswith((".so", ".pyd") if native else (".py", ".so", ".pyd")) and not _INTERNAL.search(path):
            parent, slash, name = path.rpartition("/")
            found.append(f"{parent}{slash}{name.partition('.')[0]}")
    return found


def requirements(wheel: Wheel) -> dict[str, str]:
    """Return what a plain installation requires, by the names of the distributions."""
    found: dict[str, list[str]] = {}
    for line in wheel.requires:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue  # a check reports it
        if "extra" not in str(requirement.marker or ""):
            found.setdefault(str(canonicalize_name(requirement.name)), []).append(str(requirement))
    return {name: ", ".join(sorted(lines)) for name, lines in found.items()}


_Version = tuple[int, int]


def platform_versions(now: Wheel, before: Wheel) -> dict[tuple[str, str], tuple[_Version, _Version]]:
    """Return the oldest versions that the tags of both wheels admit, before and now, by family and architecture."""
    versions: Sequence[dict[tuple[str, str], _Version]] = ({}, {})
    for found, wheel in zip(versions, (before, now), strict=True):
        for platform in wheel.platforms:
            if parsed := expect.parse_platform(platform):
                family, version, architecture = parsed
                found[family, architecture] = min(version, found.get((family, architecture), version))
    old, new = versions
    return {key: (old[key], new[key]) for key in new if key in old}
