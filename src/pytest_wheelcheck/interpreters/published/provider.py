"""The interpreters that published wheels carry: free-threaded ones, new ones, and those for musl.

What the host lacks can so be had wherever packages can be installed from. A wheel of the table
(:mod:`.published_wheels`) is fetched by name through pip, verified by its digest, and made into an ordinary
installation in the cache, without tkinter:

* ``bin/python3.N``: the wheel's console program, turned into an interpreter (:mod:`.console`);
* ``lib/python3.N``: the pure-Python library of a CPython of the same minor version: the host's, else its archive's;
* ``lib/python3.N/lib-dynload`` and ``lib/freeze_core.libs``: the wheel's extension modules, whose run paths lead to
  the wheel's libraries beside it.
"""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, c_library, roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import Answer, NativePython, Offer, Request, Starter, fits, glibc, here
from pytest_wheelcheck.interpreters.facts import installation_of
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.published import console, pinned
from pytest_wheelcheck.interpreters.published.standard_library import SMOKE_TEST, StandardLibraries, repositories
from pytest_wheelcheck.interpreters.published.table import DISTRIBUTION, PUBLISHED, VERSION, PublishedInterpreter
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process, temporary
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the installations are made changes.
_GENERATION = 4

#: Libraries that only tkinter needs; with their alignment of 2 MiB they are half of the whole.
_TK = ("libX", "libxcb", "libtk", "libtcl", "libfontconfig", "libfreetype", "libpng", "libbrotli")

#: Where the certificates of authorities are, on the usual distributions (Go's ``crypto/x509/root_linux.go``).
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

#: The C library of the musl installations, and the least version that their programs need (``preadv2``).
_MUSL = (1, 2)


