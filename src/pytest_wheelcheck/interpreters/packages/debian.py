"""The provider ``debian``: interpreters of the host's package repository, for its own and other architectures.

Every host with apt has them, without root. The package indexes show which suite has which minor version. Its packages, with
all that they depend on, are unpacked into a root of their own in the cache (:mod:`..roots`), compiled to bytecode, and run once.
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
from pytest_wheelcheck.interpreters import roots
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES, Architecture, host_architecture, runs_natively
from pytest_wheelcheck.interpreters.base import (
    LOADER_WITH_ARGV0,
    OLDEST,
    Answer,
    NativePython,
    Offer,
    Request,
    Starter,
    here,
    install_command,
)
from pytest_wheelcheck.interpreters.packages import apt, apt_suites
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.interpreters.roots import LIBRARIES, upstream_version
from pytest_wheelcheck.model import Installation, Platform
from pytest_wheelcheck.system import cache, process
from pytest_wheelcheck.system.progress import step

#: Increase when the cached installations change.
_GENERATION = 4

#: A program that a new interpreter must be able to run. Each of the modules needs libraries of its own.
_SMOKE_TEST = "import bz2, ctypes, decimal, lzma, multiprocessing, sqlite3, ssl, sys, uuid, venv, zlib"

#: The file in a cached installation that describes the interpreter.
_ORIGIN = "origin.json"


@dataclass(frozen=True, kw_only=True, slots=True)
class _PackagedInterpreter:
    """An interpreter in a suite of a repository.

    :param architecture: as in platform tags.
    :param suite: its codename.
    :param version: the full version of the package (``deb-version(7)``).
    :param minor: the N of 3.N.
    :param implementation: ``cpython`` or ``pypy``.
    """

    architecture: str
    suite: str
    version: str
    minor: int
    implementation: str = "cpython"

    @property
    def is_pypy(self) -> bool:
        """Whether it is PyPy."""
        return self.implementation == "pypy"

    @property
    def description(self) -> str:
        """``CPython 3.13 for aarch64 from trixie``."""
        return f"{'PyPy' if self.is_pypy else 'CPython'} 3.{self.minor} for {self.architecture} from {self.suite}"

    @property
    def program(self) -> str:
        """The path of its executable in a root."""
        return f"usr/bin/{'pypy' if self.is_pypy else 'python'}3.{self.minor}"

    @property
    def packages(self) -> tuple[str, ...]:
        """The packages to download, with all that they depend on."""
        if self.is_pypy:
            return "pypy3", "pypy3-lib"
        return f"python3.{self.minor}-minimal", f"libpython3.{self.minor}-stdlib"

    @property
    def optional_packages(self) -> tuple[str, ...]:
        """Further packages, if the suite has them."""
        return (*LIBRARIES, "pypy3-venv" if self.is_pypy else f"python3.{self.minor}-venv")

    @property
    def cache_key(self) -> str:
        """Its name in the cache."""
        name = f"{'pp' if self.is_pypy else 'cp'}3{self.minor}-linux-{self.architecture}-{self.suite}"
        return f"runtimes/debian-{name}-{cache.digest(str(_GENERATION), self.version)}"

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))


class DebianProvider:
    """Offers the interpreters of the host's package repository.

    :param native_python: returns native interpreters, which compile bytecode for those of other architectures.
    :param offline: offer only cached interpreters.
    :param apt_source: a repository to use instead of the host's, as a line of ``sources.list(5)``; empty for the host's.
    """

    name = "debian"

    def __init__(self, native_python: NativePython, *, offline: bool = False, apt_source: str = "") -> None:
        self._native_python = native_python
        self._offline = offline
        self._apt_source = apt_source

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`: package indexes may have to be downloaded."""
        return runs_natively(request.platform.architecture)

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        architecture = ARCHITECTURES.get(request.platform.architecture)
        if request.python is not None or host_architecture() is None or architecture is None:
            return Answer()
        if not request.platform.is_linux or request.platform.libc == "musl":
            return Answer()
        # By C library: the names of their directories have no useful order.
        offers = sorted(_cached(architecture, self.name), key=lambda offer: offer.libc_version)
        if request.is_met(offers):
            return Answer.of(offers)
        try:
            repository = self._repository()
        except RuntimeUnavailableError as error:
            return Answer.of(offers, reason=error.message, unchecked=True)
        unchecked = False
        if repository is None:
            reason = "this host has no apt, or no package repository of Debian or Ubuntu"
        else:
            new, reason, unchecked = self._query(repository, architecture, request, offers)
            cached = {offer.key for offer in offers}
            offers += [offer for offer in new if offer.key not in cached]
        is_native_without_apt = repository is None and architecture.name == here().architecture
        if is_native_without_apt or request.is_met(offers):
            return Answer.of(offers)
        return Answer.of(offers, reason=reason, unchecked=unchecked)

    def _repository(self) -> apt.Repository | None:
        return apt.parse_source(self._apt_source) if self._apt_source else apt.host_repository()

    def _query(
        self, repository: apt.Repository, architecture: Architecture, request: Request, cached: Sequence[Offer]
    ) -> tuple[list[Offer], str, bool]:
        """Query the suites, the most used ones first, until everything that is wanted was found.

        :returns: the offers; why there are no more; whether that could not be found out.
        """
        offers: list[Offer] = []
        problems: dict[str, None] = {}
        queried: set[str] = set()
        empty = True
        newer = (0, 0)
        for batch in apt_suites.batches(repository):
            names = [name for name in batch if name not in queried]
            for suite in apt_suites.query(repository, architecture.debian, names, offline=self._offline):
                empty = empty and not suite.packages
                if suite.problem:
                    problems[suite.problem] = None
                if suite.codename not in queried and not self._offline:
                    if newer < LOADER_WITH_ARGV0:
                        newer = upstream_version(suite.packages.get("libc6", ""))
                    offers += _offers_of_suite(suite, architecture, self.name, newer)
                queried |= {suite.name, suite.codename, suite.alias}
            hopeless = any(problem.startswith(apt_suites.HOPELESS) for problem in problems)
            if hopeless or request.is_met((*cached, *offers)):
                break
        if self._offline:
            advice = f"run once without --wheel-offline, or run: {install_command(request.platform)}"
            return offers, f"not in the cache, and this run is offline; {advice}", True
        if not offers and not problems and empty:
            problems[f"{apt_suites.NO_ARCHITECTURE} {architecture.debian}"] = None
        unchecked = empty and not all(problem.startswith(apt_suites.NO_ARCHITECTURE) for problem in problems)
        return offers, "; ".join(problems), unchecked

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.base.Provider.parts`. Only apt knows which packages it would download."""
        interpreter = _PackagedInterpreter(**json.loads(offer.key))
        return (Part.of(interpreter.cache_key, interpreter.description),)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        interpreter = _PackagedInterpreter(**json.loads(offer.key))
        directory = cache.provision(interpreter.cache_key, lambda side: self._make(interpreter, offer, starter, side))
        return roots.installation_in(directory, offer, program=f"root/{interpreter.program}", extensible=True)

    def _make(self, interpreter: _PackagedInterpreter, offer: Offer, starter: Starter, side: Path) -> None:
        """Make the installation of an interpreter in the directory *side*."""
        architecture = ARCHITECTURES[interpreter.architecture]
        repository = self._repository()
        description = interpreter.description
        if repository is None or self._offline:
            raise RuntimeUnavailableError(
                f"{description} is not in the cache",
                cause="this run is offline"
                if self._offline
                else "it cannot be downloaded, because this host has no apt",
                fix=f"run once without --wheel-offline, or run: {install_command(offer.platform, f'3.{interpreter.minor}')}",
            )
        with step(description, side):
            try:
                apt.fetch(
                    repository,
                    interpreter.suite,
                    interpreter.packages,
                    side / "root",
                    architecture=architecture.debian,
                    optional=interpreter.optional_packages,
                )
            except ProcessError as error:
                raise RuntimeUnavailableError(
                    f"{description} could not be downloaded", cause=error.message, details=error.details
                ) from error
            (side / _ORIGIN).write_text(interpreter.to_json(), encoding="utf-8")
            apt.write_origin(side, repository, interpreter.suite)
            final = cache.path(interpreter.cache_key)
            minimum = starter.minimum_libc(offer.platform)
            _ensure_minimum_libc(repository, interpreter.suite, architecture, minimum, side)
            roots.tidy(side / "root", final / "root")
            native = runs_natively(architecture.name) or interpreter.is_pypy
            compiler = None if native else self._native_python((3, interpreter.minor), offer.free_threaded)
            roots.finish(
                side,
                final,
                offer,
                starter,
                compiler,
                stem=f"3.{interpreter.minor}",
                smoke_test=_SMOKE_TEST,
                program=f"root/{interpreter.program}",
            )
            measured = roots.facts_of(side)
            if measured is not None and measured.version[:2] != offer.version[:2]:
                raise RuntimeUnavailableError(
                    f"{description} is version {'.'.join(map(str, measured.version))}",
                    cause="the version of the package does not name that of the language, and ours for it is wrong",
                    fix="report this, with the version of the package: " + interpreter.version,
                )


def _ensure_minimum_libc(
    repository: apt.Repository, suite: str, architecture: Architecture, minimum: tuple[int, int], side: Path
) -> None:
    """Replace the C library in *side* by that of a newer suite if programs cannot be started with it.

    :param suite: the suite that it is from.
    :param minimum: the oldest version with which programs can be started; ``(0, 0)`` for any.
    """
    if minimum == (0, 0):
        return
    roots.merge(side / "root")
    (own,) = apt_suites.query(repository, architecture.debian, [suite])
    if upstream_version(own.packages.get("libc6", "")) >= minimum:
        return
    for batch in apt_suites.batches(repository):
        for other in apt_suites.query(repository, architecture.debian, batch):
            if upstream_version(other.packages.get("libc6", "")) >= minimum:
                newer = side / "libc"
                apt.fetch(
                    repository, other.codename, ["libc6"], newer, architecture=architecture.debian, dependencies=False
                )
                roots.merge(newer)
                for name in ("lib", "lib64"):
                    if (newer / "usr" / name).is_dir():
                        process.run(["cp", "-a", "--remove-destination", newer / "usr" / name, side / "root" / "usr"])
                shutil.rmtree(newer)
                return


def _c_library(suite: apt_suites.Suite, newer: tuple[int, int], architecture: Architecture) -> tuple[int, int]:
    """Return the version of the C library that interpreters of a suite run with.

    :param newer: that of the first suite with one that starts programs natively; see :func:`_ensure_minimum_libc`.
    """
    own = upstream_version(suite.packages.get("libc6", ""))
    return max(own, newer) if own < LOADER_WITH_ARGV0 and runs_natively(architecture.name) else own


def _offers_of_suite(
    suite: apt_suites.Suite, architecture: Architecture, provider: str, newer: tuple[int, int]
) -> Iterator[Offer]:
    """Yield the offers of a suite's interpreters, without prereleases.

    :param newer: see :func:`_c_library`.
    """
    libc_version = _c_library(suite, newer, architecture)
    for package, version in suite.packages.items():
        # The version of a prerelease continues with a tilde.
        if package == "pypy3" and "~" not in version:
            implementation, micro = "pypy", 0
            minor = _pypy_minor(tuple(map(int, re.findall(r"\d+", version.partition("+")[0].partition("-")[0])[:3])))
        else:
            match = re.fullmatch(r"python3\.(\d+)-minimal", package)
            found = re.match(r"(?:\d+:)?3\.\d+\.(\d+)(?=$|[-+])", version)
            if not match or not found:
                continue
            implementation, minor, micro = "cpython", int(match[1]), int(found[1])
        if (3, minor) < OLDEST:
            continue
        interpreter = _PackagedInterpreter(
            architecture=architecture.name,
            suite=suite.codename,
            version=version,
            minor=minor,
            implementation=implementation,
        )
        yield _offer(interpreter, (3, minor, micro), libc_version, provider)


#: The first PyPy whose package in Debian and Ubuntu has a version of the language (their changelogs), the newest first.
_PYPY_LANGUAGES = (((7, 3, 18), 11), ((7, 3, 17), 10), ((7, 3, 10), 9))


def _pypy_minor(release: tuple[int, ...]) -> int:
    """Return the N of 3.N of the language of a packaged PyPy; 0 if it is too old. The package index does not name it."""
    return next((minor for first, minor in _PYPY_LANGUAGES if release >= first), 0)


def _offer(
    interpreter: _PackagedInterpreter, version: tuple[int, int, int], libc_version: tuple[int, int], provider: str
) -> Offer:
    platform = Platform(system="linux", architecture=interpreter.architecture, libc="glibc")
    if interpreter.is_pypy:
        major, minor = upstream_version(interpreter.version)
        return Offer.of_pypy(
            provider=provider,
            version=version,
            abi=f"pypy3{interpreter.minor}_pp{major}{minor}",
            platform=platform,
            libc_version=libc_version,
            how=f"PyPy {interpreter.version.partition('+')[0]} (Python 3.{interpreter.minor}) of the package repository, "
            f"suite {interpreter.suite}",
            key=interpreter.to_json(),
        )
    return Offer.of_cpython(
        provider=provider,
        version=version,
        free_threaded=False,
        platform=platform,
        libc_version=libc_version,
        how=f"CPython {'.'.join(map(str, version))} of the package repository, suite {interpreter.suite}",
        key=interpreter.to_json(),
    )


def _cached(architecture: Architecture, provider: str) -> Iterator[Offer]:
    """Yield the offers of cached interpreters, also of those that the repository no longer has."""
    for file in sorted((cache.root() / "runtimes").glob(f"debian-*-linux-{architecture.name}-*/{_ORIGIN}")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            interpreter = _PackagedInterpreter(**json.loads(file.read_text(encoding="utf-8")))
            facts = roots.facts_of(file.parent)
            key = interpreter.cache_key
            if facts is not None and cache.is_complete(key) and cache.path(key) == file.parent:
                yield _offer(interpreter, facts.version, facts.libc_version, provider)
