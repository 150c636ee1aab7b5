"""WHL1xx: the container and RECORD. A wheel that fails here is not installed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from pytest_wheelcheck.checks.base import STRONG, Contents, Function
from pytest_wheelcheck.wheels.archive import Fault, unsafe_name

#: Signatures of RECORD itself, which it cannot name with a hash (PEP 427, «Signed wheel files»).
_SIGNATURES = (".jws", ".p7s")


def structure(*faults: Fault) -> Function:
    """Make the check that tells what the reading of the container found of these kinds."""

    def check(contents: Contents) -> Iterator[str]:
        for problem in contents.archive.problems:
            if problem.fault in faults:
                yield problem.message

    return check


def collisions(contents: Contents) -> Iterator[str]:
    """Names that are one where case does not count; only macOS and Windows have such file systems."""
    if contents.systems & {"macos", "windows"}:
        yield from structure(Fault.COLLISION)(contents)


def windows_names(contents: Contents) -> Iterator[str]:
    """Names that Windows cannot create, in a wheel that can be installed there."""
    if "windows" in contents.systems:
        yield from structure(Fault.WINDOWS_NAME)(contents)


def damaged(contents: Contents) -> Iterator[str]:
    """Members that do not unpack to what the archive says."""
    for scanned in contents.scanned.values():
        if scanned.damage:
            yield scanned.damage


def record_missing(contents: Contents) -> Iterator[str]:
    """No RECORD."""
    if contents.archive.find(contents.record_name) is None:
        yield f"there is no {contents.record_name}"


def record_form(contents: Contents) -> Iterator[str]:
    """RECORD cannot be parsed."""
    record = contents.record
    if record is None:
        return
    if record.fault:
        yield record.fault
    for line in record.lines:
        if line.fault:
            yield line.fault
        if line.path != contents.record_name and (reason := unsafe_name(line.path)) is not None:
            yield f"{line.path!r} {reason}"


def record_unlisted(contents: Contents) -> Iterator[str]:
    """Files that RECORD does not name."""
    record = contents.record
    if record is None:
        return
    own = contents.record_name
    listed = {line.path for line in record.lines} | {own + suffix for suffix in _SIGNATURES}
    for entry in contents.archive.files:
        if entry.name not in listed:
            yield f"{entry.name} is not in RECORD" if entry.name != own else "RECORD does not name itself"


def record_without_file(contents: Contents) -> Iterator[str]:
    """Lines of RECORD without a file."""
    for line in contents.record.lines if contents.record else ():
        if contents.archive.find(line.path) is None:
            yield f"RECORD names {line.path}, which is not in the wheel"


def record_digest(contents: Contents) -> Iterator[str]:
    """Digests that are not the file's."""
    for line in contents.record.lines if contents.record else ():
        scanned = contents.scanned.get(line.path)
        if scanned is None or scanned.damage or line.algorithm not in STRONG or line.fault:
            continue
        if scanned.digests[line.algorithm] != line.digest:
            yield f"{line.path} has another {line.algorithm} than RECORD says"


def record_strength(contents: Contents) -> Iterator[str]:
    """Files without a digest, or with one that is too weak."""
    own = contents.record_name
    for line in contents.record.lines if contents.record else ():
        if line.path == own or line.path in {own + suffix for suffix in _SIGNATURES}:
            continue
        if not line.algorithm:
            yield f"{line.path} has no hash"
        elif line.algorithm not in STRONG:
            known = "too weak" if line.algorithm in hashlib.algorithms_available else "unknown"
            yield f"{line.path} has a hash by {line.algorithm}, which is {known}"


def record_size(contents: Contents) -> Iterator[str]:
    """Sizes that are not the file's."""
    for line in contents.record.lines if contents.record else ():
        entry = contents.archive.find(line.path)
        if entry is not None and line.size is not None and line.size != entry.size:
            yield f"{line.path} has {entry.size} bytes, RECORD says {line.size}"


def record_repeats(contents: Contents) -> Iterator[str]:
    """Files that RECORD names more than once."""
    seen: set[str] = set()
    for line in contents.record.lines if contents.record else ():
        if line.path in seen:
            yield f"RECORD names {line.path} more than once"
        seen.add(line.path)
