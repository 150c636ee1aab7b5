"""The protocol of providers: where interpreters come from.

A provider answers a :class:`Request` with the interpreters that it could give, without making them, or with the reason why
it has none. Only those that a run needs are then made, by :meth:`Provider.get`, which returns an
:class:`~pytest_wheelcheck.model.Installation`. A provider knows archives, downloads, digests and caches; how an
interpreter is started is the business of :mod:`pytest_wheelcheck.backends`. Providers are asked in a fixed order: of
equal offers, the first is taken.
"""

from __future__ import annotations

import contextlib
import os
import platform as _platform
import struct
import sys
import sysconfig
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation, Platform, interpreter_name

#: The oldest CPython that gets targets: the oldest that pytest 8.4 supports, the last pytest for it.
OLDEST = (3, 9)


def here() -> Platform:
    """Return the platform of the running interpreter."""
    system = "linux" if sys.platform.startswith("linux") else sys.platform
    tag = sysconfig.get_platform().replace("-", "_")
    architecture = tag.partition("_")[2].rpartition(".")[2] or tag
    libc = ""
    if system == "linux":
        architecture = narrow(architecture, bits=8 * struct.calcsize("P"))
        libc = "glibc" if glibc().startswith("glibc") else "musl"
    elif system == "darwin":
        architecture = _platform.machine()
    elif system == "win32":
        architecture = {"win32": "x86", "win_amd64": "amd64", "win_arm64": "arm64"}.get(tag, architecture)
    return Platform(system=system, architecture=architecture, libc=libc)


def glibc() -> str:
    """Return the C library of the running interpreter, such as ``glibc 2.36``; an empty string if it is not glibc.

    Source: ``packaging._manylinux._glibc_version_string_confstr``.
    """
    if sys.platform != "win32":
        with contextlib.suppress(ValueError, OSError, AttributeError):
            return os.confstr("CS_GNU_LIBC_VERSION") or ""
    return ""


def narrow(architecture: str, *, bits: int) -> str:
    """Return the architecture of a 32-bit interpreter on a 64-bit kernel (``packaging.tags._linux_platforms``).

    :param bits: size of a pointer in the interpreter.
    """
    if bits == 32:
        architecture = {"x86_64": "i686", "aarch64": "armv7l"}.get(architecture, architecture)
    return {"armv8l": "armv7l", "i386": "i686", "i586": "i686"}.get(architecture, architecture)


#: Returns a native CPython of a minor version and build (free-threaded or not), made if need be; ``None`` if there is none.
NativePython = Callable[[tuple[int, int], bool], Path | None]

#: An interpreter in the terms of tags: implementation, (major, minor), free-threaded.
Kind = tuple[str, tuple[int, int], bool]


