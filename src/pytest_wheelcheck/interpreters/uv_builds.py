"""uv's managed CPythons: for this host and others, for musl, free-threaded, and for Windows.

uv carries the catalogue of what it can install, so asking costs no network; it downloads, verifies and unpacks. The
interpreters bring all but the C library, which for another architecture, or musl, comes from :mod:`.c_library`: also
from ``-cross`` packages, so a host whose archive carries its own architecture alone needs nothing else.

uv's variables hold: ``UV_PYTHON_DOWNLOADS_JSON_URL`` for another catalogue, ``UV_PYTHON_INSTALL_MIRROR`` for another
place of the same files.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_wheelcheck.errors import InstallError, ProcessError, RuntimeUnavailableError, WheelcheckError
from pytest_wheelcheck.interpreters import c_library, roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture
from pytest_wheelcheck.interpreters.base import (
    OLDEST,
    Answer,
    Kind,
    NativePython,
    Offer,
    Request,
    Starter,
    fits,
    glibc,
    here,
)
from pytest_wheelcheck.interpreters.facts import installation_of
from pytest_wheelcheck.interpreters.published import standard_library
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process, uv
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the installations are made changes.
_GENERATION = 1

#: uv's words for architecture and C library, and those of platform tags.
_ARCHITECTURES = {
    ("x86_64", "gnu"): "x86_64",
    ("x86_64", "musl"): "x86_64",
    ("aarch64", "gnu"): "aarch64",
    ("aarch64", "musl"): "aarch64",
    ("armv7", "gnueabihf"): "armv7l",
    ("x86", "gnu"): "i686",
    ("powerpc64le", "gnu"): "ppc64le",
    ("riscv64gc", "gnu"): "riscv64",
    ("riscv64", "gnu"): "riscv64",
    ("s390x", "gnu"): "s390x",
}

#: The same for Windows.
_WINDOWS = {"x86_64": "amd64", "x86": "x86"}

#: Seconds for finding out whether the place of the downloads can be reached, and for which the answer is good.
_REACH_DEADLINE = 5.0
_REACHED, _NOT_REACHED = 24 * 3600.0, 600.0

#: Seconds for downloading one installation of 30 MB.
_DOWNLOAD_DEADLINE = 900.0

#: The file that says what an installation is.
_ORIGIN = "uv.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Download:
    """An entry of uv's catalogue.

    :param key: uv's name of it.
    :param system: ``linux`` or ``win32``.
    :param architecture: as in platform tags.
    :param libc: ``glibc``, ``musl`` or nothing.
    :param url: where it lies.
    """

    key: str
    version: tuple[int, int, int]
    free_threaded: bool
    system: str
    architecture: str
    libc: str
    url: str

    @property
    def stem(self) -> str:
        """``3.14t``."""
        return f"{self.version[0]}.{self.version[1]}{'t' if self.free_threaded else ''}"

    @property
    def kind(self) -> Kind:
        """What it is, as tags know it."""
        return "cpython", self.version[:2], self.free_threaded

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return Platform(system=self.system, architecture=self.architecture, libc=self.libc)

    @property
    def place(self) -> str:
        """Its name in the cache."""
        system = {"win32": "win", "linux": "musllinux" if self.libc == "musl" else "linux"}[self.system]
        name = f"cp{self.stem.replace('.', '')}-{system}-{self.architecture}"
        return f"runtimes/uv-{name}-{cache.digest(str(_GENERATION), self.key, self.url)}"


class UvProvider:
    """Offers uv's managed CPythons.

    :param native_python: gives native interpreters, which compile bytecode for those of other architectures.
    :param offline: offer only what is cached.
    :param source: an archive for the C library before the host's, as a line of ``sources.list(5)``.
    """

    name = "uv"

    def __init__(self, native_python: NativePython, *, offline: bool = False, source: str = "") -> None:
        self._native_python = native_python
        self._offline = offline
        self._source = source
        self._lock = threading.Lock()
        self._catalogue: tuple[Download, ...] | None = None

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — others look at it
        """See :meth:`.base.Provider.costly`: uv is started, and the place of its downloads may have to be tried."""
        return True

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or not request.platform.is_linux or host_architecture() is None:
            return Answer()
        offers: list[Offer] = []
        reasons: dict[str, None] = {}
        downloads, unchecked = self._downloads(request, reasons)
        for download in downloads:
            library = None
            if _needs_root(download):
                library = self._c_library(download, request.minimum_libc)
                if library is None:
                    reasons[f"no archive has {download.libc} for {download.architecture}"] = None
                    continue
            offers.append(self._offer(download, library))
        return Answer.of(offers, reason="; ".join(reasons), unchecked=unchecked)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        download = _read(json.loads(offer.key))
        if not _needs_root(download):
            return self._get_native(download, offer)
        library = self._c_library(download, offer.libc_version)
        if library is None:
            raise RuntimeUnavailableError(f"no archive has {download.libc} for {download.architecture} any longer")
        root = c_library.provide(library)
        program = f"python/bin/python{download.stem}"

        def make(side: Path) -> None:
            final = cache.path(download.place)
            with step(f"CPython {download.stem} for {download.architecture} of uv", side):
                self._install(download, side)
                roots.finish(
                    side,
                    final,
                    offer,
                    starter,
                    self._native_python(download.version[:2], download.free_threaded),
                    stem=download.stem,
                    smoke_test=standard_library.SMOKE_TEST,
                    program=program,
                    library="python/lib",
                    root=root,
                )

        return roots.installation_in(
            cache.provision(download.place, make),
            offer,
            program=program,
            library="python/lib",
            stem=download.stem,
            root=root,
            extensible=True,
        )

    def _get_native(self, download: Download, offer: Offer) -> Installation:
        def make(side: Path) -> None:
            with step(f"CPython {download.stem} of uv", side):
                self._install(download, side)
                python = side / "python/bin" / f"python{download.stem}"
                try:
                    process.run([python, "-I", "-c", standard_library.SMOKE_TEST])
                except ProcessError as error:
                    raise RuntimeUnavailableError(
                        f"{download.key} of uv does not work here",
                        cause="it needs a newer C library or processor than this host has",
                        details=error.details,
                    ) from error
                process.run([python, "-I", "-m", "compileall", "-q", "-q", side / "python/lib"], check=False)

        python = cache.provision(download.place, make) / "python/bin" / f"python{download.stem}"
        return installation_of(offer, python)

    def _downloads(self, request: Request, reasons: dict[str, None]) -> tuple[list[Download], bool]:
        """List what is in the cache, and of the catalogue the newest of what is not, if it can be reached.

        :param reasons: takes why there is not more.
        :returns: and whether something that is wanted is there, but could not be reached.
        """
        found = {each.kind: each for each in _kept() if fits(each.platform, request.platform)}
        if self._offline:
            if not found:
                reasons["not in the cache, and this run is offline"] = None
            return list(found.values()), False
        try:
            with self._lock:
                if self._catalogue is None:
                    self._catalogue = catalogue()
        except WheelcheckError as error:
            reasons[error.message] = None
            return list(found.values()), True
        further = [each for each in self._catalogue if fits(each.platform, request.platform) and each.kind not in found]
        if further and (problem := unreachable(further[0].url)):
            reasons[problem] = None
            return list(found.values()), not request.wanted.isdisjoint(each.kind for each in further)
        return [*found.values(), *further], False

    def _install(self, download: Download, side: Path) -> None:
        if self._offline:
            raise RuntimeUnavailableError(f"{download.key} of uv is not in the cache, and this run is offline")
        install(download, side, cache.path(download.place))

    def _c_library(self, download: Download, least: tuple[int, int]) -> c_library.LibcPackage | None:
        try:
            archives = [archive for archive, _ in standard_library.repositories(self._source)]
        except RuntimeUnavailableError:
            return None
        architecture = ARCHITECTURES[download.architecture]
        return c_library.find(architecture, download.libc, archives, offline=self._offline, minimum=least)

    def _offer(self, download: Download, library: c_library.LibcPackage | None) -> Offer:
        libc_version = library.version if library else _own_glibc()
        return Offer.of_cpython(
            provider=self.name,
            version=download.version,
            free_threaded=download.free_threaded,
            platform=download.platform,
            libc_version=libc_version,
            how=f"{download.key} of uv",
            key=json.dumps(asdict(download)),
            rank=2,
        )


# --- uv ----------------------------------------------------------------------------------------------------------------


def catalogue() -> tuple[Download, ...]:
    """List what uv can install: of each kind the newest release, no release candidates. Uses no network.

    :raises WheelcheckError: uv is not here, or does not tell.
    """
    try:
        argv: list[str | Path] = [
            *(uv.executable(), "python", "list", "--only-downloads", "--all-platforms", "--all-arches"),
            *("--output-format", "json", "--color", "never"),
        ]
        said = process.run(argv, timeout=60).stdout
        rows = json.loads(said)
    except (ProcessError, InstallError, ValueError) as error:
        raise RuntimeUnavailableError(
            f"uv does not tell what it can install: {getattr(error, 'what', error)}"
        ) from error
    found: dict[tuple[object, ...], Download] = {}
    for row in rows:
        version = re.fullmatch(r"3\.(\d+)\.(\d+)", str(row.get("version")))
        windows = row.get("os") == "windows"
        arch = str(row.get("arch"))
        architecture = _WINDOWS.get(arch) if windows else _ARCHITECTURES.get((arch, str(row.get("libc"))))
        if row.get("implementation") != "cpython" or version is None or architecture is None:
            continue
        if (row.get("os") not in {"linux", "windows"}) or row.get("variant") not in {"default", "freethreaded"}:
            continue
        each = Download(
            key=str(row["key"]),
            version=(3, int(version[1]), int(version[2])),
            free_threaded=row["variant"] == "freethreaded",
            system="win32" if windows else "linux",
            architecture=architecture,
            libc="" if windows else "musl" if row.get("libc") == "musl" else "glibc",
            url=str(row.get("url") or ""),
        )
        kind = (each.version[1], each.free_threaded, each.platform)
        if each.version >= OLDEST and (kind not in found or found[kind].version < each.version):
            found[kind] = each
    return tuple(sorted(found.values(), key=lambda each: (each.version, each.free_threaded)))


def unreachable(url: str) -> str:
    """Say that the place of uv's downloads cannot be reached, or nothing. Takes seconds at most, and not often.

    :param url: of one of them.
    """
    mirror = os.environ.get("UV_PYTHON_INSTALL_MIRROR", "")
    parts = urllib.parse.urlsplit(mirror or url)
    if parts.scheme == "file":
        return ""  # uv says what is missing
    place = f"{parts.scheme}://{parts.netloc}"
    file = cache.root() / "archives" / f"uv-{cache.digest(place)}.json"
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        told = json.loads(file.read_text(encoding="utf-8"))
        if time.time() < float(told["until"]):
            return str(told["problem"])
    problem = _try(place)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        until = time.time() + (_NOT_REACHED if problem else _REACHED)
        side = file.with_suffix(f".{os.getpid()}")
        side.write_text(json.dumps({"until": until, "problem": problem}), encoding="utf-8")
        side.replace(file)
    return problem


def _try(place: str) -> str:
    """Ask a server for anything. Proxies are those of the environment."""
    said: list[str] = []

    def ask() -> None:
        try:
            asking = urllib.request.Request(place, method="HEAD")  # noqa: S310  the scheme is uv's
            with urllib.request.urlopen(asking, timeout=_REACH_DEADLINE):  # noqa: S310
                said.append("")
        except urllib.error.HTTPError:
            said.append("")  # something is there
        except (OSError, ValueError) as error:
            said.append(str(getattr(error, "reason", error)))

    # Resolving a name obeys no time-out.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(_REACH_DEADLINE + 1)
    why = said[0] if said else "no answer"
    advice = "UV_PYTHON_INSTALL_MIRROR names another place of them"
    return f"its downloads cannot be reached at {place} ({why}); {advice}" if why else ""


def install(download: Download, side: Path, final: Path) -> None:
    """Have uv install into ``python`` below a folder.

    :param side: where it is now.
    :param final: where it will be: what uv writes of the place is corrected.
    :raises RuntimeUnavailableError: uv could not do it; its words are in the details.
    """
    folder = side / "uv"
    argv: list[str | Path] = [
        *(uv.executable(), "python", "install", "--no-bin", "--no-progress", "--color", "never"),
        *("--install-dir", folder, download.key),
    ]
    try:
        process.run(argv, timeout=_DOWNLOAD_DEADLINE)
    except (ProcessError, InstallError) as error:
        raise RuntimeUnavailableError(
            f"uv could not install {download.key}",
            cause="its downloads cannot be reached from here",
            fix="UV_PYTHON_INSTALL_MIRROR names another place of them; --wheel-offline leaves them out",
            details=error.details or str(error),
        ) from error
    # Beside it are a lock, and a link of the minor version.
    (made,) = (each for each in folder.glob("cpython-*") if each.is_dir() and not each.is_symlink())
    made.rename(side / "python")
    for rest in sorted(folder.rglob("*"), reverse=True):
        rest.rmdir() if rest.is_dir() and not rest.is_symlink() else rest.unlink()
    folder.rmdir()
    for file in (side / "python").glob("lib*/python3*/_sysconfigdata*.py"):
        text = file.read_text(encoding="utf-8")
        file.write_text(text.replace(str(made), str(final / "python")), encoding="utf-8")
    (side / _ORIGIN).write_text(json.dumps(asdict(download)), encoding="utf-8")


def windows_offers(architecture: str, *, offline: bool = False) -> list[Download]:
    """List uv's CPythons for Windows that :func:`windows` can give: in the cache, or to be downloaded.

    :param architecture: ``amd64`` or ``x86``.
    :param offline: only what is in the cache.
    """
    platform = Platform(system="win32", architecture=architecture)

    def fitting(downloads: tuple[Download, ...]) -> dict[tuple[int, ...], Download]:
        return {each.version[:2]: each for each in downloads if each.platform == platform and not each.free_threaded}

    found = fitting(_kept())
    if offline:
        return list(found.values())
    further: dict[tuple[int, ...], Download] = {}
    with contextlib.suppress(RuntimeUnavailableError):
        further = fitting(catalogue())
    if further and unreachable(next(iter(further.values())).url):
        further = {}
    return list({**further, **found}.values())


def windows(version: tuple[int, int], architecture: str, *, offline: bool = False) -> Path | None:
    """Give uv's CPython for Windows: the folder with ``python.exe``, its DLLs, ``DLLs`` and ``Lib``.

    :param version: major, minor.
    :param architecture: ``amd64`` or ``x86``.
    :param offline: only what is in the cache.
    :returns: ``None`` where uv has none, or where its downloads cannot be reached.
    :raises RuntimeUnavailableError: it could not be installed, although it should.
    """
    platform = Platform(system="win32", architecture=architecture)

    def fitting(downloads: tuple[Download, ...]) -> Iterator[Download]:
        return (
            each
            for each in downloads
            if each.platform == platform and each.version[:2] == version and not each.free_threaded
        )

    download = next(fitting(_kept()), None)
    if download is None and not offline:
        with contextlib.suppress(RuntimeUnavailableError):
            download = next(fitting(catalogue()), None)
        if download is not None and unreachable(download.url):
            return None
    if download is None:
        return None
    chosen = download

    def make(side: Path) -> None:
        with step(f"CPython {chosen.stem} for Windows of uv", side):
            install(chosen, side, cache.path(chosen.place))

    return cache.provision(chosen.place, make) / "python"


def _needs_root(download: Download) -> bool:
    """Tell whether it is for another architecture or C library than this host's."""
    return download.platform != here()


def _own_glibc() -> tuple[int, int]:
    return roots.upstream_version(glibc().partition(" ")[2])


def _kept() -> tuple[Download, ...]:
    """List what is in the cache."""
    found = []
    for file in sorted((cache.root() / "runtimes").glob(f"uv-*/{_ORIGIN}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            each = _read(json.loads(file.read_text(encoding="utf-8")))
            if cache.is_complete(each.place) and cache.path(each.place) == file.parent:
                found.append(each)
    return tuple(found)


def _read(told: dict[str, object]) -> Download:
    return Download(**{**told, "version": tuple(told["version"])})  # type: ignore[arg-type]
