"""QEMU's user-mode emulators: the host's, else those of a package repository, downloaded without root.

Debian links them statically (package ``qemu-user-static``; since version 9.0 also ``qemu-user``), so a package of any suite
runs on any host of its architecture.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: QEMU's names of architectures: its emulators are ``qemu-NAME`` (QEMU's ``configs/targets/*-linux-user.mak``).
_NAMES = {
    "x86_64": "x86_64",
    "aarch64": "aarch64",
    "armv7l": "arm",
    "i686": "i386",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}

#: The first version that is used without a further requirement.
_OLDEST = (7, 0)

#: Versions before this one obey ``-p``, the page size that programs see. Later ones ignore it, or refuse it.
#: Source: QEMU's ``docs/about/deprecated.rst``, "-p (since 9.0)".
PAGE_SIZE_BEFORE = (9, 0)

#: The first version whose Debian package ``qemu-user`` is linked statically.
_STATIC_SINCE = (9, 0)

#: Increase when the cached files of a package change.
_GENERATION = 1

#: Decides whether a version of QEMU, (major, minor), is suitable.
Accepts = Callable[[tuple[int, int]], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Emulator:
    """An emulator for the programs of one architecture.

    :param path: absolute.
    :param version: of QEMU: major, minor.
    """

    path: Path
    version: tuple[int, int]


def program_name(architecture: Architecture) -> str:
    """Return the file name of the emulator for an architecture, such as ``qemu-aarch64``."""
    return f"qemu-{_NAMES[architecture.name]}"


def find(
    architecture: Architecture,
    *,
    accepts: Accepts = lambda version: version >= _OLDEST,
    requirement: str = "",
    repository: apt.Repository | None = None,
    offline: bool = False,
) -> Emulator:
    """Find an emulator on the host or in the cache, else download one.

    :param accepts: decides whether a version is suitable.
    :param requirement: the requirement of *accepts* for messages, such as ``with the model cortex-a72``.
    :param repository: the repository to download from before the host's.
    :param offline: download nothing.
    :raises RuntimeUnavailableError: there is no suitable emulator.
    """
    emulator = _installed(architecture, accepts) or _cached(architecture, accepts)
    if emulator is not None:
        return emulator
    program = program_name(architecture)
    wanted = f"QEMU for {architecture.name}{f' {requirement}' if requirement else ''}"
    host = host_architecture()
    repositories = [source for source in (repository, apt.host_repository()) if source is not None]
    if host is None or not repositories:
        raise RuntimeUnavailableError(
            f"no {wanted} is installed",
            cause="it cannot be downloaded either, because this host has no package repository of Debian or Ubuntu",
            fix=f"install QEMU's user-mode emulators, so that {program} is on PATH",
        )
    if offline:
        raise RuntimeUnavailableError(
            f"no {wanted} is in the cache, and this run is offline",
            fix=f"run once without --wheel-offline, or run: wheelcheck runtime install {architecture.name}",
        )
    problems: dict[str, None] = {}
    for source in repositories:
        for names in _batches(source):
            for suite in apt_suites.query(source, host.debian, names):
                if suite.problem:
                    problems[suite.problem] = None
                for package, full_version in _suitable_packages(suite, accepts):
                    return _provision(source, suite.codename, package, full_version, host, architecture)
    raise RuntimeUnavailableError(
        f"no package repository has a {wanted}",
        cause="; ".join(problems),
        fix=f"install one, so that {program} is on PATH",
    )


def _installed(architecture: Architecture, accepts: Accepts) -> Emulator | None:
    """Return the suitable emulator on ``PATH``."""
    for name in (program_name(architecture), f"{program_name(architecture)}-static"):
        if found := shutil.which(name):
            path = Path(found).resolve()
            version = _version(path)
            if version is not None and accepts(version):
                return Emulator(path=path, version=version)
    return None


def _cached(architecture: Architecture, accepts: Accepts) -> Emulator | None:
    """Return the newest suitable emulator in the cache."""
    emulators = []
    for mark in (cache.root() / "qemu").glob("*/.complete"):
        version = parse_version(mark.parent.name.partition("-")[0])
        path = mark.parent / program_name(architecture)
        if version is not None and accepts(version) and path.is_file():
            emulators.append(Emulator(path=path, version=version))
    return max(emulators, key=lambda emulator: emulator.version, default=None)


def parse_version(text: str) -> tuple[int, int] | None:
    """Read major and minor version from a package's version (``1:7.2+dfsg-7``) or the output of ``qemu-aarch64 --version``.

    :returns: ``None`` if the text contains no version.
    """
    match = re.search(r"(?:^|:|version )(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


@lru_cache(maxsize=64)
def _version(path: Path) -> tuple[int, int] | None:
    try:
        return parse_version(process.run([path, "--version"], timeout=30).stdout)
    except ProcessError:
        return None


def _batches(repository: apt.Repository) -> tuple[tuple[str, ...], ...]:
    """Order the suites: the released ones, the newest first, then those in development."""
    names = repository.suites
    unreleased = tuple(name for name in names if name in {"unstable", "testing", "devel"})
    released = tuple(dict.fromkeys(name for name in names if name not in unreleased))
    return (*((name,) for name in released), *((name,) for name in reversed(unreleased)))


def _suitable_packages(suite: apt_suites.Suite, accepts: Accepts) -> Iterator[tuple[str, str]]:
    """Yield the packages of a suite with a suitable and statically linked QEMU: the name, and the package's version."""
    for package in ("qemu-user-static", "qemu-user"):
        full_version = suite.packages.get(package, "")
        version = parse_version(full_version)
        if version is None or not accepts(version) or (package == "qemu-user" and version < _STATIC_SINCE):
            continue
        # Since then, qemu-user-static contains only links to the files of qemu-user.
        yield "qemu-user" if version >= _STATIC_SINCE and "qemu-user" in suite.packages else package, full_version


def _provision(
    repository: apt.Repository,
    suite: str,
    package: str,
    full_version: str,
    host: Architecture,
    architecture: Architecture,
) -> Emulator:
    """Download a package, and return its emulator for *architecture*.

    :param full_version: of the package (``deb-version(7)``).
    :raises RuntimeUnavailableError: the package cannot be downloaded, or lacks the emulator.
    """
    version = parse_version(full_version)
    assert version is not None  # noqa: S101  see _suitable_packages()
    upstream = ".".join(map(str, version))
    key = f"qemu/{upstream}-{host.name}-{cache.digest(str(_GENERATION), suite, package, full_version)}"

    def make(side: Path) -> None:
        with step(f"QEMU {upstream} of {suite}", side):
            apt.fetch(repository, suite, [package], side / "root", architecture=host.debian, dependencies=False)
            for name in map(program_name, ARCHITECTURES.values()):
                for program in (side / "root/usr/bin").glob(f"{name}*"):
                    if program.name in {name, f"{name}-static"} and not program.is_symlink():
                        program.rename(side / name)
                        break
            shutil.rmtree(side / "root")

    try:
        directory = cache.provision(key, make)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"QEMU {upstream} could not be downloaded from {suite}", cause=error.message, details=error.details
        ) from error
    path = directory / program_name(architecture)
    if not path.is_file():
        raise RuntimeUnavailableError(f"QEMU {upstream} of {suite} has no emulator for {architecture.name}")
    return Emulator(path=path, version=version)
