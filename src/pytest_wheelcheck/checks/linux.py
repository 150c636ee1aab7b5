"""WHL3xx: Linux tags. auditwheel analyzes the files; these checks compare the result with the tags."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator, Mapping, Sequence

from pytest_wheelcheck.checks import dependency_libraries
from pytest_wheelcheck.checks.check import Consequence, Message, Reasoned, limit_messages
from pytest_wheelcheck.checks.contents import Contents
from pytest_wheelcheck.checks.elf_loading import ORIGIN, needs_met_by_loading
from pytest_wheelcheck.checks.policies import Policy, PolicyAnalysis, libc_and_architecture
from pytest_wheelcheck.errors import WheelError
from pytest_wheelcheck.wheels.binary import MAX_VERSION_SYMBOLS, Binary

#: Indexes accept these two bare tags, for Raspberry Pi OS.
_ACCEPTED_BARE_TAGS = frozenset({"linux_armv6l", "linux_armv7l"})
#: Directories in which every user may create others (Filesystem Hierarchy Standard, 3.18 and 5.15; shm_overview(7)).
_WORLD_WRITABLE = ("/tmp", "/var/tmp", "/dev/shm")  # noqa: S108
#: Names of each C library in DT_NEEDED.
GLIBC_LIBRARY = re.compile(r"libc\.so\.6(\.1)?")
_MUSL_LIBRARY = re.compile(r"libc\.musl-\w+\.so\.1|libc\.so")
#: Either, and their loaders.
C_LIBRARY = re.compile(rf"({GLIBC_LIBRARY.pattern}|{_MUSL_LIBRARY.pattern}|ld-(linux|musl)[\w.-]*|ld64\.so\.\d)$")
#: Why WHL301 matters, if symbols are too new.
_OLDER_SYSTEMS = 'On the older systems that the tag includes, the import fails with "version `GLIBC_…\' not found".'
#: How auditwheel refuses a wheel without a file for the C library of the tag, as if the wheel had no file at all.
_NO_FILE = "This does not look like a platform wheel"
#: Reasons why a policy is not met.
_NOT_BUNDLED = "which is neither allowed nor bundled"
_INSTRUCTIONS = "a file needs CPU instructions that the tag does not guarantee (such as x86-64-v3)"


def bare_tag(contents: Contents) -> Iterator[str]:
    """Find tags that do not name a C library, and that indexes refuse."""
    for platform in contents.wheel.platforms:
        if platform.startswith("linux_") and platform not in _ACCEPTED_BARE_TAGS:
            yield f"{platform} does not say which systems the wheel runs on"


def bare_arm_tag(contents: Contents) -> Iterator[str]:
    """Find tags that do not name a C library, but that indexes accept."""
    for platform in contents.wheel.platforms:
        if platform in _ACCEPTED_BARE_TAGS:
            yield f"{platform} does not say which systems the wheel runs on"


def policy(contents: Contents) -> Iterator[Message]:
    """Find tags whose policy the files do not meet."""
    files = [binary for binary in contents.binaries if binary.format == "ELF"]
    # auditwheel has no limits of its own and crashes on files that our reader could not read, so it is not run.
    if unreadable := [binary for binary in files if binary.error]:
        raise WheelError(f"auditwheel was not run: {unreadable[0].path} cannot be read: {unreadable[0].error}")
    analyses = {(analysis.libc, analysis.architecture): analysis for analysis in contents.policy_analyses}
    brought = dependency_libraries.find(contents, files)
    external: set[str] = set()
    for platform in contents.wheel.platforms:
        parts = libc_and_architecture(platform)
        if parts is None:
            continue
        analysis = analyses[parts]
        if analysis.unavailable:
            machines = sorted({binary.machine for binary in files})
            if machines and analysis.architecture not in machines:
                yield Consequence(f"{platform} cannot be checked: all files are for {', '.join(machines)}", of="WHL605")
            elif files and analysis.unavailable.startswith(_NO_FILE):
                text = f"{platform} cannot be checked: auditwheel finds no library or program for {analysis.libc} in the wheel"
                yield Consequence(text, of="WHL304" if any(c_library(contents)) else "WHL603")
            elif files:
                yield f"{platform} cannot be checked: {analysis.unavailable}"
        else:
            claimed = find_policy(analysis, platform)
            external.update(library for _, library in (claimed.libraries if claimed else ()))
            if reasons := unmet_requirements(analysis, platform, files, contents.installed_paths, brought):
                text = "; ".join(limit_messages(reasons))
                yield Reasoned(
                    f"the files meet only {analysis.best}, not {platform}: {text}", " ".join(_consequences(reasons))
                )
    yield from dependency_libraries.advice(brought, external.intersection(brought))


def unmet_requirements(
    analysis: PolicyAnalysis,
    platform: str,
    files: Sequence[Binary],
    paths: Mapping[str, str],
    brought: Container[str] = (),
) -> list[str]:
    """Return the reasons why the files do not meet the policy of a platform tag; none if they meet it.

    :param files: all ELF files of the wheel.
    :param paths: their paths below site-packages, by their names.
    :param brought: libraries that a dependency of the wheel brings.
    """
    claimed = find_policy(analysis, platform)
    if claimed is None:
        return ["auditwheel has no policy for this tag"]
    # auditwheel finds needed versions through the section headers, which a file does not have to have. Our reader
    # works like the loader.
    refused = [
        (binary, library, version)
        for binary in files
        for library, version in binary.versions
        if binary.machine == analysis.architecture and not allows(claimed, platform, version)
    ]
    # The highest one decides which systems the wheel runs on.
    refused.sort(key=lambda entry: _version_order(entry[2]), reverse=True)
    reasons = [_version_reason(*entry) for entry in refused]
    best = analysis.policy(analysis.best)
    if best.priority >= claimed.priority or (analysis.libc == "musl" and best.priority):
        # musl's symbols have no versions: auditwheel can only tell whether a wheel is musllinux at all.
        return reasons
    # auditwheel resolves the needs of each file alone.
    same_machine = [binary for binary in files if binary.machine == analysis.architecture]
    met = needs_met_by_loading(same_machine, paths, analysis.libc).intersection(claimed.libraries)
    met |= {(file, library) for file, library in claimed.libraries if library in brought}
    reasons += [
        f"{file} needs {library}, {_NOT_BUNDLED}" for file, library in claimed.libraries if (file, library) not in met
    ]
    reasons += [f"the tag does not allow the symbol {symbol} of {library}" for library, symbol in claimed.symbols]
    if analysis.policy(analysis.best_for_instructions).priority < claimed.priority:
        reasons.append(_INSTRUCTIONS)
    is_listed = any(platform in {policy.name, *policy.aliases} for policy in analysis.policies)
    return reasons or (["auditwheel gives no reason"] if is_listed and not met else [])


def _consequences(reasons: Sequence[str]) -> Iterator[str]:
    """Yield what happens to users, a sentence for each kind of reason."""
    libraries = [reason for reason in reasons if reason.endswith(_NOT_BUNDLED)]
    if len(reasons) > len(libraries) + reasons.count(_INSTRUCTIONS):
        yield _OLDER_SYSTEMS
    if libraries:
        yield 'On systems without the library, the import fails with "cannot open shared object file".'
    if _INSTRUCTIONS in reasons:
        yield "On older processors, the loader refuses the file, or an illegal instruction ends the process."


def find_policy(analysis: PolicyAnalysis, platform: str) -> Policy | None:
    """Return the policy of a platform tag; for a version that auditwheel does not list, the next stricter one."""
    for candidate in analysis.policies:
        if platform in {candidate.name, *candidate.aliases}:
            return candidate
    if analysis.libc == "musl":
        # auditwheel lists only one version. The others allow the same libraries.
        return max(analysis.policies, key=lambda candidate: candidate.priority)
    tag_version = glibc_version(platform)
    stricter = [
        (version, candidate)
        for candidate in analysis.policies
        if (version := glibc_version(candidate.name)) is not None and tag_version is not None and version <= tag_version
    ]
    return max(stricter, key=lambda pair: pair[0])[1] if stricter else None


def glibc_version(platform: str) -> tuple[int, int] | None:
    """Return the glibc version of a PEP 600 tag; ``None`` for any other tag."""
    match = re.match(r"manylinux_(\d+)_(\d+)_", platform)
    return None if match is None else (int(match[1]), int(match[2]))


def _version_order(version: str) -> tuple[bool, str, tuple[int, ...]]:
    """Return the order of a symbol version: glibc's own first, then by number."""
    prefix, _, number = version.partition("_")
    return prefix == "GLIBC", prefix, tuple(int(part) for part in number.split(".") if part.isdecimal())


