"""Offers uv's CPythons for Linux: for this host and other architectures, for glibc and musl, also free-threaded.

They contain everything except the C library. For another architecture, or for musl, that comes from
:mod:`..packages.c_library`, also out of ``-cross`` packages. So a host whose package repository has no
packages of other architectures needs nothing else.
"""

from __future__ import annotations

import threading
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, host_architecture
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
from pytest_wheelcheck.interpreters.packages import c_library
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.published import standard_library
from pytest_wheelcheck.interpreters.uv_builds.catalog import (
    Download,
    cached_downloads,
    download_size,
    part,
    read_catalog,
    unreachable_reason,
)
from pytest_wheelcheck.interpreters.uv_builds.installation import install
from pytest_wheelcheck.model import Installation
from pytest_wheelcheck.setting_lines import value_line
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step


class UvProvider:
    """Offers uv's CPythons for Linux.

    :param native_python: returns native interpreters, which compile bytecode for those of other architectures.
    :param offline: offer only cached interpreters.
    :param apt_source: a repository to search for a C library before the host's, as a line of ``sources.list(5)``.
    """

    name = "uv"

    def __init__(self, native_python: NativePython, *, offline: bool = False, apt_source: str = "") -> None:
        self._native_python = native_python
        self._offline = offline
        self._apt_source = apt_source
        self._lock = threading.Lock()
        self._catalog: tuple[Download, ...] | None = None

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :meth:`.base.Provider.costly`: uv is started, and a request may be sent to the server of its downloads."""
        return True

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        if request.python is not None or not request.platform.is_linux or host_architecture() is None:
            return Answer()
        downloads, reason, unchecked = self._downloads(request)
        offers: list[Offer] = []
        reasons = dict.fromkeys([reason] if reason else [])
        for download in downloads:
            package = None
            if _needs_root(download):
                package = self._c_library(download, request.minimum_libc)
                if package is None:
                    reasons[_no_c_library(download)] = None
                    continue
            offers.append(self._offer(download, package))
        return Answer.of(offers, reason="; ".join(reasons), unchecked=unchecked)

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.base.Provider.parts`."""
        download = Download.from_json(offer.key)
        found = [part(download)]
        if _needs_root(download) and (package := self._c_library(download, offer.libc_version)):
            found.append(c_library.part(package))
        return tuple(found)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        download = Download.from_json(offer.key)
        if not _needs_root(download):
            return self._get_native(download, offer)
        package = self._c_library(download, offer.libc_version)
        if package is None:
            raise RuntimeUnavailableError(
                _no_c_library(download),
                fix=f"name a repository that has it: {value_line('apt_source', 'deb [signed-by=FILE] URI SUITE main')}",
            )
        root = c_library.provide(package)
        program = f"python/bin/python{download.stem}"

        def make(side: Path) -> None:
            final = cache.path(download.cache_key)
            with step(
                f"CPython {download.stem} for {download.architecture} from uv", side, size=download_size(download.url)
            ):
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
            cache.provision(download.cache_key, make),
            offer,
            program=program,
            library="python/lib",
            stem=download.stem,
            root=root,
            extensible=True,
        )

    def _get_native(self, download: Download, offer: Offer) -> Installation:
        def make(side: Path) -> None:
            with step(f"CPython {download.stem} from uv", side, size=download_size(download.url)):
                self._install(download, side)
                python = side / "python/bin" / f"python{download.stem}"
                try:
                    process.run([python, "-I", "-c", standard_library.SMOKE_TEST])
                except ProcessError as error:
                    raise RuntimeUnavailableError(
                        f"{download.key} from uv does not work here",
                        cause="the host's C library or processor is too old for it",
                        details=error.details,
                    ) from error
                process.run([python, "-I", "-m", "compileall", "-q", "-q", side / "python/lib"], check=False)

        python = cache.provision(download.cache_key, make) / "python/bin" / f"python{download.stem}"
        return installation_of(offer, python)

    def _downloads(self, request: Request) -> tuple[list[Download], str, bool]:
        """Return the cached downloads, and those of the catalog that are not cached, if they can be reached.

        :returns: the downloads; why there are no more; whether one that is wanted exists, or may exist, but cannot be
            reached.
        """
        cached = {
            download.kind: download for download in cached_downloads() if fits(download.platform, request.platform)
        }
        if self._offline:
            return list(cached.values()), "" if cached else "not in the cache, and this run is offline", False
        try:
            with self._lock:
                if self._catalog is None:
                    self._catalog = read_catalog()
        except RuntimeUnavailableError as error:
            return list(cached.values()), error.message, True
        available = [
            download
            for download in self._catalog
            if fits(download.platform, request.platform) and download.kind not in cached
        ]
        if available and (reason := unreachable_reason(available[0].url)):
            unchecked = not request.wanted.isdisjoint(download.kind for download in available)
            return list(cached.values()), reason, unchecked
        return [*cached.values(), *available], "", False

    def _install(self, download: Download, side: Path) -> None:
        if self._offline:
            raise RuntimeUnavailableError(
                f"{download.key} from uv is not in the cache, and this run is offline",
                fix=f"run once without --wheel-offline, or run: {install_command(download.platform, download.stem)}",
            )
        install(download, side, cache.path(download.cache_key))

    def _c_library(self, download: Download, minimum: tuple[int, int]) -> c_library.LibcPackage | None:
        try:
            repositories = [repository for repository, _ in standard_library.repositories(self._apt_source)]
        except RuntimeUnavailableError:
            return None
        architecture = ARCHITECTURES[download.architecture]
        return c_library.find(architecture, download.libc, repositories, offline=self._offline, minimum=minimum)

    def _offer(self, download: Download, package: c_library.LibcPackage | None) -> Offer:
        return Offer.of_cpython(
            provider=self.name,
            version=download.version,
            free_threaded=download.free_threaded,
            platform=download.platform,
            libc_version=package.version if package else roots.upstream_version(glibc().partition(" ")[2]),
            how=f"{download.key} from uv",
            key=download.to_json(),
            rank=2 if _needs_root(download) else 0,
        )


def _needs_root(download: Download) -> bool:
    """Return whether it is for another architecture or C library than this host's."""
    return download.platform != here()


def _no_c_library(download: Download) -> str:
    return f"no package repository has {download.libc} for {download.architecture}"
