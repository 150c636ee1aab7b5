"""The pure-Python library of a minor version, for interpreters that come without one.

It is the same for every architecture, system and way of threading, so any CPython of that minor version has it: the
host's, else one in an archive of packages. Where neither has that version, one published wheel may carry it
(:data:`EMBEDDED`): a compiler to WebAssembly, which brings the library for its guests.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, debian
from pytest_wheelcheck.interpreters.architectures import host_architecture
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.system import process

#: What must work in an interpreter that was put together; each comes with libraries of its own.
SMOKE_TEST = "import binascii, bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"

#: Parts of a standard library that are not taken: another build's or system's, tests, other programs.
_NOT_TAKEN = (
    "site-packages",
    "dist-packages",
    "lib-dynload",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "config-*",
    "_sysconfigdata*",
    "_sysconfig_vars*",
    "build-details*",
    "EXTERNALLY-MANAGED",
    "sitecustomize.py",
    "*.so",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddedLibrary:
    """A standard library inside a wheel: an archive, compressed with Zstandard, inside a file.

    :param file: of the wheel.
    :param offset: where in that file the compressed archive begins.
    :param sha256: of the archive, uncompressed.
    """

    wheel: pinned.PinnedWheel
    file: str
    offset: int
    sha256: str


#: By minor version. The files of 3.12 are those of CPython 3.12.1, unchanged.
EMBEDDED = {
    (3, 12): EmbeddedLibrary(
        wheel=pinned.PinnedWheel(
            distribution="componentize-py",
            version="0.17.2",
            python="3.12",
            abi="abi3",
            platform="manylinux_2_28_x86_64",
            sha256="0105d497661a1a5bc985ae817cc251f5234556a83ac5712ab36b5f45a0a344be",
        ),
        file="componentize_py/componentize_py.abi3.so",
        offset=17534504,
        sha256="f23fe8500bb329e0dcb7aea384fd8065380f96d925eb76f6a3bde922862d7548",
    ),
}

# Runs in the interpreter of this program, which has such a module from 3.14 on; before, it is that of a distribution.
_DECOMPRESS = """
import sys
source, offset, target, folder = sys.argv[1:]
with open(source, "rb") as packed, open(target, "wb") as unpacked:
    packed.seek(int(offset))
    try:
        from compression import zstd
        unpacked.write(zstd.ZstdDecompressor().decompress(packed.read()))
    except ImportError:
        sys.path.insert(0, folder)
        import zstandard
        unpacked.write(zstandard.ZstdDecompressor().decompressobj().decompress(packed.read()))
"""


class StandardLibraries:
    """Finds and copies standard libraries.

    :param host: asked for an interpreter of the same minor version.
    :param archives: archives of packages, each with the architecture to ask it for in Debian's words.
    :param offline: fetch nothing.
    """

    def __init__(
        self,
        host: HostProvider,
        archives: Sequence[tuple[apt.Repository, str]],
        index: pinned.PackageIndex,
        *,
        offline: bool = False,
    ) -> None:
        self._host = host
        self._archives = archives
        self._index = index
        self._offline = offline

    def unavailable_reason(self, version: tuple[int, int]) -> str:
        """Say why there is no library of a minor version, or nothing."""
        if self.host_interpreter(version) is not None or (version in EMBEDDED and not self._offline):
            return ""
        if any(True for _ in self._sources(version)):
            return ""
        number = ".".join(map(str, version))
        return (
            f"{number} needs a standard library, and neither this host nor its archive of packages has one: "
            f"install any CPython {number}"
        )

    def host_interpreter(self, version: tuple[int, int]) -> Path | None:
        """Give an interpreter of the host that has the library; it need not be of the same build."""
        return debian.of_host(self._host, version, free_threaded=None)

    def copy(self, version: tuple[int, int], library: Path, work: Path) -> None:
        """Copy the library of a minor version.

        :param library: a folder to make.
        :param work: a folder for what is needed meanwhile.
        :raises WheelcheckError: it cannot be had.
        """
        number = ".".join(map(str, version))
        if python := self.host_interpreter(version):
            told = process.run([python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"])
            source = Path(told.stdout.strip())
        elif found := next(self._sources(version), None):
            names = [f"libpython{number}-minimal", f"libpython{number}-stdlib", f"python{number}-venv"]
            apt.fetch_newest(names, work / "root", work=work / "apt", repository=found[0], architecture=found[1])
            source = work / "root/usr/lib" / f"python{number}"
        elif version in EMBEDDED:
            source = work / "carried"
            _carried(EMBEDDED[version], self._index, source, work)
        else:
            raise RuntimeUnavailableError(self.unavailable_reason(version))
        shutil.copytree(source, library, ignore=shutil.ignore_patterns(*_NOT_TAKEN), ignore_dangling_symlinks=True)

    def _sources(self, version: tuple[int, int]) -> Iterator[tuple[apt.Repository, str]]:
        """Yield the archives that have a library."""
        package = f"python{version[0]}.{version[1]}-minimal"
        for archive, architecture in self._archives:
            if debian.suite_with(package, archive, architecture, offline=self._offline):
                yield archive, architecture


def repositories(source: str, architecture: str = "") -> list[tuple[apt.Repository, str]]:
    """List the archives to ask for a library: the one that the user named, then the host's.

    :param source: a line of ``sources.list(5)``, or nothing.
    :param architecture: what the named one is used for, in Debian's words.
    :raises RuntimeUnavailableError: *source* is no such line.
    """
    at = host_architecture()
    found: list[tuple[apt.Repository, str]] = []
    if source:
        found.append((apt.parse_source(source), architecture or (at.debian if at else "")))
    own = apt.host_repository()
    if own is not None and at is not None:
        found.append((own, at.debian))
    return found


def _carried(carried: EmbeddedLibrary, index: pinned.PackageIndex, into: Path, work: Path) -> None:
    """Unpack a library that a wheel carries."""
    with zipfile.ZipFile(pinned.download(carried.wheel, index, work / "library")) as archive:
        packed = Path(archive.extract(carried.file, work / "library"))
    unpacked, tool = work / "library.tar", work / "zstandard"
    argv: list[str | Path] = [sys.executable, "-I", "-c", _DECOMPRESS, packed, str(carried.offset), unpacked, tool]
    try:
        if sys.version_info < (3, 14):
            words = ["install", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
            process.run(
                [*pinned.pip_command(), *words, "--target", tool, *index.pip_arguments(), "zstandard"], timeout=600
            )
        process.run(argv)
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"the standard library inside {carried.wheel} could not be unpacked",
            cause="the package index does not give the distribution zstandard for the running interpreter",
            fix="install any CPython of that minor version instead",
            details=error.details or str(error),
        ) from error
    if hashlib.sha256(unpacked.read_bytes()).hexdigest() != carried.sha256:
        raise RuntimeUnavailableError(
            f"the standard library inside {carried.wheel} is not the one that it was",
            cause="the program that unpacked it does not work",
        )
    with tarfile.open(unpacked) as tar:
        # Its digest was compared: it holds plain files.
        for member in (each for each in tar.getmembers() if each.isfile()):
            tar.extract(member, into)
