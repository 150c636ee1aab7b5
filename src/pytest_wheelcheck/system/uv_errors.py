"""Explain the errors of uv."""

from __future__ import annotations

import re

from pytest_wheelcheck.errors import InstallError
from pytest_wheelcheck.system.process import CompletedProcess, describe_status

#: Pattern of uv's message → likely cause and fix. The first match counts. Messages of uv 0.13.
_EXPLANATIONS = (
    (
        r"the network was disabled|was not found in the cache",
        "offline, packages come only from uv's cache and from --wheel-find-links, and one is in neither",
        "run once without --wheel-offline to fill the cache, or give a directory with --wheel-find-links",
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
        "a directory that distributions should come from cannot be read",
        "correct --wheel-find-links or UV_FIND_LINKS",
    ),
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
        "build it again",
    ),
    (
        r"was not found in (the package registry|the provided package locations)",
        "a requirement names a distribution that no index or directory has",
        "correct Requires-Dist, or add its source with --wheel-index or --wheel-find-links",
    ),
    (
        r"No solution found|conflicting URLs",
        "the requirements contradict each other, or no version satisfies them",
        "correct the requirements",
    ),
)


def is_conflict(completed: CompletedProcess) -> bool:
    """Return whether uv failed because requirements contradict each other, not because something is broken."""
    stderr = completed.stderr
    return (
        completed.returncode != 0
        and ("No solution found" in stderr or "conflicting URLs for package" in stderr)
        and "was not found in" not in stderr
        and "the network was disabled" not in stderr
    )


def install_error(what: str, completed: CompletedProcess) -> InstallError:
    """Return the error for a failed call of uv, with uv's output, the likely cause and the fix.

    :param what: what failed, one sentence.
    :param completed: the result of the call.
    """
    details = output(completed)
    for pattern, cause, advice in _EXPLANATIONS:
        if re.search(pattern, details):
            return InstallError(what, cause=cause, fix=advice, details=details)
    status = describe_status(completed.returncode)
    return InstallError(what, cause=f"uv ended with {status}", details=details or "uv printed nothing")


def output(completed: CompletedProcess) -> str:
    """Return uv's messages, without its line about the interpreter that it uses."""
    lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()
    return "\n".join(line for line in lines if not re.match(r"Using (C?Python|PyPy|Python) .* (at|environment)", line))
