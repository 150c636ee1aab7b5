"""The provider ``windows``: CPython for Windows, for hosts that can run programs for Windows.

It comes from a directory that the user names, from uv's builds, or else from published wheels: the wheels of one
distribution for 64-bit and 32-bit Windows carry the official library of CPython, its extension modules and what they
need. With the pure-Python library of any CPython of the same minor version, and small files that :mod:`.pe_writer` writes,
that is an ordinary Windows installation. A wheel is fetched by name through pip and verified by its digest.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter, fits, here
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.interpreters.published.standard_library import SMOKE_TEST, StandardLibraries, repositories
from pytest_wheelcheck.interpreters.windows import folders, pe_programs, pe_writer
from pytest_wheelcheck.interpreters.windows.folders import WindowsDirectory
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process, temporary
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the installations are made changes.
_GENERATION = 4

#: The distribution whose wheels carry the interpreters.
DISTRIBUTION, VERSION = "panda3d", "1.10.16"

#: The platforms of these interpreters, by the tag of their wheels.
PLATFORMS = {
    tag: Platform(system="win32", architecture=architecture) for tag, architecture in folders.ARCHITECTURES.items()
}

#: The same by architecture.
PLATFORM_OF = {platform.architecture: platform for platform in PLATFORMS.values()}

#: What asks for all 64-bit ones, and for all 32-bit ones.
REQUEST = Request(platform=PLATFORMS["win_amd64"])
REQUEST_32 = Request(platform=PLATFORMS["win32"])

#: Of the wheel: libraries that stand beside ``python.exe``; and beginnings of what is left out.
_BESIDE = ("python3", "vcruntime140")
_LEFT_OUT = ("api-ms-win-", "tcl", "tk8", "_tkinter", "_test", "_ctypes_test")


@dataclass(frozen=True, kw_only=True, slots=True)
class Carried:
    """An interpreter inside a wheel.

    :param sha256: of the wheel.
    :param tag: its platform.
    """

    version: tuple[int, int, int]
    sha256: str
    tag: str = "win_amd64"

    @property
    def platform(self) -> Platform:
        """What it runs on."""
        return PLATFORMS[self.tag]

    @property
    def bits(self) -> int:
        """Its number of bits."""
        return pe_writer.BITS[self.platform.architecture]

    @property
    def name(self) -> str:
        """Its name, for people."""
        return f"CPython {self.short} for {'' if self.bits == 64 else '32-bit '}Windows"

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

    @property
    def wheel(self) -> pinned.PinnedWheel:
        """The wheel."""
        return pinned.PinnedWheel(
            distribution=DISTRIBUTION,
            version=VERSION,
            python=self.short,
            abi=self.abi,
            platform=self.tag,
            sha256=self.sha256,
        )


#: The wheels, by digest.
CARRIED = (
    Carried(version=(3, 9, 13), sha256="11e5f1cd734827ca7925eaab993aaa06c9ac3e0b4d933fd44a99f048803702a1"),
    Carried(version=(3, 10, 11), sha256="3f5e084314a842875f9fbb2d6276c4bf80faa277592d90620a3b90717c4847e5"),
    Carried(version=(3, 11, 9), sha256="37acfb92655c4226879f95c988e2ef1449a53c54486d6c1ebc00e2772429af82"),
    Carried(version=(3, 12, 10), sha256="f6493e2ecc0d1b7c1556a999556e5278cbc9484fe5fe1e159a1ccc02b870b18f"),
    Carried(version=(3, 13, 11), sha256="0e505261bb58d8402d0099c291f1a3459acfdd38f3e7d666e72aa2e1ea5dc46f"),
    Carried(version=(3, 14, 2), sha256="0978ca7d2953d37ed3ed8d99abd1ee77bbfc75fe6ea47019d0f5f5dad830d853"),
    *(
        Carried(version=version, sha256=sha256, tag="win32")
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


class WindowsProvider:
    """Offers CPythons for Windows: those that the user named, those of uv, and those of published wheels.

    :param host: asked for a standard library of the same minor version, and for interpreters that compile bytecode.
    :param offline: offer only what is cached.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further directories or pages of distributions.
    :param named: installations that the user named; for their platform, no other is offered.
    """

    name = "windows"

    def __init__(
        self,
        host: HostProvider,
        *,
        offline: bool = False,
        index: str | None = None,
        find_links: Sequence[str] = (),
        named: Sequence[WindowsDirectory] = (),
    ) -> None:
        self._named = tuple(named)
        self._host = host
        self._offline = offline
        self._index = pinned.PackageIndex(url=index, find_links=tuple(find_links))

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`."""
        return any(fits(platform, request.platform) for platform in PLATFORMS.values())

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or here().is_windows or not request.platform.is_windows:
            return Answer()
        if request.platform not in PLATFORMS.values():
            return Answer.of(
                reason=f"there are interpreters for x86-64 and x86 only, not for {request.platform.architecture}"
            )
        architecture = request.platform.architecture
        found = {each.version[:2]: each for each in self._directories(architecture)}
        offers = [self._offer(each.version, request.platform, each.how, each.key) for each in found.values()]
        reasons: dict[str, None] = {}
        for carried in () if self._named_for(architecture) else _carried(architecture):
            if carried.version[:2] in found:
                continue
            if reason := self._hindrance(carried):
                reasons[reason] = None
            else:
                how = f"inside the published wheel {DISTRIBUTION} {VERSION} ({carried.abi}-{carried.tag})"
                offers.append(self._offer(carried.version, request.platform, how, carried.sha256))
        unchecked = self._offline and bool(reasons) and not request.is_met(offers)
        return Answer.of(offers, reason="; ".join(reasons), unchecked=unchecked)

    def _named_for(self, architecture: str) -> list[WindowsDirectory]:
        return [each for each in self._named if each.architecture == architecture]

    def _directories(self, architecture: str) -> list[WindowsDirectory]:
        """List whole installations: those that the user named, or else those of uv that need not be fetched in vain."""
        if named := self._named_for(architecture):
            return named
        cached = {carried.version[:2] for carried in _carried(architecture) if cache.find(_key(carried))}
        # What is here already is not fetched from elsewhere.
        return [
            each
            for each in folders.managed(architecture, offline=self._offline)
            if cache.find(each.key) or each.version[:2] not in cached
        ]

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        architecture = offer.platform.architecture
        carried = next((each for each in CARRIED if each.sha256 == offer.key), None)
        if carried is not None:
            directory = cache.provision(_key(carried), lambda side: self._make(carried, starter, side))
        else:
            named = next(each for each in self._directories(architecture) if each.key == offer.key)
            directory = cache.provision(offer.key, lambda side: self._copy(named, starter, side))
        return offer.installation(directory / "python.exe", library=directory / "Lib")

    def _offer(self, version: tuple[int, int, int], platform: Platform, how: str, key: str) -> Offer:
        return Offer.of_cpython(
            provider=self.name,
            version=version,
            free_threaded=False,
            platform=platform,
            libc_version=(0, 0),
            how=how,
            key=key,
        )

    def _hindrance(self, carried: Carried) -> str:
        if cache.find(_key(carried)):
            return ""
        if self._offline:
            return f"{carried.name} is not in the cache, and this run is offline"
        return self._libraries().unavailable_reason(carried.version[:2])

    def _libraries(self) -> StandardLibraries:
        return StandardLibraries(self._host, repositories(""), self._index, offline=self._offline)

    def _make(self, carried: Carried, starter: Starter, side: Path) -> None:
        with (
            step(f"{carried.name} of {DISTRIBUTION} {VERSION}", side),
            temporary.directory() as work,
        ):
            _take(pinned.download(carried.wheel, self._index, work / "wheel"), side)
            self._libraries().copy(carried.version[:2], side / "Lib", work)
            (side / "Lib" / "site-packages").mkdir()
            _write_programs(carried, starter, side)
            names = _stable_names(side / carried.library)
            (side / "python3.dll").write_bytes(pe_programs.python3_dll(carried.library, names, bits=carried.bits))
            self._finish(carried.version, carried.platform, starter, side)

    def _copy(self, named: WindowsDirectory, starter: Starter, side: Path) -> None:
        with step(f"CPython {'.'.join(map(str, named.version))} for Windows from {named.how}", side):
            named.copy(side)
            self._finish(named.version, PLATFORM_OF[named.architecture], starter, side)

    def _finish(self, version: tuple[int, int, int], platform: Platform, starter: Starter, side: Path) -> None:
        """Check that a new installation works, and compile its library."""
        program = side / "python.exe"
        own = [*starter.trial_argv(platform=platform, root=None, name=program, program=program), "-I"]
        try:
            process.run([*own, "-c", SMOKE_TEST], timeout=300.0)
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"CPython {version[0]}.{version[1]} for Windows does not work here",
                cause="programs for Windows do not run on this host, or something that the interpreter needs is missing",
                details=error.details,
            ) from error
        # The bytecode format is the minor version's, whatever the system.
        compiler = self._host.cpython(version[:2])
        command: list[str | Path] = [compiler, "-I"] if compiler else own
        # Unchecked: reading the time of a file may be slow there (PEP 552).
        options = ("-q", "-f", "--invalidation-mode", "unchecked-hash")
        process.run([*command, "-m", "compileall", *options, side / "Lib"], check=False)


