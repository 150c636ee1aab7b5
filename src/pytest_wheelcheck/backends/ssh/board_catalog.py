"""The interpreters of a board, and how packages are installed for them from this host."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from pathlib import Path

from pytest_wheelcheck.backends import environments
from pytest_wheelcheck.backends.base import Runtime
from pytest_wheelcheck.backends.catalog import Catalog
from pytest_wheelcheck.backends.ssh.backend import BoardBackend
from pytest_wheelcheck.errors import WheelcheckError
from pytest_wheelcheck.interpreters.base import Answer, Offer, Request, Starter
from pytest_wheelcheck.interpreters.board import BoardProvider
from pytest_wheelcheck.interpreters.parts import Part
from pytest_wheelcheck.model import Installation


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

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        """See :meth:`.Catalog.parts`."""
        return tuple(dict.fromkeys((*self.provider(offer).parts(offer), *self._main.native_parts(offer))))

    def get(self, offer: Offer) -> Runtime:
        """See :meth:`.Catalog.get`."""
        installation = self.provider(offer).get(offer, self._backend)
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

    def _original(self, offer: Offer) -> Offer:
        found, _ = self._main.ask(Request(platform=offer.platform, wanted=frozenset({offer.kind})))
        return next(each for each in found if each.provider == self.name and each.key == offer.key)

    def parts(self, offer: Offer) -> tuple[Part, ...]:
        return self._main.parts(self._original(offer))

    def get(self, offer: Offer, starter: Starter) -> Installation:  # noqa: ARG002 — this host starts it
        installation = self._main.get(self._original(offer)).installation
        return replace(installation, root=None, tags=offer.tags, libc_version=offer.libc_version, how=offer.how)
