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
from pytest_wheelcheck.interpreters.parts import Part
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
class _Package:
    """A package with emulators.

    :param name: of the package.
    :param version: of the package (``deb-version(7)``).
    :param host: the architecture that the emulators run on.
    """

    repository: apt.Repository
    suite: str
    name: str
    version: str
    host: Architecture

    @property
    def qemu(self) -> tuple[int, int]:
        """The version of QEMU: major, minor."""
        version = parse_version(self.version)
        assert version is not None  # noqa: S101  see _suitable_packages()
        return version

    @property
    def description(self) -> str:
        """``QEMU 7.2 of bookworm``."""
        return f"QEMU {'.'.join(map(str, self.qemu))} of {self.suite}"

    @property
    def key(self) -> str:
        """Its name in the cache."""
        digest = cache.digest(str(_GENERATION), self.suite, self.name, self.version)
        return f"qemu/{'.'.join(map(str, self.qemu))}-{self.host.name}-{digest}"


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
    found = _locate(architecture, accepts, requirement, repository, offline=offline)
    return found if isinstance(found, Emulator) else _provision(found, architecture)


def parts(
    architecture: Architecture,
    *,
    accepts: Accepts = lambda version: version >= _OLDEST,
    requirement: str = "",
    repository: apt.Repository | None = None,
    offline: bool = False,
) -> tuple[Part, ...]:
    """Return what :func:`find` downloads, or has downloaded before. Downloads nothing.

    :raises RuntimeUnavailableError: there is no suitable emulator.
    """
    found = _locate(architecture, accepts, requirement, repository, offline=offline)
    if isinstance(found, _Package):
        return (Part.of(found.key, found.description),)
    if not found.path.is_relative_to(cache.root()):
        return ()
    return (Part.of(f"qemu/{found.path.parent.name}", f"QEMU {'.'.join(map(str, found.version))}"),)


def _locate(
    architecture: Architecture,
    accepts: Accepts,
    requirement: str,
    repository: apt.Repository | None,
    *,
    offline: bool,
) -> Emulator | _Package:
    """Find an emulator on the host or in the cache, else a package to download.

    :raises RuntimeUnavailableError: there is none.
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
                    return _Package(
                        repository=source, suite=suite.codename, name=package, version=full_version, host=host
                    )
    answered = all(problem.startswith(apt_suites.NO_ARCHITECTURE) for problem in problems)
    raise RuntimeUnavailableError(
        f"no package repository has a {wanted}"
        if answered
        else f"no {wanted} is installed, and none can be downloaded",
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


def _provision(package: _Package, architecture: Architecture) -> Emulator:
    """Download a package, and return its emulator for *architecture*.

    :raises RuntimeUnavailableError: the package cannot be downloaded, or lacks the emulator.
    """

    def make(side: Path) -> None:
        with step(package.description, side):
            apt.fetch(
                package.repository,
                package.suite,
                [package.name],
                side / "root",
                architecture=package.host.debian,
                dependencies=False,
            )
            for name in map(program_name, ARCHITECTURES.values()):
                for program in (side / "root/usr/bin").glob(f"{name}*"):
                    if program.name in {name, f"{name}-static"} and not program.is_symlink():
                        program.rename(side / name)
                        break
            shutil.rmtree(side / "root")

    try:
        directory = cache.provision(package.key, make)
    except ProcessError as error:
        upstream = ".".join(map(str, package.qemu))
        raise RuntimeUnavailableError(
            f"QEMU {upstream} could not be downloaded from {package.suite}",
            cause=error.message,
            details=error.details,
        ) from error
    path = directory / program_name(architecture)
    if not path.is_file():
        raise RuntimeUnavailableError(f"{package.description} has no emulator for {architecture.name}")
    return Emulator(path=path, version=package.qemu)