def _version_reason(binary: Binary, library: str, version: str) -> str:
    names = dict(binary.version_symbols).get((library, version), ())
    shown = ", ".join(names[: MAX_VERSION_SYMBOLS - 1]) + (" and others" if len(names) >= MAX_VERSION_SYMBOLS else "")
    return f"{binary.path} needs {version} of {library}{f' (for {shown})' if shown else ''}"


def allows(policy: Policy, platform: str, version: str) -> bool:
    """Whether a policy allows a symbol version. Prefixes that it does not name belong to other libraries.

    :param version: such as ``GLIBC_2.17``.
    """
    prefix, _, number = version.partition("_")
    if prefix not in policy.versions or version in policy.versions[prefix]:
        return True
    tag_version = glibc_version(platform)
    match = re.fullmatch(r"(\d+)\.(\d+)(?:\.\d+)?", number)
    if prefix != "GLIBC" or tag_version is None or match is None:
        return False
    return (int(match[1]), int(match[2])) <= tag_version


def c_library(contents: Contents) -> Iterator[str]:
    """Find files linked against another C library than the tag's."""
    libcs = {parts[0] for platform in contents.wheel.platforms if (parts := libc_and_architecture(platform))}
    if len(libcs) != 1:
        return
    (libc,) = libcs
    other, pattern = ("musl", _MUSL_LIBRARY) if libc == "glibc" else ("glibc", GLIBC_LIBRARY)
    for binary in contents.binaries:
        for library in binary.needed if binary.format == "ELF" else ():
            if pattern.fullmatch(library) and library not in contents.file_names:
                yield f"{binary.path} needs {library} of {other}, but the tag is for {libc}"


