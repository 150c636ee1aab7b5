"""C libraries of other architectures and kinds, for interpreters that come without one.

Packages of an archive, laid into a root of their own: those of the architecture itself, with what wheels may lean on;
else the ``-cross`` packages, which are there for cross-compilers and belong to no architecture, so that an archive of
x86-64 alone has those of others, too (Debian's and Ubuntu's ``cross-toolchain-base``).
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
from pytest_wheelcheck.interpreters import apt, debian
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture
from pytest_wheelcheck.system import cache, temporary
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the roots are made changes.
_GENERATION = 2

#: Of the ``-cross`` packages, what comes beside the C library.
_CROSS = ("libstdc++6", "libgcc-s1", "libatomic1")

#: The first musl with ``preadv2``, which interpreters built for musllinux_1_2 call (musl's WHATSNEW for 1.2.5).
_MUSL_SINCE = (1, 2, 5)

#: The file that says what a root is.
_ORIGIN = "c-library.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class LibcPackage:
    """A C library that can be had, or was.

    :param architecture: as in platform tags.
    :param libc: ``glibc`` or ``musl``.
    :param version: major, minor.
    :param package: the package's whole version.
    :param cross: whether it is from the ``-cross`` packages: without zlib and expat.
    :param repository: where it is fetched from; ``None`` for what is in the cache only.
    :param suite: the suite there.
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
    archives: Sequence[apt.Repository],
    *,
    offline: bool = False,
    cross: bool = True,
    minimum: tuple[int, int] = (0, 0),
) -> LibcPackage | None:
    """Find a C library: one that is in the cache, else one of an archive; nothing is fetched.

    :param libc: ``glibc`` or ``musl``.
    :param cross: whether the ``-cross`` packages will do.
    :param minimum: the oldest version that is of use; where there is none, an older one is given.
    """
    found = _find(architecture, libc, archives, offline=offline, cross=cross, minimum=minimum)
    if found is None and minimum > (0, 0):
        return _find(architecture, libc, archives, offline=offline, cross=cross, minimum=(0, 0))
    return found


def _find(
    architecture: Architecture,
    libc: str,
    archives: Sequence[apt.Repository],
    *,
    offline: bool,
    cross: bool,
    minimum: tuple[int, int],
) -> LibcPackage | None:
    kept = [each for each in _kept() if (each.architecture, each.libc) == (architecture.name, libc)]
    kept = [each for each in kept if each.version >= minimum and (cross or not each.cross)]
    if kept:
        return max(kept, key=lambda each: (not each.cross, each.version))
    if offline:
        return None
    at = host_architecture()
    ways = [(archive, "musl" if libc == "musl" else "libc6", architecture.debian) for archive in archives]
    if cross and libc == "glibc" and at is not None:
        ways += [(archive, f"libc6-{architecture.debian}-cross", at.debian) for archive in archives]
    for archive, name, asked in ways:
        oldest = max(minimum, _MUSL_SINCE) if libc == "musl" else minimum
        if suite := debian.suite_with(name, archive, asked, least=oldest):
            return LibcPackage(
                architecture=architecture.name,
                libc=libc,
                version=debian.apt_version(suite.packages[name]),
                package=suite.packages[name],
                cross=name.endswith("-cross"),
                suite=suite.codename,
                repository=archive,
            )
    return None


def provide(found: LibcPackage) -> Path:
    """Give the root of a C library, made if need be.

    :raises RuntimeUnavailableError: it cannot be fetched.
    """

    def make(side: Path) -> None:
        what = f"{found.libc} {found.version[0]}.{found.version[1]} for {found.architecture} of {found.suite}"
        with step(what, side):
            install(found, side / "root")
            debian.tidy(side / "root", cache.path(found.key) / "root")
            if found.repository is not None:
                apt.write_origin(side, found.repository, found.suite)
            (side / _ORIGIN).write_text(
                json.dumps(
                    {
                        "architecture": found.architecture,
                        "libc": found.libc,
                        "version": found.version,
                        "package": found.package,
                        "cross": found.cross,
                        "suite": found.suite,
                    }
                ),
                encoding="utf-8",
            )

    return cache.provision(found.key, make) / "root"


