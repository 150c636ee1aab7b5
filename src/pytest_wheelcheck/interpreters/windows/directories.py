"""Installations of CPython for Windows in a directory: those that the user names, and those that uv manages.

They are used as a copy in the cache, so that bytecode can be compiled next to the library and nothing is written into the
original directory. They are recognized by their files; nothing is run.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError
from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.interpreters.uv_builds.catalog import Download
from pytest_wheelcheck.interpreters.uv_builds.installation import provide_windows, windows_downloads
from pytest_wheelcheck.interpreters.windows.pe_writer import MACHINES
from pytest_wheelcheck.interpreters.windows.platforms import BITS, DESCRIPTIONS, cache_name
from pytest_wheelcheck.system import cache

#: Bump when the way in which the copies are made changes.
_GENERATION = 1

#: Subdirectories of a named directory in which installations are searched: of uv's and NuGet's packages.
_SUBDIRECTORIES = ("", "python", "install", "tools")

#: Parts of an installation that are not copied.
_EXCLUDED = ("site-packages", "__pycache__", "test", "tests", "idlelib", "turtledemo", "tcl", "Doc", "include", "libs")


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowsDirectory:
    """A CPython for Windows in a directory.

    :param version: major, minor, micro.
    :param stamp: changes when the installation changes.
    :param how: where it comes from, in one line for the user.
    :param architecture: ``amd64`` or ``x86``.
    :param locate: returns the directory with ``python.exe``, ``DLLs`` and ``Lib``; downloads it first if necessary.
    :param download: what *locate* downloads; ``None`` for a directory that the user named.
    """

    version: tuple[int, int, int]
    stamp: str
    how: str
    architecture: str
    locate: Callable[[], Path]
    download: Download | None = None

    @property
    def key(self) -> str:
        """The cache key of its copy."""
        return f"runtimes/{cache_name(self.version, self.architecture)}-{cache.digest(self.stamp, str(_GENERATION))}"

    def copy(self, directory: Path) -> None:
        """Copy its files, without those that no target needs.

        :param directory: is filled; may exist.
        """
        ignore = shutil.ignore_patterns(*_EXCLUDED)
        # uv leaves a link to the directory into which it unpacked the installation.
        shutil.copytree(self.locate(), directory, ignore=ignore, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        (directory / "Lib" / "site-packages").mkdir(parents=True, exist_ok=True)
        # The embeddable package has this file, which removes site-packages from sys.path.
        for path in directory.glob("python3*._pth"):
            path.unlink()


def find(path: Path, architecture: str, option: str) -> WindowsDirectory:
    """Return the installation in a directory that the user named.

    :param architecture: ``amd64`` or ``x86``.
    :param option: the option as the user gave it, for messages.
    :raises UsageError: there is no CPython for Windows of that architecture.
    """
    for directory in (path / name for name in _SUBDIRECTORIES):
        for library in sorted(directory.glob("python3*.dll")):
            match = re.fullmatch(r"python3(\d+)\.dll", library.name.lower())
            if match and (directory / "python.exe").is_file() and (3, int(match[1])) >= OLDEST:
                return _examine(directory, library, int(match[1]), architecture, option)
    raise UsageError(
        f"{option}: no CPython for Windows of version {'.'.join(map(str, OLDEST))} or newer was found in {path}",
        cause="no directory there has both python.exe and python3NN.dll",
        fix="name the directory of an installation; free-threaded ones are not supported",
    )


def _examine(directory: Path, library: Path, minor: int, architecture: str, option: str) -> WindowsDirectory:
    machine, micro = _read(library)
    if machine != MACHINES[BITS[architecture]]:
        raise UsageError(
            f"{option}: {library} is not for {DESCRIPTIONS[architecture]}",
            fix="name an installation of 64-bit CPython with win_amd64, one of 32-bit CPython with win32",
        )
    if not (directory / "Lib/os.py").is_file():
        raise UsageError(
            f"{option}: {directory} has no standard library in Lib",
            cause="it is the embeddable package, whose library is compiled and inside a ZIP file",
            fix="name a complete installation, such as the NuGet package of python.org or one from uv",
        )
    status = library.stat()
    return WindowsDirectory(
        version=(3, minor, micro),
        stamp=f"{directory} {status.st_mtime_ns} {status.st_size}",
        how=str(directory),
        architecture=architecture,
        locate=partial(Path, directory),
    )


def list_of_uv(architecture: str, *, offline: bool) -> list[WindowsDirectory]:
    """List the installations of uv: those in the cache, and those that can be downloaded.

    :param architecture: ``amd64`` or ``x86``.
    """

    def locate(version: tuple[int, int]) -> Path:
        found = provide_windows(version, architecture, offline=offline)
        if found is None:
            raise RuntimeUnavailableError(
                f"uv's CPython {version[0]}.{version[1]} for Windows can no longer be downloaded", fix="run again"
            )
        return found

    return [
        WindowsDirectory(
            version=download.version,
            stamp=f"{download.key} {download.url}",
            how=f"{download.key} from uv",
            architecture=architecture,
            locate=partial(locate, download.version[:2]),
            download=download,
        )
        for download in windows_downloads(architecture, offline=offline)
    ]


def _read(library: Path) -> tuple[int, int]:
    """Return the machine type of an interpreter's library, and its micro version; zeros if it cannot be read."""
    import pefile

    try:
        image = pefile.PE(str(library), fast_load=True)
        image.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]])
        machine = int(image.FILE_HEADER.Machine)
        # The third number is 1000 * micro + a number for level and serial (PC/python_ver_rc.h of CPython).
        micro = (image.VS_FIXEDFILEINFO[0].ProductVersionLS >> 16) // 1000 if hasattr(image, "VS_FIXEDFILEINFO") else 0
    except (pefile.PEFormatError, OSError):
        return 0, 0
    return machine, micro
