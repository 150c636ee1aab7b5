"""The boards of a run: each is a catalog of its own, with the interpreters that it has and the backend that runs them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import PurePath

from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.base import NativePython
from pytest_wheelcheck.interpreters.board import BoardProvider
from pytest_wheelcheck.model import Machine, Platform


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


def open_boards(names: Sequence[str], configured: Iterable[str], native_python: NativePython) -> tuple[Board, ...]:
    """Connect to the boards that the user named, all at the same time, and ask what they are.

    :param names: the values of ``--wheel-host``.
    :param configured: the lines of the ini key ``wheel_hosts``.
    :param native_python: returns native interpreters of this host, which install for the boards.
    :raises UsageError: a name is invalid.
    """
    if not names:
        return ()
    from pytest_wheelcheck.backends.ssh import destination

    destinations = destination.parse(names, configured)
    with ThreadPoolExecutor(max_workers=len(destinations), thread_name_prefix="wheelcheck-board") as pool:
        return tuple(pool.map(lambda one: _open(one, native_python), destinations))


def _open(destination: object, native_python: NativePython) -> Board:
    from pytest_wheelcheck.backends.ssh import pool
    from pytest_wheelcheck.backends.ssh.backend import BoardBackend
    from pytest_wheelcheck.backends.ssh.destination import Destination
    from pytest_wheelcheck.backends.ssh.facts import BoardFacts
    from pytest_wheelcheck.interpreters.facts import QUERY

    assert isinstance(destination, Destination)  # noqa: S101  from parse()
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
        catalog=Catalog(
            lambda _: [BoardProvider(destination.name, facts.interpreters)], [backend], native=native_python
        ),
    )


def close_boards() -> None:
    """Close the connections to all boards."""
    import sys

    if pool := sys.modules.get("pytest_wheelcheck.backends.ssh.pool"):
        pool.close_all()