def unused_library(contents: Contents) -> Iterator[str]:
    """Find libraries that a repair tool bundled and that no file needs."""
    binaries = [binary for binary in contents.binaries if binary.format == "ELF"]
    needed = {library for binary in binaries for library in binary.needed}
    for binary in binaries:
        directory, _, filename = binary.path.rpartition("/")
        if directory.endswith(".libs") and binary.kind == "library" and not {filename, binary.name} & needed:
            yield f"{binary.path} is not needed by any other file of the wheel"


def search_path(contents: Contents) -> Iterator[str]:
    """Find files that search for libraries in directories of the machine that built them."""
    for binary, directory in _search_paths(contents):
        if not ORIGIN.match(directory) and not _who_may_write(directory):
            yield f"{binary.path} searches for libraries in {directory}"


def unsafe_search_path(contents: Contents) -> Iterator[str]:
    """Find files that load libraries from where anyone may put them."""
    for binary, directory in _search_paths(contents):
        if not ORIGIN.match(directory) and (reason := _who_may_write(directory)):
            yield f"{binary.path} searches for libraries in {directory or 'an empty path'}, {reason}"


def _search_paths(contents: Contents) -> Iterator[tuple[Binary, str]]:
    for binary in contents.readable_binaries("ELF"):
        for directory in binary.search_paths:
            yield binary, directory


def _who_may_write(directory: str) -> str:
    """Return why a directory is not safe to load libraries from; an empty string if nothing is known."""
    if not directory.startswith("/"):
        return "which is the working directory" if not directory else "which depends on the working directory"
    # normpath keeps two slashes at the beginning.
    path = "/" + posixpath.normpath(directory).lstrip("/")
    for writable in _WORLD_WRITABLE:
        if path == writable or path.startswith(f"{writable}/"):
            return f"and everyone may write to {writable}"
    return ""
