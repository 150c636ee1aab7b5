"""Interpreters in the layout of uv's, made of others, for catalogs of downloads that are made here."""

from __future__ import annotations

import shutil
from pathlib import Path

import catalogs
import provisioned

from pytest_wheelcheck.interpreters.base import Request
from pytest_wheelcheck.interpreters.host import HostProvider
from pytest_wheelcheck.interpreters.published.provider import PublishedProvider
from pytest_wheelcheck.model import Platform


def copy_installation(platform: Platform, minor: int, directory: Path, *, free_threaded: bool = False) -> Path:
    """Copy an interpreter into the layout of uv's: with everything except a C library."""
    catalog = catalogs.catalog_of(
        lambda native_python: PublishedProvider(HostProvider(), native_python), host=platform.architecture != "x86_64"
    )
    answer = catalogs.ask(catalog, "published", Request(platform=platform))
    kinds = [(offer.version[1], offer.free_threaded) for offer in answer.offers]
    if (minor, free_threaded) not in kinds:
        raise provisioned.missing("published", answer.reason)
    installation = catalog.get(answer.offers[kinds.index((minor, free_threaded))]).installation
    prefix = installation.program.parent.parent
    into = directory / "python"
    for name in ("bin", "lib"):
        shutil.copytree(prefix / name, into / name, symlinks=True)
    if installation.root:
        shutil.copy2(next(installation.root.glob("usr/lib/*/libz.so.1")), into / "lib/libz.so.1")
    for file in into.glob("lib/python3*/_sysconfigdata*.py"):
        text = file.read_text(encoding="utf-8").replace(str(prefix), "/install")
        # uv searches for this line; earlier versions of the provider did not write it.
        head = "# system configuration generated and used by the sysconfig module\n"
        file.write_text(head + text.removeprefix(head), encoding="utf-8")
    return into
