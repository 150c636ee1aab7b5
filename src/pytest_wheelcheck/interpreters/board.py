"""The provider ``board``: the interpreters that a board has, as it has reported them."""

from __future__ import annotations

from collections.abc import Iterable

from pytest_wheelcheck.errors import RuntimeUnavailableError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter, fits
from pytest_wheelcheck.interpreters.facts import Facts
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation

#: The name of the provider.
BOARD = "board"


class BoardProvider:
    """Offers the interpreters of one board: of each kind and minor version the newest one.

    :param board: the name of the board.
    :param interpreters: what the board reported.
    """

    name = BOARD

    def __init__(self, board: str, interpreters: Iterable[Facts]) -> None:
        self._board = board
        self._interpreters = tuple(interpreters)

    def costly(self, request: Request) -> bool:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.interpreters.base.Provider`."""
        return False

    def offers(self, request: Request) -> Answer:
        """See :class:`pytest_wheelcheck.interpreters.base.Provider`."""
        if request.python is not None:
            found = [facts for facts in self._interpreters if facts.python == request.python]
            return Answer.of(map(self._offer, found))
        newest: dict[tuple[str, tuple[int, int], bool], Facts] = {}
        for facts in self._interpreters:
            if fits(facts.platform, request.platform):
                kind = (facts.implementation, facts.version[:2], facts.free_threaded)
                if kind not in newest or newest[kind].version < facts.version:
                    newest[kind] = facts
        if newest:
            return Answer.of(map(self._offer, newest.values()))
        return Answer.of(reason=f"{self._board} has no interpreter for {request.platform.name}")

    def _offer(self, facts: Facts) -> Offer:
        return Offer(
            provider=self.name,
            implementation=facts.implementation,
            version=facts.version,
            free_threaded=facts.free_threaded,
            platform=facts.platform,
            libc_version=facts.libc_version,
            tags=facts.tags,
            how=str(facts.python),
            key=str(facts.python),
            prerelease=facts.level != "final",
        )

    def parts(self, offer: Offer) -> tuple[Part, ...]:  # noqa: ARG002 — part of the protocol
        """See :class:`pytest_wheelcheck.interpreters.base.Provider`: it is there."""
        return ()

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — the board has started it
        """See :class:`pytest_wheelcheck.interpreters.base.Provider`."""
        for facts in self._interpreters:
            if str(facts.python) == offer.key:
                return offer.installation(facts.python, library=facts.python.parent.parent / "lib")
        raise RuntimeUnavailableError(f"{self._board} has no {offer.key}", fix="run: wheelcheck board ADDRESS")
