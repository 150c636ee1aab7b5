"""The pure-Python standard library of a minor version, for interpreters that come without one.

It is the same for every architecture, system and threading mode. So it is taken from any CPython of that minor version:
one of the host, else one in a repository of packages. If neither has that version, a published wheel may contain it
(:data:`EMBEDDED`): a compiler to WebAssembly, which needs the library for its programs.
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
from pytest_wheelcheck.interpreters.architectures import host_architecture
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.system import pip, process

#: A program that an assembled interpreter must be able to run. Each of the modules needs libraries of its own, and sysconfig
#: a file of the build.
SMOKE_TEST = (
    "import binascii, bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, sysconfig, uuid, venv, zlib; "
    "sysconfig.get_config_vars()"
)

#: Bytes of the packages that have the library of a minor version: 2.9 MB for 3.11 of Debian 12, 3.1 MB for 3.13 of Debian 13.
_PACKAGES_SIZE = 3_000_000

#: Parts of a standard library that are not copied: those of another build or system, tests, other programs.
_NOT_COPIED = (
    "site-packages",
    "dist-packages",
    "lib-dynload",
    "test",
    "tests",
    "idlelib",
    "tkinter",
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
    """A standard library in a wheel: a tar file, compressed with Zstandard, inside another file.

    :param file: the path of that file in the wheel.
    :param offset: where the compressed tar file begins in it, in bytes.
    :param sha256: digest of the uncompressed tar file, hexadecimal.
    """

    wheel: pinned.PinnedWheel
    file: str
    offset: int
    sha256: str


#: Embedded libraries by minor version. The files of 3.12 are those of CPython 3.12.1, unchanged.
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

# Runs in the running interpreter: from 3.14 on with its own module, before with that of a distribution, which must not
# be imported into this process from a temporary directory.
_DECOMPRESS = """
import sys
source, offset, target, directory = sys.argv[1:]
with open(source, "rb") as packed, open(target, "wb") as unpacked:
    packed.seek(int(offset))
    try:
        from compression import zstd
        unpacked.write(zstd.ZstdDecompressor().decompress(packed.read()))
    except ImportError:
        sys.path.insert(0, directory)
        import zstandard
        unpacked.write(zstandard.ZstdDecompressor().decompressobj().decompress(packed.read()))
