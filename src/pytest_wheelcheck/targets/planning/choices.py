"""The interpreters that were chosen for a wheel, and the questions to the catalog that provides them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.base import Offer, Request, Unavailable
from pytest_wheelcheck.model import Platform
from pytest_wheelcheck.system import pools, process, timing
from pytest_wheelcheck.targets.planning.specs import Interpreter

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A chosen interpreter.

    :param offers: in the order in which they are tried.
    :param older: what replaces it if the wheel's dependencies cannot be installed for it, the newest first; empty if
        nothing does.
    """

    offers: tuple[Offer, ...]
    older: tuple[Choice, ...] = field(default=(), compare=False)

    @property
    def interpreter(self) -> Interpreter:
        """What it is."""
        return interpreter_of(self.offers[0])

    @property
    def described(self) -> str:
        """What it is, and where it comes from: the first choice, which is taken if it is available."""
        offer = self.offers[0]
        return f"{offer.interpreter}-{offer.platform.name}: {offer.how}"


def interpreter_of(offer: Offer) -> Interpreter:
    """Return what an offer is, in the terms of tags."""
    return Interpreter(
        version=offer.version[:2], implementation=offer.implementation, free_threaded=offer.free_threaded
    )


@dataclass(kw_only=True, slots=True)
class Questions:
    """Asks the catalog, once for each request."""

    catalog: Catalog
    host: Platform
    _answers: dict[Request, tuple[tuple[Offer, ...], tuple[Unavailable, ...]]] = field(default_factory=dict)

    def ask(self, request: Request) -> tuple[tuple[Offer, ...], tuple[Unavailable, ...]]:
        """See :meth:`.Catalog.ask`."""
        if request not in self._answers:
            self._answers[request] = self.catalog.ask(request)
        return self._answers[request]

    def make(self, choices: Iterable[Choice]) -> dict[Choice, Runtime | WheelcheckError]:
        """Have the chosen interpreters made, several at once. The value of one that is not available is the error."""
        unique = list(dict.fromkeys(choices))
        if not unique:
            return {}
        with pools.threads(min(len(unique), os.cpu_count() or 2), "make") as pool:
            return dict(zip(unique, pools.map_concurrently(pool, self._make, unique), strict=True))

    def _make(self, choice: Choice) -> Runtime | WheelcheckError:
        problem = WheelcheckError("no provider")
        for offer in choice.offers:
            start = time.monotonic()
            try:
                runtime = self.catalog.get(offer)
            except WheelcheckError as error:
                problem = error
                if process.is_stopping():
                    # Ctrl-C ended what the provider had started.
                    break
                log.warning("%s is not available from %s: %s", choice.interpreter, offer.provider, error.message)
            else:
                timing.add(runtime.installation, "interpreter", start)
                return runtime
        return problem
