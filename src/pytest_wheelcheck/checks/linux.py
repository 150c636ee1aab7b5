"""WHL3xx: Linux tags. auditwheel gives the facts, the verdict is ours: the policy that a tag claims must be earned."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_wheelcheck.checks.audit import Policy, Verdict, platform_parts
from pytest_wheelcheck.checks.base import MAX_FINDINGS, Contents
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.wheels.binary import Binary

#: Indexes accept these two bare tags, for Raspberry Pi's sake.
_ACCEPTED_BARE = frozenset({"linux_armv6l", "linux_armv7l"})
#: What tells the C library that a file was linked against.
_GLIBC = re.compile(r"libc\.so\.6(\.1)?")
_MUSL = re.compile(r"libc\.musl-\w+\.so\.1|libc\.so")


def bare_tag(contents: Contents) -> Iterator[str]:
    """Tags that say nothing of the C library."""
    for platform in contents.wheel.platforms:
        if platform.startswith("linux_") and platform not in _ACCEPTED_BARE:
            yield f"{platform} promises nothing about the systems that the wheel runs on"


def bare_arm_tag(contents: Contents) -> Iterator[str]:
    """Tags as in :func:`bare_tag`, but of the two that indexes accept."""
    for platform in contents.wheel.platforms:
        if platform in _ACCEPTED_BARE:
            yield f"{platform} promises nothing about the systems that the wheel runs on"


def policy(contents: Contents) -> Iterator[str]:
    """Tags whose policy the content does not earn."""
    # auditwheel has no bounds of its own and dies of such files, so it does not see one that our reader gave up on.
    if broken := [binary for binary in contents.binaries if binary.format == "ELF" and binary.broken]:
        raise WheelError(f"auditwheel was not asked: {broken[0].path} cannot be read: {broken[0].broken}")
    verdicts = {(verdict.libc, verdict.architecture): verdict for verdict in contents.audit.verdicts}
    files = [binary for binary in contents.binaries if binary.format == "ELF"]
    for platform in contents.wheel.platforms:
        parts = platform_parts(platform)
        if parts is None:
            continue
        verdict = verdicts[parts]
        if verdict.nothing:
            if files:
                yield f"{platform} cannot be judged: {verdict.nothing}"
            continue
        if reasons := judge(verdict, platform, files):
            if len(reasons) > MAX_FINDINGS:
                reasons[MAX_FINDINGS:] = [f"and {len(reasons) - MAX_FINDINGS} more like these"]
            yield f"{platform} is not earned; the content earns {verdict.overall}: " + "; ".join(reasons)


def judge(verdict: Verdict, platform: str, files: list[Binary]) -> list[str]:
    """Say why a tag's policy is not earned; nothing where it is."""
    overall = next(policy for policy in verdict.policies if policy.name == verdict.overall)
    claimed = find_policy(verdict, platform)
    if claimed is None:
        return ["auditwheel has no policy for this tag"]
    # auditwheel finds needed versions through the section headers, which a file need not have; our reader goes the
    # loader's way.
    reasons = [
        f"{binary.path} needs {version} of {library}"
        for binary in files
        for library, version in binary.versions
        if binary.machine == verdict.architecture and not allows(claimed, platform, version)
    ]
    if overall.priority >= claimed.priority or (verdict.libc == "musl" and overall.priority):
        # Musl's symbols have no versions: auditwheel can only tell whether a wheel is musllinux at all.
        return reasons
    reasons += [f"{file} needs {library}, which is neither allowed nor bundled" for file, library in claimed.libraries]
    reasons += [f"{symbol} of {library} must not be used" for library, symbol in claimed.symbols]
    machine = next(policy for policy in verdict.policies if policy.name == verdict.machine)
    if machine.priority < claimed.priority:
        reasons.append("a file declares instructions that the architecture of the tag does not promise")
    listed = any(platform in {policy.name, *policy.aliases} for policy in verdict.policies)
    return reasons or (["auditwheel gives no reason"] if listed else [])


def find_policy(verdict: Verdict, platform: str) -> Policy | None:
    """Find the policy that a tag claims; for a version that auditwheel does not list, the next stricter one."""
    for candidate in verdict.policies:
        if platform in {candidate.name, *candidate.aliases}:
            return candidate
    if verdict.libc == "musl":
        # auditwheel lists one version only. The others allow the same libraries.
        return max(verdict.policies, key=lambda candidate: candidate.priority)
    wanted = glibc_version(platform)
    stricter = [
        (version, candidate)
        for candidate in verdict.policies
        if (version := glibc_version(candidate.name)) is not None and wanted is not None and version <= wanted
    ]
    return max(stricter, key=lambda pair: pair[0])[1] if stricter else None


def glibc_version(platform: str) -> tuple[int, int] | None:
    """Tell the glibc version of a PEP 600 tag; ``None`` for any other."""
    found = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    return None if found is None else (int(found[1]), int(found[2]))


def allows(policy: Policy, platform: str, version: str) -> bool:
    """Tell whether a policy allows a symbol version; prefixes that it does not name are the libraries' own affair."""
    prefix, _, number = version.partition("_")
    if prefix not in policy.versions or version in policy.versions[prefix]:
        return True
    wanted = glibc_version(platform)
    found = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)?", number)
    return prefix == "GLIBC" and wanted is not None and found is not None and (int(found[1]), int(found[2])) <= wanted


def c_library(contents: Contents) -> Iterator[str]:
    """Files linked against another C library than the tag's."""
    claimed = {parts[0] for platform in contents.wheel.platforms if (parts := platform_parts(platform))}
    if len(claimed) != 1:
        return
    wrong, name = (_MUSL, "musl") if claimed == {"glibc"} else (_GLIBC, "glibc")
    bundled = _bundled(contents)
    for binary in contents.binaries:
        for library in binary.needed if binary.format == "ELF" else ():
            if wrong.fullmatch(library) and library not in bundled:
                yield f"{binary.path} needs {library}, which is {name}'s, in a wheel for {claimed.copy().pop()}"


def unused_library(contents: Contents) -> Iterator[str]:
    """Libraries that a repair tool bundled and nothing needs."""
    binaries = [binary for binary in contents.binaries if binary.format == "ELF"]
    wanted = {library for binary in binaries for library in binary.needed}
    for binary in binaries:
        folder, _, file = binary.path.rpartition("/")
        if folder.endswith(".libs") and binary.kind == "library" and not {file, binary.name} & wanted:
            yield f"{binary.path} is needed by no other file of the wheel"


def search_path(contents: Contents) -> Iterator[str]:
    """Files that look for libraries in folders of the machine that built them."""
    for binary in contents.binaries:
        for place in binary.search if binary.format == "ELF" else ():
            if not place.startswith(("$ORIGIN", "${ORIGIN}")):
                yield f"{binary.path} looks for libraries in {place}"


def _bundled(contents: Contents) -> set[str]:
    return {entry.name.rpartition("/")[2] for entry in contents.archive.files}
