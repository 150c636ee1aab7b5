"""Wine itself: the host's own, or one that is unpacked from packages of the host's archive into the cache."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from pytest_wheelcheck.backends.wine import packages, wow64
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.system import cache, process

#: Names under which Wine may be installed.
_PROGRAMS = ("wine64", "wine", "/usr/lib/wine/wine64")

#: Directories of Wine's own libraries for Windows programs, on common distributions.
_LIBRARIES = (
    "/usr/lib/x86_64-linux-gnu/wine/x86_64-windows",
    "/usr/lib/wine/x86_64-windows",
    "/usr/lib64/wine/x86_64-windows",
    "/opt/wine-stable/lib64/wine/x86_64-windows",
    "/opt/wine-devel/lib64/wine/x86_64-windows",
)

#: Directories of those for 32-bit programs, if they are not next to the others.
_LIBRARIES_32 = (
    "/usr/lib/i386-linux-gnu/wine/i386-windows",
    "/usr/lib/wine/i386-windows",
    "/usr/lib32/wine/i386-windows",
    "/opt/wine-stable/lib/wine/i386-windows",
    "/opt/wine-devel/lib/wine/i386-windows",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Wine:
    """A Wine that can run programs.

    :param program: starts a Windows program.
    :param version: human-readable.
    :param libraries: directory of the Linux libraries that *program* needs; ``None`` if it uses those of the system.
    :param fonts: the configuration of fontconfig for *program*; ``None`` for that of the system.
    :param windows: directory of Wine's libraries for Windows programs; ``None`` if it is not known.
    :param windows32: the same for 32-bit programs; ``None`` if there are none.
    :param path: directory in which Wine must search for *windows32*; ``None`` if it finds them by itself.
    """

    program: Path
    version: str
    libraries: Path | None = None
    fonts: Path | None = None
    windows: Path | None = None
    windows32: Path | None = None
    path: Path | None = None


def find_installed() -> Wine | None:
    """Return the host's own Wine."""
    for name in _PROGRAMS:
        if program := shutil.which(name):
            try:
                completed = process.run([program, "--version"], timeout=60.0)
            except ProcessError:
                continue
            windows = next((Path(directory) for directory in _LIBRARIES if Path(directory).is_dir()), None)
            version = completed.stdout.strip()
            return Wine(program=Path(program), version=version, windows=windows, windows32=_installed_32_bit())
    return None


def _installed_32_bit() -> Path | None:
    directories = (*(str(Path(directory).with_name("i386-windows")) for directory in _LIBRARIES), *_LIBRARIES_32)
    # Debian's 64-bit package has the directory, but it is empty.
    return next((Path(directory) for directory in directories if Path(directory, "ntdll.dll").is_file()), None)


def unavailable_reason(*, offline: bool, bits: int = 64) -> str:
    """Return why no Wine is available; empty if one is. Fetches nothing.

    :param bits: number of bits of the programs that it must run.
    """
    if any(shutil.which(name) for name in _PROGRAMS):
        if bits == 32 and _installed_32_bit() is None:
            return f"the Wine of this host cannot run 32-bit programs; {wow64.ADVICE}"
        return ""
    repository = apt.host_repository()
    if repository is None:
        return f"Wine is not installed; {packages.ADVICE}"
    if not offline:
        return ""
    directory = cache.find(packages.key(repository))
    if directory is None:
        return "Wine is neither installed nor in the cache, and this run is offline"
    if bits == 32 and cache.find(wow64.key(repository, packages.version_of(directory))) is None:
        return "the part of Wine for 32-bit programs is not in the cache, and this run is offline"
    return ""


def parts(*, bits: int) -> tuple[Part, ...]:
    """Return what :func:`get` fetches; nothing if Wine is installed. Fetches nothing.

    :param bits: number of bits of the programs that it must run.
    """
    repository = apt.host_repository()
    if repository is None or any(shutil.which(name) for name in _PROGRAMS):
        return ()
    wine = Part.of(packages.key(repository), f"Wine of {repository.distribution}")
    if bits == 64:
        return (wine,)
    # Its key depends on the version of the other part.
    key = wow64.key(repository, packages.version_of(cache.path(wine.key)) if wine.ready else "")
    return wine, Part.of(key, f"the 32-bit part of Wine of {repository.distribution}")


def get(*, offline: bool, bits: int = 64) -> Wine:
    """Return a Wine, fetched if necessary.

    :param bits: number of bits of the programs that it must run.
    :raises RuntimeUnavailableError: there is none, and it cannot be fetched.
    """
    if installed := find_installed():
        if bits == 32 and installed.windows32 is None:
            raise RuntimeUnavailableError(
                f"{installed.version} of this host cannot run 32-bit programs", fix=wow64.ADVICE
            )
        return installed
    repository = apt.host_repository()
    if repository is None or (offline and cache.find(packages.key(repository)) is None):
        raise RuntimeUnavailableError("Wine is not installed and cannot be fetched", fix=packages.ADVICE)
    directory = packages.provision(repository)
    wine = Wine(
        program=directory / "usr/lib/wine/wine64",
        version=packages.version_of(directory),
        libraries=directory / "usr/lib/x86_64-linux-gnu",
        fonts=directory / packages.FONTS_FILE,
        windows=directory / packages.WINDOWS_LIBRARIES,
    )
    if bits == 64:
        return wine
    if offline and cache.find(wow64.key(repository, wine.version)) is None:
        raise RuntimeUnavailableError(
            "the part of Wine for 32-bit programs is not in the cache, and this run is offline",
            fix="run once without --wheel-offline",
        )
    part = wow64.provision(repository, directory)
    return replace(wine, windows32=part / wow64.LIBRARIES, path=part)