class PublishedProvider:
    """Offers the interpreters of published wheels; those of other architectures with a C library of the host's archive.

    :param host: asked for a standard library of the same minor version.
    :param native_python: gives native interpreters, which compile bytecode for those of other architectures.
    :param offline: only what is in the cache already is offered.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further folders or pages of distributions.
    :param source: an archive of packages to ask before the host's: a line as in ``sources.list(5)``.
    """

    name = "published"

    def __init__(
        self,
        host: HostProvider,
        native_python: NativePython,
        *,
        offline: bool = False,
        index: str | None = None,
        find_links: Sequence[str] = (),
        source: str = "",
    ) -> None:
        self._host = host
        self._native_python = native_python
        self._offline = offline
        self._index = pinned.PackageIndex(url=index, find_links=tuple(find_links))
        self._source = source

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        at = here()
        if request.python is not None or not at.is_linux or host_architecture() is None:
            return Answer()
        try:
            repositories(self._source)
        except RuntimeUnavailableError as error:
            return Answer.of(reason=error.message, unchecked=True)
        found: list[Offer] = []
        reasons: dict[str, None] = {}
        for published in PUBLISHED:
            platform = Platform(system="linux", architecture=published.architecture, libc=published.libc)
            if not fits(platform, request.platform):
                continue
            if reason := self._hindrance(published, at):
                reasons[reason] = None
            else:
                found.append(self._offer(published, platform, request.minimum_libc))
        # Even if something can be given, report what cannot: a wheel may need it.
        unchecked = self._offline and bool(reasons) and not request.is_met(found)
        return Answer.of(found, reason="; ".join(reasons), unchecked=unchecked)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        published = next(each for each in PUBLISHED if each.sha256 == offer.key)
        key = _key(published)
        if _foreign(published):
            root = self._root(published, offer.libc_version)
            directory = cache.provision(key, lambda side: self._make_foreign(published, offer, starter, root, side))
            return roots.installation_in(
                directory,
                offer,
                program=f"bin/python{_stem(published)}",
                library="lib",
                stem=_stem(published),
                root=root,
                extensible=True,
            )
        directory = cache.provision(key, lambda side: self._make(published, side))
        python = directory / "bin" / f"python{_stem(published)}"
        try:
            return installation_of(offer, python)
        except (ProcessError, RuntimeUnavailableError) as error:
            raise RuntimeUnavailableError(
                f"{python} does not run",
                cause="something was removed from the cache, or the host's C library changed",
                fix=f"remove {directory} and run again",
                details=str(error),
            ) from error

    def _root(self, published: PublishedInterpreter, least: tuple[int, int] = (0, 0)) -> Path:
        found = self._c_library(published, least)
        if found is None:
            raise RuntimeUnavailableError(
                f"there is no C library for {published.architecture} any longer",
                fix=f"run once without --wheel-offline, or: wheelcheck runtime install {published.architecture} "
                f"{_stem(published)}",
            )
        return c_library.provide(found)

    def _make_foreign(
        self, published: PublishedInterpreter, offer: Offer, starter: Starter, root: Path, side: Path
    ) -> None:
        if self._offline:
            raise RuntimeUnavailableError(
                f"CPython {_stem(published)} for {published.architecture} is not in the cache, and cannot be fetched here"
            )
        final = cache.path(_key(published))
        named = (
            f"CPython {_stem(published)} for {published.architecture}{' (musl)' if published.libc == 'musl' else ''}"
        )
        with (
            step(f"{named} of {DISTRIBUTION} {VERSION}", side),
            temporary.directory() as work,
        ):
            self._lay(published, side, work, final, loader=None)
            roots.finish(
                side,
                final,
                offer,
                starter,
                self._native_python(published.version[:2], published.free_threaded),
                stem=_stem(published),
                smoke_test=SMOKE_TEST,
                program=f"bin/python{_stem(published)}",
                library="lib",
                root=root,
            )

    def _offer(self, published: PublishedInterpreter, platform: Platform, least: tuple[int, int] = (0, 0)) -> Offer:
        foreign = _foreign(published)
        if published.libc == "musl":
            libc_version = _MUSL
        elif foreign:
            found = self._c_library(published, least)
            libc_version = found.version if found else (2, 17)
        else:
            major, _, minor = glibc().partition(" ")[2].partition(".")
            libc_version = (int(major or 2), int(minor.partition(".")[0] or 17))
        return Offer.of_cpython(
            provider=self.name,
            version=published.version,
            free_threaded=published.free_threaded,
            platform=platform,
            libc_version=libc_version,
            how=f"inside the published wheel {DISTRIBUTION} {VERSION} ({published.abi}-{published.platform_tag})",
            key=published.sha256,
            rank=1 if foreign else 0,
        )

    def _named(self) -> apt.Repository | None:
        return apt.parse_source(self._source) if self._source else None

    def _c_library(
        self, published: PublishedInterpreter, least: tuple[int, int] = (0, 0)
    ) -> c_library.LibcPackage | None:
        """Find the C library: with zlib, which the interpreter needs, too."""
        found = [archive for archive, _ in repositories(self._source)]
        architecture = ARCHITECTURES[published.architecture]
        return c_library.find(architecture, published.libc, found, offline=self._offline, cross=False, minimum=least)

    def _hindrance(self, published: PublishedInterpreter, at: Platform) -> str:
        """Say why an interpreter cannot be given here, or nothing."""
        if cache.is_complete(_key(published)):
            return ""
        if self._offline:
            return "not in the cache, and this run is offline"
        if _foreign(published):
            architecture = ARCHITECTURES[published.architecture]
            if not repositories(self._source):
                return (
                    f"a C library for {architecture.name} comes from an archive of Debian or Ubuntu, and there is none"
                )
            if self._c_library(published) is None:
                return f"the host's archive has no C library for {architecture.debian}"
            return self._libraries(published).unavailable_reason(published.version[:2])
        if published.libc == "glibc" and at.libc != "glibc":
            return "needs glibc"
        if published.libc == "musl" and not repositories(self._source):
            return "musl comes from the archive of Debian or Ubuntu, which this host is not"
        return self._libraries(published).unavailable_reason(published.version[:2])

    def _libraries(self, published: PublishedInterpreter) -> StandardLibraries:
        found = repositories(self._source, ARCHITECTURES[published.architecture].debian)
        return StandardLibraries(self._host, found, self._index, offline=self._offline)

    def _make(self, published: PublishedInterpreter, side: Path) -> None:
        with temporary.directory() as work:
            final = cache.path(_key(published))
            loader = (
                final / "lib" / c_library.musl_loader_name(published.architecture) if published.libc == "musl" else None
            )
            self._lay(published, side, work, final, loader=loader)
            if published.libc == "musl":
                for file in self._root(published).glob("usr/lib/*"):
                    shutil.copy2(file, side / "lib" / file.name, follow_symlinks=False)
        python = [side / "bin" / f"python{_stem(published)}"]
        if published.libc == "musl":
            # The program names its loader by the final path, where it is not yet.
            python = [side / "lib" / c_library.musl_loader_name(published.architecture), python[0]]
        try:
            process.run([*python, "-I", "-c", SMOKE_TEST])
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"the interpreter of {DISTRIBUTION} {VERSION} for {published.abi} does not work here",
                cause="the host lacks a library that it needs",
                fix="the last line tells which; installing zlib's library (libz.so.1) mends the most likely one",
                details=error.details,
            ) from error
        library = side / "lib" / f"python{_stem(published)}"
        process.run([*python, "-I", "-m", "compileall", "-q", library], check=False)

    def _lay(
        self, published: PublishedInterpreter, side: Path, work: Path, final: Path, *, loader: Path | None
    ) -> None:
        """Lay interpreter and library into an installation; its C library comes later."""
        wheel = pinned.download(published.wheel, self._index, work / "wheel")
        library = side / "lib" / f"python{_stem(published)}"
        self._libraries(published).copy(published.version[:2], library, work)
        _take(wheel, published, side, library, loader)
        (library / "site-packages").mkdir()
        name = f"_sysconfigdata_{'t' if published.free_threaded else ''}_linux_{_multiarch(published)}.py"
        (library / name).write_text(_sysconfig(published, final, _pip(side)), encoding="utf-8")