#: The first glibc whose loader starts a program under another name (``--argv0``; glibc's NEWS for 2.33). A native interpreter of
#: an older one gets a newer one.
LOADER_WITH_ARGV0 = (2, 33)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a provider is asked for.

    :param platform: what the interpreter must run on; ``universal2`` as architecture means any that macOS has.
    :param python: one interpreter, by its path; ``None`` for all that are available.
    :param wanted: what would be enough: a provider need not search for others. Empty for everything.
    :param minimum_libc: the oldest C library that is enough.
    """

    platform: Platform
    python: Path | None = None
    wanted: frozenset[Kind] = frozenset()
    minimum_libc: tuple[int, int] = (0, 0)

    def is_met(self, offers: Iterable[Offer]) -> bool:
        """Return whether *offers* contain all that would be enough."""
        if not self.wanted:
            return False
        found = {offer.kind for offer in offers if offer.libc_version >= self.minimum_libc}
        return self.wanted <= found


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An interpreter that a provider can give. Its fields are those of :class:`~pytest_wheelcheck.model.Installation`.

    :param provider: the provider's name.
    :param version: major, minor, micro; the micro version is the expected one if nothing was made yet.
    :param tags: every tag it accepts, best first.
    :param how: one line for the user.
    :param key: the provider's own handle.
    :param rank: of equal interpreters from several providers, the lowest rank is taken. Below 0: the user named it, and no
        other may replace it.
    :param fixed_libc: its C library is part of a root file system that the user named, so no newer one can replace it.
    :param prerelease: it is not a final release of its version.
    :param assembled: it is put together from files of different builds (see :class:`~pytest_wheelcheck.model.Installation`).
    :param runs_here: this host starts it itself, whatever its architecture: it was started to find out what it is.
    :param backend: the name of the backend that would run it; set when it was found.
    """

    provider: str
    implementation: str
    version: tuple[int, int, int]
    free_threaded: bool
    platform: Platform
    libc_version: tuple[int, int]
    tags: tuple[str, ...] = field(repr=False)
    how: str
    key: str = ""
    rank: int = 0
    fixed_libc: bool = False
    prerelease: bool = False
    assembled: bool = False
    runs_here: bool = False
    backend: str = ""

    @property
    def kind(self) -> Kind:
        """What it is, in the terms of tags."""
        return self.implementation, self.version[:2], self.free_threaded

    @property
    def interpreter(self) -> str:
        """Short name, such as ``cp314t``."""
        return interpreter_name(self.implementation, self.version, free_threaded=self.free_threaded)

    @classmethod
    def of_cpython(
        cls,
        *,
        provider: str,
        version: tuple[int, int, int],
        free_threaded: bool,
        platform: Platform,
        libc_version: tuple[int, int],
        how: str,
        key: str = "",
        rank: int = 0,
        fixed_libc: bool = False,
        assembled: bool = False,
    ) -> Offer:
        """Make the offer of a CPython and compute its tags (not for macOS, whose version matters too)."""
        return cls(
            provider=provider,
            implementation="cpython",
            version=version,
            free_threaded=free_threaded,
            platform=platform,
            libc_version=libc_version,
            tags=_tags("cpython", version, platform, libc_version, free_threaded=free_threaded),
            how=how,
            key=key,
            rank=rank,
            fixed_libc=fixed_libc,
            assembled=assembled,
        )

    @classmethod
    def of_pypy(
        cls,
        *,
        provider: str,
        version: tuple[int, int, int],
        abi: str,
        platform: Platform,
        libc_version: tuple[int, int],
        how: str,
        key: str,
    ) -> Offer:
        """Make the offer of a PyPy and compute its tags.

        :param version: of the language.
        :param abi: its ABI tag, such as ``pypy311_pp73``.
        """
        return cls(
            provider=provider,
            implementation="pypy",
            version=version,
            free_threaded=False,
            platform=platform,
            libc_version=libc_version,
            tags=_tags("pypy", version, platform, libc_version, abi=abi),
            how=how,
            key=key,
        )

    def installation(
        self, program: Path, *, library: Path, root: Path | None = None, extensible: bool = False
    ) -> Installation:
        """Return the installation of this offer, now that its files exist. See :class:`Installation`."""
        return Installation(
            program=program,
            library=library,
            root=root,
            implementation=self.implementation,
            version=self.version,
            free_threaded=self.free_threaded,
            platform=self.platform,
            libc_version=self.libc_version,
            tags=self.tags,
            provider=self.provider,
            how=self.how,
            extensible=extensible,
            assembled=self.assembled,
        )

    def measured(
        self,
        *,
        version: tuple[int, int, int],
        free_threaded: bool,
        platform: Platform,
        libc_version: tuple[int, int],
        abi: str = "",
    ) -> Offer:
        """Return the offer of the same interpreter with what it reported about itself.

        :param abi: PyPy only: its ABI tag.
        """
        return replace(
            self,
            version=version,
            free_threaded=free_threaded,
            platform=platform,
            libc_version=libc_version,
            tags=_tags("pypy", version, platform, libc_version, abi=abi)
            if self.implementation == "pypy"
            else _tags("cpython", version, platform, libc_version, free_threaded=free_threaded),
        )