"""


class StandardLibraries:
    """Finds and copies standard libraries.

    :param host: finds interpreters of the same minor version on the host.
    :param repositories: repositories of packages, each with Debian's name of the architecture to query.
    :param offline: download nothing.
    """

    def __init__(
        self,
        host: HostProvider,
        repositories: Sequence[tuple[apt.Repository, str]],
        index: pinned.PackageIndex,
        *,
        offline: bool = False,
    ) -> None:
        self._host = host
        self._repositories = repositories
        self._index = index
        self._offline = offline

    def unavailable_reason(self, version: tuple[int, int]) -> str:
        """Return why no library of a minor version is available; empty if there is one."""
        if self.host_interpreter(version) is not None or (version in EMBEDDED and not self._offline):
            return ""
        if any(True for _ in self._sources(version)):
            return ""
        number = ".".join(map(str, version))
        if problem := self.unread():
            where = f"this host has none ({problem})"
        elif self._repositories:
            where = "neither this host nor its package repository has one"
        else:
            where = "this host has none"
        return f"{number} needs a standard library, and {where}: install any CPython {number}"

    def unread(self) -> str:
        """Return why a repository could not be searched completely; empty if it could."""
        problems = (apt_suites.unread(*place, offline=self._offline) for place in self._repositories)
        return next(filter(None, problems), "")

    def host_interpreter(self, version: tuple[int, int]) -> Path | None:
        """Return an interpreter of the host that has the library. It need not be of the same build."""
        return self._host.cpython(version, free_threaded=None)

    def download_size(self, version: tuple[int, int]) -> int:
        """Return about how many bytes are downloaded for the library of a minor version. Downloads nothing."""
        if self.host_interpreter(version) is not None:
            return 0
        if next(self._sources(version), None) is not None:
            return _PACKAGES_SIZE
        return EMBEDDED[version].wheel.size if version in EMBEDDED else 0

    def copy(self, version: tuple[int, int], library: Path, work: Path) -> None:
        """Copy the library of a minor version.

        :param library: the directory to make.
        :param work: a directory for temporary files.
        :raises WheelcheckError: the library is not available.
        """
        number = ".".join(map(str, version))
        if python := self.host_interpreter(version):
            query = process.run([python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"])
            source = Path(query.stdout.strip())
        elif found := next(self._sources(version), None):
            repository, architecture = found
            names = [f"libpython{number}-minimal", f"libpython{number}-stdlib", f"python{number}-venv"]
            root = work / "root"
            apt.fetch_newest(names, root, work=work / "apt", repository=repository, architecture=architecture)
            source = root / "usr/lib" / f"python{number}"
        elif version in EMBEDDED:
            source = work / "embedded"
            _unpack(EMBEDDED[version], self._index, source, work)
        else:
            raise RuntimeUnavailableError(self.unavailable_reason(version))
        shutil.copytree(source, library, ignore=shutil.ignore_patterns(*_NOT_COPIED), ignore_dangling_symlinks=True)

    def _sources(self, version: tuple[int, int]) -> Iterator[tuple[apt.Repository, str]]:
        """Yield the repositories that have the library."""
        package = f"python{version[0]}.{version[1]}-minimal"
        for repository, architecture in self._repositories:
            if apt_suites.find_suite(package, repository, architecture, offline=self._offline):
                yield repository, architecture


def repositories(source: str, architecture: str = "") -> list[tuple[apt.Repository, str]]:
    """List the repositories to query for a library: the one that the user configured, then the host's.

    :param source: a line of ``sources.list(5)``, or an empty string.
    :param architecture: Debian's name of the architecture to query in *source*; empty for the host's.
    :raises RuntimeUnavailableError: *source* is not such a line.
    """
    host = host_architecture()
    found: list[tuple[apt.Repository, str]] = []
    if source:
        found.append((apt.parse_source(source), architecture or (host.debian if host else "")))
    own = apt.host_repository()
    if own is not None and host is not None:
        found.append((own, host.debian))
    return found


def _unpack(embedded: EmbeddedLibrary, index: pinned.PackageIndex, into: Path, work: Path) -> None:
    """Download the wheel of an embedded library and unpack the library."""
    with zipfile.ZipFile(pinned.download(embedded.wheel, index, work / "library")) as wheel:
        packed = Path(wheel.extract(embedded.file, work / "library"))
    unpacked, zstandard = work / "library.tar", work / "zstandard"
    try:
        if sys.version_info < (3, 14):
            options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]
            install = [*pip.pip_command(), "install", *options, "--target", zstandard]
            process.run([*install, *index.pip_arguments(), "zstandard"], timeout=600)
        process.run([sys.executable, "-I", "-c", _DECOMPRESS, packed, str(embedded.offset), unpacked, zstandard])
    except ProcessError as error:
        raise RuntimeUnavailableError(
            f"the standard library in {embedded.wheel} could not be unpacked",
            cause="the package index does not have the distribution zstandard for the running interpreter",
            fix="install any CPython of that minor version instead",
            details=error.details or str(error),
        ) from error
    if hashlib.sha256(unpacked.read_bytes()).hexdigest() != embedded.sha256:
        raise RuntimeUnavailableError(
            f"the standard library in {embedded.wheel} does not have the expected digest",
            cause="the program that unpacked it does not work",
        )
    with tarfile.open(unpacked) as tar:
        # Trusted because its digest was compared. Without a filter, 3.12 and 3.13 warn at each member; older ones have none.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        for member in (member for member in tar.getmembers() if member.isfile()):
            tar.extract(member, into)
