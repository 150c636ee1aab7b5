"""Root file systems as users have them: the unpacked image of a board, an exported container with musl, a newer Debian."""

from __future__ import annotations

import shutil
from pathlib import Path

import catalogs
import provisioned

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.interpreters.architectures import ARCHITECTURES
from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.packages import debian
from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
from pytest_wheelcheck.model import Installation, Platform


def get(catalog: Catalog, provider: str, platform: Platform, minor: int = 0) -> Runtime:
    """Return an interpreter of a provider; skip or fail the test that asks if there is none.

    :param minor: its version; any by default.
    """
    answer = catalogs.ask(catalog, provider, Request(platform=platform))
    for offer in answer.offers:
        if not offer.free_threaded and minor in {0, offer.version[1]}:
            return catalog.get(offer)
    raise provisioned.missing(provider, answer.reason)


def of_debian(root: Path, architecture: str, minor: int = 0, *, host: bool = True) -> Installation:
    """Copy the root of an interpreter of Debian, with the absolute links and the directories of a real image.

    :param minor: its version; any by default.
    :param host: the host's own interpreters may help to make it; without them, it can be for the host's architecture.
    """
    platform = Platform(system="linux", architecture=architecture, libc="glibc")
    installation = get(catalogs.catalog_of(debian.DebianProvider, host=host), "debian", platform, minor).installation
    assert installation.root is not None
    shutil.copytree(installation.root, root, symlinks=True)
    stem = f"python{installation.stem}"
    (root / "lib").unlink()
    (root / "lib").symlink_to("/usr/lib")
    (root / "etc/alternatives").mkdir(parents=True, exist_ok=True)
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to("/etc/alternatives/python3")
    (root / "etc/alternatives/python3").symlink_to(f"/usr/bin/{stem}")
    libraries = f"/usr/lib/{ARCHITECTURES[architecture].multiarch}"
    for link in root.glob(f"{libraries[1:]}/libffi.so.*"):
        if link.is_symlink():
            target = link.readlink()
            link.unlink()
            link.symlink_to(f"{libraries}/{target}")
    for name in ("tmp/trap", "home/trap", "trap", "dev", "proc"):
        (root / name).mkdir(parents=True)
    (root / "dev/null").write_text("not the null device", encoding="utf-8")
    return installation


def with_musl(root: Path, architecture: str = "aarch64") -> None:
    """Make a root with musl: its loader in ``/lib``, a CPython 3.12 built for the musllinux images in ``/usr``."""
    platform = Platform(system="linux", architecture=architecture, libc="musl")
    catalog = catalogs.catalog_of(lambda native_python: PublishedProvider(HostProvider(), native_python))
    installation = get(catalog, "published", platform, 12).installation
    assert installation.root is not None
    for name in ("bin", "lib"):
        shutil.copytree(installation.program.parent.parent / name, root / "usr" / name, symlinks=True)
    shutil.copytree(installation.root / "usr/lib", root / "lib", symlinks=True)
