"""bubblewrap, which makes sandboxes without root: the host's, else one of the host's package repository.

Source: ``bwrap(1)``.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.backends import launcher
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import Architecture, host_architecture
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Increase when the cached files of the packages change.
_GENERATION = 2

#: The arguments of every sandbox: namespaces of its own for users, processes, the network and the rest; no capabilities.
ISOLATED = ("--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc")


class NotFetchedError(RuntimeUnavailableError):
    """bubblewrap is not available offline, but can be downloaded."""


def find(*, offline: bool = False) -> tuple[str, ...]:
    """Return the argv that starts bubblewrap, after a test that it can make a sandbox.

    :param offline: download nothing.
    :raises RuntimeUnavailableError: bubblewrap is not available, or this system allows no sandboxes.
    """
    if sys.platform != "linux":
        raise RuntimeUnavailableError(
            "--wheel-sandbox: this system has no sandbox",
            cause="bubblewrap, which makes it, needs Linux",
            fix="omit the option",
        )
    installed = shutil.which("bwrap")
    argv = (installed,) if installed else _downloaded(offline=offline)
    _try(argv)
    return argv


def _downloaded(*, offline: bool) -> tuple[str, ...]:
    """Return the argv of bubblewrap in the cache; download it first if necessary."""
    host, repository = host_architecture(), apt.host_repository()
    if host is None or repository is None:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: bubblewrap is not installed",
            cause="bwrap is not on PATH, and this host has no package repository of Debian or Ubuntu to download it from",
            fix="install the package bubblewrap, or omit the option",
        )
    digest = cache.digest(str(_GENERATION), repository.uri, repository.codename)
    key = f"bubblewrap/{repository.codename}-{host.name}-{digest}"
    if cache.find(key) is None and offline:
        raise NotFetchedError(
            "--wheel-sandbox: bubblewrap is neither on PATH nor in the cache, and this run is offline",
            fix="run once without --wheel-offline, or install the package bubblewrap",
        )

    def make(side: Path) -> None:
        with step(f"bubblewrap from {repository.codename}", side):
            _fetch(repository, host, side / "root")

    try:
        root = cache.provision(key, make) / "root"
    except ProcessError as error:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: bubblewrap could not be downloaded from the host's package repository",
            cause=error.message,
            fix="install the package bubblewrap, or omit the option",
            details=error.details,
        ) from error
    return _started_by_its_loader(root, host)


def _fetch(repository: apt.Repository, host: Architecture, root: Path) -> None:
    apt.fetch(repository, repository.codename, ["bubblewrap"], root, architecture=host.debian)
    # The path of the loader begins with a link that is in none of these packages.
    roots.merge(root)


def _started_by_its_loader(root: Path, host: Architecture) -> tuple[str, ...]:
    directories = [root / name / host.multiarch for name in ("lib", "usr/lib")]
    program = root / "usr/bin/bwrap"
    return tuple(map(str, launcher.loaded(root, host, directories).argv(program, program)))


def _try(argv: Sequence[str]) -> None:
    """Make a sandbox.

    :raises RuntimeUnavailableError: that is not allowed.
    """
    try:
        process.run([*argv, *ISOLATED, "--tmpfs", "/tmp", "--", "true"], timeout=60)  # noqa: S108  the sandbox's own
    except ProcessError as error:
        raise RuntimeUnavailableError(
            "--wheel-sandbox: no sandbox can be made here",
            cause="user namespaces are not allowed, because of the profile of the container that this runs in, AppArmor, or "
            "a limit (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns)",
            fix="allow them, or omit the option",
            details=error.details or error.message,
        ) from error
