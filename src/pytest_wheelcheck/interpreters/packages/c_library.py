"""C libraries of other architectures and kinds, for interpreters that come without one.

They are unpacked from a repository's packages into a root directory of their own: those of the architecture itself,
with the libraries that wheels may depend on; else the ``-cross`` packages. These are meant for cross-compilers and
belong to no architecture, so that a repository of x86-64 alone has those of other architectures, too (Debian's and
Ubuntu's ``cross-toolchain-base``).
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.system import cache, temporary
from pytest_wheelcheck.system.progress import step

#: Increase when the contents of the roots change.
_GENERATION = 2

#: The ``-cross`` packages in addition to the C library.
_CROSS = ("libstdc++6", "libgcc-s1", "libatomic1")

#: The first musl with ``preadv2``, which interpreters built for musllinux_1_2 call (musl's WHATSNEW for 1.2.5).
_MUSL_SINCE = (1, 2, 5)

#: The file that describes a cached root.
_DESCRIPTION = "c-library.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LibcPackage:
    """A package with a C library, in a repository or in the cache.

    :param architecture: as in platform tags.
    :param libc: ``glibc`` or ``musl``.
    :param version: of the C library: major, minor.
    :param package: the package's full version.
    :param cross: whether it is a ``-cross`` package: without zlib and expat.
    :param suite: the suite that has it.
    :param repository: the repository to download it from; ``None`` if it is only in the cache.
    """

    architecture: str
    libc: str
    version: tuple[int, int]
    package: str
    cross: bool
    suite: str
    repository: apt.Repository | None = None

    @property
    def key(self) -> str:
        """Its name in the cache."""
        name = f"{self.libc}-{self.architecture}-{self.suite}{'-cross' if self.cross else ''}"
        return f"roots/{name}-{cache.digest(str(_GENERATION), self.package)}"


def find(
    architecture: Architecture,
    libc: str,
    repositories: Sequence[apt.Repository],
    *,
    offline: bool = False,
    cross: bool = True,
    minimum: tuple[int, int] = (0, 0),
) -> LibcPackage | None:
    """Find a C library in the cache, else in a repository. Downloads no packages.

    :param libc: ``glibc`` or ``musl``.
    :param cross: whether to consider ``-cross`` packages.
    :param minimum: preferred minimum version. If there is no such C library, an older one is returned.
    """
    found = _find(architecture, libc, repositories, offline=offline, cross=cross, minimum=minimum)
    if found is None and minimum > (0, 0):
        return _find(architecture, libc, repositories, offline=offline, cross=cross, minimum=(0, 0))
    return found


def _find(
    architecture: Architecture,
    libc: str,
    repositories: Sequence[apt.Repository],
    *,
    offline: bool,
    cross: bool,
    minimum: tuple[int, int],
) -> LibcPackage | None:
    cached = [
        package
        for package in _cached()
        if (package.architecture, package.libc) == (architecture.name, libc)
        and package.version >= minimum
        and (cross or not package.cross)
    ]
    if cached:
        return max(cached, key=lambda package: (not package.cross, package.version))
    if offline:
        return None
    host = host_architecture()
    candidates = [
        (repository, "musl" if libc == "musl" else "libc6", architecture.debian) for repository in repositories
    ]
    if cross and libc == "glibc" and host is not None:
        candidates += [(repository, f"libc6-{architecture.debian}-cross", host.debian) for repository in repositories]
    for repository, name, package_architecture in candidates:
        oldest = max(minimum, _MUSL_SINCE) if libc == "musl" else minimum
        if suite := apt_suites.find_suite(name, repository, package_architecture, minimum=oldest):
            return LibcPackage(
                architecture=architecture.name,
                libc=libc,
                version=roots.upstream_version(suite.packages[name]),
                package=suite.packages[name],
                cross=name.endswith("-cross"),
                suite=suite.codename,
                repository=repository,
            )
    return None


def part(package: LibcPackage) -> Part:
    """Return a C library as a part of targets."""
    version = ".".join(map(str, package.version))
    return Part.of(package.key, f"{package.libc} {version} for {package.architecture} of {package.suite}")


def provide(package: LibcPackage) -> Path:
    """Return the cached root of a C library; download it first if necessary.

    :raises RuntimeUnavailableError: it cannot be downloaded.
    """

    def make(side: Path) -> None:
        version = f"{package.version[0]}.{package.version[1]}"
        with step(f"{package.libc} {version} for {package.architecture} of {package.suite}", side):
            install(package, side / "root")
            roots.tidy(side / "root", cache.path(package.key) / "root")
            if package.repository is not None:
                apt.write_origin(side, package.repository, package.suite)
            description = {
                "architecture": package.architecture,
                "libc": package.libc,
                "version": package.version,
                "package": package.package,
                "cross": package.cross,
                "suite": package.suite,
            }
            (side / _DESCRIPTION).write_text(json.dumps(description), encoding="utf-8")

    return cache.provision(package.key, make) / "root"


def install(package: LibcPackage, root: Path) -> None:
    """Download a C library, with the libraries that wheels may depend on, and unpack it into a root.

    :raises RuntimeUnavailableError: it cannot be downloaded.
    """
    if package.repository is None:
        raise RuntimeUnavailableError(f"the C library for {package.architecture} is no longer in the cache")
    architecture = ARCHITECTURES[package.architecture]
    try:
        if package.libc == "musl":
            _install_musl(package.repository, package.suite, architecture, root)
        elif package.cross:
            _install_cross(package.repository, package.suite, architecture, root)
        else:
            apt.fetch(
                package.repository,
                package.suite,
                ["libc6"],
                root,
                architecture=architecture.debian,
                optional=roots.LIBRARIES,
            )
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"the C library for {package.architecture} could not be downloaded",
            cause=error.message,
            details=error.details,
        ) from error


def musl_loader_name(architecture: str) -> str:
    """Return the file name of musl's dynamic loader (musl's ``configure``, LDSO_PATHNAME).

    :param architecture: as in platform tags.
    """
    names = {"armv7l": "armhf", "i686": "i386", "ppc64le": "powerpc64le"}
    return f"ld-musl-{names.get(architecture, architecture)}.so.1"


def _cached() -> list[LibcPackage]:
    found = []
    for file in sorted((cache.root() / "roots").glob(f"*/{_DESCRIPTION}")):
        try:
            description = json.loads(file.read_text(encoding="utf-8"))
            package = LibcPackage(**{**description, "version": tuple(description["version"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if cache.is_complete(package.key) and cache.path(package.key) == file.parent:
            found.append(package)
    return found


def _install_cross(repository: apt.Repository, suite: str, architecture: Architecture, root: Path) -> None:
    host = host_architecture()
    assert host is not None  # noqa: S101  _find() considers -cross packages for a known host only
    with temporary.directory() as unpacked:
        apt.fetch(
            repository,
            suite,
            [f"libc6-{architecture.debian}-cross"],
            unpacked,
            architecture=host.debian,
            optional=[f"{name}-{architecture.debian}-cross" for name in _CROSS],
            dependencies=False,
        )
        libraries = root / "usr/lib" / architecture.multiarch
        source = unpacked / "usr" / architecture.multiarch.replace("i386", "i686") / "lib"
        shutil.copytree(source, libraries, symlinks=True)
    # Below /usr: roots.merge() makes the links of the merged /usr.
    loader = root / "usr" / architecture.loader
    loader.parent.mkdir(parents=True, exist_ok=True)
    loader.symlink_to(os.path.relpath(libraries / loader.name, loader.parent))


def _install_musl(repository: apt.Repository, suite: str, architecture: Architecture, root: Path) -> None:
    """Install musl, and a zlib that it can load."""
    libraries = root / "usr" / "lib"
    libraries.mkdir(parents=True)
    with temporary.directory() as unpacked:
        names = ["musl", "zlib1g"]
        apt.fetch(repository, suite, names, unpacked, architecture=architecture.debian, dependencies=False)
        roots.merge(unpacked)
        (loader,) = unpacked.glob("usr/lib/*-linux-musl*/libc.so")
        shutil.copy2(loader, libraries / musl_loader_name(architecture.name))
        zlib = next(path for path in unpacked.glob("usr/lib/*-linux-gnu*/libz.so.1.*") if path.is_file())
        (libraries / "libz.so.1").write_bytes(_zlib_for_musl(zlib.read_bytes()))
    (libraries / f"libc.musl-{architecture.name}.so.1").symlink_to(musl_loader_name(architecture.name))


def _zlib_for_musl(zlib: bytes) -> bytes:
    """Make glibc's build of zlib loadable by musl.

    Of the functions that it imports from glibc, musl lacks only the checked forms of two, which zlib's ``gz`` functions
    alone call, and Python calls none of these. They are bound to ``abort``, so that a call would be noticed. musl takes
    a needed ``libc.so.6`` for itself and ignores symbol versions (``ldso/dynlink.c``, ``load_library``).
    """
    for name in (b"__snprintf_chk", b"__vsnprintf_chk"):
        zlib = zlib.replace(b"\0" + name + b"\0", b"\0abort".ljust(len(name) + 1, b"\0") + b"\0")
    # On some machines the stack protector's guard is in glibc's loader; in musl it is in the C library itself.
    return re.sub(rb"\0ld-linux-[a-z0-9-]+\.so\.\d\0", lambda match: b"\0libc.so.6".ljust(len(match[0]), b"\0"), zlib)
