"""CPython for Windows from published wheels.

The wheels of one distribution for 64-bit and 32-bit Windows carry CPython's official library, its extension modules and
the libraries that these need. With the pure-Python library of any CPython of the same minor version, and small files that
:mod:`.pe_programs` writes, that is an ordinary Windows installation. A wheel is downloaded by name through pip and
verified by its digest.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.interpreters.base import Starter
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.interpreters.published.standard_library import StandardLibraries
from pytest_wheelcheck.interpreters.windows import pe_programs
from pytest_wheelcheck.interpreters.windows.platforms import BITS, PLATFORMS, cache_name
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import cache
from pytest_wheelcheck.wheels.bounded import read_exports

#: Bump when the way in which the installations are made changes.
_GENERATION = 4

#: The distribution whose wheels carry the interpreters.
DISTRIBUTION, VERSION = "panda3d", "1.10.16"

#: The directory of the wheel that has the files of the interpreter.
_DIRECTORY = "deploy_libs"

#: Prefixes of the libraries that an installation has next to ``python.exe``; all others are in ``DLLs``.
_TOP_LEVEL = ("python3", "vcruntime140")

#: Prefixes of files that no target needs.
_EXCLUDED = ("api-ms-win-", "tcl", "tk8", "_tkinter", "_test", "_ctypes_test")


@dataclass(frozen=True, kw_only=True, slots=True)
class PublishedPython:
    """An interpreter inside a wheel.

    :param version: major, minor, micro.
    :param sha256: hexadecimal digest of the wheel.
    :param tag: platform tag of the wheel.
    """

    version: tuple[int, int, int]
    sha256: str
    tag: str = "win_amd64"

    @property
    def platform(self) -> Platform:
        """Its platform."""
        return PLATFORMS[self.tag]

    @property
    def bits(self) -> int:
        """Its number of bits."""
        return BITS[self.platform.architecture]

    @property
    def name(self) -> str:
        """Its human-readable name."""
        return f"CPython {self.short_version} for {'' if self.bits == 64 else '32-bit '}Windows"

    @property
    def short_version(self) -> str:
        """``3.13``."""
        return f"{self.version[0]}.{self.version[1]}"

    @property
    def abi(self) -> str:
        """``cp313``."""
        return f"cp{self.version[0]}{self.version[1]}"

    @property
    def library(self) -> str:
        """``python313.dll``."""
        return f"python{self.version[0]}{self.version[1]}.dll"

    @property
    def how(self) -> str:
        """Where it comes from, in one line for the user."""
        return f"assembled from the published wheel {DISTRIBUTION} {VERSION} ({self.abi}-{self.tag})"

    @property
    def wheel(self) -> pinned.PinnedWheel:
        """The wheel that carries it."""
        return pinned.PinnedWheel(
            distribution=DISTRIBUTION,
            version=VERSION,
            python=self.short_version,
            abi=self.abi,
            platform=self.tag,
            sha256=self.sha256,
        )

    @property
    def key(self) -> str:
        """The cache key of its installation."""
        name = cache_name(self.version, self.platform.architecture)
        return f"runtimes/{name}-{cache.digest(self.sha256, str(_GENERATION))}"


#: All interpreters in the wheels of the distribution.
PUBLISHED = (
    PublishedPython(version=(3, 9, 13), sha256="11e5f1cd734827ca7925eaab993aaa06c9ac3e0b4d933fd44a99f048803702a1"),
    PublishedPython(version=(3, 10, 11), sha256="3f5e084314a842875f9fbb2d6276c4bf80faa277592d90620a3b90717c4847e5"),
    PublishedPython(version=(3, 11, 9), sha256="37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82"),
    PublishedPython(version=(3, 12, 10), sha256="f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f"),
    PublishedPython(version=(3, 13, 11), sha256="0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f"),
    PublishedPython(version=(3, 14, 2), sha256="0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853"),
    *(
        PublishedPython(version=version, sha256=sha256, tag="win32")
        for version, sha256 in (
            ((3, 9, 13), "cba1caeefee96b58125f9dc8c36ca165e937e9c387868fb8a5c8ca88c0e29241"),
            ((3, 10, 11), "b2f9f88ec94f7d67e60b3c4c7d0d8fb18f8cbc207fa9475c721dfeec0863db5b"),
            ((3, 11, 9), "63a93dd393de1d8a3ab3520b02acc55803ee53efbf63b952bd45951f534b3f68"),
            ((3, 12, 10), "540b4d9d7719dc10c60e0910e63af762e348ab128eca91eee8e8c291348c88ab"),
            ((3, 13, 11), "d4456b2064f1f6b1b3579106608ec35234278da553b2df78eacec7431dccf045"),
            ((3, 14, 2), "e4f7e161a8fa3e0f52bb1822dc21053e3d3503ec9550a3a07bb2acda8491c97c"),
        )
    ),
)


def for_architecture(architecture: str) -> list[PublishedPython]:
    """List the interpreters for an architecture.

    :param architecture: ``amd64`` or ``x86``.
    """
    return [python for python in PUBLISHED if python.platform.architecture == architecture]


def assemble(
    python: PublishedPython,
    directory: Path,
    *,
    index: pinned.PackageIndex,
    libraries: StandardLibraries,
    starter: Starter,
    work: Path,
) -> None:
    """Make an installation from a wheel, a standard library and the files of :mod:`.pe_programs`.

    :param directory: is filled; becomes the cache entry of the interpreter's :attr:`~PublishedPython.key`.
    :param libraries: has the standard library.
    :param starter: as for :meth:`~pytest_wheelcheck.interpreters.base.Provider.get`.
    :param work: a directory for temporary files.
    :raises WheelcheckError: the wheel or the standard library is not available.
    """
    _unpack(pinned.download(python.wheel, index, work / "wheel"), directory)
    libraries.copy(python.version[:2], directory / "Lib", work)
    (directory / "Lib" / "site-packages").mkdir()
    _write_programs(python, starter, directory)
    names = _stable_names(directory / python.library)
    (directory / "python3.dll").write_bytes(pe_programs.python3_dll(python.library, names, bits=python.bits))


def _unpack(wheel: Path, directory: Path) -> None:
    """Unpack the interpreter's library, extension modules and their libraries."""
    modules = directory / "DLLs"
    modules.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for member in archive.namelist():
            parent, _, name = member.rpartition("/")
            if parent == _DIRECTORY and _is_needed(name.lower()):
                top_level = name.lower().startswith(_TOP_LEVEL) and name.lower().endswith(".dll")
                (directory if top_level else modules).joinpath(name).write_bytes(archive.read(member))


