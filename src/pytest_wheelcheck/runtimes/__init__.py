"""The providers of interpreters: one plain module each, all of the shape of :class:`.base.Provider`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .base import Provider


def providers(
    *,
    offline: bool = False,
    index: str | None = None,
    find_links: Sequence[str] = (),
    apt_source: str = "",
    wine: bool = True,
) -> tuple[Provider, ...]:
    """Give all providers, in the order in which they are preferred: what the host has, then what can be fetched.

    :param offline: fetch nothing; what the cache holds is given.
    :param index: the package index; ``None`` for the configured one.
    :param find_links: further folders or pages of distributions.
    :param apt_source: an archive of packages in the place of the host's, as a line of ``sources.list(5)``.
    :param wine: whether Windows interpreters under Wine are among them.
    """
    from .debian import DebianProvider
    from .host import HostProvider
    from .published import PublishedProvider
    from .wine import WineProvider

    host = HostProvider()
    return (
        host,
        PublishedProvider(host, offline=offline, index=index, find_links=find_links, source=apt_source),
        DebianProvider(host, offline=offline, source=apt_source),
        *((WineProvider(host, offline=offline, index=index, find_links=find_links),) if wine else ()),
    )
