"""The part of Wine for 32-bit programs.

It consists of libraries for Windows programs, and of nothing for 32-bit Linux, because the 64-bit Wine runs the code of
these programs itself (new WoW64, complete since Wine 8). It is fetched when a 32-bit program is to run. The host's own
Wine must already have it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from pytest_wheelcheck.backends.wine import packages
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.packages import apt
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which it is unpacked changes.
_GENERATION = 1

#: The directory of the libraries.
LIBRARIES = "i386-windows"

#: What the user can do if it is missing.
ADVICE = (
    "install its 32-bit part: dpkg --add-architecture i386, apt update, apt install wine32:i386, or the package of your "
    "distribution"
)


def key(repository: apt.Repository, version: str) -> str:
    """Return its cache key.

    :param version: of the 64-bit Wine, see :func:`.packages.version_of`.
    """
    return f"wine/{repository.distribution}-i386-{cache.digest(packages.key(repository), version, str(_GENERATION))}"


def provision(repository: apt.Repository, wine: Path) -> Path:
    """Return its directory, fetched if necessary.

    :param wine: the directory of the 64-bit Wine.
    :raises RuntimeUnavailableError: it cannot be fetched.
    """
    return cache.provision(key(repository, packages.version_of(wine)), lambda side: _unpack(repository, wine, side))


def _unpack(repository: apt.Repository, wine: Path, side: Path) -> None:
    """Fetch it from the suite of the 64-bit Wine; it must have the same version."""
    version = packages.version_of(wine)
    suite = version.rpartition(" ")[2]
    unpacked = side / "unpacked"
    name = f"the 32-bit part of {version}"
    with step(name, side):
        try:
            versions = apt.fetch(
                repository,
                suite,
                ("libwine",),
                unpacked,
                architecture="i386",
                dependencies=False,
                optional=packages.OPTIONAL_PACKAGES,
            )
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"{name} cannot be fetched from the host's package archive",
                cause=error.message,
                fix="run again when the archive can be reached",
                details=error.details,
            ) from error
        if packages.version_text(versions, repository, suite) != version:
            raise RuntimeUnavailableError(
                f"{name} is no longer available",
                cause=f"{repository.distribution} {suite} now has {versions['libwine']}",
                fix=f"remove {wine}, so that both parts are fetched again",
            )
        libraries = next((path.parent for path in unpacked.glob(f"usr/lib/**/{LIBRARIES}/ntdll.dll")), None)
        if libraries is None:
            raise RuntimeUnavailableError(
                f"the packages of {name} are not as expected: there is no {LIBRARIES}/ntdll.dll", fix=ADVICE
            )
        libraries.rename(side / LIBRARIES)
        packages.copy_zlib(unpacked / "usr/i686-w64-mingw32", side / LIBRARIES)
        packages.strip_libraries(side / LIBRARIES)
        # Wine searches for the Linux parts of libraries next to the directory that has the libraries.
        unix_libraries = (wine / packages.WINDOWS_LIBRARIES).with_name("x86_64-unix")
        (side / "x86_64-unix").symlink_to(unix_libraries, target_is_directory=True)
        shutil.rmtree(unpacked)
