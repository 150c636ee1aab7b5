"""The list of providers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_wheelcheck.interpreters.base import NativePython, Provider
    from pytest_wheelcheck.interpreters.directory.sysroots import Sysroot


def providers(
    native_python: NativePython,
    *,
    offline: bool = False,
    index: str | None = None,
    find_links: Sequence[str] = (),
    apt_source: str = "",
    sysroots: Sequence[Sysroot] = (),
) -> tuple[Provider, ...]:
    """Return all providers, in the order of preference: directories of the user, the host, downloads.

    :param native_python: see :data:`.base.NativePython`.
    :param offline: download nothing, and offer only cached interpreters.
    :param index: the package index; ``None`` for the configured one.
    :param find_links: further directories or pages of distributions.
    :param apt_source: a package repository to use instead of the host's, as a line of ``sources.list(5)``.
    :param sysroots: root file systems and interpreters that the user named.
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
    return (
        *((DirectoryProvider(named, native_python, offline=offline, apt_source=apt_source),) if named else ()),
        host,
        PublishedProvider(
            host, native_python, offline=offline, index=index, find_links=find_links, apt_source=apt_source
        ),
        DebianProvider(native_python, offline=offline, apt_source=apt_source),
        UvProvider(native_python, offline=offline, apt_source=apt_source),
        WindowsProvider(host, offline=offline, index=index, find_links=find_links, named=windows),
    )