def _is_needed(name: str) -> bool:
    # The directory also has the modules of the free-threaded build, whose interpreter is not there.
    free_threaded = ".cp" in name and "t-win" in name
    return name.endswith((".dll", ".pyd")) and not name.startswith(_EXCLUDED) and not free_threaded


def _write_programs(python: PublishedPython, starter: Starter, directory: Path) -> None:
    """Write the interpreter, and the one of virtual environments under the name that :mod:`venv` of the version uses."""
    final = cache.path(python.key)
    redirectors = directory / "Lib/venv/scripts/nt"
    redirectors.mkdir(parents=True, exist_ok=True)
    for letter in ("", "w"):
        console = not letter
        name = f"python{letter}.exe"
        program = pe_programs.python_exe(python.library, console=console, bits=python.bits)
        (directory / name).write_bytes(program)
        base = starter.target_path(final / name)
        redirector = pe_programs.venv_redirector(base, console=console, bits=python.bits)
        (redirectors / (name if python.version < (3, 13) else f"venv{letter}launcher.exe")).write_bytes(redirector)


def _stable_names(library: Path) -> Iterable[str]:
    """Return the names that ``python3.dll`` exports: those of the stable ABI that the interpreter's library has."""
    from abi3info import DATAS, FUNCTIONS

    stable = {symbol.name for symbol in (*FUNCTIONS, *DATAS)}
    return sorted(read_exports(library) & stable)
