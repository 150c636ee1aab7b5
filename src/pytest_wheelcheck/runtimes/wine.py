"""CPython for Windows on Linux, under Wine.

The ``win_amd64`` wheels of one distribution carry the official library of CPython, its extension modules and what they
need. With the pure-Python library of any CPython of the same minor version, and three small files that :mod:`.wine_pe`
writes, that is an ordinary Windows installation. A wheel is fetched by name through pip and verified by its digest.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck import cache, process
from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.model import Runtime

from . import apt, debian, launcher, tags, wine_pe, wine_session, wine_system
from .architectures import ARCHITECTURES, runs_natively
from .base import Answer, Offer, Platform, Request, fits, here
from .host import Facts, HostProvider
from .progress import step

#: Bump when the way in which the installations are made changes.
_GENERATION = 1

#: The distribution whose wheels carry the interpreters.
DISTRIBUTION, VERSION = "panda3d", "1.10.16"

#: Seconds for pip to download one wheel of 67 MB.
_DOWNLOAD_DEADLINE = 1800.0

#: The platform of these interpreters.
PLATFORM = Platform(system="win32", architecture="amd64")

#: What asks for all of them.
REQUEST = Request(platform=PLATFORM)

#: Parts of a standard library that are not taken: another system's, tests, other programs.
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

#: Of the wheel: libraries that stand beside ``python.exe``; and beginnings of what is left out.
_BESIDE = ("python3", "vcruntime140")
_LEFT_OUT = ("api-ms-win-", "tcl", "tk8", "_tkinter", "_test", "_ctypes_test")

#: What must work in a new installation; each comes with libraries of its own.
_SMOKE = "import binascii, bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """An interpreter inside a wheel.

    :param sha256: of the wheel.
    """

    version: tuple[int, int, int]
    sha256: str

    @property
    def short(self) -> str:
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


#: The wheels, by digest.
CARRIED = (
    Carried(version=(3, 9, 13), sha256="11e5f1cd734827ca7925eaab993aaa06c9ac3e0b4d933fd44a99f048803702a1"),
    Carried(version=(3, 10, 11), sha256="3f5e084314a842875f9fbb2d6276c4bf80faa277592d90620a3b90717c4847e5"),
    Carried(version=(3, 11, 9), sha256="37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82"),
    Carried(version=(3, 12, 10), sha256="f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f"),
    Carried(version=(3, 13, 11), sha256="0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f"),
    Carried(version=(3, 14, 2), sha256="0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853"),
)


class WineProvider:
    """Offers the Windows interpreters of published wheels, where Wine is or can be had.

    :param host: asked for a standard library of the same minor version.
    :param offline: only what is in the cache already is offered.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further folders or pages of distributions.
    """

    name = "wine"

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

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`."""
        return fits(PLATFORM, request.platform)

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or here().system != "linux" or request.platform.system != "win32":
            return Answer()
        if request.platform.architecture != "amd64":
            return Answer(reason=f"only 64-bit interpreters for x86-64 can be had, not {request.platform.architecture}")
        if not runs_natively("x86_64"):
            return Answer(reason="Wine is used on x86-64 only")
        if reason := wine_system.hindrance(offline=self._offline):
            return Answer(reason=reason)
        found: list[Offer] = []
        reasons: dict[str, None] = {}
        for carried in CARRIED:
            if reason := self._hindrance(carried):
                reasons[reason] = None
            else:
                found.append(self._offer(carried))
        return Answer(offers=tuple(found), reason="; ".join(reasons))

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.base.Provider.get`."""
        carried = next(each for each in CARRIED if each.sha256 == offer.key)
        wine = wine_system.get(offline=self._offline)
        launch = launcher.Launch(
            before=(
                *(sys.executable, "-I", "-S", str(Path(wine_session.__file__))),
                str(wine_system.describe(wine)),
            )
        )
        folder = cache.provision(_key(carried), lambda side: self._make(carried, launch, side))
        python = launcher.provision(
            launch, folder / "python.exe", folder / "Lib", name=f"wine-{carried.abi}", stem=carried.short
        )
        facts = self._library_of_host(carried)
        return offer.runtime(python, native=facts.python if facts else None, launch=(launch.before, launch.after))

    def _offer(self, carried: Carried) -> Offer:
        return Offer(
            provider=self.name,
            implementation="cpython",
            version=carried.version,
            free_threaded=False,
            platform=PLATFORM,
            libc_version=(0, 0),
            tags=tags.accepted(
                implementation="cpython",
                version=carried.version,
                free_threaded=False,
                system=PLATFORM.system,
                architecture=PLATFORM.architecture,
            ),
            how=f"inside the published wheel {DISTRIBUTION} {VERSION} ({carried.abi}-win_amd64), under Wine",
            under="wine",
            key=carried.sha256,
        )

    def _hindrance(self, carried: Carried) -> str:
        if cache.present(_key(carried)):
            return ""
        if self._offline:
            return f"CPython {carried.short} for Windows is not in the cache, and this run is offline"
        if self._library_of_host(carried) is None and apt.archive() is None:
            return f"{carried.short} needs a standard library: install any CPython {carried.short}"
        if self._library_of_host(carried) is None and not self._in_archive(carried):
            return f"{carried.short} needs a standard library: install any CPython {carried.short}"
        return ""

    def _in_archive(self, carried: Carried) -> bool:
        archive = apt.archive()
        if archive is None:
            return False
        for batch in debian.batches(archive):
            for suite in apt.survey(archive, ARCHITECTURES["x86_64"].debian, batch, offline=self._offline):
                if f"python{carried.short}-minimal" in suite.packages:
                    return True
        return False

    def _library_of_host(self, carried: Carried) -> Facts | None:
        for found in self._host.found():
            facts = found.facts
            same = facts.version[:2] == carried.version[:2] and not facts.free_threaded
            if facts.implementation == "cpython" and same and facts.level == "final":
                return facts
        return None

    def _make(self, carried: Carried, launch: launcher.Launch, side: Path) -> None:
        with (
            step(f"CPython {carried.short} for Windows of {DISTRIBUTION} {VERSION}", side),
            tempfile.TemporaryDirectory(prefix="wheelcheck-") as scratch,
        ):
            work = Path(scratch)
            _take(self._download(carried, work / "wheel"), side)
            self._standard_library(carried, side / "Lib", work)
            (side / "Lib" / "site-packages").mkdir()
            (side / "python.exe").write_bytes(wine_pe.python(carried.library))
            names = _stable_names(side / carried.library)
            (side / "python3.dll").write_bytes(wine_pe.stable_abi(carried.library, names))
            try:
                done = process.run(
                    [*launch.argv(side / "python.exe", side / "python.exe"), "-I", "-c", _SMOKE], timeout=300.0
                )
            except ProcessError as error:
                raise RuntimeUnavailableError(
                    f"CPython {carried.short} for Windows does not work here",
                    cause="Wine does not work on this host, or lacks something that the interpreter needs",
                    advice=wine_system.ADVICE,
                    details=error.details,
                ) from error
            del done
            # Byte-code is the minor version's, whatever the system.
            if facts := self._library_of_host(carried):
                command: list[str | Path] = [facts.python, "-I"]
            else:
                command = [*launch.argv(side / "python.exe", side / "python.exe"), "-I"]
            process.run([*command, "-m", "compileall", "-q", side / "Lib"], check=False)

    def _download(self, carried: Carried, folder: Path) -> Path:
        from .published import _pip_command

        folder.mkdir()
        wanted = folder / "requirements.txt"
        wanted.write_text(f"{DISTRIBUTION}=={VERSION} --hash=sha256:{carried.sha256}\n", encoding="utf-8")
        argv: list[str | Path] = [
            *_pip_command(),
            *("download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"),
            *("--implementation=cp", f"--python-version={carried.short}", f"--abi={carried.abi}"),
            *("--platform=win_amd64", "--require-hashes", "-r", wanted, "-d", folder),
            *(f"--find-links={place}" for place in self._find_links),
            *([f"--index-url={self._index}"] if self._index else []),
        ]
        try:
            process.run(argv, timeout=_DOWNLOAD_DEADLINE)
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"{DISTRIBUTION} {VERSION} for {carried.abi} could not be downloaded",
                cause="the package index cannot be reached, or does not carry that wheel",
                advice="look at pip's configuration; --wheel-offline leaves such interpreters out",
                details=error.details or str(error),
            ) from error
        for wheel in folder.glob("*.whl"):
            if hashlib.sha256(wheel.read_bytes()).hexdigest() == carried.sha256:
                return wheel
        raise RuntimeUnavailableError(
            f"{DISTRIBUTION} {VERSION} for {carried.abi} is not the file that it was",
            cause="the index, or something on the way, changed it",
            advice="do not use it; tell the maintainers of the index",
        )

    def _standard_library(self, carried: Carried, library: Path, work: Path) -> None:
        facts = self._library_of_host(carried)
        if facts is not None:
            told = process.run([facts.python, "-I", "-c", "import sysconfig; print(sysconfig.get_path('stdlib'))"])
            source = Path(told.stdout.strip())
        else:
            root = work / "root"
            names = [f"libpython{carried.short}-minimal", f"libpython{carried.short}-stdlib"]
            apt.unpack(names, root, work=work / "apt")
            source = root / "usr/lib" / f"python{carried.short}"
        shutil.copytree(source, library, ignore=shutil.ignore_patterns(*_NOT_TAKEN), ignore_dangling_symlinks=True)


def _key(carried: Carried) -> str:
    return f"runtimes/wine-{carried.abi}-{cache.digest(carried.sha256, str(_GENERATION))}"


def _take(wheel: Path, side: Path) -> None:
    """Unpack the parts of the wheel that are wanted."""
    modules = side / "DLLs"
    modules.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, base = name.rpartition("/")
            low = base.lower()
            # Modules of the free-threaded build lie beside the others, without their interpreter.
            other = ".cp" in low and "t-win_amd64" in low
            if folder != "deploy_libs" or not low.endswith((".dll", ".pyd")) or low.startswith(_LEFT_OUT) or other:
                continue
            place = side if low.startswith(_BESIDE) and low.endswith(".dll") else modules
            (place / base).write_bytes(archive.read(name))


def _stable_names(library: Path) -> list[str]:
    """List what ``python3.dll`` exports: the names of the stable ABI that the interpreter's library has."""
    import pefile
    from abi3info import DATAS, FUNCTIONS

    stable = {symbol.name for symbol in (*FUNCTIONS, *DATAS)}
    image = pefile.PE(str(library), fast_load=True)
    image.parse_data_directories(directories=[pefile.DIRECTORY_ENTRY["IMAGE_DIRECTORY_ENTRY_EXPORT"]])
    exported = {symbol.name.decode() for symbol in image.DIRECTORY_ENTRY_EXPORT.symbols if symbol.name}
    return sorted(exported & stable)
