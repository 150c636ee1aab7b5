"""Installations of CPython for Windows in a directory: one that the user names, those that uv manages.

A copy in the cache is used, so that byte-code can be compiled beside the library and nothing is written into the folder.
What a folder holds is told from its files, without running anything.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError
from pytest_wheelcheck.interpreters import uv_builds
from pytest_wheelcheck.interpreters.base import OLDEST
from pytest_wheelcheck.interpreters.windows import pe_writer
from pytest_wheelcheck.system import cache

#: The words for these in ``--wheel-sysroot``, as in platform tags, and the architectures that they stand for.
ARCHITECTURES = {"win_amd64": "amd64", "win32": "x86"}

#: Bump when the way in which the copies are made changes.
_GENERATION = 1

#: Parts of an installation that are not copied.
_LEFT_OUT = ("site-packages", "__pycache__", "test", "tests", "idlelib", "turtledemo", "tcl", "Doc", "include", "libs")

#: The architectures, for people.
_SAID = {"amd64": "x86-64", "x86": "x86 (32 bits)"}


@dataclass(frozen=True, kw_only=True, slots=True)
class WindowsDirectory:
    """A CPython for Windows in a folder.

    :param version: major, minor, micro.
    :param stamp: changes when the installation does.
    :param how: where it came from, for people.
    :param architecture: ``amd64`` or ``x86``.
    :param folder: gives the folder with ``python.exe``, ``DLLs`` and ``Lib``; fetches it if need be.
    """

    version: tuple[int, int, int]
    stamp: str
    how: str
    architecture: str
    folder: Callable[[], Path]

    @property
    def key(self) -> str:
        """Tell its name in the cache."""
        return f"runtimes/{name_of(self.version, self.architecture)}-{cache.digest(self.stamp, str(_GENERATION))}"

    def copy(self, side: Path) -> None:
        """Copy what is used of it."""
        left_out = shutil.ignore_patterns(*_LEFT_OUT)
        # uv leaves a link to where it unpacked it.
        shutil.copytree(self.folder(), side, ignore=left_out, ignore_dangling_symlinks=True, dirs_exist_ok=True)
        (side / "Lib" / "site-packages").mkdir(parents=True, exist_ok=True)
        # Of the archive for embedding: it shuts out every site-packages.
        for path in side.glob("python3*._pth"):
            path.unlink()


def name_of(version: tuple[int, int, int], architecture: str) -> str:
    """Give a short name for files of an interpreter: ``windows-cp313``, ``windows-cp313-win32``."""
    return f"windows-cp{version[0]}{version[1]}{'-win32' if architecture == 'x86' else ''}"


def named(path: Path, architecture: str, said: str) -> WindowsDirectory:
    """Tell what a folder that the user named holds.

    :param architecture: ``amd64`` or ``x86``.
    :param said: the option as it was given.
    :raises UsageError: it holds no CPython for Windows of that architecture.
    """
    for place in (path, path / "python", path / "install", path / "tools"):
        for library in sorted(place.glob("python3*.dll")):
            match = re.fullmatch(r"python3(\d+)\.dll", library.name.lower())
            if match and (place / "python.exe").is_file() and (3, int(match[1])) >= OLDEST:
                machine, micro = _read(library)
                if machine != pe_writer.MACHINES[pe_writer.BITS[architecture]]:
                    raise UsageError(
                        f"{said}: {library} is not for {_SAID[architecture]}",
                        fix="win_amd64 is for an installation of 64-bit CPython, win32 for one of 32-bit CPython",
                    )
                if not (place / "Lib/os.py").is_file():
                    raise UsageError(
                        f"{said}: {place} has no standard library in Lib",
                        cause="it is the archive for embedding, whose library is compiled and packed",
                        fix="name a whole installation, such as the package of python.org's NuGet feed or uv's",
                    )
                status = library.stat()
                return WindowsDirectory(
                    version=(3, int(match[1]), micro),
                    stamp=f"{place} {status.st_mtime_ns} {status.st_size}",
                    how=str(place),
                    architecture=architecture,
                    folder=partial(Path, place),
                )
    raise UsageError(
        f"{said}: no CPython for Windows from {'.'.join(map(str, OLDEST))} on was found in {path}",
        cause="looked for python.exe and python3NN.dll side by side",
        fix="name the folder of an installation; free-threaded ones are not supported",
    )


def managed(architecture: str, *, offline: bool) -> list[WindowsDirectory]:
    """List those of uv: what is in the cache, and what can be downloaded from here.

    :param architecture: ``amd64`` or ``x86``.
    """

    def folder(version: tuple[int, int]) -> Path:
        found = uv_builds.windows(version, architecture, offline=offline)
        if found is None:
            raise RuntimeUnavailableError(
                f"CPython {version[0]}.{version[1]} for Windows of uv cannot be downloaded any longer",
                fix="run again",
            )
        return found

    return [
        WindowsDirectory(
            version=download.version,
            stamp=f"{download.key} {download.url}",
            how=f"{download.key} of uv",
            architecture=architecture,
            folder=partial(folder, download.version[:2]),
        )
        for download in uv_builds.windows_offers(architecture, offline=offline)
    ]


def _read(library: Path) -> tuple[int, int]:
    """Read for which machine a library is, and its micro version."""
    import pefile

    try:
        image = pefile.PE(str(library), fast_load=True)
        image.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_RESOURCE"]])
        machine = int(image.FILE_HEADER.Machine)
        # PC/python_ver_rc.h: the third number is 1000 times micro, and more for what stands behind it.
        micro = (image.VS_FIXEDFILEINFO[0].ProductVersionLS >> 16) // 1000 if hasattr(image, "VS_FIXEDFILEINFO") else 0
    except (pefile.PEFormatError, OSError):
        return 0, 0
    return machine, micro
