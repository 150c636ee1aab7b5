"""Explain the errors of uv."""

from __future__ import annotations

import re

from packaging.utils import canonicalize_name

from pytest_wheelcheck.errors import DISK_FULL, DependencyError, InstallError, UncheckedInstallError
from pytest_wheelcheck.system.process import CompletedProcess, describe_status

#: Pattern of uv's message → likely cause and fix, where the wheel is not the cause. The first match counts. Messages of uv 0.13.
_NOT_THE_WHEEL = (
    (r"No space left on device|Disk quota|not enough space on the disk", *DISK_FULL),
    (
        r"[Ff]ailed to initialize cache|Permission denied|Read-only file system",
        "uv cannot write to its cache or to the directory for temporary files",
        "make the directory in uv's message writable, or name another one with UV_CACHE_DIR or TMPDIR",
    ),
    (
        r"the network was disabled|was not found in the cache",
        "the run is offline, and a distribution is neither in uv's cache nor in a directory of --wheel-find-links",
        "run once without --wheel-offline to fill the cache, or give a directory with --wheel-find-links",
    ),
    (
        r"invalid peer certificate|certificate verify failed",
        "uv does not trust the certificate of the package index: an authority of your organization may have signed it",
        "set UV_SYSTEM_CERTS=true to trust the certificates of this system, or SSL_CERT_FILE to a file with the authority's",
    ),
    (
        r"error sending request|dns error|Failed to fetch|tcp connect error|operation timed out|Network unreachable",
        "the package index cannot be reached, or refuses the request",
        (
            "check network, proxy and --wheel-index, "
            "or use uv's cache (--wheel-offline) or a directory (--wheel-find-links)"
        ),
    ),
    (
        r"Failed to read `--find-links`",
        "the directory of --wheel-find-links or UV_FIND_LINKS cannot be read",
        "correct --wheel-find-links or UV_FIND_LINKS",
    ),
)

#: The same, where the wheel may be the cause.
_EXPLANATIONS = (
    (
        r"does not satisfy Python",
        "Requires-Python of the wheel, or of a dependency, excludes this interpreter",
        "correct requires-python, or the tag that admits this interpreter",
    ),
    (
        r"does not match given name|does not match filename|metadata (name|version) .* does not match",
        "the file name and METADATA have different names or versions",
        "build the wheel again; do not rename wheels",
    ),
    (
        r"has no wheels with a matching|no wheels are available|is not compatible with the current platform",
        "no wheel of the distribution has a tag that this interpreter accepts",
        "correct the tag, or build that dependency for this platform",
    ),
    (
        r"Failed to build|build backend",
        "a dependency has no wheel for this interpreter and platform and could not be built from source",
        "provide a wheel of it with --wheel-find-links, or restrict the dependency with a marker",
    ),
    (
        r"zip file|central directory|Failed to extract|Failed to read metadata|dist-info|RECORD|METADATA",
        "the wheel is damaged, or was not made by a build backend",
        "build the wheel again",
    ),
    (
        r"was not found in (the package registry|the provided package locations)",
        "a requirement names a distribution that no index or directory has",
        "correct Requires-Dist, or add its source with --wheel-index or --wheel-find-links",
    ),
    (
        r"No solution found|conflicting URLs",
        "the requirements contradict each other, or no version satisfies them",
        "relax or remove one of the requirements that uv's output names",
    ),
)


#: Messages of uv 0.13 that name a distribution without a wheel for the interpreter, and whether a build was tried.
_WITHOUT_WHEEL = (
    (r"Failed to (?:download and )?build `([\w.-]+?)(?:==[^`]*)?`", True),
    (r"hint: Wheels are required for `([\w.-]+)` because building from source is disabled", False),
    (r"([\w.-]+)(?:[=<>]+\S+)? has no wheels with a matching", False),
    (r"distribution `([\w.-]+)(?:==| @ )[^`]*` can't be installed because .* compatible", False),
)


def dependency_without_wheel(completed: CompletedProcess, own: str) -> str:
    """Return why uv failed, if a dependency has no wheel for the interpreter and platform; else an empty string.

    :param own: the name of the distribution that is to be installed. Its own wheel is no dependency.
    """
    text = output(completed)
    for pattern, built in _WITHOUT_WHEEL:
        for match in re.finditer(pattern, text):
            if canonicalize_name(match[1]) != canonicalize_name(own):
                reason = ", and could not be built from source" if built else ""
                return f"the dependency {match[1]} has no wheel for this interpreter and platform{reason}"
    return ""


def is_conflict(completed: CompletedProcess) -> bool:
    """Return whether uv failed because requirements contradict each other, not because something is broken."""
    stderr = completed.stderr
    return (
        completed.returncode != 0
        and ("No solution found" in stderr or "conflicting URLs for package" in stderr)
        and "was not found in" not in stderr
        and "the network was disabled" not in stderr
    )


def install_error(what: str, completed: CompletedProcess, *, own: str = "") -> InstallError:
    """Return the error for a failed call of uv, with uv's output, the likely cause and the fix.

    :param what: what failed, one sentence.
    :param completed: the result of the call.
    :param own: the name of the wheel's distribution, if a wheel was to be installed; see :class:`.DependencyError`.
    """
    details = output(completed)
    if own and (reason := dependency_without_wheel(completed, own)):
        return DependencyError(
            f"could not be checked: {what}",
            cause=reason,
            fix="choose another interpreter with --wheel-python, give a wheel of the dependency with --wheel-find-links, or "
            "restrict the dependency with a marker if it is not for this platform",
            details=details,
        )
    for pattern, cause, advice in _NOT_THE_WHEEL:
        if re.search(pattern, details):
            return UncheckedInstallError(f"could not be checked: {what}", cause=cause, fix=advice, details=details)
    for pattern, cause, advice in _EXPLANATIONS:
        if re.search(pattern, details):
            return InstallError(what, cause=cause, fix=advice, details=details)
    status = describe_status(completed.returncode)
    return InstallError(what, cause=f"uv ended with {status}", details=details or "uv printed nothing")


def output(completed: CompletedProcess) -> str:
    """Return uv's messages, without its line about the interpreter that it uses."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    return "\n".join(line for line in lines if not re.match(r"Using (C?Python|PyPy|Python) .* (at|environment)", line))
