"""The boards of a run: each is a catalog of its own, with the interpreters that it has and the backend that runs them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import UsageError, WheelcheckError
from pytest_wheelcheck.interpreters.facts import QUERY
from pytest_wheelcheck.model import Machine, Platform
from pytest_wheelcheck.system import pools

if TYPE_CHECKING:
    from pytest_wheelcheck.backends.ssh.destination import Destination
    from pytest_wheelcheck.backends.ssh.examination import BoardReport

#: The providers whose interpreters contain everything but the C library, so that a board can run them.
BRINGERS = ("uv",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Board:
    """A board that the user named for a run.

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
    with pools.threads(len(destinations), "board") as pool:
        return tuple(pools.map_concurrently(pool, lambda one: _open(one, main, bring), destinations))


def _open(destination: Destination, main: Catalog, bring: str) -> Board:
    from pytest_wheelcheck.backends.ssh import pool
    from pytest_wheelcheck.backends.ssh.backend import BoardBackend
    from pytest_wheelcheck.backends.ssh.board_catalog import BoardCatalog
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


def examine(name: str, configured: Iterable[str]) -> BoardReport:
    """See :func:`pytest_wheelcheck.backends.ssh.examination.examine`."""
    from pytest_wheelcheck.backends.ssh import examination

    return examination.examine(name, configured)


def clean(name: str, configured: Iterable[str]) -> tuple[str, int]:
    """See :func:`pytest_wheelcheck.backends.ssh.examination.clean`."""
    from pytest_wheelcheck.backends.ssh import examination

    return examination.clean(name, configured)


def close_boards() -> None:
    """Close the connections to all boards."""
    if pool := sys.modules.get("pytest_wheelcheck.backends.ssh.pool"):
        pool.close_all()
