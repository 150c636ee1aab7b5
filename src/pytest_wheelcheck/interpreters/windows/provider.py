"""The provider ``windows``: CPython for Windows, for hosts with a backend that runs programs for Windows.

It comes from a directory that the user names, from uv's builds, or from published wheels, in this order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter, fits, here
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.interpreters.published.standard_library import SMOKE_TEST, StandardLibraries, repositories
from pytest_wheelcheck.interpreters.uv_builds.catalog import part as uv_part
from pytest_wheelcheck.interpreters.windows import directories, published
from pytest_wheelcheck.interpreters.windows.directories import WindowsDirectory
from pytest_wheelcheck.interpreters.windows.platforms import PLATFORM_OF, PLATFORMS
from pytest_wheelcheck.interpreters.windows.published import PublishedPython
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process, temporary
from pytest_wheelcheck.system.progress import step


class WindowsProvider:
    """Offers CPythons for Windows: those that the user named, those of uv, and those in published wheels.

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
        """See :meth:`pytest_wheelcheck.interpreters.base.Provider.costly`."""
        return any(fits(platform, request.platform) for platform in PLATFORMS.values())

    def offers(self, request: Request) -> Answer:
        """See :meth:`pytest_wheelcheck.interpreters.base.Provider.offers`."""
        if request.python is not None or here().is_windows or not request.platform.is_windows:
            return Answer()
        if request.platform not in PLATFORMS.values():
            return Answer.of(
                reason=f"there are interpreters for x86-64 and x86 only, not for {request.platform.architecture}"
            )
        architecture = request.platform.architecture
        found = {directory.version[:2]: directory for directory in self._directories(architecture)}
        offers = [
            self._offer(directory.version, request.platform, directory.how, directory.key)
            for directory in found.values()
        ]
        reasons: dict[str, None] = {}
        for python in () if self._named_for(architecture) else published.for_architecture(architecture):
            if python.version[:2] in found:
                continue
            if reason := self._unavailable_reason(python):
                reasons[reason] = None
            else:
                offers.append(self._offer(python.version, request.platform, python.how, python.sha256, assembled=True))
        unchecked = self._offline and bool(reasons) and not request.is_met(offers)
        return Answer.of(offers, reason="; ".join(reasons), unchecked=unchecked)

    def _named_for(self, architecture: str) -> list[WindowsDirectory]:
        return [directory for directory in self._named if directory.architecture == architecture]

    def _directories(self, architecture: str) -> list[WindowsDirectory]:
        """List the installations in directories: those that the user named, or else those of uv."""
        if named := self._named_for(architecture):
            return named
        # A version that is in the cache already is not downloaded from elsewhere.
        cached = {python.version[:2] for python in published.for_architecture(architecture) if cache.find(python.key)}
        return [
            directory
            for directory in directories.list_of_uv(architecture, offline=self._offline)
            if cache.find(directory.key) or directory.version[:2] not in cached
        ]

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`pytest_wheelcheck.interpreters.base.Provider.parts`."""
        python = next((python for python in published.PUBLISHED if python.sha256 == offer.key), None)
        if python is not None:
            return (Part.of(python.key, str(python.wheel), self._download_size(python)),)
        found = self._directories(offer.platform.architecture)
        directory = next((directory for directory in found if directory.key == offer.key), None)
        if directory is None or directory.download is None:
            return ()
        # The copy of a download that was removed since then is enough.
        copy = Part.of(directory.key, directory.how)
        return (copy if copy.ready else uv_part(directory.download),)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`pytest_wheelcheck.interpreters.base.Provider.get`."""
        python = next((python for python in published.PUBLISHED if python.sha256 == offer.key), None)
        if python is not None:
            home = cache.provision(python.key, lambda side: self._assemble(python, starter, side))
        else:
            found = self._directories(offer.platform.architecture)
            directory = next((directory for directory in found if directory.key == offer.key), None)
            if directory is None:
                raise RuntimeUnavailableError(f"{offer.how} was changed or removed during the run", fix="run again")
            home = cache.provision(offer.key, lambda side: self._copy(directory, starter, side))
        return offer.installation(home / "python.exe", library=home / "Lib")

    def _offer(
        self, version: tuple[int, int, int], platform: Platform, how: str, key: str, *, assembled: bool = False
    ) -> Offer:
        return Offer.of_cpython(
            provider=self.name,
            version=version,
            free_threaded=False,
            platform=platform,
            libc_version=(0, 0),
            how=how,
            key=key,
            assembled=assembled,
        )

    def _unavailable_reason(self, python: PublishedPython) -> str:
        """Return why a published interpreter cannot be provided; empty if it can."""
        if cache.find(python.key):
            return ""
        if self._offline:
            return f"{python.name} is not in the cache, and this run is offline"
        return self._libraries().unavailable_reason(python.version[:2])

    def _libraries(self) -> StandardLibraries:
        return StandardLibraries(self._host, repositories(""), self._index, offline=self._offline)

    def _download_size(self, python: PublishedPython) -> int:
        return python.wheel.size + self._libraries().download_size(python.version[:2])

    def _assemble(self, python: PublishedPython, starter: Starter, side: Path) -> None:
        with (
            step(
                f"{python.name} of {published.DISTRIBUTION} {published.VERSION}", side, size=self._download_size(python)
            ),
            temporary.directory() as work,
        ):
            libraries = self._libraries()
            published.assemble(python, side, index=self._index, libraries=libraries, starter=starter, work=work)
            self._finish(python.version, python.platform, starter, side)

    def _copy(self, directory: WindowsDirectory, starter: Starter, side: Path) -> None:
        version = ".".join(map(str, directory.version))
        with step(f"CPython {version} for Windows from {directory.how}", side):
            directory.copy(side)
            self._finish(directory.version, PLATFORM_OF[directory.architecture], starter, side)

    def _finish(self, version: tuple[int, int, int], platform: Platform, starter: Starter, side: Path) -> None:
        """Check that a new installation works, and compile its library."""
        program = side / "python.exe"
        argv = [*starter.trial_argv(platform=platform, root=None, name=program, program=program), "-I"]
        try:
            process.run([*argv, "-c", SMOKE_TEST], timeout=300.0)
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"CPython {version[0]}.{version[1]} for Windows does not work here",
                cause="programs for Windows do not run on this host, or something that the interpreter needs is missing",
                fix=error.fix,
                details=error.details,
            ) from error
        # The bytecode format is that of the minor version, whatever the system.
        compiler = self._host.cpython(version[:2])
        command: list[str | Path] = [compiler, "-I"] if compiler else argv
        # With unchecked bytecode (PEP 552), imports do not read the times of the sources, which may be slow there.
        options = ("-q", "-f", "--invalidation-mode", "unchecked-hash")
        process.run([*command, "-m", "compileall", *options, side / "Lib"], check=False)