def _stem(published: PublishedInterpreter) -> str:
    """``3.14t``: how programs and folders of that interpreter end."""
    return f"{published.version[0]}.{published.version[1]}{'t' if published.free_threaded else ''}"


def _key(published: PublishedInterpreter) -> str:
    name = f"{published.abi}-{'musl' if published.libc == 'musl' else ''}linux-{published.architecture}"
    return f"runtimes/published-{name}-{cache.digest(published.sha256, str(_GENERATION))}"


def _multiarch(published: PublishedInterpreter) -> str:
    name = ARCHITECTURES[published.architecture].multiarch
    return name.replace("-gnu", "-musl") if published.libc == "musl" else name


def _pip(side: Path) -> Path | None:
    """Lay a pip beside the library, for ``ensurepip``; give the folder where it will be."""
    found = pinned.embedded_pip()
    if found is None:
        return None
    folder = side / "lib" / "wheels"
    folder.mkdir(parents=True)
    shutil.copy2(found, folder)
    return folder


def _take(wheel: Path, published: PublishedInterpreter, side: Path, library: Path, loader: Path | None) -> None:
    """Unpack the parts of the wheel that are wanted."""
    dynload = library / "lib-dynload"
    libraries = side / "lib" / "freeze_core.libs"
    programs = side / "bin"
    for folder in (dynload, libraries, programs):
        folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder_name, _, base = name.rpartition("/")
            if base.startswith(("_tkinter.", *_TK)):
                continue
            if folder_name == "freeze_core/lib" and base.endswith(".so"):
                (dynload / base).write_bytes(archive.read(name))
            elif folder_name == "freeze_core.libs" and base:
                (libraries / base).write_bytes(_with_certificates(archive.read(name)))
                (libraries / base).chmod(0o755)
                # Where the program itself looks, and musl on behalf of everything that it loads.
                (side / "lib" / base).symlink_to(f"freeze_core.libs/{base}")
            elif folder_name == "freeze_core/bases" and base.startswith("console-"):
                python = programs / f"python{_stem(published)}"
                python.write_bytes(console.as_python(archive.read(name), loader=loader))
                python.chmod(0o755)
    plain = ".".join(map(str, published.version[:2]))
    for alias in dict.fromkeys(("python3", "python", f"python{plain}")):
        if not (programs / alias).exists():
            (programs / alias).symlink_to(f"python{_stem(published)}")


