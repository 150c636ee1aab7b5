"""Catalogs of chosen providers and all backends: the interpreters of a provider, ready to run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.registry import backends
from pytest_wheelcheck.interpreters.base import Answer, NativePython, Provider, Request
from pytest_wheelcheck.interpreters.host import HostProvider


def no_python(_version: tuple[int, int], _free_threaded: bool) -> Path | None:
    """Return no native interpreter: a :data:`~pytest_wheelcheck.interpreters.base.NativePython`."""
    return None


def catalog_of(make_provider: Callable[[NativePython], Provider], *, host: bool = True) -> Catalog:
    """Return the catalog of one provider.

    :param make_provider: takes what gives native interpreters.
    :param host: the host's own interpreters are in the catalog, too; they are the native ones.
    """
    return Catalog(
        lambda native_python: (*((HostProvider(),) if host else ()), make_provider(native_python)), backends()
    )


def ask(catalog: Catalog, provider: str, request: Request) -> Answer:
    """Return the answer of one provider; its offers are those that a backend can run.

    :param provider: its name.
    """
    return dict(catalog.answers(request))[provider]
