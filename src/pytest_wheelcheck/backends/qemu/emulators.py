"""QEMU's user-mode emulators: the host's, else those of its archive, fetched without root.

Debian builds them without a need for any library (``qemu-user-static``; ``qemu-user`` from version 9 on), so one of
any suite runs on any host of the architecture.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, apt_suites
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Versions before this one obey ``-p``: the guest's page size. Later ones accept it without effect, or refuse it.
#: Source: QEMU's ``docs/about/deprecated.rst``, «-p (since 9.0)».
PAGES_BEFORE = (9, 0)

#: Bump when what is kept of a package changes.
_GENERATION = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Qemu:
    """An emulator.

    :param path: absolute.
    :param version: major, minor.
    """

    path: Path
    version: tuple[int, int]


def find(
    architecture: Architecture,
    *,
    accepts: Callable[[tuple[int, int]], bool] = lambda version: version >= (7, 0),
    what: str = "",
    archive: apt.Repository | None = None,
    offline: bool = False,
) -> Qemu:
    """Give the emulator of an architecture: the host's where its version will do, else one from the archive.

    :param accepts: tells of a version whether it will do.
    :param what: says for people what *accepts* asks for.
    :param archive: where to fetch it from, before the host's.
    :param offline: fetch nothing.
    :raises RuntimeUnavailableError: there is none.
    """
    for name in (f"qemu-{architecture.qemu}", f"qemu-{architecture.qemu}-static"):
        if found := shutil.which(name):
            version = _version(Path(found).resolve())
            if version is not None and accepts(version):
                return Qemu(path=Path(found).resolve(), version=version)
    at = host_architecture()
    sources = [each for each in (archive, apt.host_repository()) if each is not None]
    wanted = f"a QEMU for {architecture.name}{f' {what}' if what else ''}"
    kept = _kept(architecture, accepts)
    if kept is not None:
        return kept
    if at is None or not sources:
        raise RuntimeUnavailableError(
            f"there is no {wanted.removeprefix('a ')}",
            cause="this host has none, and no archive of Debian or Ubuntu to fetch one from",
            fix=f"install QEMU's user-mode emulators, so that qemu-{architecture.qemu} is on PATH",
        )
    if offline:
        raise RuntimeUnavailableError(
            f"{wanted} is not in the cache, and this run is offline",
            fix=f"run once without --wheel-offline, or: wheelcheck runtime install {architecture.name}",
        )
    reasons = []
    for source, batch in ((each, batch) for each in sources for batch in _batches(each)):
        suites = apt_suites.query(source, at.debian, batch)
        reasons += [suite.problem for suite in suites if suite.problem]
        for suite in suites:
            for package in ("qemu-user-static", "qemu-user"):
                text = suite.packages.get(package, "")
                version = parse(text)
                if version is None or not accepts(version):
                    continue
                if package == "qemu-user" and version < PAGES_BEFORE:
                    # It needs libraries of its suite.
                    continue
                name = "qemu-user" if version >= PAGES_BEFORE and "qemu-user" in suite.packages else package
                return _provision(source, suite.codename, name, text, at, architecture)
    raise RuntimeUnavailableError(
        f"no suite of the host's archive has {wanted}",
        cause="; ".join(dict.fromkeys(reasons)),
        fix=f"install one, so that qemu-{architecture.qemu} is on PATH",
    )


def parse(text: str) -> tuple[int, int] | None:
    """Read a version: ``1:7.2+dfsg-7``, or what ``qemu-aarch64 --version`` says."""
    match = re.search(r"(?:^|:|version )(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@lru_cache(maxsize=64)
def _version(path: Path) -> tuple[int, int] | None:
    try:
        return parse(process.run([path, "--version"], timeout=30).stdout)
    except ProcessError:
        return None


def _batches(source: apt.Repository) -> tuple[tuple[str, ...], ...]:
    """Order the suites: those that were released first, the newest of them first."""
    names = source.suites
    late = tuple(name for name in names if name in {"unstable", "testing", "devel"})
    released = tuple(dict.fromkeys(name for name in names if name not in late))
    return (*((name,) for name in released), *((name,) for name in reversed(late)))


def _kept(architecture: Architecture, accepts: Callable[[tuple[int, int]], bool]) -> Qemu | None:
    """Give the newest of those that were fetched before."""
    found = []
    for mark in (cache.root() / "qemu").glob("*/.complete"):
        version = parse(mark.parent.name.partition("-")[0])
        path = mark.parent / f"qemu-{architecture.qemu}"
        if version is not None and accepts(version) and path.is_file():
            found.append(Qemu(path=path, version=version))
    return max(found, key=lambda each: each.version, default=None)


def _provision(
    source: apt.Repository, suite: str, package: str, text: str, at: Architecture, architecture: Architecture
) -> Qemu:
    version = parse(text)
    assert version is not None  # noqa: S101  the caller looked
    upstream = ".".join(map(str, version))
    key = f"qemu/{upstream}-{at.name}-{cache.digest(str(_GENERATION), suite, package, text)}"

    def make(side: Path) -> None:
        with step(f"QEMU {upstream} of {suite}", side):
            apt.fetch(source, suite, [package], side / "root", architecture=at.debian, dependencies=False)
            for each in ARCHITECTURES.values():
                programs = (side / "root/usr/bin").glob(f"qemu-{each.qemu}*")
                for program in programs:
                    if program.name in {f"qemu-{each.qemu}", f"qemu-{each.qemu}-static"} and not program.is_symlink():
                        program.rename(side / f"qemu-{each.qemu}")
                        break
            shutil.rmtree(side / "root")

    try:
        folder = cache.provision(key, make)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"QEMU {upstream} could not be fetched from {suite}", cause=error.message, details=error.details
        ) from error
    path = folder / f"qemu-{architecture.qemu}"
    if not path.is_file():
        raise RuntimeUnavailableError(f"QEMU {upstream} of {suite} has no emulator for {architecture.name}")
    return Qemu(path=path, version=version)