def _with_certificates(library: bytes) -> bytes:
    """Point an OpenSSL that was built for the manylinux images to the certificates of this host.

    The path of the images exists nowhere else (``/opt/_internal/openssl-3.5/cert.pem``); the new one takes its place.
    """
    found = next((path for path in _CERTIFICATES if Path(path).is_file()), "").encode()

    def shortened(match: re.Match[bytes]) -> bytes:
        return found.ljust(len(match[0]), b"\0") if found and len(found) < len(match[0]) else match[0]

    return re.sub(rb"/opt/_internal/openssl-[0-9.]+/cert\.pem\0", shortened, library)


def _foreign(published: PublishedInterpreter) -> bool:
    return not runs_natively(published.architecture)


def _sysconfig(published: PublishedInterpreter, root: Path, wheels: Path | None) -> str:
    """Write the variables that the build would have recorded, as far as they are true here."""
    major, minor, _ = published.version
    threading = "t" if published.free_threaded else ""
    multiarch = _multiarch(published)
    soabi = f"cpython-{major}{minor}{threading}-{multiarch}"
    include = root / "include" / f"python{_stem(published)}"
    values: dict[str, str | int] = {
        "ABIFLAGS": threading,
        "AR": "ar",
        "BINDIR": str(root / "bin"),
        "CC": "cc",
        "CCSHARED": "-fPIC",
        "CFLAGS": "-O3 -Wall",
        "CONFINCLUDEPY": str(include),
        "CXX": "c++",
        "EXE": "",
        "EXT_SUFFIX": f".{soabi}.so",
        "HOST_GNU_TYPE": f"{published.architecture}-pc-linux-{'musl' if published.libc == 'musl' else 'gnu'}",
        "INCLUDEPY": str(include),
        "LDLIBRARY": f"libpython{_stem(published)}.a",
        "LDSHARED": "cc -shared",
        "LDVERSION": _stem(published),
        "LIBDIR": str(root / "lib"),
        "MULTIARCH": multiarch,
        "OPT": "-O3 -Wall",
        "PLATLIBDIR": "lib",
        "Py_DEBUG": 0,
        "Py_ENABLE_SHARED": 0,
        "Py_GIL_DISABLED": int(published.free_threaded),
        "SHLIB_SUFFIX": ".so",
        "SIZEOF_VOID_P": 8,
        "SOABI": soabi,
        "TZPATH": "/usr/share/zoneinfo:/usr/lib/zoneinfo:/usr/share/lib/zoneinfo:/etc/zoneinfo",
        "VERSION": f"{major}.{minor}",
        "WITH_PYMALLOC": 0 if published.free_threaded else 1,
        "exec_prefix": str(root),
        "prefix": str(root),
    }
    if wheels is not None:
        values["WHEEL_PKG_DIR"] = str(root / "lib" / wheels.name)
    # Readers of such files look for this line (CPython's Lib/sysconfig/__main__.py writes it).
    head = "# system configuration generated and used by the sysconfig module\n"
    return f"{head}build_time_vars = {json.dumps(values, indent=1)}\n"
