"""WHL1xx: the ZIP container and RECORD. A wheel that fails one of these checks is not installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from pytest_wheelcheck.checks.check import CheckFunction, Message
from pytest_wheelcheck.checks.contents import STRONG_HASHES, Contents
from pytest_wheelcheck.wheels.container import DefectKind
from pytest_wheelcheck.wheels.member_names import unsafe_name
from pytest_wheelcheck.wheels.record_file import RecordEntry

#: Signatures of RECORD itself, which RECORD cannot list with a hash (PEP 427, "Signed wheel files").
_SIGNATURES = (".jws", ".p7s")


def structure(kind: DefectKind) -> CheckFunction:
    """Make the check that reports the container's defects of one kind."""

    def check(contents: Contents) -> Iterator[Message]:
        for defect in contents.container.defects:
            if defect.kind is kind:
                yield defect.message

    return check


def collisions(contents: Contents) -> Iterator[Message]:
    """Find names that differ only by case. Only macOS and Windows have file systems that ignore case."""
    if contents.systems & {"macos", "windows"}:
        yield from structure(DefectKind.COLLISION)(contents)


def windows_names(contents: Contents) -> Iterator[Message]:
    """Find names that Windows cannot create, in a wheel that can be installed there."""
    if "windows" in contents.systems:
        yield from structure(DefectKind.WINDOWS_NAME)(contents)


def damaged(contents: Contents) -> Iterator[str]:
    """Find members that do not unpack to their declared content."""
    for scan in contents.scans.values():
        if scan.damage:
            yield scan.damage


def record_missing(contents: Contents) -> Iterator[str]:
    """Find a missing RECORD."""
    if contents.container.find(contents.record_path) is None:
        yield f"there is no {contents.record_path}"


def record_form(contents: Contents) -> Iterator[str]:
    """Find a RECORD that cannot be parsed."""
    record = contents.record_file
    if record is None:
        return
    if record.error:
        yield record.error
    for entry in record.entries:
        if entry.error:
            yield entry.error
        if entry.path != contents.record_path and (reason := unsafe_name(entry.path)) is not None:
            yield f"{entry.path!r} {reason}"


def record_unlisted(contents: Contents) -> Iterator[str]:
    """Find files that RECORD does not list."""
    if contents.record_file is None:
        return
    listed = {entry.path for entry in _record_entries(contents)} | _signature_paths(contents)
    for member in contents.container.files:
        if member.name not in listed:
            is_record = member.name == contents.record_path
            yield "RECORD does not list itself" if is_record else f"{member.name} is not in RECORD"


def record_without_file(contents: Contents) -> Iterator[str]:
    """Find entries of RECORD without a file."""
    for entry in _record_entries(contents):
        if contents.container.find(entry.path) is None:
            yield f"RECORD lists {entry.path}, which is not in the wheel"


def record_digest(contents: Contents) -> Iterator[str]:
    """Find digests that are not those of the files."""
    for entry in _record_entries(contents):
        scan = contents.scans.get(entry.path)
        if scan is None or scan.damage or entry.algorithm not in STRONG_HASHES or entry.error:
            continue
        if scan.digests[entry.algorithm] != entry.digest:
            yield f"the {entry.algorithm} of {entry.path} differs from RECORD"


def record_strength(contents: Contents) -> Iterator[str]:
    """Find files without a digest, or with a weak one."""
    exempt = {contents.record_path} | _signature_paths(contents)
    for entry in _record_entries(contents):
        if entry.path in exempt:
            continue
        if not entry.algorithm:
            yield f"{entry.path} has no hash"
        elif entry.algorithm not in STRONG_HASHES:
            reason = "too weak" if entry.algorithm in hashlib.algorithms_available else "unknown"
            yield f"{entry.path} has a hash with {entry.algorithm}, which is {reason}"


def record_size(contents: Contents) -> Iterator[str]:
    """Find sizes that are not those of the files."""
    for entry in _record_entries(contents):
        member = contents.container.find(entry.path)
        if member is not None and entry.size is not None and entry.size != member.size:
            yield f"{entry.path} has {member.size} bytes, but {entry.size} in RECORD"


def record_repeats(contents: Contents) -> Iterator[str]:
    """Find files that RECORD lists more than once."""
    seen: set[str] = set()
    for entry in _record_entries(contents):
        if entry.path in seen:
            yield f"RECORD lists {entry.path} more than once"
        seen.add(entry.path)


def _record_entries(contents: Contents) -> tuple[RecordEntry, ...]:
    """Return the entries, as they are meant: a path with backslashes is one fault, which :func:`record_form` finds."""
    entries = contents.record_file.entries if contents.record_file else ()
    return tuple(_with_slashes(entry, contents) if "\\" in entry.path else entry for entry in entries)


def _with_slashes(entry: RecordEntry, contents: Contents) -> RecordEntry:
    meant = entry.path.replace("\\", "/")
    is_meant = contents.container.find(entry.path) is None and contents.container.find(meant) is not None
    return replace(entry, path=meant) if is_meant else entry


def _signature_paths(contents: Contents) -> set[str]:
    return {contents.record_path + suffix for suffix in _SIGNATURES}
