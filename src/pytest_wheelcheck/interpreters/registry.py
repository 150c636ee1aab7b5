"""The providers of interpreters: one plain module each, all of the shape of :class:`.base.Provider`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_wheelcheck.interpreters.base import Provider
    from pytest_wheelcheck.interpreters.directory import Sysroot


def providers(
    *,
    offline: bool = False,
    index: str | None = None,
    find_links: Sequence[str] = (),
    apt_source: str = "",
    wine: bool = True,
    sysroots: Sequence[Sysroot] = (),
) -> tuple[Provider, ...]:
    """Give all providers, in the order in which they are preferred: what was named, what the host has, what can be fetched.

    :param offline: fetch nothing; what the cache holds is given.
    :param index: the package index; ``None`` for the configured one.
    :param find_links: further folders or pages of distributions.
    :param apt_source: an archive of packages in the place of the host's, as a line of ``sources.list(5)``.
    :param wine: whether Windows interpreters under Wine are among them.
    :param sysroots: root file systems and interpreters that the user named.
    """
    from pytest_wheelcheck.interpreters.debian import DebianProvider
    from pytest_wheelcheck.interpreters.directory import DirectoryProvider
    from pytest_wheelcheck.interpreters.host import HostProvider
    from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
    from pytest_wheelcheck.interpreters.uv_builds import UvProvider
    from pytest_wheelcheck.interpreters.windows.published import WineProvider

    host = HostProvider()
    published = PublishedProvider(host, offline=offline, index=index, find_links=find_links, source=apt_source)
    debian = DebianProvider(host, offline=offline, source=apt_source)

    def stand_in(version: tuple[int, int], free_threaded: bool) -> Path | None:  # noqa: FBT001
        """Give a native CPython that works on behalf of a foreign one."""
        found = published.stand_in(version, free_threaded)
        return found or (None if free_threaded else debian.stand_in(version))

    named = [sysroot for sysroot in sysroots if sysroot.windows is None]
    windows = [sysroot.windows for sysroot in sysroots if sysroot.windows is not None]
    return (
        *((DirectoryProvider(named, stand_in, offline=offline, source=apt_source),) if named else ()),
        host,
        published,
        debian,
        UvProvider(stand_in, offline=offline, source=apt_source),
        *((WineProvider(host, offline=offline, index=index, find_links=find_links, named=windows),) if wine else ()),
    )
