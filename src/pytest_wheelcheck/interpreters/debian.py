"""The provider ``debian``: interpreters of the host's archive of packages, for its own and for other architectures.

Every host with apt has them, without root. The indexes of the archive list which suite has which minor version; its
packages, with everything they depend on, are unpacked into a root of their own in the cache (:mod:`.roots`), compiled to
bytecode, and tried.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pytest_wheelcheck.errors import ProcessError, RuntimeUnavailableError
from pytest_wheelcheck.interpreters import apt, apt_suites, roots
from pytest_wheelcheck.interpreters.apt_suites import batches
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import OLDEST, Answer, NativePython, Offer, Request, Starter, here
from pytest_wheelcheck.interpreters.roots import LIBRARIES, upstream_version
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Bump when the way in which the roots are made changes.
_GENERATION = 4

#: What must work in a new root; each comes with libraries of its own.
_SMOKE = "import bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"

#: The file that says which interpreter of the archive it is.
_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _Candidate:
    """One interpreter of the archive.

    :param suite: the codename.
    :param version: of the package, whole.
    :param minor: the N of 3.N.
    """

    architecture: str
    suite: str
    version: str
    minor: int

    @property
    def key(self) -> str:
        """Its name in the cache."""
        name = f"cp3{self.minor}-linux-{self.architecture}-{self.suite}"
        return f"runtimes/debian-{name}-{cache.digest(str(_GENERATION), self.version)}"


class DebianProvider:
    """Offers the interpreters of the host's archive.

    :param native_python: gives native interpreters, which compile bytecode for those of other architectures.
    :param offline: offer only what is cached.
    :param source: an archive to use instead of the host's: a line as in ``sources.list(5)``; empty for the host's.
    """

    name = "debian"

    def __init__(self, native_python: NativePython, *, offline: bool = False, source: str = "") -> None:
        self._native_python = native_python
        self._offline = offline
        self._source = source

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`: the archive's indexes may have to be fetched."""
        return runs_natively(request.platform.architecture)

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        at = host_architecture()
        architecture = ARCHITECTURES.get(request.platform.architecture)
        if request.python is not None or at is None or architecture is None or not request.platform.is_linux:
            return Answer()
        if request.platform.libc == "musl":
            return Answer()
        found = list(_cached(architecture, self.name))
        # Of several roots of one interpreter, the one with the newest C library accepts most wheels.
        found.sort(key=lambda offer: offer.libc_version)
        if request.is_met(found):
            return Answer.of(found)
        reason = ""
        try:
            archive = self._archive()
        except RuntimeUnavailableError as error:
            return Answer.of(found, reason=error.message, unchecked=True)
        unchecked = False
        if archive is None:
            reason = "this host has no apt to fetch an interpreter with"
        else:
            new, reason, unchecked = self._ask(archive, architecture, request, found)
            known = {offer.key for offer in found}
            found += [offer for offer in new if offer.key not in known]
        foreign = architecture.name != here().architecture
        if not foreign or request.is_met(found):
            return Answer.of(found)
        return Answer.of(found, reason=reason, unchecked=unchecked)

    def _archive(self) -> apt.Repository | None:
        return apt.parse_source(self._source) if self._source else apt.host_repository()

    def _ask(
        self, archive: apt.Repository, architecture: Architecture, request: Request, cached: Sequence[Offer]
    ) -> tuple[list[Offer], str, bool]:
        """Ask the suites, the most used ones first, until everything that is wanted was found.

        :returns: what they have; why there is not more; whether that could not be found out.
        """
        found: list[Offer] = []
        problems: dict[str, None] = {}
        seen: set[str] = set()
        empty = True
        for batch in batches(archive):
            suites = apt_suites.query(
                archive, architecture.debian, [name for name in batch if name not in seen], offline=self._offline
            )
            for suite in suites:
                empty = empty and not suite.packages
                if suite.problem:
                    problems[suite.problem] = None
                if suite.codename not in seen and not self._offline:
                    found += _in_suite(suite, architecture, self.name)
                seen |= {suite.name, suite.codename, suite.alias}
            if request.is_met((*cached, *found)) or any("reached" in problem for problem in problems):
                break
        if self._offline:
            advice = f"run once without --wheel-offline, or: wheelcheck runtime install {architecture.name} VERSION"
            return found, f"not in the cache, and this run is offline; {advice}", True
        if not found and not problems and empty:
            problems[f"{apt_suites.NO_ARCHITECTURE} {architecture.debian}"] = None
        return (
            found,
            "; ".join(problems),
            empty and not all(apt_suites.NO_ARCHITECTURE in problem for problem in problems),
        )

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        candidate = _Candidate(**json.loads(offer.key))
        directory = cache.provision(candidate.key, lambda side: self._make(candidate, offer, starter, side))
        return roots.installation_in(directory, offer, extensible=True)

    def _make(self, candidate: _Candidate, offer: Offer, starter: Starter, side: Path) -> None:
        architecture = ARCHITECTURES[candidate.architecture]
        archive = self._archive()
        what = f"CPython 3.{candidate.minor} for {architecture.name} of {candidate.suite}"
        if archive is None or self._offline:
            raise RuntimeUnavailableError(
                f"{what} is not in the cache",
                cause="this run is offline" if self._offline else "this host has no apt",
                fix=f"run once without --wheel-offline, or: wheelcheck runtime install {architecture.name} "
                f"3.{candidate.minor}",
            )
        python = f"python3.{candidate.minor}"
        foreign = not runs_natively(architecture.name)
        with step(what, side):
            try:
                apt.fetch(
                    archive,
                    candidate.suite,
                    [f"{python}-minimal", f"lib{python}-stdlib"],
                    side / "root",
                    architecture=architecture.debian,
                    optional=(*LIBRARIES, f"{python}-venv"),
                )
            except ProcessError as error:
                raise RuntimeUnavailableError(
                    f"{what} could not be fetched", cause=error.message, details=error.details
                ) from error
            (side / _ORIGIN).write_text(json.dumps(asdict(candidate)), encoding="utf-8")
            apt.write_origin(side, archive, candidate.suite)
            final = cache.path(candidate.key)
            self._renew_libc(archive, candidate, architecture, starter.minimum_libc(offer.platform), side)
            roots.tidy(side / "root", final / "root")
            compiler = self._native_python((3, candidate.minor), offer.free_threaded) if foreign else None
            roots.finish(side, final, offer, starter, compiler, stem=f"3.{candidate.minor}", smoke_test=_SMOKE)

    def _renew_libc(
        self,
        archive: apt.Repository,
        candidate: _Candidate,
        architecture: Architecture,
        minimum: tuple[int, int],
        side: Path,
    ) -> None:
        """Take the C library of a newer suite if the suite's own is too old to be started with."""
        if minimum == (0, 0):
            return
        roots.merge(side / "root")
        (own,) = apt_suites.query(archive, architecture.debian, [candidate.suite])
        if upstream_version(own.packages.get("libc6", "")) >= minimum:
            return
        for batch in batches(archive):
            for suite in apt_suites.query(archive, architecture.debian, batch):
                if upstream_version(suite.packages.get("libc6", "")) >= minimum:
                    newer = side / "libc"
                    apt.fetch(
                        archive, suite.codename, ["libc6"], newer, architecture=architecture.debian, dependencies=False
                    )
                    roots.merge(newer)
                    process.run(["cp", "-a", "--remove-destination", f"{newer}/usr/lib", side / "root/usr/"])
                    if (newer / "usr/lib64").is_dir():
                        process.run(["cp", "-a", "--remove-destination", f"{newer}/usr/lib64", side / "root/usr/"])
                    shutil.rmtree(newer)
                    return