def _tags(
    implementation: str,
    version: tuple[int, int, int],
    platform: Platform,
    libc_version: tuple[int, int],
    *,
    free_threaded: bool = False,
    abi: str | None = None,
) -> tuple[str, ...]:
    return tags.accepted(
        implementation=implementation,
        version=version,
        free_threaded=free_threaded,
        system=platform.system,
        architecture=platform.architecture,
        libc=platform.libc,
        libc_version=libc_version,
        abi=abi,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Why interpreters are not available.

    :param reason: what is missing and how to get it.
    :param unchecked: the provider applies and could not find out, so a target that needs it is an error; otherwise the
        reason is the nature of this host, and such a target is skipped.
    """

    reason: str
    unchecked: bool = False

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A provider's answer.

    :param offers: what it can give, in any order.
    :param unavailable: why it has nothing, or not all it could have; ``None`` if it has nothing to do with the request.
    """

    offers: tuple[Offer, ...] = ()
    unavailable: Unavailable | None = None

    @classmethod
    def of(cls, offers: Iterable[Offer] = (), *, reason: str = "", unchecked: bool = False) -> Answer:
        """Make an answer; an empty *reason* means that there is nothing to explain."""
        return cls(
            offers=tuple(offers), unavailable=Unavailable(reason=reason, unchecked=unchecked) if reason else None
        )

    @property
    def reason(self) -> str:
        """The reason as text; empty if there is none."""
        return self.unavailable.reason if self.unavailable else ""


class Starter(Protocol):
    """Starts the program of an installation that is still being made, for its first test. Every backend is one."""

    def trial_argv(self, *, platform: Platform, root: Path | None, name: Path, program: Path) -> list[str | Path]:
        """Return the argv that starts a program; its arguments follow.

        :param root: as in :class:`~pytest_wheelcheck.model.Installation`.
        :param name: what the program takes for its own path.
        :raises RuntimeUnavailableError: what starts it is not available.
        """

    def target_path(self, path: Path) -> str:
        """Return a path below the cache as programs of every target name it."""

    def minimum_libc(self, platform: Platform) -> tuple[int, int]:
        """Return the oldest C library in a root with which programs can be started; ``(0, 0)`` for any."""


class Provider(Protocol):
    """Gives interpreters of one kind."""

    @property
    def name(self) -> str:
        """One word, shown in reasons."""

    def costly(self, request: Request) -> bool:
        """Return whether an answer may take seconds: then it is not asked if others have everything that is wanted."""

    def offers(self, request: Request) -> Answer:
        """Return what can be given, quickly and without downloading interpreters. Raises nothing on purpose."""

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """Return what :meth:`get` fetches for an offer of this provider, or has fetched before. Fetches nothing."""

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """Return the interpreter of an offer of this provider.

        :param starter: starts it for a first test.
        :raises RuntimeUnavailableError: it is not available, although it was offered.
        """


def fits(platform: Platform, requested: Platform) -> bool:
    """Return whether an interpreter on *platform* satisfies a request for *requested*."""
    if platform.system != requested.system:
        return False
    if requested.libc and platform.libc != requested.libc:
        return False
    if requested.system == "darwin" and requested.architecture in {"universal2", "universal"}:
        return True
    return platform.architecture == requested.architecture


def install_command(platform: Platform, version: str = "VERSION") -> str:
    """Return the command that downloads an interpreter of a platform of Linux or Windows, for messages.

    :param version: such as ``3.14t``.
    """
    name = f"{'musllinux-' if platform.libc == 'musl' else ''}{platform.architecture}"
    if platform.system == "win32":
        name = "win32" if platform.architecture == "x86" else f"win_{platform.architecture}"
    return f"wheelcheck runtime install {name} {version}"


def ask(providers: Iterable[Provider], request: Request) -> tuple[tuple[Offer, ...], tuple[Unavailable, ...]]:
    """Ask all providers.

    :returns: the offers, by rank and then in the order of the providers; and the reasons for what is missing, each with
        its provider's name.
    """
    offers: list[Offer] = []
    reasons: list[Unavailable] = []
    for provider in providers:
        if request.is_met(offers) and provider.costly(request):
            continue
        answer = provider.offers(request)
        offers.extend(answer.offers)
        if answer.unavailable:
            reasons.append(replace(answer.unavailable, reason=f"{provider.name}: {answer.unavailable.reason}"))
    return tuple(sorted(offers, key=lambda offer: offer.rank)), tuple(reasons)