def install(found: LibcPackage, root: Path) -> None:
    """Lay a C library and its kin into a root.

    :raises RuntimeUnavailableError: it cannot be fetched.
    """
    if found.repository is None:
        raise RuntimeUnavailableError(f"the C library for {found.architecture} is not in the cache any longer")
    architecture = ARCHITECTURES[found.architecture]
    try:
        if found.libc == "musl":
            _lay_musl(found.repository, found.suite, architecture, root)
        elif found.cross:
            _lay_cross(found, architecture, root)
        else:
            apt.fetch(
                found.repository,
                found.suite,
                ["libc6"],
                root,
                architecture=architecture.debian,
                optional=debian.LIBRARIES,
            )
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"the C library for {found.architecture} could not be fetched", cause=error.message, details=error.details
        ) from error


def musl_loader_name(architecture: str) -> str:
    """Name musl's loader (musl's ``configure``, LDSO_PATHNAME).

    :param architecture: as in platform tags.
    """
    return f"ld-musl-{ {'armv7l': 'armhf', 'i686': 'i386', 'ppc64le': 'powerpc64le'}.get(architecture, architecture) }.so.1"


def _kept() -> list[LibcPackage]:
    found = []
    for file in sorted((cache.root() / "roots").glob(f"*/{_ORIGIN}")):
        try:
            told = json.loads(file.read_text(encoding="utf-8"))
            each = LibcPackage(**{**told, "version": tuple(told["version"])})
        except (OSError, ValueError, KeyError, TypeError):
            continue
        if cache.is_complete(each.key) and cache.path(each.key) == file.parent:
            found.append(each)
    return found


def _lay_cross(found: LibcPackage, architecture: Architecture, root: Path) -> None:
    at = host_architecture()
    assert found.repository is not None  # noqa: S101  the caller looked
    assert at is not None  # noqa: S101  it was found for this host
    with temporary.directory() as apart:
        names = [f"{name}-{architecture.debian}-cross" for name in _CROSS]
        apt.fetch(
            found.repository,
            found.suite,
            [f"libc6-{architecture.debian}-cross"],
            apart,
            architecture=at.debian,
            optional=names,
            dependencies=False,
        )
        libraries = root / "usr/lib" / architecture.multiarch
        shutil.copytree(
            apart / "usr" / architecture.multiarch.replace("i386", "i686") / "lib", libraries, symlinks=True
        )
    # Where /usr is merged, which :func:`.debian.merge` does.
    loader = root / "usr" / architecture.loader
    loader.parent.mkdir(parents=True, exist_ok=True)
    loader.symlink_to(os.path.relpath(libraries / loader.name, loader.parent))


def _lay_musl(archive: apt.Repository, suite: str, architecture: Architecture, root: Path) -> None:
    """Lay musl's C library, and a zlib that it can load."""
    folder = root / "usr" / "lib"
    folder.mkdir(parents=True)
    with temporary.directory() as apart:
        names = ["musl", "zlib1g"]
        apt.fetch(archive, suite, names, apart, architecture=architecture.debian, dependencies=False)
        debian.merge(apart)
        (loader,) = apart.glob("usr/lib/*-linux-musl*/libc.so")
        shutil.copy2(loader, folder / musl_loader_name(architecture.name))
        zlib = next(path for path in apart.glob("usr/lib/*-linux-gnu*/libz.so.1.*") if path.is_file())
        (folder / "libz.so.1").write_bytes(_for_musl(zlib.read_bytes()))
    (folder / f"libc.musl-{architecture.name}.so.1").symlink_to(musl_loader_name(architecture.name))


def _for_musl(zlib: bytes) -> bytes:
    """Make glibc's build of zlib loadable by musl.

    Of what it asks glibc for, musl lacks only the checked forms of two functions, which zlib uses in its ``gz``
    functions alone; Python calls none of them. They are bound to ``abort``, so that a call could not go unnoticed.
    musl takes a needed ``libc.so.6`` for itself and ignores symbol versions (``ldso/dynlink.c``, ``load_library``).
    """
    for name in (b"__snprintf_chk", b"__vsnprintf_chk"):
        zlib = zlib.replace(b"\0" + name + b"\0", b"\0abort".ljust(len(name) + 1, b"\0") + b"\0")
    # On some machines the guard of the stack is glibc's loader's; musl has it in the one library there is.
    return re.sub(rb"\0ld-linux-[a-z0-9-]+\.so\.\d\0", lambda found: b"\0libc.so.6".ljust(len(found[0]), b"\0"), zlib)
