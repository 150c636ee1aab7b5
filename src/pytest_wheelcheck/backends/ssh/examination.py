"""What a board is, what would run there, and what runs have cached there."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pytest_wheelcheck.backends.catalog import Catalog, make_catalog
from pytest_wheelcheck.backends.ssh import destination, pool
from pytest_wheelcheck.backends.ssh.backend import BoardBackend
from pytest_wheelcheck.backends.ssh.board_catalog import BoardCatalog
from pytest_wheelcheck.backends.ssh.connection import Connection
from pytest_wheelcheck.backends.ssh.destination import Destination
from pytest_wheelcheck.backends.ssh.facts import BoardFacts
from pytest_wheelcheck.errors import RuntimeUnavailableError, UsageError, WheelcheckError
from pytest_wheelcheck.interpreters.base import OLDEST, Offer, Request
from pytest_wheelcheck.interpreters.facts import QUERY, Facts, read_answer
from pytest_wheelcheck.model import interpreter_name


def examine(name: str, configured: Iterable[str]) -> BoardReport:
    """Ask a board what it is.

    :param name: as in ``--wheel-host``.
    :param configured: the lines of the ini key ``wheel_hosts``.
    :raises UsageError: the name is invalid.
    :raises BoardError: the board cannot be reached.
    """
    board = _one(name, configured)
    try:
        connection = pool.keep(board).ensure(QUERY)
        facts = BoardFacts.read(connection.facts, connection.base)
        size = int(connection.request("size")[0]["bytes"])
        refused = list(_refused(connection.facts))
    finally:
        pool.close_all()
    # What a run would download is not known without the network.
    main = make_catalog(offline=True)
    usable = _examine(BoardBackend(destination=board, facts=facts), main)
    return BoardReport(destination=board, facts=facts, interpreters=(*usable, *refused), cached=size)


def clean(name: str, configured: Iterable[str]) -> tuple[str, int]:
    """Remove the files that runs have cached on a board; see :func:`examine`.

    :returns: the board's name, and how many bytes were freed.
    """
    board = _one(name, configured)
    connection = Connection(board, "")
    try:
        return board.name, connection.clean()
    finally:
        connection.close()


def _one(name: str, configured: Iterable[str]) -> Destination:
    found = destination.parse([name], configured)
    if len(found) != 1:
        raise UsageError(f"{name}: name one board", fix="run the command once for each board")
    return found[0]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Interpreter:
    """An interpreter of a board.

    :param name: its tag, such as ``cp313t``; empty if it is unknown.
    :param python: its path there.
    :param problem: why it is not used; empty if wheels would be tested with it.
    """

    name: str
    version: str
    python: str
    problem: str = ""
    fix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BoardReport:
    """What is known about a board.

    :param cached: bytes of the files that runs have left for the next ones.
    """

    destination: Destination
    facts: BoardFacts
    interpreters: tuple[_Interpreter, ...]
    cached: int

    @property
    def is_usable(self) -> bool:
        """Whether wheels can be tested there."""
        return any(not each.problem for each in self.interpreters)

    def to_json(self) -> dict[str, Any]:
        """Return plain values for :mod:`json`."""
        facts = asdict(self.facts)
        del facts["interpreters"]
        return {
            "board": self.destination.name,
            "facts": facts,
            "interpreters": [asdict(each) for each in self.interpreters],
            "platform_tags": [
                {"platform": name, "newest": newest, "oldest": oldest}
                for name, newest, oldest in _platform_tags(self.facts)
            ],
            "cache": {"directory": self.facts.directory, "bytes": self.cached},
        }

    def lines(self) -> Iterator[str]:
        """Return the report as text."""
        yield self.destination.name
        described = [pair for pair in self.facts.described() if pair[0] != "interpreters"]
        width = max(len(name) for name, _ in described)
        for name, value in described:
            yield f"  {name:{width}}  {value}"
        yield "interpreters"
        for each in self.interpreters:
            yield f"  {each.name or '-':8} {each.version or '-':9} {each.python}  {each.problem or 'ready'}"
            if each.fix:
                yield f"  {'':18} Fix: {each.fix}"
        if not self.interpreters:
            yield f"  none that is supported (CPython {'.'.join(map(str, OLDEST))} or newer)"
        yield "platform tags"
        for name, newest, oldest in _platform_tags(self.facts):
            yield f"  {name}: {newest} down to {oldest}"
        yield "cache"
        yield f"  {self.cached / 1e6:.1f} MB in {self.facts.directory}"


def _platform_tags(facts: BoardFacts) -> Iterator[tuple[str, str, str]]:
    """Yield the platforms of a board, each with the newest and the oldest platform tag of shared wheels."""
    platforms = {each.platform: each for each in facts.interpreters}
    for platform, interpreter in platforms.items():
        tags = dict.fromkeys(tag.rpartition("-")[2] for tag in interpreter.tags)
        # `linux_aarch64` is for wheels that were built on the board itself.
        shared = [tag for tag in tags if not tag.startswith("linux_") and tag != "any"]
        if shared:
            yield platform.name, shared[0], shared[-1]


def _examine(backend: BoardBackend, main: Catalog) -> Iterator[_Interpreter]:
    """Yield the supported interpreters, with the reasons why some would not be used.

    :param main: the catalog of this host.
    """
    catalog, facts = BoardCatalog(backend, main), backend.facts
    preferred = [
        offer
        for platform in dict.fromkeys(each.platform for each in facts.interpreters)
        for offer in catalog.ask(Request(platform=platform))[0]
    ]
    problems = {offer.key: _problem(catalog, offer) for offer in preferred}
    for each in sorted(facts.interpreters, key=lambda each: (str(each.python) not in problems, _order(each))):
        problem, fix = problems.get(str(each.python), ("not used: a newer one of this version is there", ""))
        yield _Interpreter(
            name=interpreter_name(each.implementation, each.version, free_threaded=each.free_threaded),
            version=".".join(map(str, each.version)),
            python=str(each.python),
            problem=problem,
            fix=fix,
        )


def _problem(catalog: Catalog, offer: Offer) -> tuple[str, str]:
    """Return why a run could not use an interpreter, and the fix; empty texts if it could."""
    try:
        catalog.get(offer)
    except WheelcheckError as error:
        problem = error.message.removeprefix("could not be checked: ")
        return f"{problem}: {error.cause}" if error.cause else problem, error.fix
    return "", ""


def _order(facts: Facts) -> tuple[object, ...]:
    return facts.implementation, facts.version, facts.free_threaded


def _refused(answer: Any) -> Iterator[_Interpreter]:
    """Yield the interpreters of a board that cannot be used.

    :param answer: of the agent.
    """
    for path, text in answer["interpreters"]:
        try:
            facts = read_answer(Path(path), text)
        except RuntimeUnavailableError:
            yield _Interpreter(name="", version="", python=str(path), problem="it does not run")
            continue
        if facts.version[:2] < OLDEST:
            version = ".".join(map(str, facts.version))
            oldest = ".".join(map(str, OLDEST))
            yield _Interpreter(name="", version=version, python=str(path), problem=f"older than {oldest}")
