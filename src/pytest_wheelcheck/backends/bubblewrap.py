"""bubblewrap, which makes sandboxes without root: the host's, else that of its archive, fetched without root.

Source: ``bwrap(1)``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.backends import launcher
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.architectures import Architecture, host_architecture
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Bump when what is kept of the packages changes.
_GENERATION = 1

#: What every sandbox has: namespaces of its own for users, processes, the network and the rest, and no capabilities.
ISOLATED = ("--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


class NotFetchedError(RuntimeUnavailableError):
    """It could be fetched, and was not to be."""


def find(*, offline: bool = False) -> tuple[str, ...]:
    """Give the words that start bubblewrap; it was tried out.

    :param offline: fetch nothing.
    :raises RuntimeUnavailableError: there is none, or this system allows no sandboxes.
    """
    if sys.platform != "linux":
        raise RuntimeUnavailableError(
            "--wheel-sandbox: there is no sandbox on this system",
            cause="it is made by bubblewrap, which needs Linux",
            fix="leave the option out",
        )
    found = shutil.which("bwrap")
    words = (found,) if found else _fetched(offline=offline)
    _try(words)
    return words


def _fetched(*, offline: bool) -> tuple[str, ...]:
    at, source = host_architecture(), apt.host_repository()
    if at is None or source is None:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: bubblewrap is not here",
            cause="bwrap is not on PATH, and this host has no archive of Debian or Ubuntu to fetch it from",
            fix="install the package bubblewrap, or leave the option out",
        )
    key = f"bubblewrap/{source.codename}-{at.name}-{cache.digest(str(_GENERATION), source.uri, source.codename)}"
    if cache.find(key) is None and offline:
        raise NotFetchedError(
            "--wheel-sandbox: bubblewrap is neither on PATH nor in the cache, and this run is offline",
            fix="run once without --wheel-offline, or install the package bubblewrap",
        )

    def make(side: Path) -> None:
        with step(f"bubblewrap of {source.codename}", side):
            apt.fetch(source, source.codename, ["bubblewrap"], side / "root", architecture=at.debian)

    try:
        root = cache.provision(key, make) / "root"
    except ProcessError as error:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: bubblewrap cannot be fetched from the host's archive",
            cause=error.message,
            fix="install the package bubblewrap, or leave the option out",
            details=error.details,
        ) from error
    return _started_by_its_loader(root, at)


def _started_by_its_loader(root: Path, at: Architecture) -> tuple[str, ...]:
    folders = [root / each / at.multiarch for each in ("lib", "usr/lib")]
    program = root / "usr/bin/bwrap"
    return tuple(map(str, launcher.loaded(root, at, folders).argv(program, program)))


def _try(words: Sequence[str]) -> None:
    try:
        process.run([*words, *ISOLATED, "--tmpfs", "/tmp", "--", "true"], timeout=60)  # noqa: S108  the sandbox's own
    except ProcessError as error:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: no sandbox can be made here",
            cause="user namespaces are not allowed: by the profile of the container that this runs in, by AppArmor, or "
            "by a limit (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)",
            fix="allow them, or leave the option out",
            details=error.details or error.message,
        ) from error
