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

import hashlib
import json
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck import cache, process
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.model import Runtime

from . import apt, console, tags
from .base import Answer, Offer, Platform, Request, fits, glibc, here
from .host import Facts, HostProvider, judge
from .published_wheels import DISTRIBUTION, PUBLISHED, VERSION, Published

#: Bump when the way in which the installations are made changes.
_GENERATION = 2

#: Seconds for pip to download one wheel of 15 MB.
_DOWNLOAD_DEADLINE = 900.0

#: Parts of a standard library that are not taken: another build's, tests, other programs.
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

#: Libraries that only tkinter needs; with their alignment of 2 MiB they are half of the whole.
_TK = ("libX", "libxcb", "libtk", "libtcl", "libfontconfig", "libfreetype", "libpng", "libbrotli")

#: What must work in a new installation; each comes with libraries of its own.
_SMOKE = "import binascii, bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"

#: Where the certificates of authorities are, on the usual distributions (Go's ``crypto/x509/root_linux.go``).
_CERTIFICATES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

#: The C library of the musl installations, and the least version that their programs need (``preadv2``).
_MUSL = (1, 2)


class PublishedProvider:
    """Offers the interpreters of published wheels that can run natively on this host (x86-64 Linux for now).

    :param host: asked for a standard library of the same minor version.
    :param offline: only what is in the cache already is offered.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further folders or pages of distributions.
    """

    name = "published"

    def __init__(
        self,
        host: HostProvider,
        *,
        offline: bool = False,
        index: str | None = None,
        find_links: Sequence[str] = (),
    ) -> None:
        self._host = host
        self._offline = offline
        self._index = index
        self._find_links = tuple(find_links)

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — others look at it
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        at = here()
        if request.python is not None or at.system != "linux" or at.architecture != "x86_64":
            return Answer()
        found: list[Offer] = []
        reasons: dict[str, None] = {}
        for published in PUBLISHED:
            platform = Platform(system="linux", architecture=published.architecture, libc=published.libc)
            if published.architecture != at.architecture or not fits(platform, request.platform):
                continue
            if reason := self._hindrance(published, at):
                reasons[reason] = None
            else:
                found.append(self._offer(published, platform))
        # Where something can be given, what cannot is told too: it may be what a wheel needs.
        return Answer(offers=tuple(found), reason="; ".join(reasons))

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.base.Provider.get`."""
        published = next(each for each in PUBLISHED if each.sha256 == offer.key)
        key = _key(published)
        folder = cache.provision(key, lambda side: self._make(published, side))
        python = folder / "bin" / f"python{_stem(published)}"
        try:
            facts = judge(python)
        except (ProcessError, RuntimeUnavailableError) as error:
            raise RuntimeUnavailableError(
                f"{python} does not run",
                cause="something was removed from the cache, or the host's C library changed",
                advice=f"remove {folder} and run again",
                details=str(error),
            ) from error
        return Offer(
            provider=self.name,
            implementation="cpython",
            version=facts.version,
            free_threaded=facts.free_threaded,
            platform=facts.platform,
            libc_version=facts.libc_version,
            tags=facts.tags,
            how=offer.how,
        ).runtime(python)

    def _offer(self, published: Published, platform: Platform) -> Offer:
        if published.libc == "glibc":
            major, _, minor = glibc().partition(" ")[2].partition(".")
            libc_version = (int(major or 2), int(minor.partition(".")[0] or 17))
        else:
            libc_version = _MUSL
        return Offer(
            provider=self.name,
            implementation="cpython",
            version=published.version,
            free_threaded=published.free_threaded,
            platform=platform,
            libc_version=libc_version,
            tags=tags.accepted(
                implementation="cpython",
                version=published.version,
                free_threaded=published.free_threaded,
                system="linux",
                architecture=published.architecture,
                libc=published.libc,
                libc_version=libc_version,
            ),
            how=f"inside the published wheel {DISTRIBUTION} {VERSION} ({published.abi}-{published.platform_tag})",
            key=published.sha256,
        )

    def _hindrance(self, published: Published, at: Platform) -> str:
        """Say why an interpreter cannot be given here, or nothing."""
        if cache.present(_key(published)):
            return ""
        if self._offline:
            return "not in the cache, and this run is offline"
        if published.libc == "glibc" and at.libc != "glibc":
            return "needs glibc"
        if published.libc == "musl" and apt.archive() is None:
            return "musl and a standard library come from the archive of Debian or Ubuntu, which this host is not"
        if self._library_of_host(published.version[:2]) is None and apt.archive() is None:
            number = ".".join(map(str, published.version[:2]))
            return f"{number} needs a standard library: install any CPython {number}"
        return ""

    def _library_of_host(self, version: tuple[int, int]) -> Facts | None:
        for found in self._host.found():
            facts = found.facts
            if facts.implementation == "cpython" and facts.version[:2] == version and facts.level == "final":
                return facts
        return None

    def _make(self, published: Published, side: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch:
            work = Path(scratch)
            wheel = self._download(published, work / "wheel")
            library = side / "lib" / f"python{_stem(published)}"
            self._standard_library(published, library, work)
            _take(wheel, published, side, library)
            if published.libc == "musl":
                _musl(side, work)
        (library / "site-packages").mkdir()
        name = f"_sysconfigdata_{'t' if published.free_threaded else ''}_linux_{_multiarch(published)}.py"
        (library / name).write_text(_sysconfig(published, _pip(side)), encoding="utf-8")
        python = [side / "bin" / f"python{_stem(published)}"]
        if published.libc == "musl":
            # The program names its loader by the final path, where it is not yet.
            python = [side / "lib" / "ld-musl-x86_64.so.1", python[0]]
        try:
            process.run([*python, "-I", "-c", _SMOKE])
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"the interpreter of {DISTRIBUTION} {VERSION} for {published.abi} does not work here",
                cause="the host lacks a library that it needs",
                advice="the last line tells which; installing zlib's library (libz.so.1) mends the most likely one",
                details=error.details,
            ) from error
        process.run([*python, "-I", "-m", "compileall", "-q", library], check=False)

    def _download(self, published: Published, folder: Path) -> Path:
        folder.mkdir()
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{DISTRIBUTION}=={VERSION} --hash=sha256:{published.sha256}\n", encoding="utf-8")
        argv: list[str | Path] = [
            *_pip_command(),
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
            "--only-binary=:all:",
            "--implementation=cp",
            f"--python-version={'.'.join(map(str, published.version[:2]))}",
            f"--abi={published.abi}",
            f"--platform={published.platform_tag}",
            "--require-hashes",
            "-r",
            wanted,
            "-d",
            folder,
            *(f"--find-links={place}" for place in self._find_links),
            *([f"--index-url={self._index}"] if self._index else []),
        ]
        try:
            process.run(argv, timeout=_DOWNLOAD_DEADLINE)
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"{DISTRIBUTION} {VERSION} for {published.abi} could not be downloaded",
                cause="the package index cannot be reached, or does not carry that wheel",
                advice="look at pip's configuration; --wheel-offline leaves such interpreters out",
                details=error.details or str(error),
            ) from error
        for wheel in folder.glob("*.whl"):
            if hashlib.sha256(wheel.read_bytes()).hexdigest() == published.sha256:
                return wheel
        raise RuntimeUnavailableError(
            f"{DISTRIBUTION} {VERSION} for {published.abi} is not the file that it was",
            cause="the index, or something on the way, changed it",
            advice="do not use it; tell the maintainers of the index",
        )

    def _standard_library(self, published: Published, library: Path, work: Path) -> None:
        """Copy the pure-Python library of the same minor version from the host or its archive."""
        number = ".".join(map(str, published.version[:2]))
        facts = self._library_of_host(published.version[:2])
        if facts is not None:
            told = process.run([facts.python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"])
            source = Path(told.stdout.strip())
        else:
            root = work / "root"
            names = [f"libpython{number}-minimal", f"libpython{number}-stdlib", f"python{number}-venv"]
            apt.unpack(names, root, work=work / "apt")
            source = root / "usr/lib" / f"python{number}"
        shutil.copytree(source, library, ignore=shutil.ignore_patterns(*_NOT_TAKEN), ignore_dangling_symlinks=True)


def _stem(published: Published) -> str:
    """``3.14t``: how programs and folders of that interpreter end."""
    return f"{published.version[0]}.{published.version[1]}{'t' if published.free_threaded else ''}"


def _key(published: Published) -> str:
    name = f"{published.abi}-{'musl' if published.libc == 'musl' else ''}linux-{published.architecture}"
    return f"runtimes/published-{name}-{cache.digest(published.sha256, str(_GENERATION))}"


def _multiarch(published: Published) -> str:
    return f"{published.architecture}-linux-{'musl' if published.libc == 'musl' else 'gnu'}"


def _pip_command() -> list[str | Path]:
    """Give a pip: virtualenv carries one, which runs from its wheel."""
    if found := _embedded_pip():
        return [sys.executable, found / "pip"]
    return [sys.executable, "-m", "pip"]


def _embedded_pip() -> Path | None:
    from packaging.version import Version
    from virtualenv.seed.wheels import embed

    folder = Path(embed.__file__).parent
    return max(folder.glob("pip-*.whl"), key=lambda path: Version(path.name.split("-")[1]), default=None)


def _pip(side: Path) -> Path | None:
    """Lay a pip beside the library, for ``ensurepip``; give the folder where it will be."""
    found = _embedded_pip()
    if found is None:
        return None
    folder = side / "lib" / "wheels"
    folder.mkdir(parents=True)
    shutil.copy2(found, folder)
    return folder


def _take(wheel: Path, published: Published, side: Path, library: Path) -> None:
    """Unpack the parts of the wheel that are wanted."""
    dynload = library / "lib-dynload"
    libraries = side / "lib" / "freeze_core.libs"
    programs = side / "bin"
    for folder in (dynload, libraries, programs):
        folder.mkdir(parents=True, exist_ok=True)
    loader = None
    if published.libc == "musl":
        loader = cache.place(_key(published)) / "lib" / "ld-musl-x86_64.so.1"
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


def _musl(side: Path, work: Path) -> None:
    """Lay musl's C library and a zlib that it can load into an installation."""
    root = work / "musl"
    apt.unpack(["musl", "zlib1g"], root, work=work / "apt-musl")
    (loader,) = root.glob("usr/lib/*-linux-musl/libc.so")
    shutil.copy2(loader, side / "lib" / "ld-musl-x86_64.so.1")
    (side / "lib" / "libc.musl-x86_64.so.1").symlink_to("ld-musl-x86_64.so.1")
    zlib = next(path for path in root.glob("usr/lib/*-linux-gnu/libz.so.1.*") if path.is_file())
    (side / "lib" / "libz.so.1").write_bytes(_for_musl(zlib.read_bytes()))


def _for_musl(zlib: bytes) -> bytes:
    """Make glibc's build of zlib loadable by musl.

    Of what it asks glibc for, musl lacks only the checked forms of two functions, which zlib uses in its ``gz``
    functions alone; Python calls none of them. They are bound to ``abort``, so that a call could not go unnoticed.
    musl takes a needed ``libc.so.6`` for itself and ignores symbol versions (``ldso/dynlink.c``, ``load_library``).
    """
    for name in (b"__snprintf_chk", b"__vsnprintf_chk"):
        zlib = zlib.replace(b"\0" + name + b"\0", b"\0abort".ljust(len(name) + 1, b"\0") + b"\0")
    return zlib


def _sysconfig(published: Published, wheels: Path | None) -> str:
    """Write the variables that the build would have recorded, as far as they are true here."""
    major, minor, _ = published.version
    threading = "t" if published.free_threaded else ""
    multiarch = _multiarch(published)
    soabi = f"cpython-{major}{minor}{threading}-{multiarch}"
    root = cache.place(_key(published))
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
    return f"build_time_vars = {json.dumps(values, indent=1)}\n"