def _in_suite(suite: apt_suites.Suite, architecture: Architecture, provider: str) -> Iterator[Offer]:
    libc = upstream_version(suite.packages.get("libc6", ""))
    for package, version in suite.packages.items():
        match = re.fullmatch(r"python3\.(\d+)-minimal", package)
        number = re.match(r"(?:\d+:)?3\.(\d+)\.(\d+)(?=$|[-+])", version)
        if not match or not number or (3, int(match[1])) < OLDEST:
            # With a tilde it is a pre-release.
            continue
        candidate = _Candidate(
            architecture=architecture.name, suite=suite.codename, version=version, minor=int(match[1])
        )
        yield _offer(candidate, architecture, (3, int(match[1]), int(number[2])), (libc[0], libc[1]), provider)


def _offer(
    candidate: _Candidate,
    architecture: Architecture,
    version: tuple[int, int, int],
    libc: tuple[int, int],
    provider: str,
) -> Offer:
    return Offer.of_cpython(
        provider=provider,
        version=version,
        free_threaded=False,
        platform=Platform(system="linux", architecture=architecture.name, libc="glibc"),
        libc_version=libc,
        how=f"CPython {'.'.join(map(str, version))} of the host's archive ({candidate.suite})",
        key=json.dumps(asdict(candidate)),
    )


def _cached(architecture: Architecture, provider: str) -> Iterator[Offer]:
    """Yield the interpreters in the cache, whatever the archive has now."""
    for file in sorted((cache.root() / "runtimes").glob(f"debian-*-linux-{architecture.name}-*/{_ORIGIN}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            candidate = _Candidate(**json.loads(file.read_text(encoding="utf-8")))
            facts = roots.facts_of(file.parent)
            if facts is not None and cache.is_complete(candidate.key) and cache.path(candidate.key) == file.parent:
                yield _offer(candidate, architecture, facts.version, facts.libc_version, provider)