def _carried(architecture: str) -> list[Carried]:
    return [carried for carried in CARRIED if carried.platform.architecture == architecture]


def _key(carried: Carried) -> str:
    name = folders.name_of(carried.version, carried.platform.architecture)
    return f"runtimes/{name}-{cache.digest(carried.sha256, str(_GENERATION))}"


def _write_programs(carried: Carried, starter: Starter, side: Path) -> None:
    """Write the interpreter, and what stands for it in virtual environments, by the names that the version has."""
    final = cache.path(_key(carried))
    redirectors = side / "Lib/venv/scripts/nt"
    redirectors.mkdir(parents=True, exist_ok=True)
    for letter in ("", "w"):
        name = f"python{letter}.exe"
        (side / name).write_bytes(pe_programs.python_exe(carried.library, console=not letter, bits=carried.bits))
        other = name if carried.version < (3, 13) else f"venv{letter}launcher.exe"
        home = starter.target_path(final / name)
        (redirectors / other).write_bytes(pe_programs.venv_redirector(home, console=not letter, bits=carried.bits))


def _take(wheel: Path, side: Path) -> None:
    """Unpack the parts of the wheel that are wanted."""
    modules = side / "DLLs"
    modules.mkdir()
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            folder, _, base = name.rpartition("/")
            low = base.lower()
            # Modules of the free-threaded build lie beside the others, without their interpreter.
            other = ".cp" in low and "t-win" in low
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
