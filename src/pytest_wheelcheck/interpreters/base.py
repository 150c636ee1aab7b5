"""What every provider of interpreters can be asked.

A provider is any object of the shape :class:`Provider`. It answers a :class:`Request` with the interpreters that it
could give, without making them, or with the reason why it has none. Only those that a run needs are then made by
:meth:`Provider.get`. Providers are asked in a stated order, and where two offer the same interpreter, the first one's
is taken.
"""

from __future__ import annotations

import contextlib
import os
import platform as _platform
import struct
import sys
import sysconfig
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from pytest_wheelcheck.interpreters import tags
from pytest_wheelcheck.model import Runtime

#: The oldest CPython that gets targets: the oldest for which pytest 8.4, the last of its line, exists.
OLDEST = (3, 9)


@dataclass(frozen=True, kw_only=True, slots=True)
class Platform:
    """What an interpreter runs on, as platform tags tell it.

    :param system: ``linux``, ``darwin``, ``win32``, or another word that a platform tag begins with.
    :param architecture: ``x86_64``, ``aarch64``, ``armv7l``, ``arm64``, ``amd64``, ``x86`` …
    :param libc: ``glibc``, ``musl``, or an empty string where the system has one only.
    """

    system: str
    architecture: str
    libc: str = ""


def here() -> Platform:
    """Tell the platform of the running interpreter."""
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
    """Tell the C library of the running interpreter, such as ``glibc 2.36``; an empty string where it is another.

    Source: ``packaging._manylinux._glibc_version_string_confstr``.
    """
    if sys.platform != "win32":
        with contextlib.suppress(ValueError, OSError, AttributeError):
            return os.confstr("CS_GNU_LIBC_VERSION") or ""
    return ""


def narrow(architecture: str, *, bits: int) -> str:
    """Name the architecture of a 32-bit interpreter on a 64-bit kernel (``packaging.tags._linux_platforms``).

    :param bits: the size of a pointer in the interpreter.
    """
    if bits == 32:
        architecture = {"x86_64": "i686", "aarch64": "armv7l"}.get(architecture, architecture)
    return {"armv8l": "armv7l", "i386": "i686", "i586": "i686"}.get(architecture, architecture)


#: An interpreter as tags know it: implementation, major and minor version, free-threaded.
Kind = tuple[str, tuple[int, int], bool]


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What is asked of a provider.

    :param platform: on what the interpreter must run; ``universal2`` as architecture means any that macOS has.
    :param python: one interpreter, by its path; ``None`` for all that can be had.
    :param wanted: what would be enough, as implementation, minor version, free-threaded: a provider need not look
        further for others. Empty for everything.
    :param least: the oldest C library that will do.
    """

    platform: Platform
    python: Path | None = None
    wanted: frozenset[Kind] = frozenset()
    least: tuple[int, int] = (0, 0)

    def met(self, offers: Iterable[Offer]) -> bool:
        """Tell whether *offers* hold all that would be enough."""
        if not self.wanted:
            return False
        found = {
            (offer.implementation, offer.version[:2], offer.free_threaded)
            for offer in offers
            if offer.libc_version >= self.least
        }
        return self.wanted <= found


@dataclass(frozen=True, kw_only=True, slots=True)
class Offer:
    """An interpreter that a provider could give. Its fields are those of :class:`~pytest_wheelcheck.model.Runtime`.

    :param provider: the provider's name.
    :param version: major, minor, micro; the micro version is the expected one where nothing was made yet.
    :param tags: every tag it accepts, best first.
    :param how: one line for people.
    :param key: the provider's own handle.
    :param rank: where several providers offer the same, the lowest is taken first.
    :param under: see :class:`~pytest_wheelcheck.model.Runtime`.
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
    emulated: bool = False
    rank: int = 0
    under: str = ""

    @property
    def identity(self) -> tuple[str, tuple[int, int], bool, Platform]:
        """What two providers' offers have in common when they stand for the same interpreter."""
        return self.implementation, self.version[:2], self.free_threaded, self.platform

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
        emulated: bool = False,
        rank: int = 0,
        under: str = "",
    ) -> Offer:
        """Make the offer of a CPython, with the tags that follow from what it is (not for macOS, where more counts)."""
        return cls(
            provider=provider,
            implementation="cpython",
            version=version,
            free_threaded=free_threaded,
            platform=platform,
            libc_version=libc_version,
            tags=tags.accepted(
                implementation="cpython",
                version=version,
                free_threaded=free_threaded,
                system=platform.system,
                architecture=platform.architecture,
                libc=platform.libc,
                libc_version=libc_version,
            ),
            how=how,
            key=key,
            emulated=emulated,
            rank=rank,
            under=under,
        )

    def runtime(self, python: Path, *, native: Path | None = None, launch: tuple[tuple[str, ...], ...] = ()) -> Runtime:
        """Make the runtime of this offer, now that its executable is there.

        :param native: see :class:`~pytest_wheelcheck.model.Runtime`.
        :param launch: see :class:`~pytest_wheelcheck.model.Runtime`.
        """
        return Runtime(
            python=python,
            implementation=self.implementation,
            version=self.version,
            free_threaded=self.free_threaded,
            system=self.platform.system,
            architecture=self.platform.architecture,
            libc=self.platform.libc,
            libc_version=self.libc_version,
            tags=self.tags,
            provider=self.provider,
            how=self.how,
            emulated=self.emulated,
            native=native,
            launch=launch,
            under=self.under,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """A provider's answer.

    :param offers: what it could give; in any order.
    :param reason: why it has nothing, or not all it could have: what is missing and how to get it. Empty where the
        provider has nothing to do with the request.
    :param fault: whether the reason is none of the host's nature: the provider applies, and could not find out.
    """

    offers: tuple[Offer, ...] = ()
    reason: str = ""
    fault: bool = False


class Fault(str):
    """The reason of an answer that is a fault: what it keeps from being tested could not be checked, although it should."""

    __slots__ = ()


class Provider(Protocol):
    """Gives interpreters of one kind."""

    @property
    def name(self) -> str:
        """One word, shown in reasons."""

    def costly(self, request: Request) -> bool:
        """Tell whether it may take seconds to answer: then it is not asked where the others have all that is wanted."""

    def offers(self, request: Request) -> Answer:
        """Tell what could be given, quickly and without downloading interpreters. Raises nothing on purpose."""

    def get(self, offer: Offer) -> Runtime:
        """Give the interpreter of an offer of this provider, ready to run.

        :raises WheelcheckError: it cannot be had, although it was offered.
        """


def fits(platform: Platform, asked: Platform) -> bool:
    """Tell whether an interpreter on *platform* is one that a request for *asked* means."""
    if platform.system != asked.system:
        return False
    if asked.libc and platform.libc != asked.libc:
        return False
    if asked.system == "darwin" and asked.architecture in {"universal2", "universal"}:
        return True
    return platform.architecture == asked.architecture


def ask(providers: Iterable[Provider], request: Request) -> tuple[tuple[Offer, ...], tuple[str, ...]]:
    """Ask all providers.

    :returns: the offers, in the order of the providers, and the reasons, each with its provider's name; some are
        :class:`Fault`.
    """
    offers: list[Offer] = []
    reasons: list[str] = []
    for provider in providers:
        if request.met(offers) and provider.costly(request):
            continue
        answer = provider.offers(request)
        offers.extend(answer.offers)
        if answer.reason:
            text = f"{provider.name}: {answer.reason}"
            reasons.append(Fault(text) if answer.fault else text)
    return tuple(sorted(offers, key=lambda offer: offer.rank)), tuple(reasons)
