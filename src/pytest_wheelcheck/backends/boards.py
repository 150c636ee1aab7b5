"""The boards of a run: each is a catalog of its own, with the interpreters that it has and the backend that runs them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import TYPE_CHECKING

from pytest_wheelcheck.backends import environments
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import UsageError, WheelcheckError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter
from pytest_wheelcheck.interpreters.board import BoardProvider
from pytest_wheelcheck.interpreters.facts import QUERY
from pytest_wheelcheck.model import Installation, Machine, Platform

if TYPE_CHECKING:
    from pytest_wheelcheck.backends.ssh.backend import BoardBackend
    from pytest_wheelcheck.backends.ssh.destination import Destination

#: The providers whose interpreters contain everything but the C library, so that a board can run them.
BRINGERS = ("uv",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """A board that a run was told to use.

    :param name: the machine of its targets.
    :param machine: the same with its facts.
    :param platforms: those of its interpreters; empty if it could not be reached.
    :param pythons: the paths of its interpreters.
    :param catalog: its interpreters; ``None`` if it could not be reached.
    :param problem: why it could not be reached; empty otherwise.
    """

    name: str
    machine: Machine
    platforms: tuple[Platform, ...] = ()
    pythons: tuple[PurePath, ...] = ()
    catalog: Catalog | None = None
    problem: str = ""


class BoardCatalog(Catalog):
    """The interpreters of one board, and those of this host's providers that a run may bring.

    :param main: the catalog of this host, whose interpreters install for the board.
    :param bring: name of the provider whose interpreters the board gets for versions that it lacks; empty for none.
    """

    def __init__(self, backend: BoardBackend, main: Catalog, bring: str = "") -> None:
        facts = backend.facts.interpreters
        own = BoardProvider(backend.destination.name, facts)
        brought = [_Brought(own, main, bring, max(each.libc_version for each in facts))] if bring and facts else []
        super().__init__(lambda _: [own, *brought], [backend], native=main.native_python)
        self._main = main
        self._backend = backend

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.Catalog.get`."""
        provider = next(provider for provider in self.providers if provider.name == offer.provider)
        installation = provider.get(offer, self._backend)
        python = self.native_python(installation.version[:2], installation.free_threaded)
        if python is not None and environments.uv_platform(installation) is not None:
            return self._backend.ready(installation, python)
        return self._backend.ready(installation, self._same_kind(installation), same_kind=True)

    def _same_kind(self, installation: Installation) -> Path | None:
        """Return an interpreter of the same kind and platform that runs here, for example emulated.

        uv, which installs, asks it what it accepts; so its C library must not be newer than the board's.
        """
        kind = (installation.implementation, installation.version[:2], installation.free_threaded)
        offers, _ = self._main.ask(Request(platform=installation.platform, wanted=frozenset({kind})))
        for offer in offers:
            if offer.kind == kind and offer.libc_version <= installation.libc_version:
                with contextlib.suppress(WheelcheckError):
                    return self._main.get(offer).python
        return None


class _Brought:
    """Offers a board interpreters of one of this host's providers, for the versions that it lacks.

    :param libc_version: of the board, which runs them with its own C library.
    """

    def __init__(self, own: BoardProvider, main: Catalog, name: str, libc_version: tuple[int, int]) -> None:
        self.name = name
        self._own = own
        self._main = main
        self._libc_version = libc_version

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        return True

    def offers(self, request: Request) -> Answer:
        known = {offer.kind for offer in self._own.offers(request).offers}
        found, reasons = self._main.ask(request)
        chosen = [offer for offer in found if offer.provider == self.name and offer.kind not in known]
        return Answer.of(
            (
                replace(
                    offer.measured(
                        version=offer.version,
                        free_threaded=offer.free_threaded,
                        platform=offer.platform,
                        libc_version=self._libc_version,
                    ),
                    backend="",
                    rank=1,
                    how=f"{offer.how}, brought by this run",
                )
                for offer in chosen
            ),
            reason="" if chosen or not reasons else "; ".join(map(str, reasons)),
        )

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — this host starts it
        found, _ = self._main.ask(Request(platform=offer.platform, wanted=frozenset({offer.kind})))
        original = next(each for each in found if each.provider == self.name and each.key == offer.key)
        installation = self._main.get(original).installation
        return replace(installation, root=None, tags=offer.tags, libc_version=offer.libc_version, how=offer.how)


def open_boards(names: Sequence[str], configured: Iterable[str], main: Catalog, bring: str = "") -> tuple[Board, ...]:
    """Connect to the boards that the user named, all at the same time, and ask what they are.

    :param names: the values of ``--wheel-host``.
    :param configured: the lines of the ini key ``wheel_hosts``.
    :param main: the catalog of this host.
    :param bring: the value of ``--wheel-board-python``.
    :raises UsageError: a name is invalid.
    """
    if bring and bring not in BRINGERS:
        raise UsageError(
            f"--wheel-board-python {bring}: cannot be brought to a board", fix=f"use {', '.join(BRINGERS)}"
        )
    if not names:
        return ()
    if sys.platform == "win32":
        raise UsageError("--wheel-host: boards are tested from Linux and macOS", fix="run it there, or in WSL")
    from pytest_wheelcheck.backends.ssh import destination

    destinations = destination.parse(names, configured)
    with ThreadPoolExecutor(max_workers=len(destinations), thread_name_prefix="wheelcheck-board") as pool:
        return tuple(pool.map(lambda one: _open(one, main, bring), destinations))


def _open(destination: Destination, main: Catalog, bring: str) -> Board:
    from pytest_wheelcheck.backends.ssh import pool
    from pytest_wheelcheck.backends.ssh.backend import BoardBackend
    from pytest_wheelcheck.backends.ssh.facts import BoardFacts

    try:
        connection = pool.keep(destination).ensure(QUERY)
        facts = BoardFacts.read(connection.facts, connection.base)
    except WheelcheckError as error:
        return Board(name=destination.name, machine=Machine(name=destination.name), problem=str(error))
    backend = BoardBackend(destination=destination, facts=facts)
    return Board(
        name=destination.name,
        machine=backend.machine,
        platforms=tuple(dict.fromkeys(each.platform for each in facts.interpreters)),
        pythons=tuple(each.python for each in facts.interpreters),
        catalog=BoardCatalog(backend, main, bring),
    )


def close_boards() -> None:
    """Close the connections to all boards."""
    if pool := sys.modules.get("pytest_wheelcheck.backends.ssh.pool"):
        pool.close_all()
