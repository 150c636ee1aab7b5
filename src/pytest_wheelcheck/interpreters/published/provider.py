"""The provider ``published``: interpreters inside published wheels, also free-threaded ones and those for musl.

They are available wherever packages can be installed. pip downloads a wheel of the table (:mod:`.table`), and its digest is
verified. It becomes an ordinary installation in the cache, without tkinter:

* ``lib/python3.N``: the pure-Python library of a CPython of the same minor version (:mod:`.standard_library`);
* ``bin/python3.N``, ``lib/python3.N/lib-dynload``, ``lib/freeze_core.libs``: the wheel's files (:mod:`.unpack`).
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import (
    Answer,
    NativePython,
    Offer,
    Request,
    Starter,
    fits,
    glibc,
    here,
    install_command,
)
from pytest_wheelcheck.interpreters.facts import installation_of
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.packages import apt_suites, c_library
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published import pinned
from pytest_wheelcheck.interpreters.published.standard_library import SMOKE_TEST, StandardLibraries, repositories
from pytest_wheelcheck.interpreters.published.table import DISTRIBUTION, PUBLISHED, VERSION, PublishedInterpreter
from pytest_wheelcheck.interpreters.published.unpack import unpack
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process, temporary
from pytest_wheelcheck.system.progress import step

#: Increase when the cached installations change.
_GENERATION = 4

#: The version of musl that the interpreters for musl were built for.
_MUSL = (1, 2)


class PublishedProvider:
    """Offers the interpreters of published wheels; those of other architectures need a C library of a package repository.

    :param host: finds standard libraries of the same minor version.
    :param native_python: returns native interpreters, which compile bytecode for those of other architectures.
    :param offline: offer only cached interpreters.
    :param index: the package index; ``None`` for the one that pip is configured for.
    :param find_links: further directories or pages of distributions.
    :param apt_source: a repository to search before the host's, as a line of ``sources.list(5)``.
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
        apt_source: str = "",
    ) -> None:
        self._host = host
        self._native_python = native_python
        self._offline = offline
        self._index = pinned.PackageIndex(url=index, find_links=tuple(find_links))
        self._apt_source = apt_source

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        at = here()
        if request.python is not None or not at.is_linux or host_architecture() is None:
            return Answer()
        try:
            repositories(self._apt_source)
        except RuntimeUnavailableError as error:
            return Answer.of(reason=error.message, unchecked=True)
        found: list[Offer] = []
        refused: list[PublishedInterpreter] = []
        reasons: dict[str, None] = {}
        for published in PUBLISHED:
            if not fits(published.platform, request.platform):
                continue
            if reason := self._unavailable_reason(published, at):
                reasons[reason] = None
                refused.append(published)
            else:
                found.append(self._offer(published, request.minimum_libc))
        # The reasons are reported even if there are offers: a wheel may need one of the others.
        unread = any(_foreign(each) and self._c_library(each) is None and self._unread(each) for each in refused)
        unchecked = bool(reasons) and not request.is_met(found) and (self._offline or unread)
        return Answer.of(found, reason="; ".join(reasons), unchecked=unchecked)

    def _download_size(self, published: PublishedInterpreter) -> int:
        return published.wheel.size + self._libraries(published).download_size(published.version[:2])

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.base.Provider.parts`."""
        published = next(published for published in PUBLISHED if published.sha256 == offer.key)
        found = [Part.of(_key(published), str(published.wheel), self._download_size(published))]
        if (_foreign(published) or published.libc == "musl") and (
            package := self._c_library(published, offer.libc_version if _foreign(published) else (0, 0))
        ):
            found.append(c_library.part(package))
        return tuple(found)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        published = next(published for published in PUBLISHED if published.sha256 == offer.key)
        key = _key(published)
        if _foreign(published):
            root = self._root(published, offer.libc_version)
            directory = cache.provision(key, lambda side: self._make_foreign(published, offer, starter, root, side))
            return roots.installation_in(
                directory,
                offer,
                program=f"bin/python{published.stem}",
                library="lib",
                stem=published.stem,
                root=root,
                extensible=True,
            )
        directory = cache.provision(key, lambda side: self._make(published, side))
        python = directory / "bin" / f"python{published.stem}"
        try:
            return installation_of(offer, python)
        except (ProcessError, RuntimeUnavailableError) as error:
            raise RuntimeUnavailableError(
                f"{python} does not run",
                cause="files were removed from the cache, or the host's C library changed",
                fix=f"remove {directory} and run again",
                details=str(error),
            ) from error

    def _root(self, published: PublishedInterpreter, minimum: tuple[int, int] = (0, 0)) -> Path:
        """Return the root with the C library of an interpreter.

        :param minimum: the preferred minimum version.
        """
        package = self._c_library(published, minimum)
        if package is None:
            raise RuntimeUnavailableError(
                f"the C library for {published.architecture} is no longer available",
                cause="it was removed from the cache, or the package repository dropped it",
                fix=f"run once without --wheel-offline, or run: {install_command(published.platform, published.stem)}",
            )
        return c_library.provide(package)

    def _make_foreign(
        self, published: PublishedInterpreter, offer: Offer, starter: Starter, root: Path, side: Path
    ) -> None:
        """Make the installation of an interpreter for another architecture in the directory *side*.

        :param root: the root with its C library.
        """
        musl = " (musl)" if published.libc == "musl" else ""
        description = f"CPython {published.stem} for {published.architecture}{musl}"
        if self._offline:
            raise RuntimeUnavailableError(
                f"{description} is not in the cache, and this run is offline",
                fix=f"run once without --wheel-offline, or run: {install_command(published.platform, published.stem)}",
            )
        final = cache.path(_key(published))
        with (
            step(f"{description} from {DISTRIBUTION} {VERSION}", side, size=self._download_size(published)),
            temporary.directory() as work,
        ):
            self._install(published, side, work, final, loader=None)
            roots.finish(
                side,
                final,
                offer,
                starter,
                self._native_python(published.version[:2], published.free_threaded),
                stem=published.stem,
                smoke_test=SMOKE_TEST,
                program=f"bin/python{published.stem}",
                library="lib",
                root=root,
            )

    def _offer(self, published: PublishedInterpreter, minimum_libc: tuple[int, int]) -> Offer:
        foreign = _foreign(published)
        if published.libc == "musl":
            libc_version = _MUSL
        elif foreign:
            package = self._c_library(published, minimum_libc)
            libc_version = package.version if package else (2, 17)
        else:
            libc_version = roots.upstream_version(glibc().partition(" ")[2]) if glibc() else (2, 17)
        return Offer.of_cpython(
            provider=self.name,
            version=published.version,
            free_threaded=published.free_threaded,
            platform=published.platform,
            libc_version=libc_version,
            how=f"assembled from the published wheel {DISTRIBUTION} {VERSION} ({published.abi}-{published.platform_tag})",
            key=published.sha256,
            rank=3,
            assembled=True,
        )

    def _c_library(
        self, published: PublishedInterpreter, minimum: tuple[int, int] = (0, 0)
    ) -> c_library.LibcPackage | None:
        """Find a C library. It is not that of a ``-cross`` package, because the interpreter also needs zlib."""
        return c_library.find(
            ARCHITECTURES[published.architecture],
            published.libc,
            [repository for repository, _ in repositories(self._apt_source)],
            offline=self._offline,
            cross=False,
            minimum=minimum,
        )

    def _unavailable_reason(self, published: PublishedInterpreter, at: Platform) -> str:
        """Return why an interpreter is not available; empty if it is.

        :param at: the platform of this host.
        """
        if cache.is_complete(_key(published)):
            return ""
        if self._offline:
            return "not in the cache, and this run is offline"
        if _foreign(published):
            architecture = ARCHITECTURES[published.architecture]
            if not repositories(self._apt_source):
                return (
                    f"the C library for {architecture.name} comes from a package repository of Debian or Ubuntu, and this "
                    "host has none"
                )
            if self._c_library(published) is None:
                if problem := self._unread(published):
                    return f"the C library for {architecture.name} comes from a package repository; {problem}"
                return f"the host's package repository has no C library for {architecture.debian}"
            return self._libraries(published).unavailable_reason(published.version[:2])
        if published.libc == "glibc" and at.libc != "glibc":
            return "needs glibc"
        if published.libc == "musl" and not repositories(self._apt_source):
            return "musl comes from a package repository of Debian or Ubuntu, and this host has none"
        return self._libraries(published).unavailable_reason(published.version[:2])

    def _unread(self, published: PublishedInterpreter) -> str:
        """Return why a package repository could not be searched completely; empty if all could."""
        debian = ARCHITECTURES[published.architecture].debian
        searched = [repository for repository, _ in repositories(self._apt_source)]
        problems = (apt_suites.unread(each, debian, offline=self._offline) for each in searched)
        return next(filter(None, problems), "")

    def _libraries(self, published: PublishedInterpreter) -> StandardLibraries:
        sources = repositories(self._apt_source, ARCHITECTURES[published.architecture].debian)
        return StandardLibraries(self._host, sources, self._index, offline=self._offline)

    def _make(self, published: PublishedInterpreter, side: Path) -> None:
        """Make the installation of a native interpreter in the directory *side*."""
        with temporary.directory() as work:
            final = cache.path(_key(published))
            loader = (
                final / "lib" / c_library.musl_loader_name(published.architecture) if published.libc == "musl" else None
            )
            self._install(published, side, work, final, loader=loader)
            if published.libc == "musl":
                for file in self._root(published).glob("usr/lib/*"):
                    shutil.copy2(file, side / "lib" / file.name, follow_symlinks=False)
        python = [side / "bin" / f"python{published.stem}"]
        if published.libc == "musl":
            # The program names its loader by the final path, which does not exist yet.
            python = [side / "lib" / c_library.musl_loader_name(published.architecture), python[0]]
        try:
            process.run([*python, "-I", "-c", SMOKE_TEST])
        except ProcessError as error:
            raise RuntimeUnavailableError(
                f"the interpreter {published.abi} in {DISTRIBUTION} {VERSION} does not work here",
                cause="a library that it needs, probably zlib's libz.so.1, is missing on this host",
                fix="install the library that the last line names",
                details=error.details,
            ) from error
        library = side / "lib" / f"python{published.stem}"
        process.run([*python, "-I", "-m", "compileall", "-q", library], check=False)

    def _install(
        self, published: PublishedInterpreter, side: Path, work: Path, final: Path, *, loader: Path | None
    ) -> None:
        """Install interpreter and standard library into the directory *side*, without a C library.

        :param work: a directory for temporary files.
        :param final: see :func:`unpack`.
        :param loader: see :func:`unpack`.
        """
        wheel = pinned.download(published.wheel, self._index, work / "wheel")
        library = side / "lib" / f"python{published.stem}"
        self._libraries(published).copy(published.version[:2], library, work)
        unpack(wheel, published, side, final, loader=loader)


def _key(published: PublishedInterpreter) -> str:
    """Return its name in the cache."""
    name = f"{published.abi}-{'musl' if published.libc == 'musl' else ''}linux-{published.architecture}"
    return f"runtimes/published-{name}-{cache.digest(published.sha256, str(_GENERATION))}"


def _foreign(published: PublishedInterpreter) -> bool:
    return not runs_natively(published.architecture)
