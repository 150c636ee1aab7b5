"""The list of providers, and the order in which they are preferred."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pytest_wheelcheck.errors import UsageError

if TYPE_CHECKING:
    from pytest_wheelcheck.interpreters.base import Answer, NativePython, Offer, Provider, Request, Starter
    from pytest_wheelcheck.interpreters.directory.sysroots import Sysroot
    from pytest_wheelcheck.interpreters.parts import Part
    from pytest_wheelcheck.model import Installation

#: The providers that ``wheel_providers`` may name, in the order of preference: what users have comes first, and what is
#: assembled from published wheels comes last. ``windows`` is the only one for its platforms.
NAMES = ("host", "uv", "debian", "published", "windows")


def parse_names(values: Iterable[str], where: str = "--wheel-providers") -> tuple[str, ...]:
    """Read the values of ``--wheel-providers`` or ``wheel_providers``; each may hold several names.

    :param where: the option or key, for messages.
    :returns: the names, in the order of the user; empty for the default.
    :raises UsageError: a name is not one of :data:`NAMES`.
    """
    names = tuple(dict.fromkeys(name for value in values for name in re.split(r"[\s,]+", value) if name))
    for name in names:
        if name not in NAMES:
            raise UsageError(f"{where}: {name} is not a provider", fix=f"use some of {', '.join(NAMES)}")
    return names


def providers(
    native_python: NativePython,
    *,
    offline: bool = False,
    index: str | None = None,
    find_links: Sequence[str] = (),
    apt_source: str = "",
    sysroots: Sequence[Sysroot] = (),
    names: Sequence[str] = (),
) -> tuple[Provider, ...]:
    """Return all providers, in the order of preference: directories of the user, the host, downloads.

    :param native_python: see :data:`.base.NativePython`.
    :param offline: download nothing, and offer only cached interpreters.
    :param index: the package index; ``None`` for the configured one.
    :param find_links: further directories or pages of distributions.
    :param apt_source: a package repository to use instead of the host's, as a line of ``sources.list(5)``.
    :param sysroots: root file systems and interpreters that the user named.
    :param names: the allowed providers in the user's order of preference, as :func:`parse_names` returns them; empty for
        all. Directories that the user named are always allowed.
    """
    from pytest_wheelcheck.interpreters.directory.provider import DirectoryProvider
    from pytest_wheelcheck.interpreters.host import HostProvider
    from pytest_wheelcheck.interpreters.packages.debian import DebianProvider
    from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
    from pytest_wheelcheck.interpreters.uv_builds.provider import UvProvider
    from pytest_wheelcheck.interpreters.windows.provider import WindowsProvider

    host = HostProvider()
    named = [sysroot for sysroot in sysroots if sysroot.windows is None]
    windows = [sysroot.windows for sysroot in sysroots if sysroot.windows is not None]
    known: dict[str, Provider] = {
        "host": host,
        "uv": UvProvider(native_python, offline=offline, apt_source=apt_source),
        "debian": DebianProvider(native_python, offline=offline, apt_source=apt_source),
        "published": PublishedProvider(
            host, native_python, offline=offline, index=index, find_links=find_links, apt_source=apt_source
        ),
        "windows": WindowsProvider(host, offline=offline, index=index, find_links=find_links, named=windows),
    }
    first = (DirectoryProvider(named, native_python, offline=offline, apt_source=apt_source),) if named else ()
    if not names:
        return (*first, *known.values())
    chosen = [*names, *(["windows"] if windows and "windows" not in names else [])]
    return (*first, *(_Ranked(provider=known[name], rank=rank) for rank, name in enumerate(chosen)))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ranked:
    """A provider with the rank that the user gave it."""

    provider: Provider
    rank: int

    @property
    def name(self) -> str:
        """See :class:`.base.Provider`."""
        return self.provider.name

    def costly(self, request: Request) -> bool:
        """See :meth:`.base.Provider.costly`."""
        return self.provider.costly(request)

    def offers(self, request: Request) -> Answer:
        """See :meth:`.base.Provider.offers`."""
        answer = self.provider.offers(request)
        return replace(answer, offers=tuple(self._ranked(offer) for offer in answer.offers))

    def _ranked(self, offer: Offer) -> Offer:
        # An interpreter that the user named has no substitute.
        return offer if offer.rank < 0 else replace(offer, rank=self.rank)

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.base.Provider.parts`."""
        return self.provider.parts(offer)

    def get(self, offer: Offer, starter: Starter) -> Installation:
        """See :meth:`.base.Provider.get`."""
        return self.provider.get(offer, starter)
